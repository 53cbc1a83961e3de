import type { RoutingSettings } from '../../../proto/routing.ts'
import type { Route } from '../../runtime.ts'

/** How one route of several is picked. Pure but for what it keeps about lists it has seen; one file each, listed in index.ts. */
export interface Strategy {
  /** `candidates` is never empty; the same list (the same object) comes again as long as nothing about it changes. */
  choose(candidates: readonly Route[], context: ChoiceContext): Route
}

export interface ChoiceContext {
  settings: RoutingSettings
  /** Monotonic milliseconds, and Unix milliseconds. */
  now: number
  wallNow: number
  /** In [0, 1). */
  random(): number
  stream: boolean
  /** Input tokens, about; 0 = not counted. */
  inputTokens: number
}
