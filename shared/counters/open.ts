import type { Clock } from '../clock.ts'
import type { Lifecycle } from '../lifecycle.ts'
import type { Log } from '../log.ts'
import type { RedisConnection } from '../redis.ts'
import type { Counters } from './counters.ts'
import { createMemoryCounters } from './memory.ts'
import { createRedisCounters } from './redis.ts'

export interface OpenCountersOptions {
  /** Null: there is none. The caller's to close, after these. */
  redis: RedisConnection | null
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  clock: Clock
  log: Log
  /** Closes them. */
  lifecycle: Lifecycle
}

/** The counters of one process of a cluster: in Redis, or its own with a warning that they are. */
export function openCounters({ redis, prefix, clock, log, lifecycle }: OpenCountersOptions): Counters {
  if (redis !== null) {
    const counters = createRedisCounters({ redis, prefix, clock, log })
    lifecycle.add({ name: 'counters', stop: () => counters.close() })
    return counters
  }
  log.warn({}, 'Without Redis every router counts for itself: limits and budgets hold per process. Set REDIS_URL.')
  const counters = createMemoryCounters({ clock, alone: true })
  lifecycle.add({ name: 'counters', stop: () => counters.close() })
  return counters
}
