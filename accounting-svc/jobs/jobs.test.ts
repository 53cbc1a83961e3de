import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createMemoryHub } from '../../shared/bus/memory.ts'
import { systemClock, testClock } from '../../shared/clock.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import type { Database } from '../../shared/db/db.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { silentLog } from '../../shared/log.ts'
import { MIGRATIONS } from '../accounting.ts'
import { event, NOON } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'
import { createProjection } from '../ledger/projection.ts'
import { keepPartitions } from './partitions.ts'
import { rebuildAtStart, rebuildCounters } from './rebuild-counters.ts'
import { resetBudgets } from './reset-budgets.ts'
import { sweepLeases } from './sweep-leases.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(() => test.drop())
beforeEach(() => test.db.query('truncate spend, leaders'))

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const KEY = 'a'.repeat(64)

/** A clock at a moment, counters that admit, and who hears what is announced. */
async function start(now: number | string = NOON) {
  const clock = testClock(typeof now === 'string' ? Date.parse(now) : now)
  const hub = createMemoryHub({ clock: systemClock, log: silentLog })
  const bus = hub.join('accounting')
  const counters = createMemoryCounters({ clock })
  await counters.rebuild(async () => [])
  const projection = createProjection({ counters, clock, log: silentLog })
  const heard: [string, unknown][] = []
  const edge = hub.join('edge')
  for (const kind of ['identity', 'budget'] as const) edge.onChange(kind, (payload) => heard.push([kind, payload]))
  const deps = { db: test.db, bus, counters, projection, clock, log: silentLog }
  return {
    ...deps,
    hub,
    heard,
    deps,
    async close() {
      await projection.stop()
      await counters.close()
      await hub.close()
    },
  }
}

const windows = (rows: [string, number, string | null, string | null][]) =>
  test.db.query(
    `insert into spend (scope, spent_nano, revision, budget_duration, reset_at)
     select scope, spent, 1, duration, reset_at::timestamptz from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as r(scope, spent, duration, reset_at)`,
    [0, 1, 2, 3].map((column) => rows.map((row) => row[column])),
  )
const spend = () => test.db.query('select scope, spent_nano as spent, revision, reset_at from spend order by scope')
const row = (scope: string, spent: number, revision: number, resetAt: string | null) => ({
  scope,
  spent,
  revision,
  reset_at: resetAt === null ? null : new Date(resetAt),
})

