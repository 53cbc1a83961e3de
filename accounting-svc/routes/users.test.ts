import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'
import { passwordFits } from '../identity/password.ts'

type Body = Record<string, unknown>

const forgotten: unknown[] = []
let gateway: AccountingFixture

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    clock: testClock(NOON),
    config: {
      litellm_settings: {
        default_internal_user_params: { models: ['cheap'], tpm_limit: 500, available_teams: ['t1'], user_role: 'internal_user' },
        max_internal_user_budget: 20,
        internal_user_budget_duration: '30d',
        upperbound_key_generate_params: { duration: '60d' },
      },
    },
  })
  gateway.hub.join('edge').onChange('identity', (payload) => forgotten.push(payload))
  await gateway.test.db.query(`
    insert into users (user_id, user_role, user_email) values ('root', 'proxy_admin', null), ('watch', 'proxy_admin_viewer', null),
      ('ann', 'internal_user', 'ann@example.com'), ('eve', 'internal_user_viewer', null), ('far', 'internal_user', 'far@example.com');
    insert into organizations (organization_id) values ('o1');
    insert into teams (team_id, team_alias, organization_id) values ('t1', 'Team one', 'o1'), ('t2', 'Team two', null)`)
  for (const user of ['root', 'watch', 'ann', 'eve']) keyOf[user] = await keyFor(user)
})
afterAll(() => gateway.close())

const keyOf: Record<string, string> = {}
const post = (path: string, body?: unknown, key: string | null = MASTER_KEY) => gateway.call('POST', path, body, key)
const get = (path: string, key: string | null = MASTER_KEY) => gateway.call('GET', path, undefined, key)
const query = <Row = Body>(text: string, values: unknown[] = []) => gateway.test.db.query<Row>(text, values)
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const audited = (id: string) =>
  query(
    "select action, changed_by, before_value, updated_values from audit_log where table_name = 'users' and object_id = $1 order by at, id",
    [id],
  )

async function keyFor(userId: string): Promise<string> {
  return ((await post('/key/generate', { user_id: userId, duration: '1d' })).body as { key: string }).key
}

async function made(fields: Body = {}): Promise<Body & { user_id: string; key: string }> {
  const { status, body } = await post('/user/new', fields)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as Body & { user_id: string; key: string }
}

