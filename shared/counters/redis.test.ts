import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock, type TestClock, testClock } from '../clock.ts'
import { silentLog } from '../log.ts'
import { createRedis, type RedisConnection } from '../redis.ts'
import { type CountersHarness, countersSuite, limited } from './counters.suite.ts'
import { type AdmitScope, type Counters, LEASE_TTL, RATE_WINDOW, SPENT_IDLE } from './counters.ts'
import { createMemoryCounters } from './memory.ts'
import { createRedisCounters } from './redis.ts'

const url = process.env['TURNPIKE_TEST_REDIS_URL'] ?? ''

interface Store extends CountersHarness {
  readonly redis: RedisConnection
  readonly prefix: string
  open(): Promise<Counters>
  keys(): Promise<string[]>
}

async function connect(): Promise<RedisConnection> {
  const redis = createRedis({ url, log: silentLog })
  await new Promise<void>((resolve) => {
    redis.onReady(resolve)
  })
  return redis
}

async function startStore(clock: TestClock | null = testClock()): Promise<Store> {
  const prefix = `test-${randomBytes(6).toString('hex')}`
  const closers: (() => Promise<void>)[] = []
  const open = async (): Promise<Counters> => {
    const redis = await connect()
    const time = clock === null ? {} : { time: () => clock.now() }
    const counters = createRedisCounters({ redis, prefix, clock: systemClock, log: silentLog, ...time })
    closers.push(
      () => counters.close(),
      () => redis.close(),
    )
    return counters
  }
  const redis = await connect()
  const keys = async () => (await redis.call('KEYS', `{${prefix}}*`)) as string[]
  const counters = await open()
  await counters.rebuild(async () => [])
  return {
    redis,
    prefix,
    counters,
    clock: clock ?? testClock(),
    open,
    keys,
    others: (count) => Promise.all(Array.from({ length: count }, open)),
    async close() {
      for (const close of closers) await close()
      const left = await keys()
      if (left.length > 0) await redis.call('DEL', ...left)
      await redis.close()
    },
  }
}

countersSuite('Redis', startStore)

