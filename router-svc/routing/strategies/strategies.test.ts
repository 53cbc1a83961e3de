import { array, assert, boolean, integer, nat, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSequence } from '../../../shared/sequence.ts'
import type { Route } from '../../runtime.ts'
import { type Group, idOf, makeGroup, many, success } from '../routes.testkit.ts'
import { createHighestThroughput } from './highest-throughput.ts'
import { createLeastBusy } from './least-busy.ts'
import { createLowestCost } from './lowest-cost.ts'
import { createLowestLatency } from './lowest-latency.ts'
import { createLowestUsage } from './lowest-usage.ts'
import type { ChoiceContext, Strategy } from './strategy.ts'
import { createWeighted } from './weighted.ts'

/** A list is kept in order from its second choice on; both ways must choose alike. */
function chosen(strategy: Strategy, group: Group, fields: Partial<ChoiceContext> = {}, rounds = 40): Set<string | null> {
  const ids = new Set<string | null>()
  for (let round = 0; round < rounds; round += 1) {
    ids.add(idOf(strategy.choose(group.routes, group.context(fields))))
    ids.add(idOf(strategy.choose([...group.routes], group.context(fields))))
  }
  return ids
}

function serve(group: Group, id: string, elapsed: number, tokens: number, firstToken: number | null = null): void {
  const state = group.states.of(id)
  group.states.begin(state)
  group.states.end(state, { ...success(elapsed, tokens), firstToken }, false, firstToken !== null)
}

