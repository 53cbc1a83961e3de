import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Attempt, UsageEvent } from '../../proto/usage.ts'
import type { Database } from '../../shared/db/db.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { silentLog } from '../../shared/log.ts'
import { MIGRATIONS } from '../accounting.ts'
import { attempt, event, NOON, usage } from '../gateway-fixture.ts'
import { ensureLedgerPartition } from '../sql/partitions.ts'
import { createLedger, type Ledger } from './book.ts'

const KEYS = ['a'.repeat(64), 'b'.repeat(64)]

let test: TestDatabase
let ledger: Ledger

/** One nano-dollar per input token, a thousand per output token. */
const price = (_: unknown, { input, output }: { input: number; output: number }) => ({
  cost: input + output * 1000,
  rateVersion: 'test',
})
const ledgerOn = (db: Database) => createLedger({ db, price, log: silentLog })

beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
  await ensureLedgerPartition(test.db, NOON)
  ledger = ledgerOn(test.db)
})
afterAll(() => test.drop())

beforeEach(() => clear())

async function clear(): Promise<void> {
  await test.db.query(`
    truncate ledger_2026_11, ledger_default, daily_spend, daily_label_spend, ledger_rejected, spend`)
}

async function one<Row>(text: string): Promise<Row> {
  const [row] = await test.db.query<Row>(text)
  if (row === undefined) throw new Error('no row')
  return row
}

const total = async () => (await one<{ cost: number }>('select coalesce(sum(cost_nano), 0)::bigint as cost from ledger')).cost
const entries = () => test.db.query('select call_id, take, attempt, entry, cost_nano, calls from ledger order by 1, 2, 3, 4')

/** Every sum that is kept, against the same sum taken from the entries. */
async function expectSumsToTieOut(): Promise<void> {
  const daily = (from: string) => `coalesce(sum(cost_nano), 0)::bigint as cost, coalesce(sum(input_tokens), 0)::bigint as input,
    coalesce(sum(output_tokens), 0)::bigint as output, coalesce(sum(calls), 0)::bigint as calls from ${from}`
  const groups = `group by day, key_hash, model order by day, key_hash, model`
  const kept = await test.db.query(`select day, key_hash, model, ${daily('daily_spend')} ${groups}`)
  const real = await test.db.query(
    `select started_at::date as day, key_hash, coalesce(model, '') as model, ${daily('ledger')} group by 1, 2, 3 order by 1, 2, 3`,
  )
  expect(kept).toEqual(real)
  expect(await test.db.query('select scope, spent_nano as spent from spend where spent_nano <> 0 order by scope')).toEqual(
    await test.db.query(`select scope, sum(cost_nano)::bigint as spent from ledger, lateral (
        select 'key|' || key_hash union select 'user|' || user_id union select 'team|' || team_id
        union select 'team_member|' || team_id || '|' || user_id union select 'organization|' || organization_id
        union select 'project|' || project_id union select 'customer|' || end_user
        union select 'tag|' || tag from jsonb_array_elements_text(tags) as tag union select unnest(extra_scopes)) as s (scope)
      where scope is not null group by scope having sum(cost_nano) <> 0 order by scope`),
  )
  const labels = `select day, kind, label, sum(cost)::bigint as cost, sum(calls)::bigint as calls`
  expect(
    await test.db.query(
      `${labels} from (select *, cost_nano as cost from daily_label_spend) as s group by 1, 2, 3 order by 1, 2, 3`,
    ),
  ).toEqual(
    await test.db.query(`${labels} from (
        select started_at::date as day, 'customer' as kind, end_user as label, cost_nano as cost, calls from ledger where end_user is not null
        union all select started_at::date, 'tag', tag, cost_nano, calls from ledger,
          lateral (select distinct jsonb_array_elements_text(tags) as tag) as t) as s group by 1, 2, 3 order by 1, 2, 3`),
  )
}

