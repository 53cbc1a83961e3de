import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { createRedis, type RedisConnection } from '../redis.ts'
import { createRedisIdempotency } from './redis.ts'
import { claimOf, idempotencySuite } from './store.suite.ts'

const url = process.env['TURNPIKE_TEST_REDIS_URL'] ?? ''

async function connect(): Promise<RedisConnection> {
  const redis = createRedis({ url, log: silentLog })
  await new Promise<void>((resolve) => {
    redis.onReady(resolve)
  })
  return redis
}

idempotencySuite('redis', async () => {
  const prefix = `test-${randomBytes(6).toString('hex')}`
  const [redis, another] = await Promise.all([connect(), connect()])
  const keys = async () => (await redis.call('KEYS', `{${prefix}}:idempotency:*`)) as string[]
  return {
    store: createRedisIdempotency({ redis, prefix }),
    other: createRedisIdempotency({ redis: another, prefix }),
    small: (maxBytes) => createRedisIdempotency({ redis, prefix, maxBytes }),
    // Time of the server cannot be moved; what expires can be made to expire sooner.
    async elapse(milliseconds) {
      for (const key of await keys()) {
        const left = Number(await redis.call('PTTL', key)) - milliseconds
        // Some real time has passed as well.
        await redis.call('PEXPIRE', key, left < 500 ? 0 : left)
      }
    },
    async close() {
      const all = (await redis.call('KEYS', `{${prefix}}*`)) as string[]
      if (all.length > 0) await redis.call('DEL', ...all)
      await Promise.all([redis.close(), another.close()])
    },
  }
})

describe('idempotency in Redis', () => {
  it('says that the counters are away when the server is: the promise could not be kept', async () => {
    const redis = createRedis({ url: 'redis://127.0.0.1:1', log: silentLog })
    const store = createRedisIdempotency({ redis, prefix: 'p' })
    await expect(store.begin(claimOf(), 1_000)).rejects.toMatchObject({ code: 'counters_away', status: 503 })
    await redis.close()
  })

  it('leaves no record that does not expire', async () => {
    const prefix = `test-${randomBytes(6).toString('hex')}`
    const redis = await connect()
    const store = createRedisIdempotency({ redis, prefix })
    const claims = ['running', 'done', 'unkept', 'renewed'].map((key) => claimOf({ key }))
    for (const claim of claims.slice(0, 3)) await store.begin(claim, 60_000)
    await store.finish(claims[1] as never, { status: 200, headers: {}, body: Buffer.from('a') }, 60_000)
    await store.finish(claims[2] as never, null, 60_000)
    await store.renew(claims[3] as never, 60_000)
    const keys = (await redis.call('KEYS', `{${prefix}}:idempotency:*`)) as string[]
    expect(keys.length).toBe(4)
    for (const key of keys) expect(Number(await redis.call('PTTL', key))).toBeGreaterThan(0)
    await redis.call('DEL', `{${prefix}}:idempotency-bytes`, ...keys)
    await redis.close()
  })
})
