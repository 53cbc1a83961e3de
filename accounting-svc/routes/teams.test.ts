import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const announced: unknown[] = []
let gateway: AccountingFixture
let edge: Bus
/** Keys of people: a plain user, an org admin of o1, two viewers. */
const keys: Record<string, string> = {}

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    clock: testClock(NOON),
    config: {
      litellm_settings: {
        default_team_params: { max_budget: 50, budget_duration: '30d' },
        default_internal_user_params: { available_teams: ['open'] },
        default_team_settings: [{ team_id: 'configured', success_callback: ['langfuse'] }],
      },
    },
  })
  edge = gateway.hub.join('edge')
  edge.onChange('identity', (payload) => announced.push(payload))
  await rows(`
    insert into users (user_id, user_role, user_email) values
      ('ann', 'internal_user', 'ann@example.com'), ('bob', 'internal_user', 'bob@example.com'), ('chief', 'internal_user', null),
      ('eve', 'internal_user_viewer', null), ('watch', 'proxy_admin_viewer', null);
    insert into budgets (budget_id, max_budget_nano, tpm_limit, rpm_limit) values ('b-o1', 100000000000, 1000, 100);
    insert into organizations (organization_id, budget_id, models) values ('o1', 'b-o1', '{gpt-4o,claude-*}'), ('o2', null, '{}');
    insert into organization_members (organization_id, user_id, user_role) values ('o1', 'chief', 'org_admin')`)
  for (const user_id of ['ann', 'bob', 'chief', 'eve', 'watch'])
    keys[user_id] = (await ok('POST', '/key/generate', { user_id }))['key'] as string
})
afterAll(() => gateway.close())
beforeEach(() => {
  announced.length = 0
})

const call = (method: string, path: string, body?: unknown, key: string | undefined = MASTER_KEY) =>
  gateway.call(method, path, body, key)
const post = (path: string, body?: unknown, key?: string) => call('POST', path, body, key)
const get = (path: string, key?: string) => call('GET', path, undefined, key)
const rows = (text: string, values: unknown[] = []) => gateway.test.db.query(text, values)