describe('an event', () => {
  it('is booked once when it is delivered five times', async () => {
    for (let time = 0; time < 5; time++) await ledger.book([event()])
    expect(await entries()).toHaveLength(1)
    await ledger.book([event(), event(), event()])
    expect(await total()).toBe(5010)
    await expectSumsToTieOut()
  })

  it('is booked once when several consumers get it at the same time', async () => {
    const others = Array.from({ length: 4 }, () => createPostgres({ url: test.url, log: silentLog }))
    const events = Array.from({ length: 50 }, (_, index) => event({ callId: `call-${index}`, userId: 'u1', teamId: 't1' }))
    const reversed = events.toReversed()
    const booked = await Promise.all(others.map((db, index) => ledgerOn(db).book(index % 2 === 0 ? events : reversed)))
    expect(booked.reduce((sum, { added }) => sum + added, 0)).toBe(50)
    expect(await total()).toBe(50 * 5010)
    await expectSumsToTieOut()
    await Promise.all(others.map((db) => db.close()))
  })

  it('is booked apart from another of the same call id that began at another time: clients choose call ids', async () => {
    await ledger.book([event(), event({ startedAt: NOON + 1 })])
    expect(await total()).toBe(2 * 5010)
  })

  it('is booked for each take, since both routers did the work', async () => {
    await ledger.book([event(), event({ take: 2 })])
    expect(await total()).toBe(2 * 5010)
  })

  it('adds to every scope it counts in', async () => {
    await ledger.book([
      event({
        userId: 'u1',
        teamId: 't1',
        organizationId: 'o1',
        projectId: 'p1',
        endUser: 'c1',
        tags: ['a', 'b', 'a'],
        scopes: ['proxy', 'team|t1|model|gpt-4o', 'odd|"{,}\\'],
      }),
    ])
    const rows = await test.db.query<{ scope: string }>(
      'select scope, spent_nano, revision from spend order by scope collate "C"',
    )
    expect(rows.map((row) => row.scope)).toEqual([
      'customer|c1',
      `key|${KEYS[0]}`,
      'odd|"{,}\\',
      'organization|o1',
      'project|p1',
      'proxy',
      'tag|a',
      'tag|b',
      'team_member|t1|u1',
      'team|t1',
      'team|t1|model|gpt-4o',
      'user|u1',
    ])
    for (const row of rows) expect(row).toMatchObject({ spent_nano: 5010, revision: 1 })
    await expectSumsToTieOut()
  })

  it('adds to a key that is no row: the master key, the gateway that is open', async () => {
    await ledger.book([event({ keyHash: 'litellm_proxy_master_key' })])
    expect(await test.db.query('select scope, spent_nano from spend')).toEqual([
      { scope: 'key|litellm_proxy_master_key', spent_nano: 5010 },
    ])
  })

  it('counts calls, successes and failures by day', async () => {
    await ledger.book([
      event({ callId: 'good', attempts: [attempt({ index: 0, outcome: 'partial' }), attempt({ index: 1 })] }),
      event({ callId: 'bad', outcome: 'failure', status: 500, attempts: [] }),
    ])
    expect(
      await one(
        `select sum(calls)::int as calls, sum(successful_calls)::int as good, sum(failed_calls)::int as bad from daily_spend`,
      ),
    ).toEqual({ calls: 2, good: 1, bad: 1 })
  })

  it('of a month without a partition is kept all the same', async () => {
    await ledger.book([event({ startedAt: Date.UTC(2031, 0, 1) })])
    expect(await total()).toBe(5010)
  })
})

describe('a router taken for dead', () => {
  it('told of by two parties with different estimates in one batch is booked as the first one says', async () => {
    const told = (call: number, output: number): UsageEvent =>
      event({
        callId: `call-${call}`,
        outcome: 'unsettled',
        attempts: [attempt({ outcome: 'unsettled', usage: usage({ input: 1, output, estimated: true }) })],
      })
    const calls = Array.from({ length: 40 }, (_, index) => index)
    await ledger.book([...calls.map((call) => told(call, 1)), ...calls.map((call) => told(call, 2))])
    expect(await total()).toBe(40 * 1_001)
    await expectSumsToTieOut()
  })

  const unsettled = event({
    outcome: 'unsettled',
    status: 502,
    attempts: [attempt({ outcome: 'unsettled', usage: usage({ input: 9, output: 9, estimated: true }) })],
  })

  it('is charged what was announced when it never reports', async () => {
    await ledger.book([unsettled])
    expect(await total()).toBe(9009)
    await expectSumsToTieOut()
  })

  it.each([
    ['later', [[unsettled], [event()]]],
    ['earlier', [[event()], [unsettled]]],
    ['in the same batch', [[unsettled, event()]]],
    ['later, and everything twice', [[unsettled], [unsettled, event()], [event(), unsettled]]],
  ])('is charged its own report when that comes %s', async (_, batches) => {
    for (const batch of batches) await ledger.book(batch)
    expect(await total()).toBe(5010)
    expect(await one(`select sum(calls)::int as calls from ledger`)).toEqual({ calls: 1 })
    await expectSumsToTieOut()
  })

  it('is charged its own report when both come at once, on two consumers', async () => {
    const others = Array.from({ length: 2 }, () => createPostgres({ url: test.url, log: silentLog }))
    for (let round = 0; round < 20; round++) {
      const [a, b] = others.map(ledgerOn)
      await Promise.all([a?.book([{ ...unsettled, callId: `round-${round}` }]), b?.book([event({ callId: `round-${round}` })])])
    }
    expect(await total()).toBe(20 * 5010)
    await expectSumsToTieOut()
    await Promise.all(others.map((db) => db.close()))
  })
})

