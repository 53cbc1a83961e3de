import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { UsageEvent } from '../../proto/usage.ts'
import { testClock } from '../../shared/clock.ts'
import { type Counters, leaseId } from '../../shared/counters/counters.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { silentLog } from '../../shared/log.ts'
import { MIGRATIONS } from '../accounting.ts'
import { attempt, event, NOON, usage } from '../gateway-fixture.ts'
import { ensureLedgerPartition } from '../sql/partitions.ts'
import { createLedger } from './book.ts'
import { createCustomerNames } from './customers.ts'
import { createProjection, type Projection } from './projection.ts'
import { scopesOf } from './scopes.ts'

// What the counters say against what the ledger says, when everything that can happen to a delivery happens.

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
  await ensureLedgerPartition(test.db, NOON)
})
afterAll(() => test.drop())
const clear = () =>
  test.db.query('truncate ledger_2026_11, ledger_default, daily_spend, daily_label_spend, ledger_rejected, spend, customers')
beforeEach(clear)

const price = (_: unknown, { input }: { input: number }) => ({ cost: input, rateVersion: 'test' })

interface Process {
  book(events: readonly unknown[]): Promise<unknown>
  projection: Projection
}

function processOn(counters: Counters, db = test.db): Process {
  const projection = createProjection({ counters, clock: testClock(), log: silentLog })
  const ledger = createLedger({
    db,
    price,
    log: silentLog,
    onBooked: ({ leases, spent }) => projection.book(leases, spent),
  })
  return { book: (events) => ledger.book(events), projection }
}

async function freshCounters(): Promise<Counters> {
  const counters = createMemoryCounters({ clock: testClock() })
  await counters.rebuild(async () => [])
  return counters
}

/** A call as its router admits and settles it, and the event it reports. */
async function serve(counters: Counters, report: UsageEvent): Promise<UsageEvent> {
  const lease = leaseId(report.callId, report.take)
  const scopes = scopesOf({ ...report, projectId: null, extraScopes: report.scopes ?? null }).map((scope) => ({
    scope,
    requests: null,
    tokens: null,
    parallel: 1e6,
    budget: 1e12,
    spent: 0,
    revision: 0,
  }))
  expect(await counters.admit({ lease, scopes, tokens: 0, hold: 1000 })).toMatchObject({ granted: true })
  await counters.settle(lease, { cost: report.attempts[0]?.usage?.input ?? 0, tokens: 0 })
  return report
}

const call = (callId: string, input: number, fields: Partial<UsageEvent> = {}): UsageEvent =>
  event({ callId, attempts: [attempt({ usage: usage({ input }) })], ...fields })

/** The counters hold nothing and say of every scope what the ledger says. */
async function expectAgreement(counters: Counters): Promise<void> {
  const rows = await test.db.query<{ scope: string; spent: number; revision: number }>(
    'select scope, spent_nano as spent, revision from spend order by scope',
  )
  const states = await counters.peek(rows.map(({ scope }) => scope))
  expect(states.map(({ spent, revision, held }, index) => ({ scope: rows[index]?.scope, spent, revision, held }))).toEqual(
    rows.map((row) => ({ ...row, held: 0 })),
  )
  expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
}

const everything = () =>
  test.db.query(
    `select (select coalesce(sum(cost_nano), 0)::bigint from ledger) as ledger, (select coalesce(sum(cost_nano), 0)::bigint from daily_spend) as daily,
       (select coalesce(sum(cost_nano), 0)::bigint from daily_label_spend) as labels, (select jsonb_object_agg(scope, spent_nano) from spend) as spend`,
  )