async function ok(method: string, path: string, body?: unknown, key?: string): Promise<Body> {
  const reply = await call(method, path, body, key)
  expect(reply.status, reply.text).toBe(200)
  return reply.body as Body
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const identity = async (key: string): Promise<Body> => {
  const reply = (await edge.request(edge.subjects.identity, { v: 1, keyHash: sha256(key) }, { timeout: 2000 })) as Body
  return (reply['identity'] ?? reply) as Body
}

let count = 0
async function team(fields: Body = {}): Promise<string> {
  const team_id = `team-${count++}`
  await ok('POST', '/team/new', { team_id, ...fields })
  return team_id
}
const info = async (team_id: string): Promise<{ team_info: Body; keys: Body[]; team_memberships: Body[] }> =>
  (await ok('GET', `/team/info?team_id=${team_id}`)) as unknown as { team_info: Body; keys: Body[]; team_memberships: Body[] }
const windowOf = async (scope: string): Promise<unknown> =>
  (await rows('select budget_duration from spend where scope = $1', [scope]))[0]?.['budget_duration']

describe('POST /team/new', () => {
  it('makes a team with an id of its own, the defaults of the configuration and of everything else', async () => {
    const body = await ok('POST', '/team/new', { team_alias: 'Core' })
    expect(body).toMatchObject({
      team_alias: 'Core',
      organization_id: null,
      admins: [],
      members: [],
      members_with_roles: [],
      metadata: {},
      tpm_limit: null,
      rpm_limit: null,
      max_budget: 50,
      budget_duration: '30d',
      budget_reset_at: '2026-12-01T00:00:00.000Z',
      models: [],
      blocked: false,
      spend: 0,
      max_parallel_requests: null,
      model_id: null,
      litellm_model_table: null,
      object_permission: null,
      created_by: 'default_user_id',
      created_at: new Date(NOON).toISOString(),
    })
    expect(body['team_id']).toMatch(/^[0-9a-f-]{36}$/)
    expect(announced).toEqual([{ teamId: body['team_id'] }])
  })

  it('gives every field back as it was sent, and keeps it', async () => {
    const columns = {
      team_alias: 'Everything',
      tpm_limit: 100,
      rpm_limit: 10,
      max_parallel_requests: 3,
      max_budget: 12.000000001,
      soft_budget: 10,
      budget_duration: '7d',
      budget_limits: [{ budget_duration: '1d', max_budget: 1 }],
      model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
      models: ['gpt-4o', 'claude-*'],
      blocked: true,
      model_aliases: { fast: 'gpt-4o' },
      policies: ['p'],
      object_permission: { mcp_servers: ['s'] },
      team_member_permissions: ['/key/info', '/key/generate'],
      default_team_member_models: ['gpt-4o'],
      router_settings: { num_retries: 1 },
      access_group_ids: ['g'],
      default_estimated_output_tokens: 5,
    }
    const inside = {
      tags: ['x'],
      guardrails: ['g'],
      prompts: ['p'],
      model_rpm_limit: { 'gpt-4o': 1 },
      model_tpm_limit: { 'gpt-4o': 2 },
      tpm_limit_type: 'best_effort_throughput',
      team_member_key_duration: '1d',
      enforced_file_expires_after: { seconds: 3600 },
    }
    const id = await team({ ...columns, ...inside, metadata: { mine: 1 } })
    const { team_info } = await info(id)
    expect(team_info).toMatchObject({
      ...columns,
      metadata: { mine: 1, ...inside },
      litellm_model_table: { model_aliases: { fast: 'gpt-4o' } },
    })
    expect(await windowOf(`team|${id}`)).toBe('7d')
    expect(await windowOf(`team|${id}|window|1d`)).toBe('1d')
    expect(await windowOf(`team|${id}|model|gpt-4o`)).toBe('1d')
  })

  it('makes members of users that are there, and users of those that are not', async () => {
    const id = await team({
      members_with_roles: [
        { user_id: 'ann', role: 'admin' },
        { user_email: 'BOB@example.com' },
        { user_email: 'new@example.com', role: 'user' },
      ],
      members: ['someone'],
    })
    const { team_info } = await info(id)
    const members = team_info['members_with_roles'] as Body[]
    expect(members).toEqual([
      { user_id: 'ann', user_email: 'ann@example.com', role: 'admin' },
      { user_id: 'bob', user_email: 'bob@example.com', role: 'user' },
      { user_id: expect.stringMatching(/^[0-9a-f-]{36}$/), user_email: 'new@example.com', role: 'user' },
      { user_id: 'someone', user_email: null, role: 'user' },
    ])
    expect(team_info['admins']).toEqual(['ann'])
    expect(await rows(`select 1 from users where user_email = 'new@example.com'`)).toHaveLength(1)
    expect(await rows(`select 1 from users where user_id = 'someone'`)).toHaveLength(1)
  })

  it.each([
    [{ max_budget: -1 }, ['body', 'max_budget']],
    [{ team_member_budget: -1 }, ['body', 'team_member_budget']],
    [{ budget_duration: 'fortnight' }, ['body', 'budget_duration']],
    [{ budget_limits: [{ budget_duration: 'x', max_budget: 1 }] }, ['body', 'budget_limits', 0, 'budget_duration']],
    [{ members_with_roles: [{ user_id: 'ann', role: 'boss' }] }, ['body', 'members_with_roles', 0, 'role']],
    [{ members_with_roles: [{ role: 'user' }] }, ['body', 'members_with_roles', 0]],
    [{ team_member_permissions: ['/key/steal'] }, ['body', 'team_member_permissions', 0]],
    [{ tpm_limit: 1.5 }, ['body', 'tpm_limit']],
  ])('refuses %j and says where it is wrong', async (fields, place) => {
    const { status, body } = await post('/team/new', fields)
    expect(status).toBe(422)
    expect((body as { detail: { loc: unknown[] }[] }).detail[0]?.loc).toEqual(place)
  })

  it('refuses an id that exists, and leaves nothing half made', async () => {
    const id = await team()
    const { status, body } = await post('/team/new', { team_id: id, members: ['ghost'], team_member_budget: 1 })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'team_id', message: expect.stringContaining(id) } })
    expect(await rows(`select 1 from users where user_id = 'ghost'`)).toEqual([])
  })

  it.each([
    [{ organization_id: 'nowhere' }, 'organization_id'],
    [{ organization_id: 'o1', models: ['gpt-4o', 'mistral'] }, 'models'],
    [{ organization_id: 'o1', max_budget: 100.01 }, 'max_budget'],
    [{ organization_id: 'o1', tpm_limit: 1001 }, 'tpm_limit'],
    [{ organization_id: 'o1', rpm_limit: 101 }, 'rpm_limit'],
  ])('refuses %j, which its organization does not have, by name', async (fields, param) => {
    const { status, body } = await post('/team/new', { models: ['gpt-4o'], ...fields })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param } })
  })

  it('guarantees no more throughput to the teams of an organization than it has', async () => {
    const guaranteed = { organization_id: 'o1', models: ['gpt-4o'], tpm_limit_type: 'guaranteed_throughput' }
    const first = await team({ ...guaranteed, tpm_limit: 600 })
    expect((await post('/team/new', { ...guaranteed, tpm_limit: 401 })).body).toMatchObject({
      error: { param: 'tpm_limit', message: expect.stringContaining('400') },
    })
    expect((await post('/team/update', { team_id: first, tpm_limit: 1000 })).status).toBe(200)
    await ok('POST', '/team/delete', { team_ids: [first] })
  })
})