describe('what goes wrong', () => {
  it('parks an event that cannot be read, once, and books the others', async () => {
    const odd = { ...event(), attempts: 'none' }
    expect(await ledger.book([event(), odd, null])).toEqual({ added: 1, rejected: 2 })
    await ledger.book([odd])
    const parked = await test.db.query<{ event: string; reason: string }>(
      'select event, reason from ledger_rejected order by reason',
    )
    expect(parked.map((row) => row.reason)).toEqual(['attempts', 'not a map'])
    expect(JSON.parse(parked[0]?.event ?? '')).toMatchObject({ callId: 'call-1', attempts: 'none' })
  })

  it('parks an event that only the database finds wrong, and books the others', async () => {
    const lying = createLedger({
      db: test.db,
      price: ({ model }) => ({ cost: model === 'odd' ? 2 ** 70 : 1, rateVersion: 'test' }),
      log: silentLog,
    })
    const odd = event({ callId: 'odd', attempts: [attempt({ model: 'odd' })] })
    expect(await lying.book([event({ callId: 'one' }), odd, event({ callId: 'two' })])).toEqual({ added: 2, rejected: 1 })
    expect((await entries()).map((row) => row['call_id'])).toEqual(['one', 'two'])
    expect(await one('select count(*)::int as count from ledger_rejected')).toEqual({ count: 1 })
    await expectSumsToTieOut()
  })

  it('keeps nothing of a batch whose transaction fails, and all of it the next time', async () => {
    await test.db.query('alter table daily_spend rename to elsewhere')
    await expect(ledger.book([event(), { ...event(), take: 'x' }])).rejects.toThrow('daily_spend')
    await test.db.query('alter table elsewhere rename to daily_spend')
    expect(await entries()).toEqual([])
    expect(await test.db.query('select * from ledger_rejected')).toEqual([])
    expect(await ledger.book([event()])).toEqual({ added: 1, rejected: 0 })
    await expectSumsToTieOut()
  })

  it('rejects while the database is away, so that the bus delivers again', async () => {
    const away = createPostgres({ url: 'postgres://x@127.0.0.1:1/x', log: silentLog, connectLimit: 500 })
    await expect(ledgerOn(away).book([event()])).rejects.toMatchObject({ code: 'accounting_away' })
    await away.close()
  })

  it('books once what was committed before the connection died', async () => {
    const db = createPostgres({ url: test.url, log: silentLog })
    await ledgerOn(db).book([event()])
    await test.db.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
    for (let left = 5; ; left--) {
      // The pool meets its dead connections first.
      const booked = await ledgerOn(db)
        .book([event(), event({ callId: 'next' })])
        .catch(() => null)
      if (booked !== null || left === 0) break
    }
    expect(await total()).toBe(2 * 5010)
    await expectSumsToTieOut()
    await db.close()
  })

  it('books a call whatever length of names its client made up', async () => {
    const long = Array.from({ length: 5000 }, (_, index) => String.fromCodePoint(0x4e00 + ((index * 7919) % 20_000))).join('')
    const odd = event({
      callId: long.slice(0, 512),
      endUser: long,
      modelGroup: long,
      requestedModel: long,
      sessionId: long,
      tags: [long],
    })
    expect(await ledger.book([{ ...odd, attempts: [attempt({ model: long })] }])).toEqual({ added: 1, rejected: 0 })
    await expectSumsToTieOut()
  })

  it('lets nobody change or delete an entry', async () => {
    await ledger.book([event()])
    await expect(test.db.query('update ledger set cost_nano = 0')).rejects.toThrow('append-only')
    await expect(test.db.query('delete from ledger')).rejects.toThrow('append-only')
  })
})

