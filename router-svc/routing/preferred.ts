import type { Route } from '../runtime.ts'
import { type Preferences, providerName } from './preferences.ts'
import { createHighestThroughput } from './strategies/highest-throughput.ts'
import { remember } from './strategies/lists.ts'
import { createLowestCost } from './strategies/lowest-cost.ts'
import { createLowestLatency } from './strategies/lowest-latency.ts'
import type { ChoiceContext, Strategy } from './strategies/strategy.ts'

/**
 * What one request prefers, over the strategy: the first name of its `order` that any candidate goes by, and among those the best by
 * its `sort`, without the tolerance a strategy may have. What neither decides, `strategy` does.
 */
export type ChoosePreferred = (
  candidates: readonly Route[],
  preferences: Preferences,
  context: ChoiceContext,
  strategy: Strategy,
) => Route | null

export function createChoosePreferred(): ChoosePreferred {
  const sorts: Readonly<Record<NonNullable<Preferences['sort']>, Strategy>> = {
    price: createLowestCost(),
    latency: createLowestLatency(),
    throughput: createHighestThroughput(),
  }
  const namesOf = remember((candidates) =>
    candidates.map(({ deployment }) => [providerName(deployment.provider), providerName(deployment.id)]),
  )
  return (candidates, { order, sort }, context, strategy) => {
    const first = order === null ? candidates : firstNamed(candidates, order, namesOf(candidates))
    if (first.length === 1) return first[0] as Route
    if (sort === null) return strategy.choose(first, context)
    const strict = { ...context, settings: { ...context.settings, latencyBuffer: 0 } }
    return sorts[sort].choose(first, strict) ?? strategy.choose(first, context)
  }
}

/** The candidates that go by the first name any goes by; all of them when none does. */
function firstNamed(candidates: readonly Route[], order: readonly string[], names: readonly string[][]): readonly Route[] {
  for (const name of order) {
    const named = candidates.filter((_, index) => (names[index] as string[]).includes(name))
    if (named.length > 0) return named
  }
  return candidates
}
