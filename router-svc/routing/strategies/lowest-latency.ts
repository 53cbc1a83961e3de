import type { Route } from '../../runtime.ts'
import { createScores, hasRoom, makeList, minuteOf, OUT, pickLowest, remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/**
 * Any of those whose mean latency is within `latencyBuffer` above the lowest, of those with room this minute. Streams go by the time to
 * the first token where that is known. One without a sample counts as 0, so it is tried first.
 */
export function createLowestLatency(): Strategy {
  const listOf = remember(makeList)
  const scoresFor = createScores()
  return {
    choose(candidates, context) {
      const { columns, random, settings, stream } = context
      const list = listOf(candidates)
      const { slots } = list
      const minute = minuteOf(context)
      const scores = scoresFor(slots.length)
      for (let index = 0; index < slots.length; index += 1) {
        const slot = slots[index] as number
        const firstToken = stream ? (columns.firstToken[slot] as number) : 0
        const latency = firstToken > 0 ? firstToken : (columns.latency[slot] as number)
        scores[index] = hasRoom(list, index, context, minute) ? latency : OUT
      }
      return (candidates[pickLowest(scores, slots.length, settings.latencyBuffer, random)] as Route | undefined) ?? null
    },
  }
}
