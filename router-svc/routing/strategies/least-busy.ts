import { createLowest } from './lowest.ts'
import type { Strategy } from './strategy.ts'

/** Fewest calls running, on all routers together; any of those that have as few. */
export function createLeastBusy(): Strategy {
  return createLowest({ score: (slot, { columns }) => columns.inFlight[slot] as number, withinLimits: false })
}