describe('POST /user/new', () => {
  it('adds a user with a key that works', async () => {
    const user = await made({ user_email: 'new@example.com', user_role: 'internal_user_viewer', duration: '10d' })
    expect(user).toMatchObject({ user_email: 'new@example.com', teams: [], spend: 0, expires: '2026-12-01T12:00:00.000Z' })
    expect(user.key).toMatch(/^sk-/)
    const own = await get('/key/info', user.key)
    expect(own.body).toMatchObject({ info: { user_id: user.user_id } })
  })

  it('makes no key when told so', async () => {
    const user = await made({ auto_create_key: false })
    expect(user).not.toHaveProperty('key')
    expect(await query('select 1 from keys where user_id = $1', [user.user_id])).toEqual([])
  })

  it('gives every field back as it was sent, and keeps it', async () => {
    const fields = {
      user_id: 'everything',
      user_alias: 'All',
      user_role: 'internal_user',
      sso_user_id: 'sso-1',
      models: ['a', 'b'],
      max_budget: 1.000000001,
      budget_duration: '1d',
      budget_limits: [{ budget_duration: '7d', max_budget: 2 }],
      model_max_budget: { a: { budget_limit: 1, time_period: '1d' } },
      max_parallel_requests: 3,
      tpm_limit: 100,
      rpm_limit: 10,
      metadata: { desk: 7 },
      allowed_cache_controls: ['no-cache'],
      policies: ['p'],
      object_permission: { mcp_servers: ['s'] },
    }
    expect(await made({ ...fields, auto_create_key: false })).toMatchObject(fields)
    expect((await get('/v2/user/info?user_id=everything')).body).toMatchObject({
      ...fields,
      budget_reset_at: '2026-11-22T00:00:00.000Z',
    })
  })

  it('schedules the windows of the user, of single models and of further budgets', async () => {
    const windows = await query("select scope, budget_duration from spend where scope like 'user|everything%' order by scope")
    expect(windows).toEqual([
      { scope: 'user|everything', budget_duration: '1d' },
      { scope: 'user|everything|model|a', budget_duration: '1d' },
      { scope: 'user|everything|window|7d', budget_duration: '7d' },
    ])
  })

  it('keeps limits per model inside metadata, where they are enforced', async () => {
    const user = await made({ model_rpm_limit: { a: 1 }, metadata: { mine: true }, auto_create_key: false })
    expect(user).toMatchObject({ metadata: { mine: true, model_rpm_limit: { a: 1 } } })
  })

  it('fills what is empty for internal users from the configuration, and leaves what was sent', async () => {
    expect(await made({ auto_create_key: false })).toMatchObject({
      user_role: 'internal_user',
      models: ['cheap'],
      tpm_limit: 500,
      max_budget: 20,
      budget_duration: '30d',
    })
    expect(
      await made({ auto_create_key: false, models: ['x'], max_budget: 3, budget_duration: '1d', tpm_limit: 1 }),
    ).toMatchObject({
      models: ['x'],
      tpm_limit: 1,
      max_budget: 3,
      budget_duration: '1d',
    })
  })

  it('fills nothing for proxy admins, and no budget for viewers', async () => {
    expect(await made({ auto_create_key: false, user_role: 'proxy_admin' })).toMatchObject({
      models: [],
      tpm_limit: null,
      max_budget: null,
    })
    expect(await made({ auto_create_key: false, user_role: 'internal_user_viewer' })).toMatchObject({
      models: ['cheap'],
      max_budget: null,
    })
  })

  it('joins teams, with a role and a budget inside one, and organizations', async () => {
    const user = await made({
      auto_create_key: false,
      teams: ['t2', { team_id: 't1', max_budget_in_team: 2.5, user_role: 'admin' }],
      organizations: ['o1'],
    })
    expect(user).toMatchObject({
      teams: expect.arrayContaining(['t1', 't2']),
      organization_memberships: [{ user_id: user.user_id, organization_id: 'o1', user_role: 'internal_user' }],
    })
    expect(
      await query(
        `select m.team_id, m.role, b.max_budget_nano from team_members m left join budgets b using (budget_id)
         where m.user_id = $1 order by m.team_id`,
        [user.user_id],
      ),
    ).toEqual([
      { team_id: 't1', role: 'admin', max_budget_nano: 2_500_000_000 },
      { team_id: 't2', role: 'user', max_budget_nano: null },
    ])
  })

  it.each([
    ['teams', { teams: ['t1', 'none'] }],
    ['organizations', { organizations: ['none'] }],
  ])('leaves no user behind when one of %s does not exist', async (field, fields) => {
    const { status, body } = await post('/user/new', { user_id: `half-${field}`, ...fields })
    expect(status).toBe(404)
    expect(body).toMatchObject({ error: { param: field, message: expect.stringContaining('none') } })
    expect(await query('select 1 from users where user_id = $1', [`half-${field}`])).toEqual([])
  })

  it('leaves no user behind when the key cannot be made', async () => {
    const { status, body } = await post('/user/new', { user_id: 'keyless', duration: '90d' })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'duration' } })
    expect(await query("select 1 from users where user_id = 'keyless'")).toEqual([])
  })

  it.each([
    ['user_id', { user_id: 'ann' }],
    ['user_email', { user_email: 'ANN@example.com' }],
    ['sso_user_id', { sso_user_id: 'sso-1' }],
  ])('refuses a %s that another user has', async (field, fields) => {
    const { status, body } = await post('/user/new', fields)
    expect(status).toBe(409)
    expect(body).toMatchObject({ error: { param: field } })
  })

  it('gives one address to one user, whoever asks at the same time', async () => {
    const all = await Promise.all(
      Array.from({ length: 6 }, () => post('/user/new', { user_email: 'once@example.com', auto_create_key: false })),
    )
    expect(all.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409, 409, 409])
  })

  it.each([
    ['max_budget', -1],
    ['max_budget', 'much'],
    ['budget_duration', 'soon'],
    ['user_role', 'king'],
    ['rpm_limit', 1.5],
    ['user_email', 'nobody'],
    ['models', 'a'],
    ['organizations', [1]],
  ])('says where %s is wrong', async (field, value) => {
    const { status, body } = await post('/user/new', { [field]: value })
    expect(status).toBe(422)
    expect((body as { detail: { loc: unknown[] }[] }).detail[0]?.loc.slice(0, 2)).toEqual(['body', field])
  })

  it.each(['watch', 'ann', 'eve'])('is refused to %s', async (user) => {
    const { status } = await post('/user/new', { user_id: 'nope' }, keyOf[user])
    expect(status).toBe(401)
    expect(await query("select 1 from users where user_id = 'nope'")).toEqual([])
  })

  it('is written into the audit log in the name the caller gives', async () => {
    const response = await fetch(`http://127.0.0.1:${gateway.accounting.port}/user/new`, {
      method: 'POST',
      headers: { authorization: `Bearer ${MASTER_KEY}`, 'content-type': 'application/json', 'litellm-changed-by': 'terraform' },
      body: JSON.stringify({ user_id: 'logged', auto_create_key: false }),
    })
    expect(response.status).toBe(200)
    expect(await audited('logged')).toMatchObject([
      { action: 'created', changed_by: 'terraform', before_value: null, updated_values: { user_id: 'logged' } },
    ])
  })
})

