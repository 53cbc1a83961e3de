import { afterEach, describe, expect, it } from 'vitest'
import type { HealthCheck, HealthReply, HealthRequest } from '../../proto/health.ts'
import type { RoutingNews } from '../../proto/routing.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

const url = process.env['TURNPIKE_TEST_POSTGRES_URL']

const MODELS = [
  { model_name: 'gpt', litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-secret-1', rpm: 5 }, model_info: { id: 'good' } },
  { model_name: 'gpt', litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-secret-2' }, model_info: { id: 'bad' } },
  { model_name: 'openai/*', litellm_params: { model: 'openai/*', api_key: 'sk-secret-3' }, model_info: { id: 'wild' } },
  { model_name: 'off', litellm_params: { model: 'openai/gpt-4o' }, model_info: { id: 'off', blocked: true } },
]

let fixture: AccountingFixture | null = null
afterEach(async () => {
  await fixture?.close()
  fixture = null
})

async function start(general: object = {}): Promise<{ call: AccountingFixture['call']; router: Bus; asked: HealthRequest[] }> {
  fixture = await startAccounting(url, { config: { model_list: MODELS, general_settings: general } })
  const router = fixture.hub.join('router')
  const asked: HealthRequest[] = []
  router.respond(router.subjects.health, QUEUE.router, async (payload) => {
    const request = payload as HealthRequest
    asked.push(request)
    const checks: HealthCheck[] = (request.deployments ?? []).flatMap((id) =>
      id === 'wild' ? [] : [id === 'bad' ? failure(id) : { deploymentId: id, healthy: true, elapsed: 12 }],
    )
    if (request.test !== undefined)
      checks.push(request.test.model === 'broken' ? failure('t') : { deploymentId: 't', healthy: true, elapsed: 7 })
    return { v: 1, checks } satisfies HealthReply
  })
  return { call: fixture.call, router, asked }
}

const failure = (deploymentId: string): HealthCheck => ({
  deploymentId,
  healthy: false,
  elapsed: 30,
  error: 'wrong key',
  status: 401,
})

describe('GET /health', () => {
  it('has every deployment called, and shows who served, who did not and who cannot be asked, without a secret', async () => {
    const { call, asked } = await start()
    const { status, body, text } = await call('GET', '/health')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      healthy_endpoints: [{ model: 'openai/gpt-4o', model_id: 'good', model_name: 'gpt', rpm: 5 }],
      unhealthy_endpoints: [{ model_id: 'bad', error: 'wrong key', status_code: 401 }],
      healthy_count: 1,
      unhealthy_count: 1,
      unknown_count: 2,
    })
    expect(asked[0]?.deployments).toEqual(['good', 'bad', 'wild'])
    expect(text).not.toContain('secret')
    expect(text).not.toContain('sealed')
    expect((await call('GET', '/health?model=gpt&model_id=good')).body).toMatchObject({ healthy_count: 1, unhealthy_count: 0 })
  })

  it('gives what was found in the background while that is fresh, and calls only the rest', async () => {
    const { call, router, asked } = await start({ background_health_checks: true, health_check_interval: 300 })
    const news: RoutingNews = {
      v: 1,
      routerId: router.id,
      health: { good: { healthy: false, age: 10_000, error: 'was away' }, bad: { healthy: true, age: 3_600_000 } },
    }
    router.announce('routing', news)
    await expect.poll(async () => (await call('GET', '/health/latest')).body).toMatchObject({ total_models: 2 })
    const { body } = await call('GET', '/health?model=gpt')
    expect(body).toMatchObject({ unhealthy_endpoints: [{ model_id: 'good', error: 'was away' }, { model_id: 'bad' }] })
    expect(asked.map(({ deployments }) => deployments)).toEqual([['bad']])
  })

  it('is for admins, and for keys that name it', async () => {
    const { call } = await start()
    const key = async (fields: object) => ((await call('POST', '/key/generate', fields)).body as { key: string }).key
    expect((await call('GET', '/health', undefined, await key({}))).status).toBe(401)
    expect((await call('GET', '/health', undefined, await key({ allowed_routes: ['/health'] }))).status).toBe(200)
    expect((await call('GET', '/health/latest', undefined, await key({ allowed_routes: ['/health'] }))).status).toBe(401)
  })

  it('says so when no router is there', async () => {
    fixture = await startAccounting(url, { config: { model_list: MODELS } })
    const { status, body } = await fixture.call('GET', '/health')
    expect(status).toBe(503)
    expect(body).toMatchObject({ error: { message: 'No router is available. Retry later.' } })
  })
})

describe('checks that were made', () => {
  it('are remembered, each once though it is told twice', async () => {
    const { call, router } = await start()
    await call('GET', '/health?model_id=bad')
    router.announce('routing', { v: 1, routerId: router.id, health: { bad: { healthy: false, age: 100, error: 'wrong key' } } })
    router.announce('routing', { v: 1, routerId: router.id, health: { good: { healthy: true, age: 60_000 } } })
    await expect
      .poll(async () => (await call('GET', '/health/latest')).body)
      .toMatchObject({
        latest_health_checks: {
          bad: { model_name: 'gpt', status: 'unhealthy', error_message: 'wrong key', response_time_ms: 30 },
          good: { status: 'healthy', error_message: null },
        },
      })
    const { body } = await call('GET', '/health/history')
    expect(body).toMatchObject({ health_checks: [{ model_id: 'bad' }, { model_id: 'good' }], total_records: 2 })
    expect((await call('GET', '/health/history?status_filter=healthy&limit=1')).body).toMatchObject({
      health_checks: [{ model_id: 'good' }],
    })
  })
})

describe('POST /health/test_connection', () => {
  it('tells whether a deployment would serve, before anybody has it', async () => {
    const { call, asked } = await start()
    const test = (model: string, more: object = {}) =>
      call('POST', '/health/test_connection', { mode: 'chat', litellm_params: { model, api_key: 'sk-new', ...more } })
    expect((await test('openai/gpt-4.1')).body).toEqual({ status: 'success', result: { response_time_ms: 7 } })
    expect((await test('openai/broken')).body).toMatchObject({ status: 'error', result: { error: 'wrong key' } })
    expect(asked[0]?.test).toMatchObject({ provider: 'openai', model: 'gpt-4.1', mode: 'chat' })
    expect(JSON.stringify(asked)).not.toContain('sk-new')
    expect((await test('nobody/model')).status).toBe(400)
  })
})

describe('GET /health/backlog', () => {
  it('counts what edges and routers run', async () => {
    const { call, router } = await start()
    const edge = fixture?.hub.join('edge') as Bus
    router.beat({ inFlight: 3 })
    edge.beat({ inFlight: 5 })
    await expect
      .poll(async () => (await call('GET', '/health/backlog')).body)
      .toEqual({
        in_flight_requests: 5,
        admitted_requests: 3,
      })
  })
})
