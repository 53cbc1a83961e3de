import { randomBytes } from 'node:crypto'
import { afterAll } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import { createRedisResponses } from './redis.ts'
import { responseStoreSuite } from './store.suite.ts'

const opened: { redis: RedisConnection; prefix: string }[] = []

afterAll(async () => {
  for (const { redis, prefix } of opened) {
    const all = (await redis.call('KEYS', `{${prefix}}*`)) as string[]
    if (all.length > 0) await redis.call('DEL', ...all)
    await redis.close()
  }
})

responseStoreSuite('redis', async () => {
  const redis = createRedis({ url: process.env['TURNPIKE_TEST_REDIS_URL'] ?? '', log: silentLog })
  const prefix = `test-${randomBytes(6).toString('hex')}`
  opened.push({ redis, prefix })
  await new Promise<void>((resolve) => {
    redis.onReady(resolve)
  })
  return createRedisResponses({ redis, prefix, maxBytes: 1_000 })
})