describe('simple-shuffle', () => {
  it('gives each its weight within five standard deviations and a dozen calls, of any weights (fast-check prints its seed)', () => {
    const weights = array(nat(20), { minLength: 2, maxLength: 30 })
    assert(
      property(weights, integer(), (all, seed) => {
        const total = all.reduce((sum, weight) => sum + weight, 0)
        if (total === 0) return
        const group = makeGroup(many(all.length, (index) => ({ weight: all[index] as number })))
        const strategy = createWeighted()
        const random = createSequence(seed)
        const counts = new Map<string, number>()
        const calls = 3_000
        for (let call = 0; call < calls; call += 1) {
          const id = idOf(strategy.choose(group.routes, group.context({ random }))) as string
          counts.set(id, (counts.get(id) ?? 0) + 1)
        }
        for (const [index, weight] of all.entries()) {
          const share = weight / total
          const deviation = Math.sqrt(share * (1 - share) * calls)
          expect(Math.abs((counts.get(`d${index}`) ?? 0) - share * calls)).toBeLessThanOrEqual(5 * deviation + 12)
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('least-busy', () => {
  it('never picks a busier one, whatever begins and ends', () => {
    const steps = array(tuple(nat(7), boolean()), { minLength: 1, maxLength: 120 })
    assert(
      property(steps, (all) => {
        const group = makeGroup(many(8))
        const strategy = createLeastBusy()
        for (const [index, begins] of all) {
          const state = (group.routes[index] as Route).state
          if (begins) group.states.begin(state)
          else if (state.inFlight > 0) group.states.end(state, success(), false, false)
          const least = Math.min(...group.routes.map((route) => route.state.inFlight))
          expect(strategy.choose(group.routes, group.context())?.state.inFlight).toBe(least)
        }
      }),
    )
  })

  it('picks any of those that are as little busy', () => {
    const group = makeGroup(many(4))
    group.states.begin(group.states.of('d2'))
    expect(chosen(createLeastBusy(), group, {}, 200)).toEqual(new Set(['d0', 'd1', 'd3']))
  })

  it('sees deployments again that were busy longer ago than changes are kept', () => {
    const group = makeGroup(many(3))
    const other = group.states.of('elsewhere')
    const strategy = createLeastBusy()
    for (const id of ['d0', 'd1']) group.states.begin(group.states.of(id))
    expect(chosen(strategy, group)).toEqual(new Set(['d2']))
    group.states.begin(group.states.of('d2'))
    group.states.end(group.states.of('d0'), success(), false, false)
    for (let call = 0; call < 5_000; call += 1) group.states.begin(other)
    expect(chosen(strategy, group)).toEqual(new Set(['d0']))
  })
})

describe('latency-based-routing', () => {
  it('tries those first that were never measured', () => {
    const group = makeGroup(many(3))
    serve(group, 'd0', 10, 10)
    expect(chosen(createLowestLatency(), group)).toEqual(new Set(['d1', 'd2']))
  })

  it('takes the fastest per output token, and those within the buffer', () => {
    const group = makeGroup(many(3))
    serve(group, 'd0', 1_000, 100)
    serve(group, 'd1', 110, 10)
    serve(group, 'd2', 100, 5)
    expect(chosen(createLowestLatency(), group)).toEqual(new Set(['d0']))
    const settings = { ...group.settings, latencyBuffer: 0.1 }
    expect(chosen(createLowestLatency(), group, { settings })).toEqual(new Set(['d0', 'd1']))
  })

  it('goes by the time to the first token for streams', () => {
    const group = makeGroup(many(2))
    serve(group, 'd0', 1_000, 100, 900)
    serve(group, 'd1', 3_000, 100, 50)
    expect(chosen(createLowestLatency(), group, { stream: true })).toEqual(new Set(['d1']))
    expect(chosen(createLowestLatency(), group)).toEqual(new Set(['d0']))
  })

  it('takes no one whose minute is full, and a new minute is empty', () => {
    const group = makeGroup({ d0: { rpm: 1 }, d1: {} })
    serve(group, 'd0', 10, 10)
    serve(group, 'd1', 100, 10)
    const strategy = createLowestLatency()
    expect(chosen(strategy, group)).toEqual(new Set(['d1']))
    group.clock.advance(60_000)
    expect(chosen(strategy, group)).toEqual(new Set(['d0']))
  })

  it('counts a call that timed out as a very slow one', () => {
    const group = makeGroup(many(2))
    serve(group, 'd0', 10_000, 1)
    const state = group.states.of('d1')
    group.states.begin(state)
    group.states.end(
      state,
      { error: 'provider_timeout', elapsed: 1, firstToken: null, inputTokens: 0, outputTokens: 0 },
      true,
      false,
    )
    expect(state.latency(0)).toBe(1_000_000)
    expect(chosen(createLowestLatency(), group)).toEqual(new Set(['d0']))
  })
})

describe('throughput-based-routing', () => {
  it('takes who makes most tokens a second', () => {
    const group = makeGroup(many(2))
    serve(group, 'd0', 1_000, 10)
    serve(group, 'd1', 1_000, 90)
    expect(chosen(createHighestThroughput(), group)).toEqual(new Set(['d1']))
    expect(group.states.of('d1').throughput(0)).toBeCloseTo(90)
  })
})

describe('usage-based-routing', () => {
  it('takes the fewest tokens of this minute', () => {
    const group = makeGroup(many(3))
    serve(group, 'd0', 10, 100)
    serve(group, 'd1', 10, 10)
    serve(group, 'd2', 10, 50)
    const strategy = createLowestUsage()
    expect(chosen(strategy, group)).toEqual(new Set(['d1']))
    group.clock.advance(60_000)
    expect(chosen(strategy, group, {}, 200)).toEqual(new Set(['d0', 'd1', 'd2']))
  })

  it('takes only those with room for one more request and its input, and nobody when none has', () => {
    const group = makeGroup({ d0: { tpm: 100 }, d1: { rpm: 2, tpm: 1_000 } })
    serve(group, 'd1', 10, 200)
    const strategy = createLowestUsage()
    expect(chosen(strategy, group, { inputTokens: 100 })).toEqual(new Set(['d0']))
    expect(chosen(strategy, group, { inputTokens: 101 })).toEqual(new Set(['d1']))
    expect(chosen(strategy, group, { inputTokens: 900 })).toEqual(new Set([null]))
    serve(group, 'd1', 10, 1)
    expect(chosen(strategy, group, { inputTokens: 101 })).toEqual(new Set([null]))
  })
})

describe('cost-based-routing', () => {
  it('takes the least for an input and an output token, and what has no price last', () => {
    const group = makeGroup({ d0: { price: null }, d1: { price: [1, 9] }, d2: { price: [5, 4], rpm: 1 } })
    const strategy = createLowestCost()
    expect(chosen(strategy, group)).toEqual(new Set(['d2']))
    serve(group, 'd2', 10, 10)
    expect(chosen(strategy, group)).toEqual(new Set(['d1']))
  })

  it('takes any of those that cost as much, passing over full ones', () => {
    const group = makeGroup({
      d0: { price: [1, 1], rpm: 1 },
      d1: { price: [2, 0] },
      d2: { price: [0, 2] },
      d3: { price: [9, 9] },
    })
    serve(group, 'd0', 10, 10)
    expect(chosen(createLowestCost(), group, {}, 200)).toEqual(new Set(['d1', 'd2']))
  })
})