describe('changing a team', () => {
  it('changes what is named and keeps the rest, by POST and by PATCH', async () => {
    const id = await team({ rpm_limit: 5, metadata: { a: 1 }, tags: ['t'] })
    const updated = await ok('POST', '/team/update', { team_id: id, team_alias: 'A', guardrails: ['g'] })
    expect(updated).toMatchObject({
      team_id: id,
      data: { team_alias: 'A', rpm_limit: 5, metadata: { a: 1, tags: ['t'], guardrails: ['g'] } },
    })
    const patched = await ok('PATCH', `/team/${id}`, { rpm_limit: null, metadata: { b: 2 }, budget_duration: null })
    expect(patched).toMatchObject({ data: { team_alias: 'A', rpm_limit: null, metadata: { b: 2 }, budget_reset_at: null } })
    expect(announced).toContainEqual({ teamId: id })
  })

  it('takes the keys of a team along to another organization', async () => {
    const id = await team({ organization_id: 'o1', models: ['gpt-4o'] })
    const { token } = await ok('POST', '/key/generate', { team_id: id })
    await ok('POST', '/team/update', { team_id: id, organization_id: 'o2' })
    expect(await rows('select organization_id from keys where token = $1', [token])).toEqual([{ organization_id: 'o2' }])
  })

  it('refuses a team that does not exist by name', async () => {
    for (const path of ['/team/update', '/team/block', '/team/model/add', '/team/member_add'])
      expect((await post(path, { team_id: 'none', models: [], member: { user_id: 'ann' } })).body, path).toMatchObject({
        error: { code: '404', param: 'team_id', message: expect.stringContaining('none') },
      })
    expect((await get('/team/info?team_id=none')).status).toBe(404)
  })

  it('says of a blocked team in the identity of its keys that it is, and stops when it is not', async () => {
    const id = await team()
    const { key } = (await ok('POST', '/key/generate', { team_id: id })) as { key: string }
    await ok('POST', '/team/block', { team_id: id })
    expect(announced).toContainEqual({ teamId: id })
    expect((await identity(key))['teamBlocked']).toBe(true)
    expect(await ok('POST', '/team/unblock', { team_id: id })).toMatchObject({ team_id: id, blocked: false })
    expect((await identity(key))['teamBlocked']).toBe(false)
  })

  it('adds models without taking any, and does not turn none into all', async () => {
    const all = await team()
    expect((await ok('POST', '/team/model/add', { team_id: all, models: ['x'] }))['models']).toEqual(['all-proxy-models', 'x'])
    const some = await team({ models: ['a', 'b'] })
    expect((await ok('POST', '/team/model/add', { team_id: some, models: ['b', 'c'] }))['models']).toEqual(['a', 'b', 'c'])
    expect((await ok('POST', '/team/model/delete', { team_id: some, models: ['a'] }))['models']).toEqual(['b', 'c'])
    expect((await ok('POST', '/team/model/delete', { team_id: some, models: ['b', 'c'] }))['models']).toEqual([
      'no-default-models',
    ])
    expect((await ok('POST', '/team/model/add', { team_id: some, models: ['a'] }))['models']).toEqual(['a'])
  })
})

describe('POST /team/delete', () => {
  it('revokes the keys of the team, deletes its projects and memberships, and keeps what was', async () => {
    const id = await team({ team_alias: 'Gone', members: ['ann'] })
    const { key, token } = (await ok('POST', '/key/generate', { team_id: id, user_id: 'ann' })) as { key: string; token: string }
    const other = (await ok('POST', '/key/generate', {})) as { key: string }
    await ok('POST', '/project/new', { team_id: id, project_id: `p-${id}`, budget_duration: '1d' })
    expect((await identity(key))['teamId']).toBe(id)
    announced.length = 0
    expect(await ok('POST', '/team/delete', { team_ids: [id] })).toMatchObject([{ team_id: id, team_alias: 'Gone' }])
    expect(await identity(key)).toMatchObject({ unknown: true })
    expect(await windowOf(`team|${id}`)).toBeNull()
    expect(await windowOf(`project|p-${id}`)).toBeNull()
    expect((await identity(other.key))['teamId']).toBeNull()
    expect(announced).toEqual([{ teamId: id }, { keyHashes: [token] }])
    for (const table of ['teams', 'team_members', 'projects', 'keys'])
      expect(await rows(`select 1 from ${table} where team_id = $1`, [id]), table).toEqual([])
    const kept = await rows('select table_name, object_id, deleted_by from archive where object_id = any($1) order by 1', [
      [id, token, `p-${id}`],
    ])
    expect(kept).toEqual([
      { table_name: 'keys', object_id: token, deleted_by: 'default_user_id' },
      { table_name: 'projects', object_id: `p-${id}`, deleted_by: 'default_user_id' },
      { table_name: 'teams', object_id: id, deleted_by: 'default_user_id' },
    ])
    const { teams } = (await ok('GET', '/v2/team/list?status=deleted')) as { teams: Body[] }
    expect(teams[0]).toMatchObject({ team_id: id, deleted_by: 'default_user_id' })
  })

  it('leaves nothing spent to a team that is made with the same id', async () => {
    const id = await team()
    await rows(`update spend set spent_nano = 5, revision = revision + 1 where scope = 'team|${id}'`)
    await ok('POST', '/team/delete', { team_ids: [id] })
    expect(await ok('POST', '/team/new', { team_id: id })).toMatchObject({ spend: 0 })
    expect((await rows(`select revision from spend where scope = 'team|${id}'`))[0]?.['revision']).toBeGreaterThan(2)
  })

  it('deletes none of the teams where one does not exist', async () => {
    const id = await team()
    expect((await post('/team/delete', { team_ids: [id, 'none'] })).status).toBe(404)
    expect((await get(`/team/info?team_id=${id}`)).status).toBe(200)
  })
})

