import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const clock = testClock(NOON)
const forgotten: unknown[] = []
let gateway: AccountingFixture
let edge: Bus

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    clock,
    config: { litellm_settings: { upperbound_key_generate_params: { tpm_limit: 1000, duration: '30d' } } },
  })
  edge = gateway.hub.join('edge')
  edge.onChange('identity', (payload) => forgotten.push(payload))
  await gateway.test.db.query(`
    insert into users (user_id, user_role, user_email, models) values
      ('ann', 'internal_user', 'ann@example.com', '{}'), ('bob', 'internal_user', null, '{}'),
      ('eve', 'internal_user_viewer', null, '{}'), ('root', 'proxy_admin', null, '{}'), ('watch', 'proxy_admin_viewer', null, '{}');
    insert into organizations (organization_id) values ('o1');
    insert into budgets (budget_id, max_budget_nano, rpm_limit) values ('b1', 1000000000, 7);
    insert into teams (team_id, team_alias, organization_id, models, model_aliases) values ('t1', 'Team one', 'o1', '{a,b}', '{"fast": "a"}')`)
})
afterAll(() => gateway.close())

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const post = (path: string, body?: unknown, key: string | null = MASTER_KEY) => gateway.call('POST', path, body, key)
const get = (path: string, key: string | null = MASTER_KEY) => gateway.call('GET', path, undefined, key)

async function made(fields: Body = {}): Promise<Body & { key: string; token: string }> {
  const { status, body } = await post('/key/generate', fields)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as Body & { key: string; token: string }
}

const identity = async (key: string): Promise<Body> =>
  (await edge.request(edge.subjects.identity, { v: 1, keyHash: sha256(key) }, { timeout: 2000 })) as Body

