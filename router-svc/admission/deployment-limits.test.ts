import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../../proto/routing.ts'
import type { TokenUsage } from '../../proto/usage.ts'
import { systemClock, type TestClock, testClock } from '../../shared/clock.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { createRedisCounters } from '../../shared/counters/redis.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis } from '../../shared/redis.ts'
import type { Call } from '../call.ts'
import type { Route } from '../runtime.ts'
import { type Admission, createAdmission, mustEnter } from './admission.ts'
import { routeLimits } from './route-limits.ts'

interface Store {
  clock: TestClock
  counters: Counters
  /** Two routers over the same counters. */
  routers: [Admission, Admission]
  freed: string[]
  close(): Promise<void>
}

const STORES: Record<string, (clock: TestClock) => Promise<{ counters: Counters; close(): Promise<void> }>> = {
  async memory(clock) {
    const counters = createMemoryCounters({ clock })
    return { counters, close: () => counters.close() }
  },
  async Redis(clock) {
    const redis = createRedis({ url: process.env['TURNPIKE_TEST_REDIS_URL'] ?? '', log: silentLog })
    await new Promise<void>((resolve) => {
      redis.onReady(resolve)
    })
    const prefix = `test-${randomBytes(6).toString('hex')}`
    const counters = createRedisCounters({ redis, prefix, clock: systemClock, log: silentLog, time: () => clock.now() })
    const close = async (): Promise<void> => {
      await counters.close()
      const left = (await redis.call('KEYS', `{${prefix}}*`)) as string[]
      if (left.length > 0) await redis.call('DEL', ...left)
      await redis.close()
    }
    return { counters, close }
  },
}

async function start(kind: string): Promise<Store> {
  const clock = testClock()
  const { counters, close } = await (STORES[kind] as (typeof STORES)[string])(clock)
  await counters.rebuild(async () => [])
  const freed: string[] = []
  const router = (): Admission =>
    createAdmission({
      bus: { onChange: () => ({ stop: async () => undefined }) },
      counters,
      limits: { find: () => ({ customer: null, limits: [] }), stop: async () => undefined },
      clock,
      log: silentLog,
      freed: (group) => void freed.push(group),
    })
  const routers: [Admission, Admission] = [router(), router()]
  return {
    clock,
    counters,
    routers,
    freed,
    async close() {
      for (const one of routers) await one.stop()
      await close()
    },
  }
}

const settings = (routing: Partial<RoutingSettings> = {}) =>
  ({
    holdOutputTokens: 100,
    countersAway: 'refuse',
    providerBudgets: [],
    routing: { ...DEFAULT_ROUTING, ...routing },
  }) as unknown as RuntimeSettings

const ENFORCED: Partial<RoutingSettings> = { optionalChecks: ['enforce_model_rate_limits'] }

function route(fields: Partial<Deployment>, routing: Partial<RoutingSettings> = {}): Route {
  const deployment = {
    id: 'd1',
    modelGroup: 'gpt',
    rpm: null,
    tpm: null,
    maxParallelRequests: null,
    ...fields,
  } as Deployment
  return {
    deployment,
    provider: { name: 'openai' },
    prices: null,
    target: { maxOutputTokens: null },
    limits: routeLimits(deployment, 'openai', settings(routing)),
  } as unknown as Route
}

let number = 0
function call(): Call {
  number += 1
  return {
    message: { callId: `call-${number}`, take: 1, headers: {} },
    identity: { keyHash: 'k', limits: [], metadata: {}, estimatedOutputTokens: null, estimatedOutputTokensPerModel: {} },
    endpoint: { mode: 'chat' },
    request: { messages: [{ role: 'user', content: 'x'.repeat(36) }], max_tokens: 10 },
    requestedModel: 'gpt',
    modelGroup: 'gpt',
    options: { endUser: null, tags: [] },
    attempts: [],
    incoming: {},
    ticket: null,
  } as unknown as Call
}

const usage = (input: number, output: number): TokenUsage => ({ input, output, cacheRead: 0 }) as TokenUsage
const within = { settings: settings(), anyFree: false }

let open: Store | null = null
afterEach(async () => {
  await open?.close()
  open = null
})