describe('POST /user/update', () => {
  it('changes what is named, keeps the rest, and tells the edges', async () => {
    await made({ user_id: 'u1', user_alias: 'One', rpm_limit: 5, auto_create_key: false })
    forgotten.length = 0
    const { body } = await post('/user/update', { user_id: 'u1', rpm_limit: 7, max_budget: null })
    expect(body).toMatchObject({ user_id: 'u1', data: { user_alias: 'One', rpm_limit: 7, max_budget: null } })
    expect(forgotten).toEqual([{ userId: 'u1' }])
    expect(await audited('u1')).toMatchObject([
      { action: 'created' },
      { action: 'updated', before_value: { rpm_limit: 5 }, updated_values: { rpm_limit: 7 } },
    ])
  })

  it('finds a user by address', async () => {
    await made({ user_id: 'u2', user_email: 'u2@example.com', auto_create_key: false })
    expect((await post('/user/update', { user_email: 'U2@example.com', tpm_limit: 9 })).body).toMatchObject({
      user_id: 'u2',
      data: { tpm_limit: 9, user_email: 'U2@example.com' },
    })
    expect((await post('/user/update', { user_email: 'none@example.com', tpm_limit: 9 })).status).toBe(404)
  })

  it('takes a window away together with its duration', async () => {
    await made({ user_id: 'u3', max_budget: 1, budget_duration: '1d', auto_create_key: false })
    const { body } = await post('/user/update', { user_id: 'u3', budget_duration: null })
    expect(body).toMatchObject({ data: { budget_duration: null, budget_reset_at: null } })
  })

  it('stores a password only as a hash, and shows it nowhere', async () => {
    await made({ user_id: 'u4', auto_create_key: false })
    const { status, text } = await post('/user/update', { user_id: 'u4', password: 'correct horse battery' })
    expect(status).toBe(200)
    const [row] = await query<{ password: string }>("select password from users where user_id = 'u4'")
    expect(await passwordFits('correct horse battery', row?.password ?? '')).toBe(true)
    expect(await passwordFits('correct horse batterz', row?.password ?? '')).toBe(false)
    const shown = [
      text,
      (await get('/user/info?user_id=u4')).text,
      (await get('/user/list')).text,
      JSON.stringify(await audited('u4')),
    ]
    for (const place of shown) {
      expect(place).not.toContain('horse')
      expect(place).not.toContain('scrypt$')
    }
    expect(await audited('u4')).toMatchObject([{}, { updated_values: { password: '***' } }])
  })

  it('sets what was spent in the present window, and tells the counters', async () => {
    await made({ user_id: 'u5', spend: 1.5, auto_create_key: false })
    expect((await get('/v2/user/info?user_id=u5')).body).toMatchObject({ spend: 1.5 })
    const before = (await gateway.counters.peek(['user|u5']))[0]
    expect(before).toMatchObject({ spent: 1_500_000_000 })
    expect((await post('/user/update', { user_id: 'u5', spend: 0 })).body).toMatchObject({ data: { spend: 0 } })
    expect((await gateway.counters.peek(['user|u5']))[0]).toMatchObject({ spent: 0 })
    expect((await post('/user/update', { user_id: 'ann', spend: 0 }, keyOf['ann'])).status).toBe(401)
  })

  it('begins at 0 for a user of an id that was there before', async () => {
    await made({ user_id: 'u6', spend: 3, auto_create_key: false })
    await post('/user/delete', { user_ids: ['u6'] })
    expect(await made({ user_id: 'u6', auto_create_key: false })).toMatchObject({ spend: 0 })
  })

  it('refuses an address that another user has', async () => {
    const { status, body } = await post('/user/update', { user_id: 'u4', user_email: 'ann@example.com' })
    expect(status).toBe(409)
    expect(body).toMatchObject({ error: { param: 'user_email' } })
  })

  it('lets users change their own name, address and password, and nothing that limits them', async () => {
    expect((await post('/user/update', { user_id: 'ann', user_alias: 'Ann', password: '12345678' }, keyOf['ann'])).status).toBe(
      200,
    )
    for (const fields of [
      { max_budget: 100 },
      { user_role: 'proxy_admin' },
      { models: [] },
      { metadata: {} },
      { rpm_limit: null },
    ]) {
      expect((await post('/user/update', { user_id: 'ann', ...fields }, keyOf['ann'])).status, JSON.stringify(fields)).toBe(401)
    }
    expect((await post('/user/update', { user_id: 'far', user_alias: 'x' }, keyOf['ann'])).status).toBe(401)
  })

  it('lets an admin viewer change their own password only, and other viewers nothing', async () => {
    expect((await post('/user/update', { user_id: 'watch', password: '12345678' }, keyOf['watch'])).status).toBe(200)
    expect((await post('/user/update', { user_id: 'watch', user_alias: 'x' }, keyOf['watch'])).status).toBe(401)
    expect((await post('/user/update', { user_id: 'eve', password: '12345678' }, keyOf['eve'])).status).toBe(401)
  })

  it('asks for a user', async () => {
    expect((await post('/user/update', { tpm_limit: 1 })).status).toBe(422)
    expect((await post('/user/update', { user_id: 'nobody', tpm_limit: 1 })).status).toBe(404)
  })
})

