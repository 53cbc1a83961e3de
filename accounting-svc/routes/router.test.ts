import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import type { DeploymentReport, RoutingNews } from '../../proto/routing.ts'
import { createCatalog } from '../../shared/catalog/catalog.ts'
import { systemClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { silentLog } from '../../shared/log.ts'
import { createAccounting } from '../accounting.ts'
import { type AccountingFixture, configOf, MASTER_KEY, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const CONFIG = {
  model_list: [
    { model_name: 'gpt', litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-1' }, model_info: { id: 'gpt-1' } },
    { model_name: 'gpt', litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-2' }, model_info: { id: 'gpt-2' } },
    {
      model_name: 'claude',
      litellm_params: { model: 'anthropic/claude-sonnet-4-5', api_key: 'sk-3' },
      model_info: { id: 'claude-1' },
    },
    { model_name: 'off', litellm_params: { model: 'mock/mock' }, model_info: { id: 'off-1', blocked: true } },
    { model_name: 'wild/*', litellm_params: { model: 'openai/*', api_key: 'sk-4' } },
  ],
  router_settings: { num_retries: 1, fallbacks: [{ claude: ['gpt'] }], redis_password: 'sk-secret' },
}

let gateway: AccountingFixture
beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { config: CONFIG })
})
afterAll(() => gateway.close())

const post = (path: string, body?: unknown, key?: string) => gateway.call('POST', path, body, key)
const get = (path: string) => gateway.call('GET', path)

/** A second accounting process on the same database. */
function another(salt: string, log = silentLog) {
  return createAccounting({
    bus: gateway.hub.join('accounting'),
    db: gateway.test.db,
    counters: gateway.counters,
    config: configOf(CONFIG),
    env: {},
    clock: systemClock,
    log,
    masterKey: MASTER_KEY,
    sealer: createSealer(salt),
    catalog: createCatalog(),
    listen: { host: '127.0.0.1', port: 0 },
  })
}

async function published(): Promise<RuntimeSnapshot> {
  const bus = gateway.hub.join('router')
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  return (await bucket.get('runtime')) as RuntimeSnapshot
}

async function audited(table: string, object: string): Promise<Body[]> {
  const { body } = await get(`/audit?table_name=${table}&object_id=${encodeURIComponent(object)}`)
  return (body as { audit_logs: Body[] }).audit_logs
}

describe('POST /config/update', () => {
  it('sets fields over the file for every router, until null takes them away', async () => {
    const { status, body } = await post('/config/update', {
      router_settings: { num_retries: '4', routing_strategy: 'least-busy', cooldown_time: 2.5 },
      litellm_settings: { request_timeout: 12 },
      general_settings: { background_health_checks: true },
      turnpike_settings: { midstream_failover: { max: 1 } },
    })
    expect(status, JSON.stringify(body)).toBe(200)
    expect(body).toEqual({ message: 'Config updated successfully', warnings: [] })
    const { settings } = await published()
    expect(settings).toMatchObject({
      numRetries: 4,
      timeout: 12_000,
      routing: { strategy: 'least-busy', cooldownTime: 2_500, health: { background: true }, failover: { enabled: true, max: 1 } },
    })
    await post('/config/update', {
      router_settings: { num_retries: null, routing_strategy: null, cooldown_time: null },
      litellm_settings: { request_timeout: null },
      general_settings: { background_health_checks: null },
      turnpike_settings: { midstream_failover: null },
    })
    expect((await published()).settings).toMatchObject({
      numRetries: 1,
      routing: { strategy: 'simple-shuffle', cooldownTime: 5_000 },
    })
  })

  it('survives a restart and a reload of the file, and reaches another accounting process', async () => {
    await post('/config/update', { router_settings: { max_fallbacks: 2 } })
    await gateway.accounting.reconfigure(configOf({ ...CONFIG, router_settings: { max_fallbacks: 9, num_retries: 8 } }))
    expect((await published()).settings).toMatchObject({ numRetries: 8, routing: { maxFallbacks: 2 } })
    const second = await another('salt')
    const seen = async (): Promise<unknown> => {
      const answer = await fetch(`http://127.0.0.1:${second.port}/router/settings`, {
        headers: { authorization: `Bearer ${MASTER_KEY}` },
      })
      return ((await answer.json()) as { current_values: Body }).current_values['max_fallbacks']
    }
    try {
      expect(await seen()).toBe(2)
      await post('/config/update', { router_settings: { max_fallbacks: 3 } })
      await expect.poll(seen).toBe(3)
    } finally {
      await second.stop()
      await post('/config/update', { router_settings: { max_fallbacks: null } })
      await gateway.accounting.reconfigure(configOf(CONFIG))
    }
  })

  it('is published although word of an earlier change comes after it was stored', async () => {
    await gateway.test.db.query(
      `insert into stored_settings (section, name, value) values ('router_settings', 'max_fallbacks', '7')`,
    )
    gateway.hub.join('accounting').announce('settings', { stored: 'what was stored before' })
    await post('/config/update', { router_settings: { max_fallbacks: 7 } })
    expect((await published()).settings.routing.maxFallbacks).toBe(7)
    await post('/config/update', { router_settings: { max_fallbacks: null } })
  })

  it.each<[string, Body, RegExp]>([
    [
      'a value of the wrong kind',
      { router_settings: { num_retries: 'lots' } },
      /router_settings\.num_retries: expected a whole number/,
    ],
    [
      'a list of the wrong shape',
      { litellm_settings: { fallbacks: ['gpt'] } },
      /litellm_settings\.fallbacks\[0\]: expected a mapping/,
    ],
    ['a name nobody knows', { router_settings: { retries: 1 } }, /router_settings\.retries is not a setting/],
    [
      'what is read once at the start',
      { general_settings: { master_key: 'sk-x' } },
      /general_settings\.master_key cannot be changed while/,
    ],
    [
      'code to be loaded',
      { turnpike_settings: { routing_strategy_module: '/tmp/x.ts' } },
      /routing_strategy_module cannot be changed/,
    ],
    ['an environment', { environment_variables: { A: 'b' } }, /environment_variables cannot be changed while/],
    [
      'a reference to the environment',
      { litellm_settings: { cache_params: { url: 'os.environ/X' } } },
      /references to the environment/,
    ],
    ['a setting that needs another', { router_settings: { routing_strategy: 'custom' } }, /custom needs turnpike_settings/],
    [
      'a cache that there is not',
      { litellm_settings: { cache: true, cache_params: { type: 'gcs' } } },
      /there are local, redis, disk/,
    ],
  ])('refuses %s and changes nothing', async (_, change, message) => {
    const before = await published()
    const { status, body } = await post('/config/update', change)
    expect(status).toBe(400)
    expect((body as { error: Body }).error['message']).toMatch(message)
    expect(await published()).toEqual(before)
  })

  it('names all problems at once, and warns of groups that are not there', async () => {
    const { body } = await post('/config/update', { router_settings: { num_retries: -1, timeout: 'x' } })
    expect((body as { error: Body }).error['message']).toMatch(/num_retries.*timeout/)
    const { body: done } = await post('/config/update', { router_settings: { default_fallbacks: ['gtp'] } })
    expect(done).toMatchObject({
      warnings: [expect.stringMatching(/default_fallbacks\[0\]: no model_name "gtp".*did you mean gpt/)],
    })
    await post('/config/update', { router_settings: { default_fallbacks: null } })
  })

  it('seals secrets of a cache in the database and to the routers, and shows them nowhere', async () => {
    const cache_params = { type: 'redis', host: 'cache.internal', password: 'hush-hush' }
    await post('/config/update', { litellm_settings: { cache: true, cache_params } })
    const { settings } = await published()
    expect(settings.cache).toMatchObject({ type: 'redis', redisUrl: expect.stringMatching(/^sealed:/) })
    expect(createSealer('salt').open(settings.cache?.redisUrl ?? '')).toBe('redis://:hush-hush@cache.internal:6379')
    const rows = await gateway.test.db.query('select value from stored_settings')
    const shown = [rows, await audited('settings', 'litellm_settings.cache_params'), (await get('/router/settings')).body]
    expect(JSON.stringify(shown)).not.toContain('hush-hush')
    // One that cannot open them any more starts without them.
    const warned: unknown[] = []
    const stranger = await another('other salt', { ...silentLog, warn: (fields: object) => void warned.push(fields) })
    await stranger.stop()
    expect(warned).toContainEqual({ problems: [expect.stringMatching(/^litellm_settings\.cache_params: .*cannot be opened/)] })
    await post('/config/update', { litellm_settings: { cache: null, cache_params: null } })
    expect((await published()).settings.cache).toBeNull()
  })

  it('is audited, field by field', async () => {
    await post('/config/update', { router_settings: { allowed_fails: 3 } })
    await post('/config/update', { router_settings: { allowed_fails: null } })
    const entries = await audited('settings', 'router_settings.allowed_fails')
    expect(entries.map(({ action }) => action)).toEqual(['deleted', 'updated'])
    expect(entries[1]).toMatchObject({ updated_values: { allowed_fails: 3 } })
  })

  it('is for proxy admins', async () => {
    const { body } = await post('/key/generate', {})
    const key = (body as { key: string }).key
    expect((await post('/config/update', { router_settings: { num_retries: 0 } }, key)).status).toBe(401)
    expect((await gateway.call('GET', '/router/settings', undefined, key)).status).toBe(401)
  })
})

it('/config/field/… sets single fields of general_settings', async () => {
  expect((await post('/config/field/update', { field_name: 'health_check_interval', field_value: 60 })).status).toBe(200)
  expect((await published()).settings.routing.health.interval).toBe(60_000)
  const info = await get('/config/field/info?field_name=health_check_interval')
  expect(info.body).toEqual({ field_name: 'health_check_interval', field_value: 60, stored_in_db: true })
  expect((await get('/config/list?config_type=general_settings')).body).toContainEqual(info.body)
  await post('/config/field/delete', { field_name: 'health_check_interval' })
  expect((await published()).settings.routing.health.interval).toBe(300_000)
  expect((await get('/config/field/info?field_name=master_key')).status).toBe(404)
})

it('/router/settings and /router/fields show every setting, in force and described, and no secret', async () => {
  const { body, text } = await get('/router/settings')
  const { fields, current_values } = body as { fields: Body[]; current_values: Body }
  expect(current_values).toMatchObject({ num_retries: 1, routing_strategy: 'simple-shuffle', cooldown_time: 5, timeout: 600 })
  expect(fields).toContainEqual(
    expect.objectContaining({
      field_name: 'enable_tag_filtering',
      field_type: 'Boolean',
      field_value: false,
      stored_in_db: false,
    }),
  )
  expect(fields.every(({ field_description }) => String(field_description).length > 10)).toBe(true)
  expect(text).not.toContain('sk-secret')
  expect(text).not.toContain('redis_password')
  const described = (await get('/router/fields')).body as { fields: Body[] }
  expect(described.fields).toHaveLength(fields.length)
})

describe('/fallback', () => {
  it('sets, shows and takes away the fallbacks of one group, over those of the file', async () => {
    expect((await get('/fallback/claude')).body).toEqual({ model: 'claude', fallback_models: ['gpt'], fallback_type: 'general' })
    const set = await post('/fallback', { model: 'claude', fallback_models: ['wild/gpt-4o', 'gpt'] })
    expect(set.status, set.text).toBe(200)
    await post('/fallback', { model: 'gpt', fallback_models: ['claude'], fallback_type: 'context_window' })
    expect((await published()).settings.routing.fallbacks).toEqual({
      general: { claude: [{ model: 'wild/gpt-4o' }, { model: 'gpt' }] },
      contextWindow: { gpt: [{ model: 'claude' }] },
      contentPolicy: null,
    })
    expect((await gateway.call('DELETE', '/fallback/gpt?fallback_type=context_window')).status).toBe(200)
    expect((await gateway.call('DELETE', '/fallback/claude')).status).toBe(200)
    expect((await published()).settings.routing.fallbacks).toMatchObject({
      general: { claude: [{ model: 'gpt' }] },
      contextWindow: null,
    })
    expect((await audited('fallbacks', 'claude')).map(({ action }) => action)).toEqual(['deleted', 'updated'])
  })

  it.each<[number, Body]>([
    [404, { model: 'nope', fallback_models: ['gpt'] }],
    [400, { model: 'gpt', fallback_models: ['nope'] }],
    [400, { model: 'gpt', fallback_models: ['gpt'] }],
    [400, { model: 'gpt', fallback_models: ['claude', 'claude'] }],
    [422, { model: 'gpt', fallback_models: [] }],
    [422, { model: 'gpt', fallback_models: ['claude'], fallback_type: 'other' }],
  ])('answers %i to %j', async (status, body) => {
    expect((await post('/fallback', body)).status).toBe(status)
  })

  it('answers 404 where there are none, and does not take away those of the file', async () => {
    expect((await get('/fallback/gpt')).status).toBe(404)
    const { status, body } = await gateway.call('DELETE', '/fallback/claude')
    expect(status).toBe(404)
    expect((body as { error: Body }).error['message']).toMatch(/but those of the configuration file/)
  })
})

describe('/model/block', () => {
  const blocked = async (): Promise<string[]> => (await published()).deployments.filter((one) => one.blocked).map(({ id }) => id)

  it('blocks a deployment or a whole group until it is unblocked', async () => {
    expect((await post('/model/block', { id: 'gpt-1' })).body).toEqual({
      data: [{ id: 'gpt-1', model_name: 'gpt', blocked: true }],
    })
    expect(await blocked()).toEqual(['gpt-1', 'off-1'])
    await post('/model/block', { model_name: 'gpt' })
    expect(await blocked()).toEqual(['gpt-1', 'gpt-2', 'off-1'])
    await post('/model/unblock', { model: 'gpt' })
    expect(await blocked()).toEqual(['off-1'])
    expect((await audited('models', 'gpt-1')).map(({ action }) => action)).toEqual(['unblocked', 'blocked'])
    expect(await audited('models', 'gpt-2')).toHaveLength(2)
  })

  it('refuses what is not there, and to unblock what the file blocks', async () => {
    expect((await post('/model/block', { id: 'nope' })).status).toBe(404)
    expect((await post('/model/block', {})).status).toBe(400)
    expect((await post('/model/unblock', { id: 'off-1' })).status).toBe(400)
  })
})

describe('/router/state', () => {
  const report = (fields: Partial<DeploymentReport>): DeploymentReport => ({
    id: 'gpt-1',
    inFlight: 0,
    cooldownSeconds: 0,
    ejectedSeconds: 0,
    share: 1,
    unhealthy: false,
    error: null,
    latency: null,
    firstToken: null,
    throughput: null,
    requests: 0,
    tokens: 0,
    successes: 0,
    failures: 0,
    ...fields,
  })

  it('puts together what every router says of a deployment', async () => {
    const routers = [gateway.hub.join('router'), gateway.hub.join('router')]
    const told = [
      [report({ inFlight: 3, latency: 10, successes: 2 })],
      [report({ inFlight: 2, latency: 30, successes: 5, cooldownSeconds: 4, unhealthy: true, error: 'timeout' })],
    ]
    const services = routers.map((bus, index) => {
      bus.beat({ version: '1' })
      return bus.onChange('routing', (payload) => {
        const { ask, reports } = payload as RoutingNews
        if (ask === undefined || reports !== undefined) return
        // In two messages, as for many deployments.
        bus.announce('routing', { v: 1, routerId: bus.id, ask, reports: [] })
        bus.announce('routing', { v: 1, routerId: bus.id, ask, reports: told[index], last: true })
      })
    })
    const { body } = await get('/router/state?model=gpt')
    const { deployments, routers: seen } = body as { deployments: Body[]; routers: Body[] }
    const answered = seen.filter((one) => one['answered'] === true)
    expect(answered.map(({ id }) => id).toSorted()).toEqual(routers.map(({ id }) => id).toSorted())
    expect(deployments.map(({ id }) => id)).toEqual(['gpt-1', 'gpt-2'])
    expect(deployments[0]).toMatchObject({
      model_name: 'gpt',
      in_flight: 3,
      latency_ms_per_token: 20,
      successes: 7,
      cooldown_seconds: 4,
      healthy: false,
      health_error: 'timeout',
    })
    expect(Object.keys(deployments[0]?.['routers'] as object)).toHaveLength(2)
    expect(deployments[1]).toMatchObject({ in_flight: 0, healthy: true, latency_ms_per_token: null, routers: {} })
    for (const service of services) await service.stop()
  })
})