describe('routeLimits', () => {
  const limits = (fields: Partial<Deployment>, routing: Partial<RoutingSettings> = {}) => route(fields, routing).limits

  it('are none where a deployment has none, so that its calls cost no round trip', () => {
    expect(limits({})).toBeNull()
    expect(mustEnter(call(), route({}))).toBe(false)
  })

  it('only weigh by rates unless the settings enforce them', () => {
    expect(limits({ rpm: 5, tpm: 1_000 })).toEqual({ budgets: [], rates: [], here: 5 })
    const enforced = [{ limit: { scope: 'deployment|d1', requests: 5, tokens: 1_000 }, counts: 'all' }]
    expect(limits({ rpm: 5, tpm: 1_000 }, ENFORCED)).toMatchObject({ rates: enforced })
    expect(limits({ rpm: 5, tpm: 1_000 }, { strategy: 'usage-based-routing-v2' })).toMatchObject({ rates: enforced })
    expect(limits({ rpm: 5, tpm: 1_000 }, { groupChecks: { gpt: ['enforce_model_rate_limits'] } })).toMatchObject({
      rates: enforced,
    })
  })

  it('size calls at once by the own number, then rpm, then tpm, then the default', () => {
    const parallel = (count: number) => ({ rates: [{ limit: { parallel: count } }], here: null })
    expect(limits({ maxParallelRequests: 3, rpm: 9 }, { defaultMaxParallel: 7 })).toMatchObject(parallel(3))
    expect(limits({ rpm: 9, tpm: 1_000 }, { defaultMaxParallel: 7 })).toMatchObject({ rates: [], here: 9 })
    expect(limits({ tpm: 2_500 }, { defaultMaxParallel: 7 })).toMatchObject({ rates: [], here: 15 })
    expect(limits({ tpm: 10 })).toMatchObject({ here: 1 })
    expect(limits({}, { defaultMaxParallel: 7 })).toMatchObject(parallel(7))
  })
})

for (const kind of Object.keys(STORES)) {
  describe(`limits of deployments (counters: ${kind})`, () => {
    it('let exactly so many calls at once to a deployment, over all routers, and one more when one is over', async () => {
      open = await start(kind)
      const { routers, counters, freed } = open
      const to = route({ maxParallelRequests: 3 })
      const calls = Array.from({ length: 8 }, call)
      const refused = await Promise.all(calls.map((one, index) => (routers[index % 2] as Admission).enter(one, within, to)))
      expect(refused.filter((error) => error === null)).toHaveLength(3)
      const why = refused.find((error) => error !== null)
      expect(why).toMatchObject({ code: 'deployment_busy', status: 429 })
      const index = refused.indexOf(null)
      ;(routers[index % 2] as Admission).leave(calls[index] as Call, to, usage(1, 1))
      expect(freed).toEqual(['gpt'])
      expect(await routers[0].enter(call(), within, to)).toBeNull()
      expect(await routers[1].enter(call(), within, to)).toMatchObject({ code: 'deployment_busy' })
      expect(await counters.peek(['deployment|d1'])).toMatchObject([{ parallel: 3 }])
    })

    it('count every request a deployment was sent, also of calls that came back to it, and open again with the minute', async () => {
      open = await start(kind)
      const { clock, routers } = open
      const to = route({ rpm: 3 }, ENFORCED)
      const one = call()
      for (let attempt = 0; attempt < 2; attempt += 1) {
        expect(await routers[0].enter(one, within, to)).toBeNull()
        routers[0].leave(one, to, undefined)
      }
      expect(await routers[1].enter(call(), within, to)).toBeNull()
      const refused = await routers[0].enter(call(), within, to)
      expect(refused).toMatchObject({ code: 'no_deployment', status: 429, retryAfter: 60_000 })
      expect(refused?.message).toBe('Deployment over user-defined ratelimit.')
      clock.advance(60_001)
      expect(await routers[0].enter(call(), within, to)).toBeNull()
    })

    it('reserve tokens, then count those that were used', async () => {
      open = await start(kind)
      const { routers, counters } = open
      const to = route({ tpm: 60, maxParallelRequests: 9 }, ENFORCED)
      const one = call()
      // 51 bytes and a message: 17 tokens in, 10 out.
      expect(await routers[0].enter(one, within, to)).toBeNull()
      expect(await routers[0].enter(call(), within, to)).toBeNull()
      expect(await routers[0].enter(call(), within, to)).toMatchObject({ code: 'no_deployment' })
      routers[0].leave(one, to, usage(3, 1))
      await expect.poll(async () => (await counters.peek(['deployment|d1']))[0]?.tokens).toBe(31)
      expect(await routers[0].enter(call(), within, to)).toBeNull()
    })

    it('hold input and output tokens apart, all or none', async () => {
      open = await start(kind)
      const { routers, counters } = open
      const to = route({ rpm: 10, itpm: 1_000, otpm: 15 }, ENFORCED)
      const one = call()
      expect(await routers[0].enter(one, within, to)).toBeNull()
      expect(await routers[0].enter(call(), within, to)).toMatchObject({ code: 'no_deployment' })
      const scopes = ['deployment|d1', 'deployment|d1|input', 'deployment|d1|output']
      await expect.poll(() => counters.peek(scopes)).toMatchObject([{ requests: 1 }, { tokens: 17 }, { tokens: 10 }])
      routers[0].leave(one, to, usage(40, 2))
      await expect.poll(() => counters.peek(scopes)).toMatchObject([{ requests: 1 }, { tokens: 40 }, { tokens: 2 }])
    })

    it('leave nothing behind when a call ends, whatever its attempts did', async () => {
      open = await start(kind)
      const { clock, routers, counters } = open
      const to = route({ maxParallelRequests: 2, rpm: 9 }, ENFORCED)
      const one = call()
      await routers[0].enter(one, within, to)
      await routers[0].enter(one, within, route({ id: 'd2', maxParallelRequests: 2 }))
      for (let time = 0; time < 5; time += 1) clock.advance(10_000)
      await expect.poll(async () => (await counters.totals()).leases).toBe(2)
      await counters.sweep(10)
      expect(await counters.totals()).toMatchObject({ leases: 2 })
      routers[0].settle(one, 0, 0)
      await expect.poll(() => counters.totals()).toEqual({ leases: 0, held: 0 })
    })
  })
}