describe('reset-budgets', () => {
  it('closes what is due, leaves the rest, tells the counters and everybody who knows the owners', async () => {
    const { deps, heard, counters, close } = await start('2026-11-21T00:00:01Z')
    await windows([
      [`key|${KEY}`, 5, '1d', '2026-11-21T00:00:00Z'],
      [`key|${KEY}|model|gpt`, 5, '1d', '2026-11-21T00:00:00Z'],
      ['team_member|t|u', 5, '30d', '2026-11-20T00:00:00Z'],
      ['customer|c%7C1', 5, '7d', '2026-11-16T00:00:00Z'],
      ['tag|a', 5, '1h', '2026-11-21T00:00:01Z'],
      ['user|later', 7, '1d', '2026-11-21T00:00:02Z'],
      ['user|never', 7, null, null],
    ])
    await counters.book([], [{ scope: `key|${KEY}`, spent: 5, revision: 1 }])
    await resetBudgets({ ...deps, zone: () => 'UTC' }).run()
    expect(await spend()).toEqual([
      row('customer|c%7C1', 0, 2, '2026-11-23T00:00:00Z'),
      row(`key|${KEY}`, 0, 2, '2026-11-22T00:00:00Z'),
      row(`key|${KEY}|model|gpt`, 0, 2, '2026-11-22T00:00:00Z'),
      row('tag|a', 0, 2, '2026-11-21T01:00:00Z'),
      row('team_member|t|u', 0, 2, '2026-12-01T00:00:00Z'),
      row('user|later', 7, 1, '2026-11-21T00:00:02Z'),
      row('user|never', 7, 1, null),
    ])
    expect((await counters.peek([`key|${KEY}`]))[0]).toMatchObject({ spent: 0, revision: 2 })
    await turn()
    expect(heard).toEqual([
      ['identity', { keyHashes: [KEY] }],
      ['identity', { teamId: 't' }],
      ['budget', { customers: ['c|1'], tags: [] }],
      ['budget', { customers: [], tags: ['a'] }],
    ])
    await close()
  })

  it('catches up by one reset after weeks without anybody, and does nothing the second time', async () => {
    const { deps, close } = await start('2026-11-21T09:30:00Z')
    await windows([['user|u', 5, '1d', '2026-11-01T00:00:00Z']])
    const job = resetBudgets({ ...deps, zone: () => 'UTC' })
    await job.run()
    await job.run()
    expect(await spend()).toEqual([row('user|u', 0, 2, '2026-11-22T00:00:00Z')])
    await close()
  })

  it('keeps to the midnights of the zone when the clock changes', async () => {
    const { deps, clock, close } = await start('2026-10-23T22:00:00Z')
    await windows([['user|u', 5, '1d', '2026-10-23T22:00:00Z']])
    const job = resetBudgets({ ...deps, zone: () => 'Europe/Berlin' })
    const resets: string[] = []
    for (let day = 0; day < 3; day++) {
      await job.run()
      const [state] = (await spend()) as { reset_at: Date }[]
      resets.push(state?.reset_at.toISOString() ?? '')
      clock.advance((state?.reset_at.getTime() ?? 0) - clock.now())
    }
    expect(resets).toEqual(['2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z', '2026-10-26T23:00:00.000Z'])
    await close()
  })

  it('never resets again what has a duration nobody can read, and goes on with the others', async () => {
    const { deps, close } = await start('2026-11-21T00:00:01Z')
    await windows([
      ['user|odd', 5, 'soon', '2026-11-21T00:00:00Z'],
      ['user|u', 5, '1d', '2026-11-21T00:00:00Z'],
    ])
    await resetBudgets({ ...deps, zone: () => 'UTC' }).run()
    expect(await spend()).toEqual([row('user|odd', 0, 2, null), row('user|u', 0, 2, '2026-11-22T00:00:00Z')])
    await close()
  })

  it('closes thousands at once, once each, while two processes run it and calls are booked in the same scopes', async () => {
    const { deps, close } = await start('2026-11-21T00:00:01Z')
    const scopes = Array.from({ length: 1200 }, (_, index) => `user|u${index}`)
    await windows(scopes.map((scope) => [scope, 1000, '1d', '2026-11-21T00:00:00Z']))
    const ledger = createLedger({ db: test.db, price: () => ({ cost: 1, rateVersion: 'test' }), log: silentLog })
    const events = scopes.map((_, index) => event({ callId: `reset-${index}`, userId: `u${index}` }))
    const job = () => resetBudgets({ ...deps, zone: () => 'UTC' }).run()
    await Promise.all([job(), ledger.book(events.slice(0, 600)), job(), ledger.book(events.slice(600).toReversed())])
    const states = await test.db.query<{ spent: number }>(
      `select spent_nano as spent, revision from spend where scope like 'user|%'`,
    )
    expect(states).toHaveLength(1200)
    // Booked before the reset or after it: 0 or 1 is left of it, never the old window, and both changes were counted.
    for (const state of states) {
      expect([0, 1]).toContain(state.spent)
      expect(state).toMatchObject({ revision: 3 })
    }
    await close()
  })

  it('waits for the row of a busy scope instead of passing it over', async () => {
    const { deps, close } = await start('2026-11-21T00:00:01Z')
    await windows([['user|busy', 5, '1d', '2026-11-21T00:00:00Z']])
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let locked = (): void => undefined
    const isLocked = new Promise<void>((resolve) => {
      locked = resolve
    })
    const booking = test.db.transaction(async (tx) => {
      await tx.query(`update spend set spent_nano = 6 where scope = 'user|busy'`)
      locked()
      await held
    })
    await isLocked
    const running = resetBudgets({ ...deps, zone: () => 'UTC' }).run()
    await test.db.query('select pg_sleep(0.1)')
    release()
    await Promise.all([booking, running])
    expect(await spend()).toEqual([row('user|busy', 0, 2, '2026-11-22T00:00:00Z')])
    await close()
  })
})

/** Admits a call of one scope and settles it. */
async function settle(counters: Counters, lease: string, cost: number): Promise<void> {
  const scope = { scope: `key|${KEY}`, requests: null, tokens: null, parallel: 1000, budget: 1e12, spent: 0, revision: 0 }
  expect(await counters.admit({ lease, scopes: [scope], tokens: 0, hold: 100 })).toMatchObject({ granted: true })
  await counters.settle(lease, { cost, tokens: 0 })
}

