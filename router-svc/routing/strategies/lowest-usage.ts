import { minuteOf } from './lists.ts'
import { createLowest } from './lowest.ts'
import type { Strategy } from './strategy.ts'

/**
 * Fewest tokens this minute on all routers together, of those with room within their rpm and tpm; any of those with as few. `v1` and `v2`
 * of LiteLLM choose alike; that v2 never goes over a limit is for admission to see to, which counts exactly.
 */
export function createLowestUsage(): Strategy {
  return createLowest({
    score: (slot, { columns, wallNow }) =>
      (columns.minute[slot] as number) >= minuteOf(wallNow) ? (columns.tokens[slot] as number) : 0,
    withinLimits: true,
  })
}
