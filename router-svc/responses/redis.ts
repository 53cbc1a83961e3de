import type { RedisConnection } from '../../shared/redis.ts'
import { RECORD_MAX, type ResponseStore } from './store.ts'

export interface RedisResponsesOptions {
  /** The caller's to close. */
  redis: Pick<RedisConnection, 'call'>
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  /** Bytes of all records kept; default 1 GB. A full Redis could not count limits either. */
  maxBytes?: number
}

const MAX_BYTES = 1024 * 1024 * 1024
/** The bytes kept are added up by the day they expire on: milliseconds. */
const DAY = 86_400_000

/** KEYS[2]: bytes by day. ARGV: record, keep, bytes, most bytes, day. */
const PUT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = 0
local days = redis.call('HGETALL', KEYS[2])
for i = 1, #days, 2 do
  if tonumber(days[i]) * ARGV[5] < now then redis.call('HDEL', KEYS[2], days[i]) else kept = kept + days[i + 1] end
end
local left = redis.call('PTTL', KEYS[1])
local before = 0
if left > 0 then before = redis.call('STRLEN', KEYS[1]) end
if kept - before + ARGV[3] > tonumber(ARGV[4]) then return 0 end
if before > 0 then redis.call('HINCRBY', KEYS[2], math.ceil((now + left) / ARGV[5]), -before) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HINCRBY', KEYS[2], math.ceil((now + ARGV[2]) / ARGV[5]), ARGV[3])
return 1`

/** KEYS[2]: bytes by day. ARGV: day. What it took is free again. */
const DELETE = `
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HINCRBY', KEYS[2], math.ceil((now + left) / ARGV[1]), -redis.call('STRLEN', KEYS[1]))
return redis.call('DEL', KEYS[1])`

/** Records all routers share. */
export function createRedisResponses({ redis, prefix, maxBytes = MAX_BYTES }: RedisResponsesOptions): ResponseStore {
  const name = (key: string): string => `{${prefix}}:response:${key}`
  const kept = `{${prefix}}:response-bytes`
  return {
    async put(key, record, keep) {
      const bytes = Buffer.byteLength(record)
      if (bytes > RECORD_MAX) return false
      return (await redis.call('EVAL', PUT, 2, name(key), kept, record, keep, bytes, maxBytes, DAY)) === 1
    },
    async get(key) {
      const record = await redis.call('GET', name(key))
      return typeof record === 'string' ? record : null
    },
    delete: async (key) => (await redis.call('EVAL', DELETE, 2, name(key), kept, DAY)) === 1,
  }
}
