import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import { answerOf, cacheSuite } from './cache.suite.ts'
import { createRedisCache } from './redis.ts'

const url = process.env['TURNPIKE_TEST_REDIS_URL'] ?? ''

async function connect(): Promise<RedisConnection> {
  const redis = createRedis({ url, log: silentLog })
  await new Promise<void>((resolve) => void redis.onReady(resolve))
  return redis
}

for (const maxBytes of [null, 1_000_000]) {
  cacheSuite(maxBytes === null ? 'Redis' : 'Redis of the counters', async (clock) => {
    const [redis, another] = await Promise.all([connect(), connect()])
    const prefix = `t[*]${randomBytes(6).toString('hex')}`
    const cache = createRedisCache({ redis, prefix, clock, maxBytes })
    return {
      cache,
      other: createRedisCache({ redis: another, prefix, clock, maxBytes }),
      corrupt: async (key) => void (await redis.call('SET', `{${prefix}}:cache:${key}`, '{"v":1,')),
      async close() {
        await cache.flush()
        await redis.close()
        await another.close()
      },
    }
  })
}

describe('the Redis cache', () => {
  it('leaves what is not its own alone, gives entries a time to live, and keeps no more bytes than it may', async () => {
    const redis = await connect()
    const prefix = `t${randomBytes(6).toString('hex')}`
    const cache = createRedisCache({ redis, prefix, clock: testClock(Date.now()), maxBytes: 2_000 })
    try {
      await redis.call('SET', `{${prefix}}:counter`, '5')
      await cache.set('a', answerOf('x'.repeat(500)), 30_000)
      await cache.set('b', answerOf('x'.repeat(500)), 30_000)
      await cache.set('c', answerOf('x'.repeat(500)), 30_000)
      expect(await cache.get('a')).not.toBeNull()
      expect(await cache.get('b')).not.toBeNull()
      expect(await cache.get('c')).toBeNull()
      const left = (await redis.call('PTTL', `{${prefix}}:cache:a`)) as number
      expect(left).toBeGreaterThan(20_000)
      expect(left).toBeLessThanOrEqual(30_000)
      await cache.flush()
      await cache.set('c', answerOf('x'.repeat(500)), 30_000)
      expect(await cache.get('c')).not.toBeNull()
      expect(await redis.call('GET', `{${prefix}}:counter`)).toBe('5')
    } finally {
      await cache.flush()
      await redis.call('DEL', `{${prefix}}:counter`)
      await redis.close()
    }
  })
})
