import { array, assert, constantFrom, integer, nat, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_ROUTING, type RoutingSettings, STRATEGIES } from '../../proto/routing.ts'
import type { GatewayError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { Route } from '../runtime.ts'
import { createAffinity } from './affinity.ts'
import { NO_PREFERENCES } from './preferences.ts'
import { type Fields, failure, idOf, makeGroup, many, success } from './routes.testkit.ts'
import { createSelector } from './select.ts'

function scene(deployments: Record<string, Fields>, settings: Partial<RoutingSettings> = {}, random: () => number = Math.random) {
  const group = makeGroup(deployments, settings)
  const told: [string, string, unknown][] = []
  const selector = createSelector({
    clock: group.clock,
    random,
    states: group.states,
    affinity: createAffinity({ clock: group.clock }),
    observe: {
      cooledDown: (route, error) => void told.push(['cooled', route.deployment.id, error]),
      deploymentState: (route, level) => void told.push(['level', route.deployment.id, level]),
    },
    log: silentLog,
  })
  const candidates = (call = group.call()) => selector.candidates(call, group.resolution, group.runtime)
  const tiers = (call?: Call) => candidates(call).map((tier) => tier.map(idOf))
  const choose = (call = group.call()) => selector.choose(candidates(call)[0] as readonly Route[], call)
  const run = (id: string, end: ReturnType<typeof success> | (ReturnType<typeof failure> & { retryAfter?: number })) => {
    const route = group.routes.find((one) => idOf(one) === id) as Route
    const call = group.call()
    selector.begin(route)
    selector.end(route, call, end)
  }
  const ids = (call?: Call, rounds = 100) => new Set(Array.from({ length: rounds }, () => idOf(choose(call))))
  const refusal = (call?: Call): GatewayError => {
    try {
      candidates(call)
    } catch (thrown) {
      return thrown as GatewayError
    }
    throw new Error('nothing was refused')
  }
  return { ...group, selector, told, candidates, tiers, choose, run, ids, refusal }
}

const health = { ...DEFAULT_ROUTING.health, background: true, routing: true, staleness: 10_000 }

describe('candidates', () => {
  it('come in tiers by order, those without one last', () => {
    const { tiers } = scene({ d0: {}, d1: { order: 2 }, d2: { order: 1 }, d3: { order: 2 }, d4: { order: null } })
    expect(tiers()).toEqual([['d2'], ['d1', 'd3'], ['d0', 'd4']])
  })

  it('are the same list as long as nothing changes, and another one once a deployment is out or back', () => {
    const { candidates, run, clock } = scene(many(3))
    const list = candidates()[0]
    run('d0', success())
    expect(candidates()[0]).toBe(list)
    run('d0', failure('provider_rate_limited'))
    expect(candidates()[0]?.map(idOf)).toEqual(['d1', 'd2'])
    clock.advance(4_999)
    expect(candidates()[0]?.map(idOf)).toEqual(['d1', 'd2'])
    clock.advance(1)
    expect(candidates()[0]?.map(idOf)).toEqual(['d0', 'd1', 'd2'])
  })

  it('leave out what is blocked, and say so with 503 when that is all', () => {
    expect(scene({ d0: { blocked: true }, d1: {} }).tiers()).toEqual([['d1']])
    expect(scene({ d0: { blocked: true } }).refusal()).toMatchObject({ code: 'provider_unavailable', status: 503 })
  })

  it('are none for an endpoint that no provider of the group has', () => {
    const { refusal, call, routes } = scene(many(1))
    Object.assign((routes[0] as Route).provider, { chat: undefined })
    expect(refusal(call())).toMatchObject({ code: 'unsupported_endpoint', status: 400 })
  })

  it('are none while all are cooled down: 429 with the shortest of what is left', () => {
    const { refusal, run, clock } = scene(many(2))
    run('d0', { ...failure('provider_rate_limited'), retryAfter: 20_000 })
    clock.advance(2_000)
    run('d1', { ...failure('provider_rate_limited'), retryAfter: 30_000 })
    const error = refusal()
    expect(error).toMatchObject({ code: 'no_deployment', status: 429, retryAfter: 18_000 })
    expect(error.message).toBe(
      "No deployments available for selected model, Try again in 18 seconds. Passed model=group. pre-call-checks=False, cooldown_list=['d0', 'd1']",
    )
  })

  it('leave out what a background check found unhealthy where that is asked for, unless it is all', () => {
    const { tiers, states, clock } = scene(many(2), { health })
    states.health('d0', { healthy: false }, 0)
    expect(tiers()).toEqual([['d1']])
    states.health('d1', { healthy: false }, 0)
    expect(tiers()).toEqual([['d0', 'd1']])
    states.health('d1', { healthy: true }, -1)
    expect(tiers()).toEqual([['d1']])
    clock.advance(10_001)
    expect(tiers()).toEqual([['d0', 'd1']])
  })

  it('are told to wait, not that their filter fits nothing, when what it fits is cooled down', () => {
    const { refusal, run, call } = scene({ d0: { tags: ['paid'] }, d1: { tags: ['free'] } }, { tagFiltering: true })
    run('d0', failure('provider_rate_limited'))
    const tagged = (tag: string) => call({ options: { ...call().options, tags: [tag] } })
    expect(refusal(tagged('paid'))).toMatchObject({ code: 'no_deployment', status: 429, retryAfter: 5_000 })
    expect(refusal(tagged('other'))).toMatchObject({ status: 401 })
  })
})

describe('a deployment that is cooled down', () => {
  it('is never chosen, by any strategy, whatever happened before', () => {
    const ends = [success(), failure(), failure('provider_rate_limited'), failure('provider_authentication')]
    const steps = array(tuple(nat(4), constantFrom(...ends), integer({ min: 0, max: 3_000 })), { maxLength: 60 })
    assert(
      property(constantFrom(...STRATEGIES), steps, (strategy, all) => {
        const { choose, run, clock, call } = scene(many(5), { strategy })
        for (const [index, end, pause] of all) {
          run(`d${index}`, end)
          clock.advance(pause)
          try {
            expect(choose(call()).state.cooldownUntil).toBeLessThanOrEqual(clock.monotonic())
          } catch (thrown) {
            expect((thrown as GatewayError).code).toBe('no_deployment')
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  it('is not chosen from a list that was made before', () => {
    const { candidates, selector, call, run } = scene(many(2))
    const list = candidates()[0] as readonly Route[]
    run('d0', failure('provider_rate_limited'))
    const ids = Array.from({ length: 50 }, () => idOf(selector.choose(list, call())))
    expect(new Set(ids)).toEqual(new Set(['d1']))
    run('d1', failure('provider_rate_limited'))
    expect(() => selector.choose(list, call())).toThrow(/No deployments available/)
  })

  it('is tried by one call when its time is over, not by all at once', () => {
    const { choose, selector, run, clock } = scene({ d0: { weight: 1_000 }, d1: { weight: 1 } }, {}, () => 0.5)
    run('d0', failure('provider_rate_limited'))
    clock.advance(5_000)
    const chosen = Array.from({ length: 10 }, () => {
      const route = choose()
      selector.begin(route)
      return idOf(route)
    })
    expect(chosen).toEqual(['d0', ...Array(9).fill('d1')])
  })

  it('is told to metrics: out, and healthy again with a success', () => {
    const { told, run, clock } = scene(many(2))
    run('d0', success())
    run('d0', success())
    run('d0', failure())
    run('d0', failure('provider_rate_limited'))
    clock.advance(5_000)
    run('d0', success())
    expect(told).toEqual([
      ['level', 'd0', 0],
      ['level', 'd0', 1],
      ['cooled', 'd0', 'provider_rate_limited'],
      ['level', 'd0', 2],
      ['level', 'd0', 0],
    ])
  })
})

describe('a failed background check', () => {
  it('is one of the allowed failures where a policy says how many, and takes nothing out by itself', () => {
    const { tiers, states, run } = scene(many(2), { health, allowedFailsPolicy: { InternalServerError: 1 } })
    states.health('d0', { healthy: false }, 0)
    expect(tiers()).toEqual([['d0', 'd1']])
    run('d1', failure())
    expect(tiers()).toEqual([['d0', 'd1']])
    run('d0', failure())
    expect(tiers()).toEqual([['d1']])
  })
})

describe('what the request gets wrong', () => {
  it('says nothing about the deployment', () => {
    const { run, told, states } = scene(many(2))
    for (let call = 0; call < 20; call += 1) run('d0', { ...failure(), error: 'provider_bad_request' as never })
    expect(told).toEqual([])
    expect(states.view()[0]).toMatchObject({ failures: 0, cooldownSeconds: 0 })
  })
})

describe('an outlier', () => {
  const ejection = {
    enabled: true,
    failureShare: 0.5,
    minimumCalls: 10,
    window: 30_000,
    base: 10_000,
    maximum: 300_000,
    ramp: 10_000,
    maxEjected: 0.5,
  }

  it('is ejected, returns gradually, and longer each time', () => {
    const { run, tiers, clock, ids, view } = (() => {
      const made = scene(many(4), { ejection, disableCooldowns: true })
      return { ...made, view: () => made.states.view()[0] }
    })()
    const fail = () => {
      for (let call = 0; call < 10; call += 1) run('d0', failure())
    }
    fail()
    expect(tiers()).toEqual([['d1', 'd2', 'd3']])
    expect(view()).toMatchObject({ share: 0, ejectedSeconds: 10 })
    clock.advance(15_000)
    expect(tiers()).toEqual([['d0', 'd1', 'd2', 'd3']])
    expect(view()?.share).toBe(0.5)
    const chosen = Array.from({ length: 2_000 }, () => [...ids(undefined, 1)][0]).filter((id) => id === 'd0').length
    // Half of a quarter, within six standard deviations.
    expect(Math.abs(chosen - 250)).toBeLessThan(90)
    fail()
    expect(view()).toMatchObject({ ejectedSeconds: 20 })
  })

  it('is no outlier when all fail: at most the agreed share is out', () => {
    const { run, tiers } = scene(many(4), { ejection, disableCooldowns: true })
    for (let call = 0; call < 30; call += 1) for (const id of ['d0', 'd1', 'd2', 'd3']) run(id, failure())
    expect(tiers()[0]).toHaveLength(2)
  })
})

describe('a choice', () => {
  it('keeps the order of tiers, whatever the strategy', () => {
    const orders = array(nat(3), { minLength: 1, maxLength: 12 })
    assert(
      property(constantFrom(...STRATEGIES), orders, (strategy, all) => {
        const { choose } = scene(
          many(all.length, (index) => ({ order: all[index] as number })),
          { strategy },
        )
        expect(choose().deployment.order).toBe(Math.min(...all))
      }),
    )
  })

  it('follows what the request prefers over the strategy', () => {
    const { ids, call, run } = scene({
      d0: { provider: 'openai', price: [10, 10] },
      d1: { provider: 'azure', price: [1, 1] },
      d2: { provider: 'azure', price: [5, 5] },
    })
    const preferring = (preferences: Partial<typeof NO_PREFERENCES>) =>
      call({ preferences: { ...NO_PREFERENCES, ...preferences } })
    expect(ids(preferring({ sort: 'price' }))).toEqual(new Set(['d1']))
    expect(ids(preferring({ order: ['anthropic', 'openai'] }))).toEqual(new Set(['d0']))
    expect(ids(preferring({ order: ['azure'] }))).toEqual(new Set(['d1', 'd2']))
    expect(ids(preferring({ order: ['d2', 'azure'], sort: 'price' }))).toEqual(new Set(['d2']))
    expect(ids(preferring({ order: ['elsewhere'] }))).toEqual(new Set(['d0', 'd1', 'd2']))
    run('d0', success(100, 10))
    run('d1', success(500, 10))
    run('d2', success(300, 10))
    expect(ids(preferring({ sort: 'latency' }))).toEqual(new Set(['d0']))
    expect(ids(preferring({ sort: 'throughput', order: ['azure'] }))).toEqual(new Set(['d2']))
  })

  it('among deployments without room is refused until the next minute, by strategies that keep to limits', () => {
    const { choose, run, call, settings, clock } = scene({ d0: { rpm: 1 } }, { strategy: 'usage-based-routing' })
    run('d0', success())
    const left = 60_000 - (clock.now() % 60_000)
    expect(() => choose()).toThrow(expect.objectContaining({ code: 'no_deployment', retryAfter: left }) as Error)
    expect(idOf(choose(call({ routing: { ...settings, strategy: 'simple-shuffle' } })))).toBe('d0')
  })
})
