import type { Clock } from '../clock.ts'
import type { RedisConnection } from '../redis.ts'
import { createMemoryIdempotency } from './memory.ts'
import { createRedisIdempotency } from './redis.ts'
import type { IdempotencyStore } from './store.ts'

/** The store of one process of a cluster: in Redis, else its own, and then a repeat that meets another router runs again. */
export function openIdempotency(deps: { redis: RedisConnection | null; prefix: string; clock: Clock }): IdempotencyStore {
  const { redis, prefix, clock } = deps
  return redis === null ? createMemoryIdempotency({ clock }) : createRedisIdempotency({ redis, prefix })
}
