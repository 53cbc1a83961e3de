import type { Route } from '../../runtime.ts'
import { createScores, hasRoom, makeList, minuteOf, OUT, pickLowest, remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/** Most output tokens per second, of those with room this minute: fewest milliseconds per token. One without a sample is tried first. */
export function createHighestThroughput(): Strategy {
  const listOf = remember(makeList)
  const scoresFor = createScores()
  return {
    choose(candidates, context) {
      const { columns, random } = context
      const list = listOf(candidates)
      const { slots } = list
      const minute = minuteOf(context)
      const scores = scoresFor(slots.length)
      for (let index = 0; index < slots.length; index += 1) {
        const perToken = columns.latency[slots[index] as number] as number
        scores[index] = hasRoom(list, index, context, minute) ? perToken : OUT
      }
      return (candidates[pickLowest(scores, slots.length, 0, random)] as Route | undefined) ?? null
    },
  }
}