describe('POST /user/bulk_update', () => {
  it('changes many, and says which could not be', async () => {
    for (const user_id of ['b1', 'b2']) await made({ user_id, auto_create_key: false })
    const { body } = await post('/user/bulk_update', {
      users: [
        { user_id: 'b1', rpm_limit: 1 },
        { user_id: 'gone', rpm_limit: 1 },
        { user_id: 'b2', rpm_limit: 2 },
      ],
    })
    expect(body).toMatchObject({
      total_requested: 3,
      successful_updates: 2,
      failed_updates: 1,
      results: [
        { user_id: 'b1', success: true, updated_user: { rpm_limit: 1 } },
        { user_id: 'gone', success: false, error: expect.stringContaining('gone') },
        { user_id: 'b2', success: true, updated_user: { rpm_limit: 2 } },
      ],
    })
  })

  it('changes everybody', async () => {
    const [{ total } = { total: 0 }] = await query<{ total: number }>('select count(*) as total from users')
    const { body } = await post('/user/bulk_update', { all_users: true, user_updates: { policies: ['all'] } })
    expect(body).toMatchObject({ total_requested: total, successful_updates: total })
    expect(await query("select 1 from users where policies <> '{all}'")).toEqual([])
  })

  it('takes at most 500', async () => {
    const users = Array.from({ length: 501 }, (_, index) => ({ user_id: `x${index}`, rpm_limit: 1 }))
    expect((await post('/user/bulk_update', { users })).status).toBe(422)
  })

  it('takes either users or all_users', async () => {
    expect((await post('/user/bulk_update', {})).status).toBe(422)
    expect((await post('/user/bulk_update', { all_users: true, users: [{ user_id: 'b1' }] })).status).toBe(422)
  })
})

