import { isUtf8 } from 'node:buffer'
import type { RedisArgument, RedisConnection } from '../redis.ts'
import { answerBytes, type Begun, type Claim, type IdempotencyStore, type StoredAnswer } from './store.ts'

export interface RedisIdempotencyOptions {
  /** The caller's to close. */
  redis: RedisConnection
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  /** Bytes of all answers kept; default 512 MB. Past it calls are only known as done: a full Redis could not count limits either. */
  maxBytes?: number
}

const MAX_BYTES = 512 * 1024 * 1024
/** The bytes kept are added up by the hour: milliseconds. */
const HOUR = 3_600_000

/*
 * A record is a hash that expires. Running: fingerprint, call, owner. Done: fingerprint and, where the answer was kept, status, headers, form and
 * body. Each operation is one script, so one round trip and one step. The scripts are sent whole: whoever calls by hash alone tells from a server
 * that does not know it that data was lost, and here nothing follows from that.
 */

/** ARGV: fingerprint, call, owner, lease. */
const BEGIN = `
local fingerprint, call = unpack(redis.call('HMGET', KEYS[1], 'fingerprint', 'call'))
if fingerprint and fingerprint ~= ARGV[1] then return 'conflict' end
if fingerprint and not call then return redis.call('HMGET', KEYS[1], 'status', 'headers', 'form', 'body') end
if call and call ~= ARGV[2] then return 'running' end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'call', ARGV[2], 'owner', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 'new'`

/** ARGV: fingerprint, call, owner, lease. */
const RENEW = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner and redis.call('EXISTS', KEYS[1]) == 1 then return end
if owner and owner ~= ARGV[3] then return end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'call', ARGV[2], 'owner', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])`

/**
 * KEYS[2]: bytes kept by the hour they expire in. ARGV: fingerprint, owner, keep, bytes, most bytes, hour, fields of the answer. What was said to
 * be kept and is in no hour any more has expired.
 */
const FINISH = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner ~= ARGV[2] and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = 0
local hours = redis.call('HGETALL', KEYS[2])
for i = 1, #hours, 2 do
  if tonumber(hours[i]) * ARGV[6] < now then redis.call('HDEL', KEYS[2], hours[i]) else kept = kept + hours[i + 1] end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if #ARGV == 6 or kept + ARGV[4] > tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('HINCRBY', KEYS[2], math.ceil((now + ARGV[3]) / ARGV[6]), ARGV[4])
return 1`

/** ARGV: owner. */
const ABANDON = `if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end`

/** Records all routers share. What Redis loses is forgotten: such a call runs again. */
export function createRedisIdempotency({ redis, prefix, maxBytes = MAX_BYTES }: RedisIdempotencyOptions): IdempotencyStore {
  const name = (key: string) => `{${prefix}}:idempotency:${key}`
  const kept = `{${prefix}}:idempotency-bytes`
  const run = (script: string, { key }: Claim, ...args: RedisArgument[]) => redis.call('EVAL', script, 1, name(key), ...args)

  return {
    async begin(claim, lease): Promise<Begun> {
      const reply = await run(BEGIN, claim, claim.fingerprint, claim.callId, claim.owner, lease)
      return Array.isArray(reply) ? answerOf(reply) : (reply as Begun)
    },
    async renew(claim, lease) {
      await run(RENEW, claim, claim.fingerprint, claim.callId, claim.owner, lease)
    },
    async finish({ key, fingerprint, owner }, answer, keep) {
      const bytes = answer === null ? 0 : answerBytes(answer)
      const head = [fingerprint, owner, keep, bytes, maxBytes, HOUR]
      const fields = answer === null ? [] : fieldsOf(answer)
      return (await redis.call('EVAL', FINISH, 2, name(key), kept, ...head, ...fields)) === 1
    },
    async abandon(claim) {
      await run(ABANDON, claim, claim.owner)
    },
  }
}

/** Replies are read as text, so what is not text is stored as base64. */
function fieldsOf({ status, headers, body }: StoredAnswer): RedisArgument[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  const [form, stored] = isUtf8(bytes) ? ['text', bytes] : ['base64', bytes.toString('base64')]
  return ['status', status, 'headers', JSON.stringify(headers), 'form', form as string, 'body', stored as RedisArgument]
}

function answerOf([status, headers, form, body]: unknown[]): Begun {
  if (typeof status !== 'string') return 'unkept'
  return {
    status: Number(status),
    headers: JSON.parse(headers as string) as Record<string, string>,
    body: Buffer.from(body as string, form === 'base64' ? 'base64' : 'utf8'),
  }
}