describe('counters beside the ledger', () => {
  it('know what a call cost, and hold nothing of it, when its booking resolves', async () => {
    const counters = await freshCounters()
    const { book } = processOn(counters)
    const report = await serve(
      counters,
      call('one', 7, { userId: 'u', teamId: 't', endUser: 'c', tags: ['x'], scopes: ['proxy'] }),
    )
    expect((await counters.totals()).leases).toBe(1)
    await book([report])
    expect((await counters.peek(['team_member|t|u', 'proxy', 'tag|x', 'customer|c'])).map(({ spent }) => spent)).toEqual([
      7, 7, 7, 7,
    ])
    await expectAgreement(counters)
    await counters.close()
  })

  it('end the lease of a call whose event had to be parked, and of one that cost nothing', async () => {
    const counters = await freshCounters()
    const { book } = processOn(counters)
    const odd = await serve(counters, call('odd', 7))
    const free = await serve(counters, call('free', 0))
    await book([{ ...odd, attempts: 'none' }, free])
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    await counters.close()
  })

  it('do not change when every event comes three times more in any order, on two processes', async () => {
    await fc.assert(
      fc
        .asyncProperty(
          fc.array(
            fc.record({
              input: fc.nat(1000),
              take: fc.constantFrom(1, 2),
              user: fc.constantFrom(null, 'u'),
              team: fc.constantFrom(null, 't'),
              customer: fc.constantFrom(null, 'c'),
              tags: fc.subarray(['x', 'y']),
              scopes: fc.subarray(['proxy', 'provider|openai']),
              lost: fc.boolean(),
            }),
            { minLength: 1, maxLength: 12 },
          ),
          fc.infiniteStream(fc.nat()),
          async (calls, random) => {
            const counters = await freshCounters()
            const other = createPostgres({ url: test.url, log: silentLog, poolSize: 2 })
            const processes = [processOn(counters), processOn(counters, other)]
            const reports: UsageEvent[] = []
            for (const [index, { input, take, user, team, customer, tags, scopes }] of calls.entries()) {
              reports.push(
                await serve(
                  counters,
                  call(`c${index}`, input, { take, userId: user, teamId: team, endUser: customer, tags, scopes }),
                ),
              )
            }
            // The first delivery, of which some die between the commit and the word to the counters.
            const silent = createLedger({ db: test.db, price, log: silentLog })
            await silent.book(reports.filter((_, index) => calls[index]?.lost === true))
            await processes[0]?.book(reports.filter((_, index) => calls[index]?.lost === false))
            const before = await everything()
            const again = [...reports, ...reports, ...reports]
              .map((report) => ({ report, key: random.next().value }))
              .sort((a, b) => a.key - b.key)
              .map(({ report }) => report)
            const third = Math.ceil(again.length / 3)
            await Promise.all([
              processes[0]?.book(again.slice(0, third)),
              processes[1]?.book(again.slice(third, 2 * third)),
              processes[0]?.book(again.slice(2 * third)),
            ])
            expect(await everything()).toEqual(before)
            await expectAgreement(counters)
            await counters.close()
            await other.close()
          },
        )
        .beforeEach(clear),
      { numRuns: 20 },
    )
  })

  it('agree when two processes book the same events at the same time', async () => {
    const counters = await freshCounters()
    const other = createPostgres({ url: test.url, log: silentLog })
    const [a, b] = [processOn(counters), processOn(counters, other)]
    const reports = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        serve(counters, call(`c${index}`, index, { userId: `u${index % 7}`, teamId: 't' })),
      ),
    )
    const halves = [reports.slice(0, 150), reports.slice(150)]
    await Promise.all([a.book(halves[0] ?? []), b.book(reports.toReversed()), a.book(halves[1] ?? []), b.book(halves[0] ?? [])])
    expect(await test.db.query(`select spent_nano from spend where scope = 'team|t'`)).toEqual([{ spent_nano: (300 * 299) / 2 }])
    await expectAgreement(counters)
    await counters.close()
    await other.close()
  })

  it('are told everything when they were away for a while; booking went on', async () => {
    const counters = await freshCounters()
    let away = true
    const shaky = {
      book: (leases, spent) => (away ? Promise.reject(new Error('away')) : counters.book(leases, spent)),
    } as Pick<Counters, 'book'> as Counters
    const clock = testClock()
    const projection = createProjection({ counters: shaky, clock, log: silentLog })
    const ledger = createLedger({
      db: test.db,
      price,
      log: silentLog,
      onBooked: ({ leases, spent }) => projection.book(leases, spent),
    })
    for (let index = 0; index < 5; index++) await ledger.book([await serve(counters, call(`c${index}`, 10, { teamId: 't' }))])
    expect(await counters.totals()).toMatchObject({ leases: 5 })
    away = false
    clock.advance(1_000)
    await new Promise(setImmediate)
    expect(projection.pending).toBe(0)
    await expectAgreement(counters)
    await projection.stop()
    await counters.close()
  })

  it('are told what a sum says at most when it is beyond what a double counts exactly', async () => {
    const counters = await freshCounters()
    const { book } = processOn(counters)
    await test.db.query(`insert into spend (scope, spent_nano, revision) values ('team|t', 9007199254740991, 1)`)
    await book([call('one', 5, { teamId: 't' })])
    expect(await counters.peek(['team|t'])).toMatchObject([{ spent: Number.MAX_SAFE_INTEGER, revision: 2 }])
    expect(await test.db.query(`select spent_nano::text as spent from spend where scope = 'team|t'`)).toEqual([
      { spent: '9007199254740996' },
    ])
    await counters.close()
  })
})

describe('customers', () => {
  it('get a row with the first call that names them, and the database is asked once', async () => {
    let asked = 0
    const db = {
      ...test.db,
      query: <Row>(...args: Parameters<typeof test.db.query>) => {
        asked += 1
        return test.db.query<Row>(...args)
      },
    }
    const names = createCustomerNames({ db, log: silentLog })
    await test.db.query(`insert into customers (user_id, blocked) values ('there', true)`)
    await names.seen(['new', 'there'])
    await names.seen(['new', 'there'])
    await names.seen([])
    expect(asked).toBe(1)
    expect(await test.db.query('select user_id, blocked from customers order by 1')).toEqual([
      { user_id: 'new', blocked: false },
      { user_id: 'there', blocked: true },
    ])
  })

  it('are tried again after the database was away', async () => {
    let away = true
    const db = {
      ...test.db,
      query: <Row>(...args: Parameters<typeof test.db.query>) =>
        away ? Promise.reject(new Error('away')) : test.db.query<Row>(...args),
    }
    const names = createCustomerNames({ db, log: silentLog })
    await names.seen(['new'])
    away = false
    await names.seen(['new'])
    expect(await test.db.query('select user_id from customers')).toEqual([{ user_id: 'new' }])
  })
})
