import type { Route } from '../../runtime.ts'
import type { State } from '../state.ts'
import type { ChoiceContext } from './strategy.ts'

/** Remembers something about lists for as long as they are used. */
export function remember<Value>(make: (candidates: readonly Route[]) => Value): (candidates: readonly Route[]) => Value {
  const kept = new WeakMap<readonly Route[], Value>()
  return (candidates) => {
    let value = kept.get(candidates)
    if (value === undefined) {
      value = make(candidates)
      kept.set(candidates, value)
    }
    return value
  }
}

/** Where the columns hold what is known of a route's deployment. */
export function slotOf({ state }: Route): number {
  return (state as State).slot
}

/** Whether one more request with `inputTokens` fits into the running minute of a deployment. */
export function hasRoom(route: Route, { columns, wallNow }: ChoiceContext, inputTokens: number): boolean {
  const { rpm, tpm } = route.deployment
  if (rpm === null && tpm === null) return true
  const slot = slotOf(route)
  if ((columns.minute[slot] as number) < minuteOf(wallNow))
    return (rpm === null || rpm >= 1) && (tpm === null || inputTokens <= tpm)
  return (
    (rpm === null || (columns.requests[slot] as number) + 1 <= rpm) &&
    (tpm === null || (columns.tokens[slot] as number) + inputTokens <= tpm)
  )
}

/** The minute of Unix milliseconds. */
export function minuteOf(wallNow: number): number {
  return Math.floor(wallNow / 60_000)
}