describe('whatever happens to calls', () => {
  it('a deployment never has more at once than its limit, and nothing is held when all are over', async () => {
    const step = fc.record({
      who: fc.nat(11),
      router: fc.nat(1),
      to: fc.nat(2),
      what: fc.constantFrom('enter', 'leave', 'settle'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const store = await start('memory')
        const routes = [
          route({ maxParallelRequests: 2 }),
          route({ id: 'd2', maxParallelRequests: 3, rpm: 1_000, itpm: 200 }, ENFORCED),
          route({ id: 'd3', rpm: 2 }),
        ]
        const calls = Array.from({ length: 12 }, call)
        /** Which router a call is at: a call lives in one. */
        const home = new Map<Call, Admission>()
        const inside = routes.map(() => new Map<Call, Admission>())
        for (const { who, router, to, what } of steps) {
          const one = calls[who] as Call
          const target = routes[to] as Route
          const at = home.get(one) ?? (store.routers[router] as Admission)
          home.set(one, at)
          if (what === 'enter') {
            if ((await at.enter(one, within, target)) === null) inside[to]?.set(one, at)
            // Coming back, it left first.
            else inside[to]?.delete(one)
          } else if (what === 'leave') {
            at.leave(one, target, usage(5, 5))
            inside[to]?.delete(one)
          } else {
            at.settle(one, 0, 0)
            for (const some of inside) some.delete(one)
          }
          const [first, second] = await store.counters.peek(['deployment|d1', 'deployment|d2'])
          expect([first?.parallel, second?.parallel]).toEqual([inside[0]?.size, inside[1]?.size])
          expect(inside[0]?.size).toBeLessThanOrEqual(2)
          expect(inside[1]?.size).toBeLessThanOrEqual(3)
          for (const admission of store.routers) {
            expect([...(inside[2]?.values() ?? [])].filter((there) => there === admission).length).toBeLessThanOrEqual(2)
          }
        }
        for (const [one, at] of home) at.settle(one, 0, 0)
        expect(await store.counters.totals()).toEqual({ leases: 0, held: 0 })
        await store.close()
      }),
      { numRuns: 60 },
    )
  })
})

describe('calls at once that a router counts itself', () => {
  it('ask the counters nothing', async () => {
    open = await start('memory')
    const { routers, counters } = open
    const to = route({ rpm: 2 })
    const calls = [call(), call(), call()]
    const enter = (one: Call | undefined) => routers[0].enter(one as Call, within, to)
    expect([await enter(calls[0]), await enter(calls[1])]).toEqual([null, null])
    expect(await enter(calls[2])).toMatchObject({ code: 'deployment_busy' })
    expect(await routers[1].enter(calls[2] as Call, within, to)).toBeNull()
    expect(await counters.totals()).toMatchObject({ leases: 0 })
    // A call that tries the same deployment again has left it before.
    expect(await enter(calls[0])).toBeNull()
    routers[0].settle(calls[0] as Call, 0, 0)
    expect(await enter(call())).toBeNull()
  })
})
