import { afterEach, describe, expect, it } from 'vitest'
import type { RuntimeSnapshot } from '../proto/deployment.ts'
import { createMemoryHub } from '../shared/bus/memory.ts'
import { createCatalog } from '../shared/catalog/catalog.ts'
import { systemClock } from '../shared/clock.ts'
import { createSealer } from '../shared/config/secrets.ts'
import { createPostgres } from '../shared/db/postgres.ts'
import { silentLog } from '../shared/log.ts'
import { createAccounting } from './accounting.ts'
import { type AccountingFixture, attempt, configOf, event, startAccounting } from './gateway-fixture.ts'

const POSTGRES = process.env['TURNPIKE_TEST_POSTGRES_URL']
const CONFIG = {
  model_list: [
    {
      model_name: 'fast',
      litellm_params: {
        model: 'openai/gpt-4o-mini',
        api_key: 'sk-provider-secret',
        api_base: 'https://example.com/v1',
        extra_headers: { 'x-token': 'header-secret' },
      },
      model_info: { id: 'one', access_groups: ['cheap'], team: 'core' },
    },
    {
      model_name: 'own',
      litellm_params: { model: 'openai/gpt-4o', input_cost_per_token: 0.000001, output_cost_per_token: 0 },
      model_info: { id: 'two' },
    },
  ],
  router_settings: { num_retries: 7 },
}

let gateway: AccountingFixture | null = null

afterEach(async () => {
  await gateway?.close()
  gateway = null
})

async function start(options: Parameters<typeof startAccounting>[1] = {}): Promise<AccountingFixture> {
  gateway = await startAccounting(POSTGRES, options)
  return gateway
}

describe('the runtime', () => {
  const read = async ({ hub }: AccountingFixture): Promise<RuntimeSnapshot> => {
    const bus = hub.join('router')
    return (await (await bus.bucket(bus.subjects.runtimeBucket)).get('runtime')) as RuntimeSnapshot
  }

  it('is published again when the bus has lost it, under a revision nobody has seen', async () => {
    const fixture = await start({ config: CONFIG })
    const bus = fixture.hub.join('router')
    const bucket = await bus.bucket(bus.subjects.runtimeBucket)
    const before = (await bucket.get('runtime')) as RuntimeSnapshot
    await bucket.delete('runtime')
    const again = new Promise<RuntimeSnapshot>((resolve) => {
      void bucket.mirror('runtime', (value) => {
        if (value !== undefined) resolve(value as RuntimeSnapshot)
      })
    })
    const after = await again
    expect(after.revision).toBeGreaterThan(before.revision)
    expect(after.deployments.map(({ id }) => id)).toEqual(before.deployments.map(({ id }) => id))
  }, 20_000)

  it('is published at the start, with provider keys sealed', async () => {
    const snapshot = await read(await start({ config: CONFIG }))
    expect(snapshot).toMatchObject({
      v: 1,
      revision: 1,
      settings: { numRetries: 7, open: false },
      deployments: [
        { id: 'one', modelGroup: 'fast', provider: 'openai', model: 'gpt-4o-mini' },
        { id: 'two', modelGroup: 'own' },
      ],
    })
    expect(JSON.stringify(snapshot)).not.toContain('sk-provider-secret')
    expect(createSealer('salt').open(snapshot.deployments[0]?.apiKey ?? '')).toBe('sk-provider-secret')
  })

  it('rises by one with every change, and tells everybody', async () => {
    const fixture = await start({ config: CONFIG })
    const heard: unknown[] = []
    fixture.hub.join('edge').onChange('deployment', (payload) => heard.push(payload))
    await fixture.accounting.reconfigure(configOf({ model_list: [] }))
    await new Promise((resolve) => setImmediate(resolve))
    expect(await read(fixture)).toMatchObject({ revision: 2, deployments: [] })
    expect(heard).toEqual([{ revision: 2 }])
  })

  it('stays as it was when a new configuration cannot be built', async () => {
    const fixture = await start({ config: CONFIG })
    const bad = configOf({
      model_list: [{ model_name: 'x', litellm_params: { model: 'openai/x', litellm_credential_name: 'nowhere' } }],
    })
    await expect(fixture.accounting.reconfigure(bad)).rejects.toThrow('nowhere')
    expect(await read(fixture)).toMatchObject({ revision: 1, settings: { numRetries: 7 } })
  })

  it('says that everybody is an admin when no master key is set', async () => {
    expect(await read(await start({ masterKey: null }))).toMatchObject({ settings: { open: true } })
  })
})

