import type { Prices } from '../../proto/deployment.ts'
import type { Attempt, TokenUsage } from '../../proto/usage.ts'
import { costOf } from '../../shared/cost.ts'
import type { PriceBook } from '../models/price-book.ts'
import type { Priced } from './entries.ts'

/**
 * What an attempt costs by the prices accounting knows, those that held when it started. Only where none are known does the word of
 * the router count.
 */
export function createPricing(book: Pick<PriceBook, 'pricesOf'>): (attempt: Attempt, usage: TokenUsage) => Priced {
  return (attempt, usage) => {
    const prices = book.pricesOf(attempt)
    if (prices !== null && covers(prices, usage)) return pricedBy(prices, attempt, usage)
    return { cost: attempt.cost ?? 0, rateVersion: attempt.rateVersion ?? null }
  }
}

/** What an attempt costs by given prices. Pure. */
export function pricedBy(
  prices: Prices,
  attempt: { startedAt: number; endedAt: number; serviceTier?: string | null | undefined },
  usage: TokenUsage,
): { cost: number; rateVersion: string } {
  const elapsed = attempt.endedAt - attempt.startedAt
  return {
    cost: costOf(usage, prices, { tier: attempt.serviceTier ?? undefined, elapsed }).total,
    rateVersion: prices.rateVersion,
  }
}

/** Prices that only pass on what the provider says know nothing where it says nothing. */
function covers(prices: Prices, usage: TokenUsage): boolean {
  return prices.reported !== true || usage.reportedCost !== undefined || prices.input !== undefined || prices.output !== undefined
}
