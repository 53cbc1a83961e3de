import { createLowest } from './lowest.ts'
import type { Strategy } from './strategy.ts'

/** Most output tokens per second, of those with room this minute: fewest milliseconds per token. One without a sample is tried first. */
export function createHighestThroughput(): Strategy {
  return createLowest({ score: (slot, { columns }) => columns.latency[slot] as number, withinLimits: true })
}
