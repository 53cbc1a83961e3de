import type { Route } from '../../runtime.ts'
import { createScores, hasRoom, makeList, minuteOf, OUT, pickLowest, remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/**
 * Fewest tokens this minute on all routers together, of those with room within their rpm and tpm; any of those with as few. `v1` and `v2`
 * of LiteLLM choose alike; that v2 never goes over a limit is for admission to see to, which counts exactly.
 */
export function createLowestUsage(): Strategy {
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
        const slot = slots[index] as number
        const tokens = (columns.minute[slot] as number) >= minute ? (columns.tokens[slot] as number) : 0
        scores[index] = hasRoom(list, index, context, minute) ? tokens : OUT
      }
      return (candidates[pickLowest(scores, slots.length, 0, random)] as Route | undefined) ?? null
    },
  }
}
