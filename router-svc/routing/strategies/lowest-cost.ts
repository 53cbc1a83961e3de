import type { Route } from '../../runtime.ts'
import { hasRoom, makeList, minuteOf, remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/** LiteLLM takes $5 per token for a price it does not know, so that anything known is cheaper; nano-dollars per million tokens. */
const UNKNOWN = 5 * 1e9 * 1e6

/** Least for an input and an output token together, of those with room this minute; any of those that cost as much. */
export function createLowestCost(): Strategy {
  const listOf = remember((candidates) => ({ ...makeList(candidates), ...byPrice(candidates) }))
  return {
    choose(candidates, context) {
      const list = listOf(candidates)
      const minute = minuteOf(context)
      const { order, prices } = list
      for (let from = 0; from < order.length; ) {
        let to = from + 1
        while (to < order.length && prices[to] === prices[from]) to += 1
        const found = anyWithRoom(from, to)
        if (found !== null) return found
        from = to
      }
      return null

      /** One of those from `from` to `to`, each as likely: drawn, and only if that one is full looked for among all. */
      function anyWithRoom(from: number, to: number): Route | null {
        const drawn = order[from + Math.floor(context.random() * (to - from))] as number
        if (hasRoom(list, drawn, context, minute)) return candidates[drawn] as Route
        const free = order.subarray(from, to).filter((index) => hasRoom(list, index, context, minute))
        return free.length === 0 ? null : (candidates[free[Math.floor(context.random() * free.length)] as number] as Route)
      }
    },
  }
}

/** Nano-dollars for a million input and a million output tokens. */
export function priceOf({ prices }: Route): number {
  return (prices?.input ?? UNKNOWN) + (prices?.output ?? UNKNOWN)
}

/** Indices of the candidates, cheapest first, and their prices in that order. */
function byPrice(candidates: readonly Route[]): { order: Int32Array; prices: Float64Array } {
  const order = Int32Array.from(candidates.keys()).sort(
    (a, b) => priceOf(candidates[a] as Route) - priceOf(candidates[b] as Route),
  )
  return { order, prices: Float64Array.from(order, (index) => priceOf(candidates[index] as Route)) }
}