describe('counters in Redis', () => {
  let store: Store | null = null
  afterEach(async () => {
    await store?.close()
    store = null
  })
  const scopes = [limited('key|a', { requests: 10, tokens: 100, parallel: 10, budget: 100 })]
  const call = (lease: string) => ({ lease, scopes, tokens: 10, hold: 10 })

  it('go by the clock of the server', async () => {
    store = await startStore(null)
    const answer = await store.counters.admit(call('one'))
    expect(answer).toMatchObject({ granted: true, states: [{ requests: 1 }] })
    const [state] = await store.counters.peek(['key|a'])
    expect(state?.requestsReset).toBeGreaterThan(RATE_WINDOW - 5_000)
    expect(state?.requestsReset).toBeLessThanOrEqual(RATE_WINDOW)
    expect(await store.counters.sweep(10)).toEqual([])
  })

  it('are in one slot of a Redis cluster, and leave only the epoch behind when everything is over and idle', async () => {
    store = await startStore()
    await store.counters.admit(call('one'))
    await store.counters.settle('one', { cost: 5, tokens: 5 })
    await store.counters.admit({ lease: 'rate', scopes: [limited('key|rate', { requests: 5 })], tokens: 0, hold: 0 })
    const { redis, prefix } = store
    const fields = async () => ((await redis.call('HKEYS', `{${prefix}}:counters:state`)) as string[]).sort()
    const keys = await store.keys()
    expect(keys.length).toBe(3)
    const slots = await Promise.all(keys.map((key) => redis.call('CLUSTER', 'KEYSLOT', key).catch(() => 0)))
    expect(new Set(slots).size).toBe(1)
    await store.counters.book(['one'], [{ scope: 'key|a', spent: 5, revision: 1 }])
    store.clock.advance(LEASE_TTL)
    expect(await store.counters.sweep(10)).toEqual(['rate'])
    store.clock.advance(2 * RATE_WINDOW)
    await store.counters.sweep(10)
    expect(await fields()).toEqual(['!epoch', 'key|a'])
    expect(await store.counters.peek(['key|a'])).toMatchObject([{ spent: 5 }])
    store.clock.advance(SPENT_IDLE)
    await store.counters.sweep(10)
    expect(await fields()).toEqual(['!epoch'])
    expect(await store.keys()).toEqual([`{${store.prefix}}:counters:state`])
  })

  it('never forget a scope in which something is held', async () => {
    store = await startStore()
    await store.counters.admit(call('one'))
    await store.counters.settle('one', { cost: 5, tokens: 5 })
    store.clock.advance(SPENT_IDLE * 2)
    await store.counters.sweep(10)
    expect(await store.counters.peek(['key|a'])).toMatchObject([{ held: 5 }])
  })

  it('admit nothing until a rebuild: not one process', async () => {
    store = await startStore()
    await store.counters.admit(call('one'))
    const other = await store.open()
    await store.redis.call('DEL', ...(await store.keys()))
    for (const counters of [store.counters, other]) {
      await expect(counters.admit(call('two'))).rejects.toMatchObject({ code: 'counters_away', retryAfter: 1000 })
      await expect(counters.book(['one'], [])).rejects.toMatchObject({ code: 'counters_away' })
      await expect(counters.renew([call('one')])).rejects.toMatchObject({ code: 'counters_away' })
      await expect(counters.peek(['key|a'])).rejects.toMatchObject({ code: 'counters_away' })
      expect(counters.ready).toBe(false)
      expect(await counters.rebuilt()).toBe(false)
    }
    const lost = Promise.all(
      [store.counters, other].map(
        (counters) =>
          new Promise<void>((resolve) => {
            counters.onLoss(resolve)
          }),
      ),
    )
    store.clock.advance(1)
    const pages = [[{ scope: 'key|a', spent: 60, revision: 9 }], []]
    await other.rebuild(async () => pages.shift() ?? [])
    await lost
    expect(await store.counters.rebuilt()).toBe(true)
    await store.counters.renew([call('one')])
    expect(await other.peek(['key|a'])).toMatchObject([{ spent: 60, held: 10, parallel: 1, requests: 0 }])
    expect(await other.admit({ ...call('two'), hold: 31 })).toMatchObject({ granted: false, limit: 'budget' })
    expect(await other.admit({ ...call('two'), hold: 30 })).toMatchObject({ granted: true })
  })

  it('give routers time to renew before they admit again', async () => {
    store = await startStore()
    await store.redis.call('DEL', ...(await store.keys()))
    await store.counters.rebuild(async () => [], 1_000)
    expect(store.counters.ready).toBe(false)
    expect(await store.counters.rebuilt()).toBe(true)
    await expect(store.counters.admit(call('two'))).rejects.toMatchObject({ code: 'counters_away' })
    await store.counters.renew([call('one')])
    await store.counters.book([], [{ scope: 'key|a', spent: 1, revision: 1 }])
    store.clock.advance(1_000)
    expect(await store.counters.admit(call('two'))).toMatchObject({ granted: true, states: [{ held: 20, spent: 1 }] })
  })

  it('do not open when the data was lost again while it was rebuilt', async () => {
    store = await startStore()
    const { redis, counters, keys } = store
    const pages = [[{ scope: 'key|a', spent: 60, revision: 9 }], []]
    const rebuilding = counters.rebuild(async () => {
      const page = pages.shift() ?? []
      if (page.length === 0) await redis.call('DEL', ...(await keys()))
      return page
    })
    await expect(rebuilding).rejects.toMatchObject({ code: 'counters_away' })
    expect(await counters.rebuilt()).toBe(false)
  })

  it('fail as away, not as something else, when the connection is closed', async () => {
    store = await startStore()
    const redis = await connect()
    const counters = createRedisCounters({ redis, prefix: store.prefix, clock: systemClock, log: silentLog })
    await redis.close()
    await expect(counters.admit(call('one'))).rejects.toMatchObject({ code: 'counters_away' })
    await expect(counters.rebuilt()).rejects.toMatchObject({ code: 'counters_away' })
    expect(counters.ready).toBe(false)
    await counters.close()
  })
})

