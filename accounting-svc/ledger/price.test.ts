import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { attempt, usage } from '../gateway-fixture.ts'
import { createPricing, pricedBy } from './price.ts'

const DOLLAR = 1_000_000_000
const listed: Prices = { rateVersion: 'list', input: DOLLAR, output: 2 * DOLLAR }

function pricing(prices: Prices | null): ReturnType<typeof createPricing> {
  return createPricing({ pricesOf: () => prices })
}

describe('createPricing', () => {
  it('prices by what is known, and else takes the word of the router', () => {
    expect(pricing(listed)(attempt(), usage())).toEqual({ cost: 20_000, rateVersion: 'list' })
    expect(pricing(null)(attempt({ cost: 9, rateVersion: 'router' }), usage())).toEqual({ cost: 9, rateVersion: 'router' })
    expect(pricing(null)(attempt(), usage())).toEqual({ cost: 0, rateVersion: null })
  })

  it('asks for the prices of the attempt, which say when it started', () => {
    const asked: number[] = []
    const price = createPricing({
      pricesOf: ({ startedAt }) => {
        asked.push(startedAt)
        return listed
      },
    })
    price(attempt({ startedAt: 77 }), usage())
    expect(asked).toEqual([77])
  })

  it('knows no price where the provider was to say it and did not', () => {
    const reported: Prices = { rateVersion: 'list', reported: true }
    expect(pricing(reported)(attempt(), usage())).toEqual({ cost: 0, rateVersion: null })
    expect(pricing(reported)(attempt(), usage({ reportedCost: 5 }))).toEqual({ cost: 5, rateVersion: 'list' })
  })
})

describe('pricedBy', () => {
  it('charges the service tier of the attempt and the time it took', () => {
    const prices: Prices = { ...listed, perElapsed: 1_000_000 * DOLLAR, serviceTiers: { flex: { multiplier: 500_000 } } }
    const took = { startedAt: 1000, endedAt: 1003 }
    expect(pricedBy(prices, took, usage()).cost).toBe(20_000 + 3 * DOLLAR)
    expect(pricedBy(prices, { ...took, serviceTier: 'flex' }, usage()).cost).toBe(10_000 + 3 * DOLLAR)
  })
})
