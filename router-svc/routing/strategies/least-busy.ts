import type { Route } from '../../runtime.ts'
import { createScores, makeList, pickLowest, remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/** Fewest calls running, on all routers together; any of those that have as few. */
export function createLeastBusy(): Strategy {
  const listOf = remember(makeList)
  const scoresFor = createScores()
  return {
    choose(candidates, { columns, random }) {
      const { slots } = listOf(candidates)
      const { inFlight } = columns
      const scores = scoresFor(slots.length)
      for (let index = 0; index < slots.length; index += 1) scores[index] = inFlight[slots[index] as number] as number
      return candidates[pickLowest(scores, slots.length, 0, random)] as Route
    },
  }
}