describe('the two implementations', () => {
  const names = ['key|a', 'key|b', 'team|t', 'user|u', 'tag|x']
  const leases = ['l1', 'l2', 'l3', 'l4', 'l5', 'l6']
  /** Fixed, as a scope's limits are: then they must hold at every moment. */
  const limits: Record<string, Partial<AdmitScope>> = {
    'key|a': { requests: 4, tokens: 50, parallel: 3, budget: 100 },
    'key|b': { budget: 60 },
    'team|t': { tokens: 80, budget: 150 },
    'user|u': { requests: 6, parallel: 2 },
    'tag|x': { parallel: 4, budget: 90 },
  }
  const lease = fc.constantFrom(...leases)
  const amount = fc.integer({ min: 0, max: 40 })
  const request = fc.record({ lease, names: fc.subarray(names), tokens: amount, hold: amount })
  const step = fc.oneof(
    { weight: 5, arbitrary: request.map((value) => ({ do: 'admit' as const, ...value })) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const), lease, cost: amount, tokens: amount }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), lease }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('extend' as const), lease, hold: fc.integer({ min: 0, max: 80 }) }) },
    { weight: 1, arbitrary: request.map((value) => ({ do: 'renew' as const, ...value })) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('book' as const), leases: fc.subarray(leases, { maxLength: 3 }) }) },
    { weight: 1, arbitrary: fc.constant({ do: 'sweep' as const }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), time: fc.integer({ min: 1, max: 40_000 }) }) },
  )
  type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

  /** A ledger that books what each lease cost, once, and rises with each. */
  function ledger() {
    const spent = new Map<string, { spent: number; revision: number }>()
    const owed = new Map<string, { cost: number; scopes: readonly AdmitScope[] }>()
    return {
      of: (scope: string) => spent.get(scope) ?? { spent: 0, revision: 0 },
      owe: (id: string, cost: number, scopes: readonly AdmitScope[]) => void owed.set(id, { cost, scopes }),
      book(ids: readonly string[]) {
        const changed = new Set<string>()
        for (const id of ids) {
          const debt = owed.get(id)
          owed.delete(id)
          for (const { scope, budget } of debt?.scopes ?? []) {
            if (budget === null) continue
            const row = spent.get(scope) ?? { spent: 0, revision: 0 }
            spent.set(scope, { spent: row.spent + (debt?.cost ?? 0), revision: row.revision + 1 })
            changed.add(scope)
          }
        }
        return [...changed].map((scope) => ({ scope, ...(spent.get(scope) as { spent: number; revision: number }) }))
      },
    }
  }

  it('answer alike to any sequence of operations, never pass a limit, and hold nothing when all is booked', async () => {
    const redis = await connect()
    const shared = { clock: systemClock, log: silentLog, redis }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        const clock = testClock()
        const prefix = `test-${randomBytes(6).toString('hex')}`
        const memory = createMemoryCounters({ clock })
        const remote = createRedisCounters({ ...shared, prefix, time: () => clock.now() })
        try {
          for (const counters of [memory, remote]) await counters.rebuild(async () => [])
          await play(steps, clock, [memory, remote])
        } finally {
          await memory.close()
          await remote.close()
          const keys = ['state', 'leases', 'idle'].map((name) => `{${prefix}}:counters:${name}`)
          await redis.call('DEL', ...keys)
        }
      }),
      { numRuns: 150 },
    )
    await redis.close()
  })

  async function play(steps: Step[], clock: TestClock, both: [Counters, Counters]): Promise<void> {
    const books = ledger()
    const running = new Map<string, readonly AdmitScope[]>()
    const scopesOf = (asked: readonly string[]) => asked.map((name) => limited(name, { ...limits[name], ...books.of(name) }))
    const agree = async <Value>(ask: (counters: Counters) => Value | Promise<Value>): Promise<Value> => {
      const [left, right] = [await ask(both[0]), await ask(both[1])]
      expect(right).toEqual(left)
      return left
    }
    for (const one of steps) {
      if (one.do === 'wait') clock.advance(one.time)
      else if (one.do === 'admit') {
        // An id whose call is over is not used again before it was booked: each take has its own.
        if (!running.has(one.lease)) await bookAll(both, books, [one.lease])
        const scopes = scopesOf(one.names)
        const answer = await agree((counters) => counters.admit({ lease: one.lease, scopes, tokens: one.tokens, hold: one.hold }))
        if (!answer.granted) continue
        running.set(one.lease, scopes)
        for (const [index, state] of answer.states.entries()) {
          const { requests, tokens, parallel, budget } = scopes[index] as AdmitScope
          if (requests !== null) expect(state.requests).toBeLessThanOrEqual(requests)
          if (tokens !== null) expect(state.tokens).toBeLessThanOrEqual(tokens)
          if (parallel !== null) expect(state.parallel).toBeLessThanOrEqual(parallel)
          if (budget !== null && one.hold > 0) expect(state.spent + state.held).toBeLessThanOrEqual(budget)
        }
      } else if (one.do === 'settle') {
        await agree((counters) => counters.settle(one.lease, { cost: one.cost, tokens: one.tokens }))
        const scopes = running.get(one.lease)
        if (scopes !== undefined) books.owe(one.lease, one.cost, scopes)
        running.delete(one.lease)
      } else if (one.do === 'release') {
        await agree((counters) => counters.release(one.lease))
        running.delete(one.lease)
      } else if (one.do === 'extend') await agree((counters) => counters.extend(one.lease, one.hold))
      else if (one.do === 'renew') {
        const scopes = running.get(one.lease) ?? scopesOf(one.names)
        await agree((counters) => counters.renew([{ lease: one.lease, scopes, tokens: one.tokens, hold: one.hold }]))
        running.set(one.lease, scopes)
      } else if (one.do === 'sweep') {
        const swept = await agree(async (counters) => (await counters.sweep(100)).sort())
        for (const id of swept) running.delete(id)
      } else
        await bookAll(
          both,
          books,
          one.leases.filter((id) => !running.has(id)),
        )
      await agree((counters) => counters.peek(names))
      await agree((counters) => counters.totals())
      await agree(async (counters) => (await counters.settledBefore(5_000, 100)).sort())
    }
    for (const id of running.keys()) await agree((counters) => counters.settle(id, { cost: 1, tokens: 1 }))
    await bookAll(both, books, leases)
    clock.advance(LEASE_TTL)
    await agree((counters) => counters.sweep(100))
    expect(await agree((counters) => counters.totals())).toEqual({ leases: 0, held: 0 })
    for (const state of await agree((counters) => counters.peek(names))) expect(state).toMatchObject({ held: 0, parallel: 0 })
  }

  async function bookAll(both: Counters[], books: ReturnType<typeof ledger>, ids: readonly string[]): Promise<void> {
    const spent = books.book(ids)
    for (const counters of both) await counters.book(ids, spent)
  }
})
