import type { Clock } from '../../shared/clock.ts'
import type { RedisConnection } from '../../shared/redis.ts'
import type { Cache } from './cache.ts'
import { decodeEntry, encodeEntry } from './entry.ts'

export interface RedisCacheOptions {
  /** The caller's to close. */
  redis: RedisConnection
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  clock: Clock
  /** Bytes of all answers kept; null = as many as the server bounds itself to. */
  maxBytes: number | null
}

/** The bytes kept are added up by the hour in which they expire: milliseconds. */
const HOUR = 3_600_000
/** Keys looked at per SCAN: the server does nothing else meanwhile. */
const SCAN_COUNT = 500

/**
 * KEYS: entry, bytes kept by hour. ARGV: entry, ttl, bytes, most bytes, hour. An entry that was deleted or replaced counts until its hour is over;
 * what is said to be kept is never less than what is.
 */
const SET = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = 0
local hours = redis.call('HGETALL', KEYS[2])
for i = 1, #hours, 2 do
  if tonumber(hours[i]) * ARGV[5] < now then redis.call('HDEL', KEYS[2], hours[i]) else kept = kept + hours[i + 1] end
end
if kept + ARGV[3] > tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HINCRBY', KEYS[2], math.ceil((now + ARGV[2]) / ARGV[5]), ARGV[3])
return 1`

/** Takes away whatever begins with `prefix`. */
export async function unlinkAll(redis: Pick<RedisConnection, 'call'>, prefix: string): Promise<void> {
  const pattern = `${prefix.replace(/[[\]*?\\]/g, '\\$&')}*`
  let cursor = '0'
  do {
    const [next, found] = (await redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT)) as [string, string[]]
    cursor = next
    if (found.length > 0) await redis.call('UNLINK', ...found)
  } while (cursor !== '0')
}

/**
 * Answers all routers share. With `maxBytes` (a Redis that holds the counters too) what does not fit any more is not kept: a full Redis could not
 * count limits either.
 */
export function createRedisCache({ redis, prefix, clock, maxBytes }: RedisCacheOptions): Cache {
  const name = (key: string) => `{${prefix}}:cache:${key}`
  const hours = `{${prefix}}:cache-bytes`

  async function remove(names: readonly string[]): Promise<number> {
    return names.length === 0 ? 0 : ((await redis.call('UNLINK', ...names)) as number)
  }

  return {
    async get(key) {
      const stored = (await redis.call('GET', name(key))) as string | null
      if (stored === null) return null
      const entry = decodeEntry(stored)
      return entry === null || entry.until <= clock.now() ? null : entry.answer
    },
    async set(key, answer, ttl) {
      const lasts = Math.max(1, Math.ceil(ttl))
      const entry = encodeEntry(answer, clock.now() + lasts)
      if (maxBytes === null) await redis.call('SET', name(key), entry, 'PX', lasts)
      else await redis.call('EVAL', SET, 2, name(key), hours, entry, lasts, entry.length, maxBytes, HOUR)
    },
    delete: (keys) => remove(keys.map(name)),
    async flush() {
      await unlinkAll(redis, name(''))
      await remove([hours])
    },
    async ping() {
      await redis.call('PING')
      return { connected: true }
    },
    async close() {},
  }
}
