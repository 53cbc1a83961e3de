import type { Clock } from '../shared/clock.ts'

/** How far this process's event loop is behind. */
export interface LoopLag {
  /** Milliseconds that a timer due now is late, at least; what is read after a stall is late by as much. */
  now(): number
  stop(): void
}

const TICK = 50

/** A meter of event-loop lag: one timer, and the time since it last ran. */
export function createLoopLag(clock: Clock): LoopLag {
  let last = clock.monotonic()
  const timer = clock.every(TICK, () => {
    last = clock.monotonic()
  })
  return {
    now: () => Math.max(0, clock.monotonic() - last - TICK),
    stop: () => timer.cancel(),
  }
}
