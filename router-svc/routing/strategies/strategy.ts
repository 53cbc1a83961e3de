import type { RoutingSettings } from '../../../proto/routing.ts'
import type { Route } from '../../runtime.ts'
import type { Columns } from '../columns.ts'

/** How one route of several is picked. Pure but for what it keeps about lists it has seen; one file each, listed in index.ts. */
export interface Strategy {
  /**
   * `candidates` is never empty; the same list (the same object) comes again as long as nothing about it changes. Null = none has room
   * within its requests and tokens per minute.
   */
  choose(candidates: readonly Route[], context: ChoiceContext): Route | null
}

export interface ChoiceContext {
  settings: RoutingSettings
  /** What is known of every deployment now, by slot (`slotOf`). */
  columns: Columns
  /** Monotonic milliseconds, and Unix milliseconds. */
  now: number
  wallNow: number
  /** In [0, 1). */
  random(): number
  stream: boolean
  /** Input tokens, about; 0 = not counted. */
  inputTokens: number
}