describe('sweep-leases', () => {
  it('books settled leases whose booking the counters missed, and leaves those the ledger does not know', async () => {
    const { deps, counters, clock, close } = await start()
    const now = Date.now()
    const ledger = createLedger({ db: test.db, price: () => ({ cost: 7, rateVersion: 'test' }), log: silentLog })
    await settle(counters, 'known', 7)
    await settle(counters, 'known~2', 7)
    await settle(counters, 'odd~2', 7)
    await settle(counters, 'unknown', 7)
    await settle(counters, 'known~3', 7)
    await ledger.book([
      event({ callId: 'known', startedAt: now }),
      event({ callId: 'known', take: 2, startedAt: now }),
      event({ callId: 'odd~2', startedAt: now }),
    ])
    const job = sweepLeases(deps)
    await job.run()
    expect((await counters.totals()).leases).toBe(5)
    clock.advance(60_001)
    await job.run()
    expect(await counters.totals()).toEqual({ leases: 2, held: 14 })
    expect((await counters.peek([`key|${KEY}`]))[0]).toMatchObject({ spent: 21, held: 14 })
    await close()
  })

  it('tells what calls cost whose hold ran out although they were booked', async () => {
    const { deps, counters, clock, close } = await start()
    const ledger = createLedger({ db: test.db, price: () => ({ cost: 7, rateVersion: 'test' }), log: silentLog })
    const scope = { scope: `key|${KEY}`, requests: null, tokens: null, parallel: 1, budget: 100, spent: 0, revision: 0 }
    await counters.admit({ lease: 'unsettled', scopes: [scope], tokens: 0, hold: 50 })
    await ledger.book([event({ callId: 'unsettled', startedAt: Date.now() })])
    clock.advance(30_001)
    await sweepLeases(deps).run()
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    expect((await counters.peek([`key|${KEY}`]))[0]).toMatchObject({ spent: 7, held: 0 })
    await close()
  })

  it('releases the holds of calls whose router is gone', async () => {
    const { deps, counters, clock, close } = await start()
    const scope = { scope: 'team|t', requests: null, tokens: null, parallel: 1, budget: 100, spent: 0, revision: 0 }
    await counters.admit({ lease: 'a', scopes: [scope], tokens: 0, hold: 50 })
    clock.advance(29_000)
    await sweepLeases(deps).run()
    expect(await counters.totals()).toEqual({ leases: 1, held: 50 })
    clock.advance(1_001)
    await sweepLeases(deps).run()
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    await close()
  })
})