describe('POST /key/generate', () => {
  it('makes a key with the defaults of everything', async () => {
    const body = await made()
    expect(body.key).toMatch(/^sk-[\w-]{22}$/)
    expect(body).toMatchObject({
      token: sha256(body.key),
      token_id: sha256(body.key),
      key_name: `sk-...${body.key.slice(-4)}`,
      key_alias: null,
      spend: 0,
      max_budget: null,
      models: [],
      aliases: {},
      config: {},
      permissions: {},
      metadata: {},
      user_id: null,
      team_id: null,
      organization_id: null,
      budget_id: null,
      budget_duration: null,
      budget_reset_at: null,
      max_parallel_requests: null,
      rpm_limit: null,
      blocked: null,
      allowed_cache_controls: [],
      allowed_routes: [],
      model_spend: {},
      model_max_budget: {},
      soft_budget: null,
      litellm_budget_table: null,
      object_permission: null,
      created_by: 'default_user_id',
      updated_by: 'default_user_id',
      created_at: new Date(NOON).toISOString(),
    })
  })

  it('gives every field back as it was sent, and keeps it', async () => {
    const fields = {
      key_alias: 'everything',
      models: ['gpt-4o', 'claude-*'],
      aliases: { fast: 'gpt-4o' },
      config: { a: 1 },
      spend: 0.5,
      max_budget: 12.000000001,
      soft_budget: 10,
      budget_id: 'b1',
      budget_limits: [{ budget_duration: '1d', max_budget: 1 }],
      model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
      budget_fallbacks: { 'gpt-4o': ['gpt-4o-mini'] },
      tpm_limit: 100,
      rpm_limit: 10,
      max_parallel_requests: 3,
      metadata: { team: 'core', nested: { deep: [1, null] } },
      permissions: { pii: false },
      blocked: false,
      allowed_cache_controls: ['no-cache'],
      allowed_routes: ['llm_api_routes', '/key/info'],
      policies: ['p1'],
      access_group_ids: ['g1'],
      object_permission: { mcp_servers: ['s'] },
      router_settings: { num_retries: 1 },
      organization_id: 'o2',
      project_id: 'p',
      agent_id: 'a',
      user_id: 'ann',
      throttle_on_budget_exceeded: true,
      default_estimated_output_tokens: 5,
      default_estimated_output_tokens_per_model: { 'gpt-4o': 7 },
      auto_rotate: true,
      rotation_interval: '30d',
    }
    const body = await made(fields)
    expect(body).toMatchObject(fields)
    const info = (await get(`/key/info?key=${body.token}`)).body as { info: Body }
    expect(info.info).toMatchObject(fields)
    expect(info.info).not.toHaveProperty('token')
  })

  it('keeps what has no column inside metadata, and says it back on top as well', async () => {
    const inside = {
      tags: ['x'],
      guardrails: ['g'],
      model_rpm_limit: { 'gpt-4o': 1 },
      model_tpm_limit: { 'gpt-4o': 2 },
      enforced_params: ['user'],
      rpm_limit_type: 'dynamic',
    }
    const body = await made({ ...inside, metadata: { mine: true } })
    expect(body).toMatchObject({ ...inside, metadata: { mine: true, ...inside } })
  })

  it.each([
    ['90s', 90_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['2w', 14 * 86_400_000],
  ])('expires after exactly %s', async (duration, milliseconds) => {
    expect(await made({ duration })).toMatchObject({ expires: new Date(NOON + milliseconds).toISOString() })
  })

  it('aligns the end of a budget window with the calendar', async () => {
    expect(await made({ budget_duration: '30d' })).toMatchObject({
      budget_duration: '30d',
      budget_reset_at: '2026-12-01T00:00:00.000Z',
    })
  })

  it('takes an own key that begins with sk- and refuses any other', async () => {
    expect(await made({ key: 'sk-my-own-key' })).toMatchObject({
      key: 'sk-my-own-key',
      token: sha256('sk-my-own-key'),
      key_name: 'sk-...-key',
    })
    const refused = await post('/key/generate', { key: 'my-own-key' })
    expect(refused).toMatchObject({
      status: 400,
      body: { error: { code: '400', message: expect.stringContaining('Invalid key format') } },
    })
    expect((await post('/key/generate', { key: 'sk-my-own-key' })).status).toBe(400)
  })

  it('refuses an alias that another key has', async () => {
    await made({ key_alias: 'only-one' })
    const { status, body } = await post('/key/generate', { key_alias: 'only-one' })
    expect(status).toBe(400)
    expect(body).toMatchObject({
      error: { type: 'bad_request_error', param: 'key_alias', code: '400', message: expect.stringContaining("'only-one'") },
    })
  })

  it('turns key_type into allowed routes', async () => {
    expect(await made({ key_type: 'read_only' })).toMatchObject({ allowed_routes: ['info_routes'] })
    expect(await made({ key_type: 'default' })).toMatchObject({ allowed_routes: [] })
  })

  it('gives a key of a team the organization of the team', async () => {
    expect(await made({ team_id: 't1' })).toMatchObject({ team_id: 't1', organization_id: 'o1' })
    expect((await post('/key/generate', { team_id: 't1', organization_id: 'other' })).status).toBe(400)
  })

  it('holds to the most the configuration allows', async () => {
    expect(await made({})).toMatchObject({ tpm_limit: 1000, expires: new Date(NOON + 30 * 86_400_000).toISOString() })
    const { status, body } = await post('/key/generate', { tpm_limit: 1001 })
    expect(status).toBe(400)
    expect(body).toMatchObject({
      error: { message: 'tpm_limit is over max limit set in config - user_value=1001; max_value=1000' },
    })
    expect((await post('/key/generate', { duration: '31d' })).status).toBe(400)
  })

  it('reads an empty max_budget as none, a text as the number in it, and refuses what is neither', async () => {
    expect(await made({ max_budget: '' })).toMatchObject({ max_budget: null })
    expect(await made({ max_budget: '1.5' })).toMatchObject({ max_budget: 1.5 })
    expect((await post('/key/generate', { max_budget: 1e9 })).status).toBe(400)
    expect((await post('/key/generate', { max_budget: 'lots' })).status).toBe(422)
  })

  it('answers 422 with the place and without the value', async () => {
    const { status, body, text } = await post('/key/generate', { models: 'hunter2', metadata: 'hunter2', tpm_limit: 'hunter2' })
    expect(status).toBe(422)
    expect(body).toMatchObject({
      detail: expect.arrayContaining([
        { loc: ['body', 'models'], msg: 'Invalid input: expected array, received string', type: 'list_type' },
      ]),
    })
    expect(text).not.toContain('hunter2')
  })

  it('answers 400 to a body that is not JSON, without repeating it', async () => {
    const { status, body, text } = await post('/key/generate', '{"key": "sk-hunter2"')
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { message: expect.stringContaining('not valid JSON'), code: '400' } })
    expect(text).not.toContain('hunter2')
  })

  it('refuses a duration nobody understands', async () => {
    expect(await post('/key/generate', { duration: 'soon' })).toMatchObject({
      status: 400,
      body: { error: { type: 'bad_request_error' } },
    })
    expect(await post('/key/generate', { budget_duration: 'soon' })).toMatchObject({ status: 400 })
  })
})