describe('members', () => {
  it('join one or many at a time, with limits of their own where these are given', async () => {
    const id = await team()
    const one = await ok('POST', '/team/member_add', {
      team_id: id,
      member: { user_id: 'ann', role: 'admin' },
      max_budget_in_team: 5,
      budget_duration: '1d',
      allowed_models: ['gpt-4o'],
    })
    expect(one).toMatchObject({
      team_id: id,
      members_with_roles: [{ user_id: 'ann', role: 'admin' }],
      updated_users: [{ user_id: 'ann' }],
      updated_team_memberships: [
        {
          user_id: 'ann',
          spend: 0,
          allowed_models: ['gpt-4o'],
          litellm_budget_table: { max_budget: 5, budget_duration: '1d', budget_reset_at: '2026-11-22T00:00:00.000Z' },
        },
      ],
    })
    expect(await windowOf(`team_member|${id}|ann`)).toBe('1d')
    const many = await ok('POST', '/team/member_add', {
      team_id: id,
      member: [{ user_id: 'bob' }, { user_email: `${id}@example.com` }],
    })
    expect(many['updated_team_memberships']).toHaveLength(2)
    expect((await info(id)).team_memberships.map(({ budget_id }) => budget_id === null)).toEqual([false, true, true])
  })

  it('who are members already are refused by name, and nobody of the call joins', async () => {
    const id = await team({ members: ['ann'] })
    const { status, body } = await post('/team/member_add', {
      team_id: id,
      member: [{ user_id: 'bob' }, { user_email: 'ANN@example.com' }],
    })
    expect(status).toBe(400)
    expect(body).toMatchObject({
      error: { type: 'team_member_already_in_team', param: 'user_id', message: expect.stringContaining('ann') },
    })
    expect((await info(id)).team_info['members']).toEqual(['ann'])
  })

  it('join in bulk, and those who cannot are named', async () => {
    const id = await team({ members: ['ann'] })
    const body = await ok('POST', '/team/bulk_member_add', {
      team_id: id,
      members: [{ user_id: 'ann' }, { user_id: 'bob' }],
      max_budget_in_team: 1,
    })
    expect(body).toMatchObject({
      total_requested: 2,
      successful_additions: 1,
      failed_additions: 1,
      results: [
        { user_id: 'ann', success: false },
        { user_id: 'bob', success: true, error: null },
      ],
    })
    const everybody = await ok('POST', '/team/bulk_member_add', { team_id: id, all_users: true })
    expect(everybody['failed_additions']).toBe(0)
    expect((await info(id)).team_info['members']).toHaveLength((await rows('select 1 from users')).length)
  })

  it('fall under the team’s default limits until they have limits of their own', async () => {
    const id = await team({
      members: ['ann', 'bob'],
      team_member_budget: 10,
      team_member_budget_duration: '7d',
      team_member_rpm_limit: 4,
    })
    const fallback = (await info(id)).team_info['team_member_budget_id']
    expect(await windowOf(`team_member|${id}|ann`)).toBe('7d')
    const { key } = (await ok('POST', '/key/generate', { team_id: id, user_id: 'ann' })) as { key: string }
    const limitOf = async (): Promise<unknown> =>
      ((await identity(key))['limits'] as Body[]).find(({ kind }) => kind === 'team_member')
    expect(await limitOf()).toMatchObject({ budget: 10_000_000_000, requests: 4 })

    const updated = await ok('POST', '/team/member_update', { team_id: id, user_id: 'ann', max_budget_in_team: 20 })
    expect(updated).toMatchObject({ user_id: 'ann', max_budget_in_team: 20, rpm_limit: 4, budget_duration: '7d' })
    expect(await limitOf()).toMatchObject({ budget: 20_000_000_000, requests: 4 })
    const own = (await info(id)).team_memberships.map(({ budget_id }) => budget_id)
    expect(own[0]).not.toBe(fallback)
    expect(own[1]).toBe(fallback)

    // The default changes for those who still have it, and the member's own row stays one row.
    await ok('POST', '/team/update', { team_id: id, team_member_budget: 1, team_member_budget_duration: '1d' })
    await ok('POST', '/team/member_update', { team_id: id, user_email: 'ann@example.com', tpm_limit: 9 })
    const after = (await info(id)).team_memberships as { budget_id: string; litellm_budget_table: Body }[]
    expect(after[0]).toMatchObject({
      budget_id: own[0],
      litellm_budget_table: { max_budget: 20, tpm_limit: 9, budget_duration: '7d' },
    })
    expect(after[1]).toMatchObject({ budget_id: fallback, litellm_budget_table: { max_budget: 1, budget_duration: '1d' } })
    expect(await windowOf(`team_member|${id}|bob`)).toBe('1d')
    expect(await windowOf(`team_member|${id}|ann`)).toBe('7d')

    await ok('POST', `/team/${id}/member/ann/reset_budget`)
    expect(await limitOf()).toMatchObject({ budget: 1_000_000_000 })
    expect(await windowOf(`team_member|${id}|ann`)).toBe('1d')
  })

  it('have limits that a change of another member, linked to the same row, does not touch', async () => {
    const id = await team({ members: ['ann', 'bob'] })
    await ok('POST', '/budget/new', { budget_id: `shared-${id}`, max_budget: 3 })
    await rows(`update team_members set budget_id = 'shared-${id}' where team_id = '${id}'`)
    await ok('POST', '/team/member_update', { team_id: id, user_id: 'ann', max_budget_in_team: 8 })
    expect((await info(id)).team_memberships.map((member) => (member['litellm_budget_table'] as Body)['max_budget'])).toEqual([
      8, 3,
    ])
  })

  it('may be given more for a while', async () => {
    const id = await team({ members: ['ann'], team_member_budget: 10 })
    const { key } = (await ok('POST', '/key/generate', { team_id: id, user_id: 'ann' })) as { key: string }
    await ok('POST', '/team/member_update', { team_id: id, user_id: 'ann', temp_budget_increase: 5, temp_budget_expiry: '1d' })
    const limit = ((await identity(key))['limits'] as Body[]).find(({ kind }) => kind === 'team_member')
    expect(limit).toMatchObject({ budget: 15_000_000_000, budgetUntil: NOON + 86_400_000, budgetAfter: 10_000_000_000 })
    const { status, body } = await post('/team/member_update', { team_id: id, user_id: 'ann', temp_budget_increase: 5 })
    expect([status, (body as { error: Body }).error['param']]).toEqual([400, 'temp_budget_expiry'])
  })

  it('who leave lose the keys they have in the team, and only those', async () => {
    const id = await team({ members: ['ann', 'bob'] })
    const inTeam = (await ok('POST', '/key/generate', { team_id: id, user_id: 'ann' })) as { key: string; token: string }
    const others = (await ok('POST', '/key/generate', { team_id: id, user_id: 'bob' })) as { key: string }
    announced.length = 0
    expect(await ok('POST', '/team/member_delete', { team_id: id, user_email: 'ann@example.com' })).toMatchObject({
      members: ['bob'],
    })
    expect(await identity(inTeam.key)).toMatchObject({ unknown: true })
    expect((await identity(others.key))['userId']).toBe('bob')
    expect((await identity(keys['ann'] as string))['userId']).toBe('ann')
    expect(announced).toEqual([{ teamId: id }, { keyHashes: [inTeam.token] }])
  })

  it('who are none are named when they are to be changed', async () => {
    const id = await team()
    for (const path of ['/team/member_update', '/team/member_delete'])
      expect((await post(path, { team_id: id, user_id: 'ann' })).body, path).toMatchObject({
        error: { code: '404', param: 'user_id', message: expect.stringContaining('ann') },
      })
    expect((await post('/team/member_update', { team_id: id, user_id: 'ann', role: 'boss' })).body).toMatchObject({
      detail: [{ loc: ['body', 'role'] }],
    })
    expect((await post('/team/member_update', { team_id: id, user_id: 'ann', max_budget_in_team: -1 })).body).toMatchObject({
      detail: [{ loc: ['body', 'max_budget_in_team'] }],
    })
  })

  it('have their spend lowered by who runs the team, not by themselves and not raised', async () => {
    const id = await team({ members_with_roles: [{ user_id: 'ann', role: 'admin' }, { user_id: 'bob' }], team_member_budget: 5 })
    await rows(
      `update spend set spent_nano = 3000000000, revision = revision + 1 where scope in ('team_member|${id}|ann', 'team_member|${id}|bob')`,
    )
    await rows(
      `insert into spend (scope, spent_nano, revision) values ('team_member|${id}|ann', 3000000000, 1), ('team_member|${id}|bob', 3000000000, 1) on conflict do nothing`,
    )
    const reset = (user: string, reset_to: number, key?: string) =>
      post(`/team/${id}/member/${user}/reset_spend`, { reset_to }, key)
    expect((await reset('bob', 1, keys['ann'])).body).toEqual({
      team_id: id,
      user_id: 'bob',
      spend: 1,
      previous_spend: 3,
      max_budget: 5,
    })
    expect((await info(id)).team_memberships.map(({ spend }) => spend)).toEqual([3, 1])
    expect((await reset('bob', 2)).body).toMatchObject({ error: { param: 'reset_to' } })
    expect((await reset('ann', 0, keys['ann'])).status).toBe(403)
    expect((await reset('nobody', 0)).status).toBe(404)
    expect((await reset('bob', -1)).status).toBe(422)
  })

  it('joining twice at once join once', async () => {
    const id = await team()
    const replies = await Promise.all(
      [1, 2, 3].map(() => post('/team/member_add', { team_id: id, member: { user_email: `twice-${id}@example.com` } })),
    )
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 400, 400])
    expect((await info(id)).team_info['members']).toHaveLength(1)
  })
})