describe('GET /model/info', () => {
  it('shows deployments and prices, and no credential', async () => {
    const { call } = await start({ config: CONFIG })
    const { body, text } = await call('GET', '/model/info')
    expect(text).not.toMatch(/secret|sealed:/)
    expect(body).toMatchObject({
      data: [
        {
          model_name: 'fast',
          litellm_params: { model: 'openai/gpt-4o-mini', api_base: 'https://example.com/v1' },
          model_info: { id: 'one', db_model: false, team: 'core', access_groups: ['cheap'], litellm_provider: 'openai' },
        },
        { model_info: { id: 'two', input_cost_per_token: 0.000001, output_cost_per_token: 0 } },
      ],
    })
    expect(text).toContain('"input_cost_per_token":0.000001,')
    expect((await call('GET', '/v1/model/info')).text).toBe(text)
  })

  it('shows a key what it may use: by name, access group or wildcard', async () => {
    const { call } = await start({ config: CONFIG })
    const seen = async (models: string[]): Promise<string[]> => {
      const { key } = (await call('POST', '/key/generate', { models })).body as { key: string }
      return ((await call('GET', '/model/info', undefined, key)).body as { data: { model_name: string }[] }).data.map(
        (item) => item.model_name,
      )
    }
    expect(await seen([])).toEqual(['fast', 'own'])
    expect(await seen(['own'])).toEqual(['own'])
    expect(await seen(['cheap'])).toEqual(['fast'])
    expect(await seen(['f*'])).toEqual(['fast'])
    // Neither name is OpenAI's own.
    expect(await seen(['openai/*'])).toEqual([])
    expect(await seen(['other'])).toEqual([])
  })

  it('keeps to the routes the operator allows, and shows anybody what is public', async () => {
    const config = { ...CONFIG, general_settings: { allowed_routes: ['/model/info', 'LiteLLMRoutes.key_management_routes'] } }
    const { call } = await start({
      config: { ...config, general_settings: { ...config.general_settings, public_routes: ['/model/info'] } },
    })
    expect((await call('GET', '/model/info', undefined, null)).status).toBe(200)
    expect((await call('GET', '/key/list', undefined, null)).status).toBe(401)
    expect((await call('GET', '/key/list')).status).toBe(200)
    expect((await call('GET', '/global/spend/report')).status).toBe(403)
    expect((await call('GET', '/health/liveliness', undefined, null)).status).toBe(200)
  })

  it('shows one by its id, 404 for one that is not there, and pages', async () => {
    const { call } = await start({ config: CONFIG })
    expect((await call('GET', '/model/info?litellm_model_id=two')).body).toMatchObject({ data: [{ model_name: 'own' }] })
    expect((await call('GET', '/model/info?litellm_model_id=three')).status).toBe(404)
    expect((await call('GET', '/v2/model/info?size=1&page=2')).body).toMatchObject({
      data: [{ model_name: 'own' }],
      total_count: 2,
      current_page: 2,
      total_pages: 2,
      size: 1,
    })
  })
})

