import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Identity } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

let gateway: AccountingFixture
let edge: Bus

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  edge = gateway.hub.join('edge')
})
afterAll(() => gateway.close())

type Body = Record<string, unknown>
const post = (path: string, body: Body) => gateway.call('POST', path, body)

async function made(path: string, body: Body): Promise<Body> {
  const answer = await post(path, body)
  expect(answer.status, answer.text).toBe(200)
  return answer.body as Body
}

async function identityOf(key: unknown): Promise<Identity> {
  const keyHash = createHash('sha256').update(String(key)).digest('hex')
  const reply = (await edge.request(edge.subjects.identity, { v: 1, keyHash }, { timeout: 2_000 })) as { identity: Identity }
  return reply.identity
}

/** Resolves when edges are told of a change of identities. */
function told(): Promise<void> {
  return new Promise((resolve) => {
    const service = edge.onChange('identity', () => void service.stop().then(resolve))
  })
}

describe('router_settings', () => {
  it('of a team and a key are compiled together, and the key’s word counts', async () => {
    const { team_id } = await made('/team/new', {
      router_settings: {
        num_retries: 5,
        timeout: 30,
        fallbacks: [{ a: ['b'] }],
        context_window_fallbacks: [{ a: ['long'] }],
      },
    })
    const { key } = await made('/key/generate', {
      team_id,
      router_settings: { num_retries: 0, fallbacks: [{ a: ['c', { model: 'd', temperature: 0 }] }], midstream_failover: false },
    })
    expect((await identityOf(key)).routing).toEqual({
      numRetries: 0,
      timeout: 30_000,
      fallbacks: {
        general: { a: [{ model: 'c' }, { model: 'd', overrides: { temperature: 0 } }] },
        contextWindow: { a: [{ model: 'long' }] },
      },
      failover: false,
    })
  })

  it('are no part of an identity that has none', async () => {
    const { key } = await made('/key/generate', {})
    const identity = await identityOf(key)
    expect(identity).not.toHaveProperty('routing')
    expect(identity).not.toHaveProperty('cacheControls')
  })

  it('take effect on edges when a team or a key is updated, and end when they are set to null', async () => {
    const { team_id } = await made('/team/new', {})
    const { key } = await made('/key/generate', { team_id })
    const first = told()
    await made('/team/update', { team_id, router_settings: { retry_policy: { TimeoutErrorRetries: 3 } } })
    await first
    expect((await identityOf(key)).routing).toEqual({ retryPolicy: { TimeoutError: 3 } })
    const second = told()
    await made('/key/update', { key, router_settings: { routing_strategy: 'least-busy', cooldown_time: 0.5 } })
    await second
    expect((await identityOf(key)).routing).toEqual({
      strategy: 'least-busy',
      cooldownTime: 500,
      retryPolicy: { TimeoutError: 3 },
    })
    await made('/team/update', { team_id, router_settings: null })
    await made('/key/update', { key, router_settings: null })
    expect(await identityOf(key)).not.toHaveProperty('routing')
  })

  it.each<[string, Body, RegExp, string]>([
    ['a number that is none', { num_retries: 'many' }, /router_settings\.num_retries: expected a whole number/, 'num_retries'],
    [
      'a strategy that is none',
      { routing_strategy: 'fastest' },
      /routing_strategy: expected one of simple-shuffle/,
      'routing_strategy',
    ],
    [
      'a fallback list of the wrong shape',
      { fallbacks: { a: ['b'] } },
      /router_settings\.fallbacks: expected a list/,
      'fallbacks',
    ],
    ['a fallback without a model', { fallbacks: [{ a: [{ temperature: 0 }] }] }, /fallbacks\[0\]\.a\[0\]\.model/, 'fallbacks'],
    ['a setting of the whole gateway', { redis_url: 'redis://x' }, /redis_url cannot be set for a key or a team/, 'redis_url'],
  ])('are refused with the name of the field: %s', async (_, router_settings, message, field) => {
    for (const path of ['/key/generate', '/team/new']) {
      const { status, body } = await post(path, { router_settings })
      expect(status).toBe(400)
      expect(body).toMatchObject({ error: { message: expect.stringMatching(message), param: expect.stringContaining(field) } })
    }
    const { key } = await made('/key/generate', {})
    expect((await post('/key/update', { key, router_settings })).status).toBe(400)
    const { team_id } = await made('/team/new', {})
    expect((await post('/team/update', { team_id, router_settings })).status).toBe(400)
  })

  it('that were stored by something else and do not fit are left out, field by field', async () => {
    const { key, token } = await made('/key/generate', {})
    await gateway.test.db.query('update keys set router_settings = $2::jsonb where token = $1', [
      token,
      JSON.stringify({ num_retries: 4, timeout: 'soon', client_ttl: 3, fallbacks: null }),
    ])
    expect((await identityOf(key)).routing).toEqual({ numRetries: 4 })
  })
})

describe('allowed_cache_controls', () => {
  it('are part of the identity; none and * mean all', async () => {
    const few = await made('/key/generate', { allowed_cache_controls: ['no-cache', 'ttl'] })
    expect((await identityOf(few['key'])).cacheControls).toEqual(['no-cache', 'ttl'])
    const all = await made('/key/generate', { allowed_cache_controls: ['*'] })
    expect(await identityOf(all['key'])).not.toHaveProperty('cacheControls')
  })

  it('must be ones that exist', async () => {
    const { status, body } = await post('/key/generate', { allowed_cache_controls: ['no-cash'] })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'allowed_cache_controls', message: expect.stringContaining('"no-cash"') } })
  })
})