describe('POST /user/delete', () => {
  it('deletes the user, the keys and the memberships, and keeps what they were', async () => {
    const user = await made({ user_id: 'd1', teams: ['t1'], organizations: ['o1'] })
    expect((await post('/user/delete', { user_ids: ['d1'] })).body).toBe(1)
    expect((await get('/key/info', user.key)).status).toBe(401)
    for (const table of ['users', 'keys', 'team_members', 'organization_members']) {
      expect(await query(`select 1 from ${table} where user_id = 'd1'`), table).toEqual([])
    }
    expect(await query("select row ->> 'user_id' as id from archive where table_name = 'users'")).toContainEqual({ id: 'd1' })
    expect(await audited('d1')).toMatchObject([{ action: 'created' }, { action: 'deleted', before_value: { user_id: 'd1' } }])
    expect(forgotten).toContainEqual({ userId: 'd1' })
  })

  it('deletes nobody when one of them does not exist', async () => {
    await made({ user_id: 'd2', auto_create_key: false })
    const { status, body } = await post('/user/delete', { user_ids: ['d2', 'ghost'] })
    expect(status).toBe(404)
    expect(body).toMatchObject({ error: { param: 'user_ids', message: expect.stringContaining("'ghost'") } })
    expect((await get('/v2/user/info?user_id=d2')).status).toBe(200)
  })

  it.each(['watch', 'ann'])('is refused to %s', async (user) => {
    expect((await post('/user/delete', { user_ids: ['d2'] }, keyOf[user])).status).toBe(401)
  })
})

describe('GET /user/info', () => {
  it('shows a user with keys and teams, and what was spent in the present window', async () => {
    const user = await made({ user_id: 'i1', teams: ['t1'], max_budget: 5, budget_duration: '30d' })
    await query("update spend set spent_nano = 1500000001, revision = revision + 1 where scope = 'user|i1'")
    expect((await get('/user/info?user_id=i1')).body).toMatchObject({
      user_id: 'i1',
      user_info: { spend: 1.500000001, budget_reset_at: '2026-12-01T00:00:00.000Z', teams: ['t1'] },
      keys: [{ token: sha256(user.key) }],
      teams: [{ team_id: 't1', team_alias: 'Team one' }],
    })
  })

  it('shows callers themselves', async () => {
    expect((await get('/user/info', keyOf['ann'])).body).toMatchObject({
      user_id: 'ann',
      keys: [{ token: sha256(keyOf['ann'] ?? '') }],
    })
    expect((await get('/v2/user/info', keyOf['eve'])).body).toMatchObject({ user_id: 'eve' })
  })

  it('shows a user only themselves', async () => {
    for (const path of ['/user/info', '/v2/user/info']) {
      for (const user of ['far', 'ghost']) {
        expect((await get(`${path}?user_id=${user}`, keyOf['ann'])).status, user).toBe(403)
      }
      expect((await get(`${path}?user_id=far`, keyOf['watch'])).status).toBe(200)
    }
  })

  it('shows admins every key and team when they name nobody', async () => {
    const { body } = await get('/user/info')
    expect(body).toMatchObject({ user_id: null, user_info: null })
    const { keys, teams } = body as { keys: unknown[]; teams: Body[] }
    expect(keys.length).toBeGreaterThan(3)
    expect(teams.map((team) => team['team_id'])).toEqual(['t1', 't2'])
  })

  it('knows nobody by another id', async () => {
    const { status, body } = await get('/user/info?user_id=ghost')
    expect(status).toBe(404)
    expect(body).toMatchObject({ error: { type: 'not_found_error', param: 'user_id' } })
  })
})