describe('usage events', () => {
  it('are priced by the deployment, booked, and shown on the key', async () => {
    const fixture = await start({ config: CONFIG })
    const { key, token } = (await fixture.call('POST', '/key/generate', {})).body as { key: string; token: string }
    const router = fixture.hub.join('router')
    await router.append('0', [event({ keyHash: token, attempts: [attempt({ deploymentId: 'two' })] })])
    await router.append('0', [event({ keyHash: token, attempts: [attempt({ deploymentId: 'two' })] })])
    expect((await fixture.call('GET', '/key/info', undefined, key)).text).toContain('"spend":0.00001,')
  })

  it('are found under the id of the client as under ours, also where it is absurdly long, and only by who may see them', async () => {
    const fixture = await start()
    const { key, token } = (await fixture.call('POST', '/key/generate', {})).body as { key: string; token: string }
    const named = (callId: string, own: string, keyHash = 'b'.repeat(64)) =>
      event({ callId, keyHash, metadata: { litellm_call_id: own } })
    const events = [named('one', 'own'), named('two', 'own', token), named('three', 'x'.repeat(5_000)), event({ callId: 'four' })]
    await fixture.hub.join('router').append('0', events)
    const ids = async (id: string, by?: string) =>
      ((await fixture.call('GET', `/spend/logs?request_id=${id}`, undefined, by)).body as { request_id: string }[])
        .map((row) => row.request_id)
        .toSorted()
    expect(await ids('own')).toEqual(['one', 'two'])
    expect(await ids('own', key)).toEqual(['two'])
    expect(await ids('one')).toEqual(['one'])
    expect(await ids('x'.repeat(128))).toEqual(['three'])
    expect(await ids('nobody')).toEqual([])
  })

  it('are delivered again until the database is back', async () => {
    const fixture = await start()
    const { db } = fixture.test
    await db.query('alter table daily_spend rename to elsewhere')
    const appended = fixture.hub.join('router').append('0', [event()])
    // The first delivery has failed once the pool has seen an error; what is awaited is the append itself.
    await db.query('select pg_sleep(0.2)')
    await db.query('alter table elsewhere rename to daily_spend')
    await appended
    expect(await db.query('select count(*)::int as count from ledger')).toEqual([{ count: 1 }])
  })

  it('outlive the loss of every database connection', async () => {
    const fixture = await start()
    const router = fixture.hub.join('router')
    for (let round = 0; round < 5; round++) {
      const appended = Promise.all(
        Array.from({ length: 20 }, (_, index) => router.append('0', [event({ callId: `${round}-${index}` })])),
      )
      await fixture.test.db
        .query(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
        .catch(() => undefined)
      await appended
    }
    expect(await fixture.test.db.query('select count(*)::int as count, sum(calls)::int as calls from ledger')).toEqual([
      { count: 100, calls: 100 },
    ])
  })
})

describe('a second process on the same database', () => {
  it('shares the work, and nothing is booked twice', async () => {
    const fixture = await start()
    const db = createPostgres({ url: fixture.test.url, log: silentLog })
    const hub = createMemoryHub({ clock: systemClock, log: silentLog })
    const second = await createAccounting({
      bus: hub.join('accounting'),
      db,
      config: configOf({}),
      env: {},
      clock: systemClock,
      log: silentLog,
      masterKey: null,
      sealer: createSealer(null),
      catalog: createCatalog(),
      counters: fixture.counters,
    })
    expect(second.port).toBe(0)
    const events = Array.from({ length: 200 }, (_, index) => event({ callId: `call-${index}` }))
    await Promise.all([fixture.hub.join('router').append('0', events), hub.join('router').append('0', events.toReversed())])
    expect(await db.query('select count(*)::int as count from ledger')).toEqual([{ count: 200 }])
    await second.stop()
    await hub.close()
    await db.close()
  })
})

describe('health and stopping', () => {
  it('is ready while it serves, and takes no request once it has drained', async () => {
    const fixture = await start()
    expect(await fixture.call('GET', '/health/readiness', undefined, null)).toMatchObject({
      status: 200,
      body: { status: 'healthy', db: 'connected' },
    })
    expect(await fixture.call('GET', '/health/liveliness', undefined, null)).toMatchObject({ status: 200, body: "I'm alive!" })
    expect(fixture.accounting.ready()).toBe(true)
    await fixture.accounting.drain(1000)
    expect(fixture.accounting.ready()).toBe(false)
    await expect(fixture.call('GET', '/health/readiness', undefined, null)).rejects.toThrow()
  })

  it('says unhealthy when the database is away, and 503 to who asks for something', async () => {
    const fixture = await start()
    await fixture.test.db.close()
    expect(await fixture.call('GET', '/health/readiness', undefined, null)).toMatchObject({
      status: 503,
      body: { db: 'Not connected' },
    })
    expect(await fixture.call('GET', '/key/info', undefined, 'sk-some-key-1234')).toMatchObject({
      status: 503,
      body: { error: { type: 'no_db_connection', code: '503', message: 'Database connection error during authentication.' } },
    })
  })

  it('refuses to start on a newer database', async () => {
    const fixture = await start()
    await fixture.test.db.query(`insert into migrations (number, name, checksum) values (999999, '999999_future.sql', '')`)
    const hub = createMemoryHub({ clock: systemClock, log: silentLog })
    const refused = createAccounting({
      bus: hub.join('accounting'),
      db: fixture.test.db,
      config: configOf({}),
      env: {},
      clock: systemClock,
      log: silentLog,
      masterKey: null,
      sealer: createSealer(null),
      catalog: createCatalog(),
      counters: fixture.counters,
    })
    await expect(refused).rejects.toThrow('newer than this program')
    await hub.close()
  })
})