it('keeps every sum equal to the ledger, whatever comes how often in whatever order and batches', async () => {
  // A call has one report, and perhaps one unsettled event, of which anything may differ but who it was for.
  const attempts = fc.array(fc.record({ billed: fc.boolean(), input: fc.nat(1000), output: fc.nat(1000) }), { maxLength: 3 })
  const calls = fc.array(
    fc
      .record({
        take: fc.constantFrom(1, 2),
        key: fc.constantFrom(...KEYS),
        user: fc.constantFrom(null, 'u1'),
        team: fc.constantFrom(null, 't1', 'unknown'),
        project: fc.constantFrom(null, 'p1'),
        customer: fc.constantFrom(null, 'c1', 'c2'),
        tags: fc.subarray(['a', 'b', 'a b']),
        scopes: fc.subarray(['proxy', 'provider|openai']),
        startedAt: fc.integer({ min: NOON, max: NOON + 3 * 86_400_000 }),
        report: attempts,
        announced: attempts,
      })
      .map(({ take, key, user, team, project, customer, tags, scopes, startedAt, report, announced }) => {
        const of = (outcome: 'success' | 'unsettled', tries: typeof report): UsageEvent =>
          event({
            take,
            keyHash: key,
            userId: user,
            teamId: team,
            projectId: project,
            endUser: customer,
            tags,
            scopes,
            startedAt,
            outcome,
            attempts: tries.map(tryOf),
          })
        return [of('success', report), of('unsettled', announced)] as const
      }),
    { minLength: 1, maxLength: 5 },
  )
  const deliveries = fc.array(fc.array(fc.record({ call: fc.nat(4), unsettled: fc.boolean() }), { maxLength: 6 }), {
    maxLength: 5,
  })
  await fc.assert(
    fc
      .asyncProperty(calls, deliveries, async (all, plan) => {
        const batches = plan.map((batch) =>
          batch.map(({ call, unsettled }): UsageEvent => {
            const index = call % all.length
            return { ...(all[index]?.[unsettled ? 1 : 0] ?? event()), callId: `call-${index}` }
          }),
        )
        // The second half runs at the same time, and everything is delivered once more at the end.
        for (const batch of batches.slice(0, 2)) await ledger.book(batch)
        await Promise.all(batches.slice(2).map((batch) => ledger.book(batch)))
        const before = await total()
        await Promise.all(batches.map((batch) => ledger.book(batch)))
        expect(await total()).toBe(before)
        await expectSumsToTieOut()
        // One call, one count; and where there is a report, unsettled entries add nothing.
        expect(await test.db.query('select from ledger group by call_id, take having sum(calls) not in (0, 1)')).toEqual([])
        expect(
          await test.db.query(`select from ledger l where exists (select from ledger s where (s.call_id, s.take, s.entry) = (l.call_id, l.take, 'settled'))
            group by call_id, take having sum(cost_nano) <> sum(cost_nano) filter (where entry = 'settled')`),
        ).toEqual([])
      })
      .beforeEach(clear),
    { numRuns: 30 },
  )
})

/** One try, billed or not. */
function tryOf({ billed, input, output }: { billed: boolean; input: number; output: number }, index: number): Attempt {
  const { usage: _, ...bare } = attempt({ index, model: `m${index}` })
  return billed ? { ...bare, usage: usage({ input, output }) } : bare
}

describe('partitions', () => {
  it('take over the entries that came before them, once, however many want to make them', async () => {
    const later = Date.UTC(2027, 2, 31, 23, 59, 59, 999)
    await ledger.book([event({ startedAt: later }), event({ callId: 'next', startedAt: later + 1 })])
    const made = await Promise.all([0, 1, 2].map(() => ensureLedgerPartition(test.db, later)))
    expect(made.filter(Boolean)).toHaveLength(1)
    const place = `select call_id, tableoid::regclass::text as place from ledger order by call_id`
    expect(await test.db.query(place)).toEqual([
      { call_id: 'call-1', place: 'ledger_2027_03' },
      { call_id: 'next', place: 'ledger_default' },
    ])
    await ledger.book([event({ startedAt: later })])
    expect(await entries()).toHaveLength(2)
    await test.db.query('drop table ledger_2027_03')
  })
})