describe('who may', () => {
  it('manage a team: its admins the team and its members, its members nothing, others do not even see it', async () => {
    const id = await team({ members_with_roles: [{ user_id: 'ann', role: 'admin' }, { user_id: 'eve' }] })
    const [ann, eve, bob] = [keys['ann'], keys['eve'], keys['bob']]
    expect((await post('/team/member_add', { team_id: id, member: { user_id: 'x1' } }, ann)).status).toBe(200)
    expect((await post('/team/member_update', { team_id: id, user_id: 'x1', role: 'admin' }, ann)).status).toBe(200)
    expect((await post('/team/update', { team_id: id, team_alias: 'mine' }, ann)).status).toBe(200)
    expect((await post('/team/permissions_update', { team_id: id, team_member_permissions: ['/key/list'] }, ann)).status).toBe(
      200,
    )
    expect((await post('/team/block', { team_id: id }, ann)).status).toBe(401)
    expect((await post('/team/update', { team_id: id, blocked: true }, ann)).status).toBe(401)
    expect((await post('/team/update', { team_id: id, organization_id: 'o2' }, ann)).status).toBe(401)
    expect((await post('/team/model/add', { team_id: id, models: ['x'] }, ann)).status).toBe(401)
    expect((await post('/team/delete', { team_ids: [id] }, ann)).status).toBe(401)
    expect((await get(`/team/info?team_id=${id}`, eve)).status).toBe(200)
    expect((await get(`/team/${id}/members/me`, eve)).body).toMatchObject({ user_id: 'eve', role: 'user', team_id: id })
    expect((await post('/team/member_delete', { team_id: id, user_id: 'x1' }, eve)).status).toBe(401)
    expect((await post('/team/update', { team_id: id, team_alias: 'x' }, eve)).status).toBe(401)
    expect((await get(`/team/info?team_id=${id}`, bob)).status).toBe(404)
    expect((await post('/team/update', { team_id: id, team_alias: 'x' }, bob)).status).toBe(404)
    expect((await get(`/team/info?team_id=${id}`, keys['watch'])).status).toBe(200)
    expect((await post('/team/update', { team_id: id, team_alias: 'x' }, keys['watch'])).status).toBe(401)
  })

  it('set what a team may use and spend: not its own admins, whom that binds', async () => {
    const limits = { max_budget: 1, rpm_limit: 3, models: ['gpt-4o'], model_rpm_limit: { 'gpt-4o': 1 } }
    const id = await team({ ...limits, members_with_roles: [{ user_id: 'ann', role: 'admin' }] })
    for (const fields of [
      { max_budget: 100 },
      { max_budget: null },
      { rpm_limit: 4 },
      { models: [] },
      { model_aliases: { a: 'b' } },
      { metadata: {} },
      { budget_duration: '1s' },
    ])
      expect((await post('/team/update', { team_id: id, ...fields }, keys['ann'])).status, JSON.stringify(fields)).toBe(401)
    const { metadata } = (await info(id)).team_info
    const same = await post('/team/update', { team_id: id, ...limits, metadata, team_alias: 'New', tags: ['t'] }, keys['ann'])
    expect(same.body).toMatchObject({
      data: { max_budget: 1, rpm_limit: 3, team_alias: 'New', metadata: { tags: ['t'], model_rpm_limit: { 'gpt-4o': 1 } } },
    })
  })

  it('run the teams of an organization: its admins, and no others’', async () => {
    const chief = keys['chief']
    const mine = await ok('POST', '/team/new', { organization_id: 'o1', models: ['gpt-4o'] }, chief)
    expect(mine['admins']).toEqual(['chief'])
    expect((await post('/team/block', { team_id: mine['team_id'] }, chief)).status).toBe(200)
    expect((await post('/team/new', { organization_id: 'o2' }, chief)).status).toBe(401)
    expect((await post('/team/new', {}, chief)).status).toBe(401)
    expect((await post('/team/update', { team_id: mine['team_id'], organization_id: 'o2' }, chief)).status).toBe(401)
    const others = await team({ organization_id: 'o2' })
    expect((await post('/team/update', { team_id: others, rpm_limit: 1 }, chief)).status).toBe(404)
    expect((await post('/team/delete', { team_ids: [mine['team_id']] }, chief)).status).toBe(200)
  })

  it('join by themselves: who is a user, a team that the configuration opens, as a plain member', async () => {
    await ok('POST', '/team/new', { team_id: 'open', max_budget: 7 })
    const bob = keys['bob']
    const before = (await get('/team/available', bob)).body
    expect(before).toEqual([expect.objectContaining({ team_id: 'open' })])
    expect(JSON.stringify(before)).not.toContain('max_budget')
    expect((await post('/team/member_add', { team_id: 'open', member: { user_id: 'bob', role: 'admin' } }, bob)).status).toBe(404)
    expect((await post('/team/member_add', { team_id: 'open', member: { user_id: 'ann' } }, bob)).status).toBe(404)
    expect(
      (await post('/team/member_add', { team_id: 'open', member: { user_id: 'bob' }, max_budget_in_team: 100 }, bob)).status,
    ).toBe(404)
    expect((await post('/team/member_add', { team_id: 'open', member: { user_id: 'bob' } }, bob)).status).toBe(200)
    expect((await get('/team/available', bob)).body).toEqual([])
  })

  it('see keys in a team: a plain member their own, its admin all', async () => {
    const id = await team({ members_with_roles: [{ user_id: 'ann', role: 'admin' }, { user_id: 'bob' }] })
    const bobs = await ok('POST', '/key/generate', { team_id: id, user_id: 'bob' })
    await ok('POST', '/key/generate', { team_id: id, user_id: 'ann' })
    const seen = async (key: string | undefined): Promise<unknown[]> =>
      ((await get(`/team/info?team_id=${id}`, key)).body as { keys: Body[] }).keys.map(({ token }) => token)
    expect(await seen(keys['bob'])).toEqual([bobs['token']])
    expect(await seen(keys['ann'])).toHaveLength(2)
  })
})

