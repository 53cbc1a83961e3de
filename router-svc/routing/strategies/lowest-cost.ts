import type { Route } from '../../runtime.ts'
import { hasRoom, remember } from './lists.ts'
import type { ChoiceContext, Strategy } from './strategy.ts'

/** LiteLLM takes $5 per token for a price it does not know, so that anything known is cheaper; nano-dollars per million tokens. */
const UNKNOWN = 5 * 1e9 * 1e6

/** Least for an input and an output token together, of those with room this minute; any of those that cost as much. */
export function createLowestCost(): Strategy {
  const tiersOf = remember(byPrice)
  return {
    choose(candidates, context) {
      for (const tier of tiersOf(candidates)) {
        const found = anyWithRoom(tier, context)
        if (found !== null) return found
      }
      return null
    },
  }
}

/** Each as likely: drawn, and looked for among all only when that one is full. */
function anyWithRoom(routes: readonly Route[], context: ChoiceContext): Route | null {
  const { random, inputTokens } = context
  const drawn = routes[Math.floor(random() * routes.length)] as Route
  if (hasRoom(drawn, context, inputTokens)) return drawn
  const free = routes.filter((route) => hasRoom(route, context, inputTokens))
  return free[Math.floor(random() * free.length)] ?? null
}

/** Nano-dollars for a million input and a million output tokens. */
export function priceOf({ prices }: Route): number {
  return (prices?.input ?? UNKNOWN) + (prices?.output ?? UNKNOWN)
}

/** Those that cost as much together, cheapest first. */
function byPrice(candidates: readonly Route[]): Route[][] {
  const tiers = new Map<number, Route[]>()
  for (const route of candidates) {
    const tier = tiers.get(priceOf(route))
    if (tier === undefined) tiers.set(priceOf(route), [route])
    else tier.push(route)
  }
  return [...tiers].sort(([a], [b]) => a - b).map(([, tier]) => tier)
}
