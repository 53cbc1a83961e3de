import type { Attempt, UsageEvent } from '../proto/usage.ts'
import type { Call } from './call.ts'

/** Who is told what calls did; metrics and traces. Must not throw. */
export interface Observer {
  attempt(call: Call, record: Attempt): void
  /** `cost` in nano-dollars. */
  call(call: Call, event: UsageEvent, cost: number): void
}

export const noObserver: Observer = { attempt() {}, call() {} }