describe('who may', () => {
  it('makes keys for oneself as an internal user, not for others', async () => {
    const ann = await made({ user_id: 'ann' })
    const own = await post('/key/generate', { key_alias: 'of-ann' }, ann.key)
    expect(own).toMatchObject({ status: 200, body: { user_id: 'ann', created_by: 'ann' } })
    for (const wider of [{ user_id: 'bob' }, { team_id: 't1' }, { spend: 0 }, { organization_id: 'o1' }]) {
      expect(await post('/key/generate', wider, ann.key)).toMatchObject({
        status: 401,
        body: { error: { type: 'auth_error', code: '401', message: expect.stringContaining('Only proxy admin') } },
      })
    }
  })

  it('refuses every write to a key without a user, also on itself', async () => {
    const program = await made({ max_budget: 1 })
    expect((await post('/key/generate', {}, program.key)).status).toBe(401)
    expect((await post('/key/update', { key: program.key, max_budget: 100 }, program.key)).status).toBe(401)
    expect((await post('/key/delete', { keys: [program.key] }, program.key)).status).toBe(401)
  })

  it('refuses viewers, and lets a user who is an admin do what the master key does', async () => {
    const [eve, root, watch] = [await made({ user_id: 'eve' }), await made({ user_id: 'root' }), await made({ user_id: 'watch' })]
    expect((await post('/key/generate', {}, eve.key)).status).toBe(401)
    expect((await post('/key/generate', { user_id: 'bob' }, watch.key)).status).toBe(401)
    expect(await post('/key/generate', { user_id: 'bob' }, root.key)).toMatchObject({ status: 200, body: { created_by: 'root' } })
    expect((await get(`/key/info?key=${eve.token}`, watch.key)).status).toBe(200)
  })

  it('lets a key read itself and keys of its user, and others look like missing ones', async () => {
    const [ann, second, bob] = [await made({ user_id: 'ann' }), await made({ user_id: 'ann' }), await made({ user_id: 'bob' })]
    expect(await get('/key/info', ann.key)).toMatchObject({
      status: 200,
      body: { key: ann.token, info: { key_name: ann['key_name'] } },
    })
    expect((await get(`/key/info?key=${second.key}`, ann.key)).status).toBe(200)
    const missing = { status: 404, body: { error: { type: 'not_found_error', code: '404', param: 'key' } } }
    expect(await get(`/key/info?key=${bob.key}`, ann.key)).toMatchObject(missing)
    expect(await get('/key/info?key=sk-nobody-has-this', ann.key)).toMatchObject(missing)
    expect(await post('/key/delete', { keys: [bob.key] }, ann.key)).toMatchObject(missing)
    expect(await post('/key/update', { key: bob.key, blocked: true }, ann.key)).toMatchObject(missing)
  })

  it('answers a key with allowed routes on another with 403 and the list', async () => {
    const narrow = await made({ user_id: 'ann', key_type: 'llm_api' })
    expect(await get('/key/info', narrow.key)).toMatchObject({
      status: 403,
      body: {
        error: {
          type: 'auth_error',
          code: '403',
          message: expect.stringMatching(
            /^Virtual key is not allowed to call this route. Only allowed to call routes: \['llm_api_routes'\]/,
          ),
        },
      },
    })
  })

  it.each<[string, string | null, string, string]>([
    ['no key', null, 'auth_error', 'Authentication Error, No api key passed in.'],
    [
      'what is no key',
      'hunter2-hunter2',
      'auth_error',
      'Authentication Error, LiteLLM Virtual Key expected. Received=...ter2, expected to start with',
    ],
    [
      'a key nobody has',
      'sk-nobody-has-this',
      'token_not_found_in_db',
      'Authentication Error, Invalid proxy server token passed. Received API Key = sk-...this, Key Hash (Token) =',
    ],
    ['a hash instead of its key', sha256(MASTER_KEY), 'auth_error', 'Authentication Error, LiteLLM Virtual Key expected.'],
  ])('answers 401 to %s', async (_, key, type, message) => {
    const { status, body } = await get('/key/info', key)
    expect(status).toBe(401)
    expect(body).toMatchObject({ error: { type, code: '401', message: expect.stringContaining(message) } })
  })

  it('answers 401 to a key that has expired, is blocked, or whose team is', async () => {
    const short = await made({ duration: '1h' })
    clock.advance(3_600_000)
    expect(await get('/key/info', short.key)).toMatchObject({
      status: 401,
      body: {
        error: {
          type: 'expired_key',
          param: expect.stringMatching(/^sk-\.\.\./),
          message: expect.stringContaining('Expired Key. Key Expiry time 2026-11-21T13:00:00.000Z'),
        },
      },
    })
    const blocked = await made({ blocked: true })
    expect(await get('/key/info', blocked.key)).toMatchObject({
      status: 401,
      body: { error: { message: expect.stringContaining('Key is blocked') } },
    })
    await gateway.test.db.query(`insert into teams (team_id, blocked) values ('t2', true)`)
    const team = await made({ team_id: 't2' })
    expect(await get('/key/info', team.key)).toMatchObject({
      status: 401,
      body: { error: { message: expect.stringContaining('Team=t2 is blocked') } },
    })
  })

  it('takes a key from each of the headers, the strongest first', async () => {
    const { key, token } = await made()
    const ask = async (headers: Record<string, string>): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${gateway.accounting.port}/key/info`, { headers })
      return [response.status, ((await response.json()) as { key?: string }).key]
    }
    for (const headers of [
      { 'x-litellm-api-key': `Bearer ${key}` },
      { 'x-litellm-api-key': key, authorization: 'Bearer sk-other' },
      { 'api-key': key },
      { 'x-api-key': key },
    ]) {
      expect(await ask(headers), JSON.stringify(Object.keys(headers))).toEqual([200, token])
    }
    expect(await ask({ authorization: key })).toEqual([401, undefined])
  })
})

describe('GET /key/list', () => {
  it('pages through the keys, filters, and shows hashes or whole keys', async () => {
    await gateway.test.db.query(`insert into users (user_id) values ('lister')`)
    const keys = []
    for (let index = 0; index < 5; index++)
      keys.push(await made({ user_id: 'lister', key_alias: `Listed-${index}`, spend: index }))
    expect((await get('/key/list?user_id=lister&size=2&page=3&sort_by=spend&sort_order=asc')).body).toEqual({
      keys: [keys[4]?.token],
      total_count: 5,
      current_page: 3,
      total_pages: 3,
    })
    const full = (await get('/key/list?key_alias=listed&substring_matching=true&return_full_object=true&sort_by=spend')).body as {
      keys: Body[]
    }
    expect(full.keys.map((key) => key['spend'])).toEqual([4, 3, 2, 1, 0])
    expect(full.keys[0]).toMatchObject({ token: keys[4]?.token, key_alias: 'Listed-4' })
    expect(full.keys[0]).not.toHaveProperty('key')
  })

  it('shows a user their own keys whatever they ask for, and a key without a user itself', async () => {
    const [ann, program] = [await made({ user_id: 'ann' }), await made()]
    const others = (await get('/key/list?user_id=bob', ann.key)).body as { keys: string[] }
    expect(others.keys).toEqual([])
    const own = (await get('/key/list?size=100&return_full_object=true', ann.key)).body as { keys: Body[] }
    expect(own.keys.length).toBeGreaterThan(0)
    expect(own.keys.every((key) => key['user_id'] === 'ann')).toBe(true)
    expect((await get('/key/list', program.key)).body).toMatchObject({ keys: [program.token], total_count: 1 })
  })

  it.each(['page=0', 'size=101', 'size=x', 'sort_order=up'])('answers 422 to %s', async (query) => {
    expect(await get(`/key/list?${query}`)).toMatchObject({
      status: 422,
      body: { detail: [{ loc: ['query', query.split('=')[0]] }] },
    })
  })

  it('is not fooled by SQL in a sort or a filter', async () => {
    expect((await get(`/key/list?sort_by=${encodeURIComponent('token; drop table keys; --')}`)).status).toBe(200)
    expect((await get(`/key/list?user_id=${encodeURIComponent("' or 1=1 --")}`)).body).toMatchObject({ total_count: 0 })
  })
})

describe('changing a key', () => {
  it('changes what is named and leaves the rest', async () => {
    const { key } = await made({ models: ['a'], max_budget: 1, metadata: { keep: 1 }, tags: ['x'], duration: '1h' })
    const { status, body } = await post('/key/update', { key, models: ['b'], tags: ['y'], duration: '-1', rpm_limit: 5 })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      key,
      models: ['b'],
      max_budget: 1,
      metadata: { keep: 1, tags: ['y'] },
      // "-1" asks for no end; the configuration allows 30 days.
      expires: new Date(clock.now() + 30 * 86_400_000).toISOString(),
      rpm_limit: 5,
    })
    expect((await post('/key/update', { key, max_budget: null, models: null, rpm_limit: null })).body).toMatchObject({
      max_budget: null,
      models: [],
      rpm_limit: null,
    })
  })

  it('refuses an alias that another key has', async () => {
    await made({ key_alias: 'taken' })
    const { key } = await made()
    expect(await post('/key/update', { key, key_alias: 'taken' })).toMatchObject({
      status: 400,
      body: { error: { param: 'key_alias' } },
    })
  })

  it('blocks and unblocks by key or hash, only as an admin', async () => {
    const { key, token } = await made({ user_id: 'ann' })
    expect(await post('/key/block', { key: token })).toMatchObject({ status: 200, body: { token, blocked: true } })
    expect(await identity(key)).toMatchObject({ identity: { blocked: true } })
    expect(await post('/key/unblock', { key })).toMatchObject({ status: 200, body: { token, blocked: false } })
    expect((await post('/key/block', { key }, key)).status).toBe(401)
    expect((await post('/key/block', { key: 'sk-nobody-has-this' })).status).toBe(404)
  })

  it('deletes by key, hash and alias, and says what is gone', async () => {
    const [a, b, c] = [await made(), await made(), await made({ key_alias: 'gone-soon' })]
    expect((await post('/key/delete', { keys: [a.key, b.token] })).body).toEqual({ deleted_keys: [a.key, b.token] })
    expect((await post('/key/delete', { key_aliases: ['gone-soon'] })).body).toEqual({ deleted_keys: [c.token] })
    expect(await identity(a.key)).toMatchObject({ unknown: true })
    expect((await post('/key/delete', { keys: [a.key] })).status).toBe(404)
    expect((await post('/key/delete', {})).status).toBe(422)
  })

  it('tells every process after each write', async () => {
    const { key, token } = await made()
    await post('/key/update', { key, blocked: true })
    await post('/key/unblock', { key })
    await post('/key/delete', { keys: [key] })
    await new Promise((resolve) => setImmediate(resolve))
    expect(forgotten.filter((payload) => (payload as { keyHashes?: string[] }).keyHashes?.includes(token))).toHaveLength(4)
  })
})

describe('the identity subject', () => {
  it('knows a key with all the request path needs', async () => {
    const { key, token } = await made({
      key_alias: 'known',
      user_id: 'ann',
      team_id: 't1',
      models: ['a', 'z'],
      aliases: { slow: 'b' },
      duration: '1d',
      max_budget: 2,
      spend: 0.25,
      rpm_limit: 3,
      tpm_limit: 4,
      tags: ['x'],
      allowed_routes: ['llm_api_routes'],
    })
    expect(await identity(key)).toEqual({
      v: 1,
      identity: {
        v: 1,
        keyHash: token,
        keyName: `sk-...${key.slice(-4)}`,
        keyAlias: 'known',
        role: 'internal_user',
        userId: 'ann',
        userEmail: 'ann@example.com',
        teamId: 't1',
        teamAlias: 'Team one',
        organizationId: 'o1',
        models: ['a'],
        aliases: { fast: 'a', slow: 'b' },
        allowedRoutes: ['llm_api_routes'],
        blocked: false,
        teamBlocked: false,
        expires: clock.now() + 86_400_000,
        metadata: { tags: ['x'] },
        tags: ['x'],
        spend: 250_000_000,
        maxBudget: 2_000_000_000,
        rpmLimit: 3,
        tpmLimit: 4,
        projectId: null,
        limits: [
          {
            scope: `key|${token}`,
            kind: 'key',
            owner: token,
            requests: 3,
            tokens: 4,
            budget: 2_000_000_000,
            spent: 250_000_000,
            revision: 1,
            resetAt: null,
          },
        ],
        enforcedParams: [],
        estimatedOutputTokens: null,
        estimatedOutputTokensPerModel: {},
        budgetFallbacks: {},
      },
    })
  })

  it('knows the master key by its alias and never says its hash', async () => {
    const reply = await identity(MASTER_KEY)
    expect(reply).toMatchObject({
      identity: { role: 'proxy_admin', keyHash: 'litellm_proxy_master_key', userId: 'default_user_id' },
    })
    expect(JSON.stringify(reply)).not.toContain(sha256(MASTER_KEY))
  })

  it('says of anything else that nobody knows it', async () => {
    expect(await identity('sk-nobody-has-this')).toEqual({ v: 1, unknown: true })
    expect(await edge.request(edge.subjects.identity, { v: 1, keyHash: { $ne: null } }, { timeout: 2000 })).toEqual({
      v: 1,
      unknown: true,
    })
  })
})

it('is open to everybody when no master key is set, and an empty one is none', async () => {
  const open = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { masterKey: '' })
  expect((await open.call('POST', '/key/generate', {}, null)).status).toBe(200)
  const bus = open.hub.join('edge')
  expect(await bus.request(bus.subjects.identity, { v: 1, keyHash: sha256('') }, { timeout: 2000 })).toEqual({
    v: 1,
    unknown: true,
  })
  await open.close()
})