describe('lists', () => {
  it('hold every team for who reads everything, else one’s own, with keys and memberships', async () => {
    const mine = await team({ team_alias: 'Listed', members: ['eve'] })
    const other = await team()
    const all = (await get('/team/list', keys['watch'])).body as Body[]
    expect(all.map(({ team_id }) => team_id)).toEqual(expect.arrayContaining([mine, other]))
    const own = (await get('/team/list', keys['eve'])).body as Body[]
    expect(own.every(({ members }) => (members as string[]).includes('eve'))).toBe(true)
    expect(own.find(({ team_id }) => team_id === mine)).toMatchObject({
      keys: [],
      team_memberships: [{ user_id: 'eve', team_id: mine }],
    })
    const asked = (await get('/team/list?user_id=eve')).body as Body[]
    expect(asked.map(({ team_id }) => team_id)).toEqual(own.map(({ team_id }) => team_id))
  })

  it('come in pages, found by a part of the alias and sorted', async () => {
    for (const name of ['Page C', 'Page A', 'Page B']) await team({ team_alias: name })
    const page = async (query: string): Promise<{ teams: Body[]; total: number; total_pages: number }> =>
      (await ok('GET', `/v2/team/list?team_alias=page&sort_by=team_alias&sort_order=asc&${query}`)) as never
    expect(await page('page_size=2')).toMatchObject({
      total: 3,
      page: 1,
      page_size: 2,
      total_pages: 2,
      teams: [{ team_alias: 'Page A' }, { team_alias: 'Page B' }],
    })
    expect((await page('page_size=2&page=2')).teams.map(({ team_alias }) => team_alias)).toEqual(['Page C'])
    expect((await get('/v2/team/list?sort_by=secret')).body).toMatchObject({ detail: [{ loc: ['query', 'sort_by'] }] })
    expect((await get('/v2/team/list?status=deleted', keys['bob'])).status).toBe(401)
  })
})

