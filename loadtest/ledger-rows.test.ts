import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../shared/db/test-database.ts'
import { fillLedger, USUAL_SHAPE } from './ledger-rows.ts'

const SHAPE = {
  ...USUAL_SHAPE,
  rows: 3_000,
  days: 40,
  lastDay: '2026-10-31',
  keys: 50,
  users: 10,
  teams: 4,
  organizations: 2,
  customers: 30,
}
let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase(
    process.env['TURNPIKE_TEST_POSTGRES_URL'],
    new URL('../accounting-svc/sql/migrations/', import.meta.url),
  )
  await fillLedger(database.db, SHAPE, () => undefined)
})
afterAll(() => database.drop())

const one = async (query: string): Promise<Record<string, unknown>> =>
  (await database.db.query(query))[0] as Record<string, unknown>

describe('a made-up ledger', () => {
  it('has the rows asked for, in monthly partitions', async () => {
    expect(
      await one(
        `select count(*)::int as rows, min(started_at) >= '2026-09-22' as begins, max(started_at) < '2026-11-01' as ends from ledger`,
      ),
    ).toEqual({
      rows: 3_000,
      begins: true,
      ends: true,
    })
    expect(await one('select count(*)::int as rows from ledger_default')).toEqual({ rows: 0 })
    expect(await one(`select count(*)::int as rows from ledger_2026_10 where outcome = 'failure'`)).not.toEqual({ rows: 0 })
  })

  it('is what its sums say', async () => {
    const all = `sum(cost_nano)::bigint as cost, sum(input_tokens)::bigint as input, sum(calls)::int as calls`
    const ledger = await one(`select ${all} from ledger`)
    expect(await one(`select ${all} from daily_spend`)).toEqual(ledger)
    expect(await one(`select ${all} from daily_label_spend where kind = 'customer'`)).toEqual(
      await one(`select ${all} from ledger where end_user is not null`),
    )
    expect(await one(`select sum(calls)::int as calls from daily_label_spend where kind = 'tag' and label = 'tag-3'`)).toEqual(
      await one(`select sum(calls)::int as calls from ledger where tags ? 'tag-3'`),
    )
    expect(await one(`select sum(spent_nano)::bigint as cost from spend where scope like 'key|%'`)).toEqual({
      cost: ledger['cost'],
    })
    expect(
      await one(`select count(*)::int as wrong from (select key_hash, model, day, sum(calls)::int from daily_spend group by 1, 2, 3) s
        full join (select key_hash, model, (started_at at time zone 'UTC')::date, sum(calls)::int from ledger group by 1, 2, 3) l
          on s = l where s is null or l is null`),
    ).toEqual({ wrong: 0 })
  })

  it('keeps the indexes of the ledger', async () => {
    const names = await database.db.query<{ name: string }>(
      `select indexrelid::regclass::text as name from pg_index where indrelid = 'ledger'::regclass and indisvalid order by 1`,
    )
    expect(names.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['ledger_key', 'ledger_team', 'ledger_time', 'ledger_unsettled', 'ledger_user']),
    )
  })

  it('is not made where there is one', async () => {
    await expect(fillLedger(database.db, SHAPE, () => undefined)).rejects.toThrow('not empty')
  })
})