describe('rebuild-counters', () => {
  const fresh = async () => {
    const fixture = await start()
    const counters = createMemoryCounters({ clock: fixture.clock })
    return { ...fixture, counters, deps: { ...fixture.deps, counters } }
  }

  it('happens at the start from what is spent, without waiting, when nothing waits to be booked', async () => {
    const { deps, counters, clock, close } = await fresh()
    await windows([
      [`key|${KEY}`, 42, null, null],
      ['team|t', 43, null, null],
    ])
    await test.db.query(
      `insert into spend (scope, spent_nano, revision, updated_at) values ('old', 1, 1, now() - interval '3 days')`,
    )
    expect(counters.ready).toBe(false)
    await rebuildAtStart(deps)
    expect(counters.ready).toBe(true)
    expect(await counters.peek([`key|${KEY}`, 'team|t', 'old'])).toMatchObject([{ spent: 42 }, { spent: 43 }, { spent: 0 }])
    expect(clock.pending).toBe(2)
    await counters.close()
    await close()
  })

  it('takes more than one page', async () => {
    const { deps, counters, close } = await fresh()
    await windows(Array.from({ length: 4001 }, (_, index) => [`user|${index}`, index, null, null]))
    await rebuildAtStart(deps)
    expect(await counters.peek(['user|0', 'user|2000', 'user|4000'])).toMatchObject([
      { spent: 0, revision: 1 },
      { spent: 2000 },
      { spent: 4000 },
    ])
    await counters.close()
    await close()
  })

  it('is left to the job when events wait or a router has some, and the job waits for them', async () => {
    const { deps, counters, hub, heard, clock, close } = await fresh()
    const router = hub.join('router')
    router.beat({ spool: 3 })
    await turn()
    await rebuildAtStart(deps)
    expect(counters.ready).toBe(false)
    const running = rebuildCounters(deps).run()
    await turn()
    expect(heard).toEqual([['budget', { rebuild: true }]])
    await windows([[`key|${KEY}`, 42, null, null]])
    router.beat({ spool: 0 })
    const done = running.then(() => true)
    while (!(await Promise.race([done, turn().then(() => false)]))) clock.advance(100)
    expect(counters.ready).toBe(true)
    expect(await counters.peek([`key|${KEY}`])).toMatchObject([{ spent: 42 }])
    await rebuildCounters(deps).run()
    expect(heard).toHaveLength(1)
    await counters.close()
    await close()
  })

  it('waits for what had ended when it began, not for the calls that go on', async () => {
    const { deps, counters, hub, clock, close } = await fresh()
    const routers = [hub.join('router'), hub.join('router')]
    let booked = 0
    const bus: typeof deps.bus = Object.create(deps.bus, {
      fleet: { value: () => deps.bus.fleet() },
      announce: { value: () => undefined },
      appended: { value: async () => 7 },
      // Something is always under way.
      consumed: { value: async (_name: string, before?: number) => before !== undefined && booked >= before },
    })
    for (const router of routers) router.beat({ spool: 1 })
    await turn()
    const from = clock.monotonic()
    let over = false
    const running = rebuildCounters({ ...deps, bus })
      .run()
      .then(() => {
        over = true
      })
    const pass = async (): Promise<void> => {
      for (let time = 0; time < 10; time += 1) {
        await turn()
        clock.advance(100)
      }
    }
    await pass()
    // Never both at once.
    routers[0]?.beat({ spool: 0 })
    routers[1]?.beat({ spool: 1 })
    await pass()
    routers[0]?.beat({ spool: 2 })
    routers[1]?.beat({ spool: 0 })
    await pass()
    expect(over).toBe(false)
    booked = 7
    routers[1]?.beat({ spool: 3 })
    // The database answers in its own time.
    while (!over) {
      await turn()
      clock.advance(10)
    }
    await running
    expect(clock.monotonic() - from).toBeLessThan(30_000)
    expect(counters.ready).toBe(true)
    await counters.close()
    await close()
  })

  it('goes ahead after half a minute with a router whose events never come', async () => {
    const { deps, counters, hub, clock, close } = await fresh()
    hub.join('router').beat({ spool: 3 })
    await turn()
    let over = false
    const running = rebuildCounters(deps)
      .run()
      .then(() => {
        over = true
      })
    const from = clock.monotonic()
    while (!over) {
      await turn()
      clock.advance(100)
    }
    await running
    expect(clock.monotonic() - from).toBeGreaterThanOrEqual(30_000)
    expect(counters.ready).toBe(true)
    await counters.close()
    await close()
  })
})

describe('partitions', () => {
  const names = async (db: Database) =>
    (
      await db.query<{ name: string }>(
        `select relname as name from pg_class where relname ~ '^ledger_[0-9]{4}_[0-9]{2}$' order by 1`,
      )
    ).map(({ name }) => name)

  it('are made ahead, and dropped whole when their last day is past the retention', async () => {
    const own = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
    const clock = testClock(Date.UTC(2026, 10, 21))
    let retention: string | null = null
    const job = keepPartitions({ db: own.db, clock, log: silentLog, retention: () => retention })
    await job.run()
    expect(await names(own.db)).toEqual(['ledger_2026_11', 'ledger_2026_12', 'ledger_2027_01'])
    const ledger = createLedger({ db: own.db, price: () => ({ cost: 1, rateVersion: 'test' }), log: silentLog })
    await ledger.book([event(), event({ callId: 'two', startedAt: Date.UTC(2026, 11, 5) })])
    clock.advance(100 * 86_400_000)
    retention = '91d'
    await job.run()
    // 1 March 2027: 91 days before is 30 November, so November is not over then.
    expect(await names(own.db)).toContain('ledger_2026_11')
    retention = '3mo'
    await job.run()
    expect(await names(own.db)).not.toContain('ledger_2026_11')
    expect(await own.db.query('select call_id from ledger')).toEqual([{ call_id: 'two' }])
    await own.drop()
  })
})