describe('permissions of members', () => {
  it('are those everybody has until they are set, and can be added to for many teams', async () => {
    const [one, two] = [await team(), await team({ team_member_permissions: ['/key/list'] })]
    expect(await ok('GET', `/team/permissions_list?team_id=${one}`)).toMatchObject({
      team_id: one,
      team_member_permissions: ['/key/info', '/key/health'],
    })
    const body = await ok('POST', '/team/permissions_bulk_update', { permissions: ['/key/generate'], team_ids: [one, two] })
    expect(body).toMatchObject({ teams_updated: 2 })
    expect((await info(one)).team_info['team_member_permissions']).toEqual(['/key/info', '/key/health', '/key/generate'])
    expect((await info(two)).team_info['team_member_permissions']).toEqual(['/key/list', '/key/generate'])
    expect((await post('/team/permissions_bulk_update', { permissions: ['/key/generate'] })).status).toBe(422)
    expect(
      (await post('/team/permissions_bulk_update', { permissions: ['/key/generate'], apply_to_all_teams: true }, keys['ann']))
        .status,
    ).toBe(401)
  })
})

describe('callbacks of a team', () => {
  it('are kept with their secrets sealed, and shown without them', async () => {
    const id = await team()
    const vars = { langfuse_public_key: 'pk-1', langfuse_secret_key: 'sk-secret-value', langfuse_host: 'https://l.example' }
    await ok('POST', `/team/${id}/callback`, { callback_name: 'langfuse', callback_type: 'success', callback_vars: vars })
    expect(await ok('GET', `/team/${id}/callback`)).toEqual({
      status: 'success',
      data: {
        team_id: id,
        success_callbacks: ['langfuse'],
        failure_callbacks: [],
        callback_vars: { ...vars, langfuse_secret_key: '***' },
      },
    })
    const stored = async (): Promise<string> => JSON.stringify(await rows('select metadata from teams where team_id = $1', [id]))
    expect(await stored()).toContain('sealed:1:')
    // Sent back as it was shown, it is the one that was there.
    const before = await stored()
    const { metadata } = (await info(id)).team_info
    await ok('POST', '/team/update', { team_id: id, metadata })
    expect(await stored()).toBe(before)
    for (const table of ['audit_log', 'archive', 'teams'])
      expect(JSON.stringify(await rows(`select * from ${table}`))).not.toContain('sk-secret-value')

    await ok('POST', `/team/${id}/disable_logging`)
    expect(await ok('GET', `/team/${id}/callback`)).toMatchObject({ data: { success_callbacks: [] } })
    expect((await call('DELETE', `/team/${id}/callback/langfuse`)).status).toBe(404)
  })

  it('are those of the configuration until the team sets or ends its own', async () => {
    await ok('POST', '/team/new', { team_id: 'configured' })
    expect(await ok('GET', '/team/configured/callback')).toMatchObject({ data: { success_callbacks: ['langfuse'] } })
    await ok('POST', '/team/configured/callback', { callback_name: 'datadog', callback_type: 'failure' })
    expect(await ok('GET', '/team/configured/callback')).toMatchObject({
      data: { success_callbacks: [], failure_callbacks: ['datadog'] },
    })
    await ok('DELETE', '/team/configured/callback/datadog')
    expect(await ok('GET', '/team/configured/callback')).toMatchObject({ data: { success_callbacks: [], failure_callbacks: [] } })
  })
})

describe('the audit log', () => {
  it('holds every write, by the name the header gives', async () => {
    const id = await team()
    const headers = {
      authorization: `Bearer ${MASTER_KEY}`,
      'content-type': 'application/json',
      'litellm-changed-by': 'terraform',
    }
    const body = JSON.stringify({ team_id: id, rpm_limit: 1 })
    await fetch(`http://127.0.0.1:${gateway.accounting.port}/team/update`, { method: 'POST', headers, body })
    await ok('POST', '/team/block', { team_id: id })
    await ok('POST', '/team/member_add', { team_id: id, member: { user_id: 'ann' } })
    await ok('POST', '/team/delete', { team_ids: [id] })
    const log = await rows(`select action from audit_log where table_name = 'teams' and object_id = $1 order by at, id`, [id])
    expect(log.map(({ action }) => action).sort()).toEqual(['blocked', 'created', 'deleted', 'updated', 'updated'])
    expect(
      await rows(
        `select before_value -> 'rpm_limit' as was, updated_values -> 'rpm_limit' as "is" from audit_log where changed_by = 'terraform'`,
      ),
    ).toEqual([{ was: null, is: 1 }])
  })
})
