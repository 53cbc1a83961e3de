import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../../shared/cost.ts'
import { costByHand, planCalls } from './plan.ts'

const PRICES: Prices = { rateVersion: 'test', input: 1_234_567, output: 9_876_543, cacheRead: 123_457, perRequest: 5 }

describe('the cost by hand', () => {
  it('is what is worked out on paper', () => {
    const stated = { input: 10, cached: 4, output: 7 }
    // 6 × 1.234567 → 7, 4 × 0.123457 → 0, 7 × 9.876543 → 69, 5 for the request.
    expect(costByHand(stated, PRICES)).toBe(81)
    // 10 % off 81 → 8 (8.1), 73 left; 5 % on it → 4 (3.65), and 2 for the call.
    expect(costByHand(stated, { ...PRICES, discount: 100_000, margin: 50_000, marginFixed: 2 })).toBe(79)
  })

  it('agrees with the gateway for any usage and any prices', () => {
    const part = fc.nat({ max: 100_000_000 })
    const share = fc.nat({ max: 1_000_000 })
    fc.assert(
      fc.property(
        fc.record({
          input: fc.nat({ max: 10_000 }),
          output: fc.nat({ max: 10_000 }),
          share: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        fc.record({
          input: part,
          output: part,
          cacheRead: part,
          perRequest: part,
          discount: share,
          margin: share,
          marginFixed: part,
        }),
        (tokens, fields) => {
          const stated = { ...tokens, cached: Math.floor(tokens.input * tokens.share) }
          const prices = { rateVersion: 'any', ...fields }
          const usage = { ...NO_TOKENS, input: stated.input, cacheRead: stated.cached, output: stated.output }
          expect(costByHand(stated, prices)).toBe(costOf(usage, prices).total)
        },
      ),
    )
  })
})

describe('a load', () => {
  const shape = { calls: 2_000, streams: 0.5, aborts: 0.1, seed: 7 }

  it('is the same for the same seed and another for another', () => {
    expect(planCalls(shape)).toEqual(planCalls(shape))
    expect(planCalls(shape)).not.toEqual(planCalls({ ...shape, seed: 8 }))
  })

  it('has the shares that were asked for, failures and slow answers among them', () => {
    const plans = planCalls(shape)
    const share = (fits: (plan: (typeof plans)[number]) => boolean): number => plans.filter(fits).length / plans.length
    expect(share(({ stream }) => stream)).toBeCloseTo(0.5, 1)
    expect(share(({ leaveAfter }) => leaveAfter !== null)).toBeCloseTo(0.1, 1)
    expect(share(({ failures }) => failures > 0)).toBeGreaterThan(0)
    expect(share(({ delay }) => delay > 0)).toBeGreaterThan(0)
  })

  it('asks for no more than it says: nothing an answer states exceeds what its call reserves', () => {
    for (const { stated, maxTokens } of planCalls(shape)) {
      expect(stated.output).toBeLessThanOrEqual(maxTokens)
      expect(stated.cached).toBeLessThanOrEqual(stated.input)
      expect(stated.input).toBeLessThanOrEqual(20)
    }
  })
})
