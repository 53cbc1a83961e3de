import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CacheNews, CacheReply, CacheRequest } from '../../proto/cache.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

let fixture: AccountingFixture
let router: Bus
let key: string

beforeAll(async () => {
  fixture = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  router = fixture.hub.join('router')
  key = ((await fixture.call('POST', '/key/generate', {})).body as { key: string }).key
})
afterAll(() => fixture.close())

/** A router that answers with `reply`; what it was asked and told. */
function playRouter(reply: CacheReply) {
  const asked: CacheRequest[] = []
  const told: CacheNews[] = []
  const services = [
    router.respond(router.subjects.cache, QUEUE.router, async (payload) => {
      asked.push(payload as CacheRequest)
      return reply
    }),
    router.onChange('cache', (payload) => void told.push(payload as CacheNews)),
  ]
  return { asked, told, stop: () => Promise.all(services.map((service) => service.stop())) }
}

describe('the routes of the cache', () => {
  it('say that no cache answers when no router does', async () => {
    const { status, body } = await fixture.call('GET', '/cache/ping')
    expect([status, body]).toMatchObject([503, { error: { type: 'cache_ping_error' } }])
  })

  it('ping it for any key', async () => {
    const { asked, stop } = playRouter({ v: 1, type: 'memory', facts: { entries: 3 } })
    expect(await fixture.call('GET', '/cache/ping', undefined, key)).toMatchObject({
      status: 200,
      body: {
        status: 'healthy',
        cache_type: 'memory',
        ping_response: true,
        set_cache_response: 'success',
        health_check_cache_params: { entries: 3 },
      },
    })
    expect(asked).toEqual([{ v: 1, what: 'ping' }])
    await stop()
  })

  it('delete keys in one router, then tell all; only an admin may', async () => {
    const { asked, told, stop } = playRouter({ v: 1, type: 'memory', facts: { deleted: 1 } })
    const wanted = { keys: ['a', 'b,c'] }
    expect((await fixture.call('POST', '/cache/delete', wanted, key)).status).toBeGreaterThanOrEqual(401)
    expect(asked).toEqual([])
    expect((await fixture.call('POST', '/cache/delete', wanted)).body).toEqual({ status: 'success' })
    expect(asked).toEqual([{ v: 1, what: 'delete', keys: ['a', 'b', 'c'] }])
    await expect.poll(() => told).toEqual([{ v: 1, keys: ['a', 'b', 'c'] }])
    expect((await fixture.call('POST', '/cache/delete', {})).status).toBe(422)
    await stop()
  })

  it('flush, and tell nobody when that failed', async () => {
    const failing = playRouter({ v: 1, error: { code: 'cache_away', message: 'Cache not initialized: no cache is configured.' } })
    expect(await fixture.call('POST', '/cache/flushall')).toMatchObject({
      status: 503,
      body: { error: { message: expect.stringContaining('not initialized') } },
    })
    await failing.stop()
    const { asked, told, stop } = playRouter({ v: 1, type: 'redis', facts: {} })
    expect((await fixture.call('POST', '/cache/flushall', {}, key)).status).toBeGreaterThanOrEqual(401)
    expect((await fixture.call('POST', '/cache/flushall')).body).toEqual({ status: 'success' })
    expect(asked).toEqual([{ v: 1, what: 'flush' }])
    await expect.poll(() => told).toEqual([{ v: 1, keys: null }])
    expect(failing.told).toEqual([])
    await stop()
  })

  it('tell an admin of the Redis', async () => {
    const facts = { info: { redis_version: '7' }, clients: [{ id: '1' }, { id: '2' }] }
    const { stop } = playRouter({ v: 1, type: 'redis', facts })
    expect((await fixture.call('GET', '/cache/redis/info', undefined, key)).status).toBeGreaterThanOrEqual(401)
    expect((await fixture.call('GET', '/cache/redis/info')).body).toEqual({ num_clients: 2, ...facts })
    await stop()
  })
})