describe('GET /user/list', () => {
  const ids = (body: unknown): unknown[] => (body as { users: Body[] }).users.map((user) => user['user_id'])

  it('gives pages that together are everybody, once', async () => {
    const first = (await get('/user/list?page_size=4&sort_by=user_id&sort_order=asc')).body as Body
    const pages = Number(first['total_pages'])
    const seen: unknown[] = []
    for (let page = 1; page <= pages; page++) {
      seen.push(...ids((await get(`/user/list?page_size=4&page=${page}&sort_by=user_id&sort_order=asc`)).body))
    }
    const all = await query<{ user_id: string }>('select user_id from users order by user_id')
    expect(seen).toEqual(all.map((row) => row.user_id))
    expect(first).toMatchObject({ total: all.length, page: 1, page_size: 4 })
  })

  it('counts keys', async () => {
    const { body } = await get('/user/list?user_ids=ann,far&sort_by=user_id&sort_order=asc')
    expect(body).toMatchObject({
      users: [
        { user_id: 'ann', key_count: 1 },
        { user_id: 'far', key_count: 0 },
      ],
      total: 2,
    })
  })

  it.each([
    ['role=proxy_admin_viewer', ['watch']],
    ['user_email=NN@exam', ['ann']],
    ['sso_user_ids=sso-1,other', ['everything']],
    ['team=t1&user_ids=i1,ann', ['i1']],
    ['organization_ids=o1&user_ids=ann', []],
  ])('filters by %s', async (filter, expected) => {
    expect(ids((await get(`/user/list?${filter}`)).body)).toEqual(expected)
  })

  it('is for those who read everything', async () => {
    expect((await get('/user/list', keyOf['watch'])).status).toBe(200)
    expect((await get('/user/list', keyOf['ann'])).status).toBe(401)
  })

  it('names the parameter that is wrong', async () => {
    const { status, body } = await get('/user/list?sort_by=password')
    expect(status).toBe(422)
    expect(body).toMatchObject({ detail: [{ loc: ['query', 'sort_by'] }] })
  })
})

describe('pickers', () => {
  it('offer a user those of their teams and organizations, and admins everybody', async () => {
    await query("insert into team_members (team_id, user_id) values ('t2', 'ann'), ('t2', 'far')")
    const seen = async (key?: string): Promise<unknown[]> =>
      ((await get('/user/filter/ui?page_size=100', key)).body as Body[]).map((user) => user['user_id'])
    expect(await seen(keyOf['ann'])).toEqual(expect.arrayContaining(['ann', 'far']))
    expect(await seen(keyOf['ann'])).not.toContain('root')
    expect(await seen(keyOf['eve'])).toEqual(['eve'])
    expect(await seen()).toContain('root')
    expect((await get('/user/filter/ui?user_email=FAR@', keyOf['ann'])).body).toEqual([
      { user_id: 'far', user_email: 'far@example.com', user_alias: null, user_role: 'internal_user' },
    ])
  })

  it('tell the roles and how many users there are', async () => {
    expect(Object.keys((await get('/user/available_roles', keyOf['eve'])).body as Body)).toEqual([
      'proxy_admin',
      'proxy_admin_viewer',
      'internal_user',
      'internal_user_viewer',
    ])
    const [{ total } = { total: 0 }] = await query<{ total: number }>('select count(*) as total from users')
    expect((await get('/user/available_users', keyOf['eve'])).body).toMatchObject({ total_users_used: total })
  })
})
