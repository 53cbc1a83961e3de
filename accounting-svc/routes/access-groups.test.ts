import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Bus } from '../../shared/bus/bus.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const told: unknown[] = []
let gateway: AccountingFixture
let edge: Bus

const model = (name: string, ...groups: string[]) => ({
  model_name: name,
  litellm_params: { model: 'openai/gpt-4o', api_key: 'x' },
  model_info: { access_groups: groups },
})

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    config: { model_list: [model('fast', 'cheap', 'beta'), model('fast', 'cheap'), model('slow', 'cheap'), model('other')] },
  })
  edge = gateway.hub.join('edge')
  edge.onChange('identity', (payload) => told.push(payload))
  await query(`insert into users (user_id, user_role) values ('watch', 'proxy_admin_viewer'), ('ann', 'internal_user');
    insert into teams (team_id) values ('t1'), ('t2')`)
  for (const user of ['watch', 'ann']) await key(`sk-${user}`, { user_id: user })
})
afterAll(() => gateway.close())

const call = (method: string, path: string, body?: unknown, as?: string) => gateway.call(method, path, body, as)
const query = <Row = Body>(text: string, values: unknown[] = []) => gateway.test.db.query<Row>(text, values)

/** A key in the database; its hash. */
async function key(secret: string, fields: { user_id?: string; team_id?: string; models?: string[] } = {}): Promise<string> {
  await query("insert into keys (token, key_name, user_id, team_id, models) values ($1, 'sk-...', $2, $3, $4)", [
    hashKey(secret),
    fields.user_id ?? null,
    fields.team_id ?? null,
    fields.models ?? [],
  ])
  return hashKey(secret)
}

/** What the key may call, as edges are told. */
async function modelsOf(token: string): Promise<unknown> {
  const reply = (await edge.request(edge.subjects.identity, { v: 1, keyHash: token }, { timeout: 2000 })) as { identity: Body }
  return reply.identity['models']
}

async function made(fields: Body): Promise<Body & { access_group_id: string }> {
  const { status, body } = await call('POST', '/v1/access_group', fields)
  expect(status, JSON.stringify(body)).toBe(201)
  return body as Body & { access_group_id: string }
}

describe('/v1/access_group', () => {
  it('makes, shows, changes and deletes a group', async () => {
    const group = await made({
      access_group_name: 'crud',
      description: 'D',
      access_model_names: ['fast'],
      access_agent_ids: ['a'],
    })
    expect(group).toMatchObject({
      access_group_name: 'crud',
      description: 'D',
      access_model_names: ['fast'],
      access_mcp_server_ids: [],
      access_agent_ids: ['a'],
      assigned_team_ids: [],
      assigned_key_ids: [],
      created_by: 'default_user_id',
    })
    const path = `/v1/access_group/${group.access_group_id}`
    expect((await call('PUT', path, { description: null, access_model_names: ['slow'] })).body).toMatchObject({
      access_group_name: 'crud',
      description: null,
      access_model_names: ['slow'],
      access_agent_ids: ['a'],
    })
    expect((await call('GET', path)).body).toMatchObject({ access_model_names: ['slow'] })
    expect((await call('GET', '/v1/unified_access_group')).body).toMatchObject([{ access_group_id: group.access_group_id }])
    expect((await call('DELETE', path)).status).toBe(204)
    expect((await call('GET', path)).status).toBe(404)
    expect((await call('DELETE', path)).status).toBe(404)
    expect(await query('select action from audit_log where object_id = $1 order by at', [group.access_group_id])).toEqual([
      { action: 'created' },
      { action: 'updated' },
      { action: 'deleted' },
    ])
  })

  it('grants its models to keys and teams, and tells the edges', async () => {
    const token = await key('sk-granted', { models: ['other'] })
    const ofTeam = await key('sk-team', { team_id: 't1' })
    told.length = 0
    await made({
      access_group_name: 'grant',
      access_model_names: ['fast', 'slow'],
      assigned_key_ids: ['sk-granted'],
      assigned_team_ids: ['t1'],
    })
    expect(told).toEqual([{ keyHashes: [token] }, { teamId: 't1' }])
    expect(await modelsOf(token)).toEqual(['other', 'fast', 'slow'])
    expect(await modelsOf(ofTeam)).toEqual(['fast', 'slow'])
  })

  it.each([
    ['unassigned', (id: string) => call('PUT', `/v1/access_group/${id}`, { assigned_key_ids: [], assigned_team_ids: [] })],
    ['emptied', (id: string) => call('PUT', `/v1/access_group/${id}`, { access_model_names: [] })],
    ['deleted', (id: string) => call('DELETE', `/v1/access_group/${id}`)],
  ])('opens nothing to who had models by it alone when it is %s', async (what, take) => {
    const token = await key(`sk-only-${what}`)
    const listed = await key(`sk-listed-${what}`, { models: ['other'] })
    await query('insert into teams (team_id) values ($1)', [what])
    const ofTeam = await key(`sk-of-team-${what}`, { team_id: what })
    const group = await made({
      access_group_name: `close ${what}`,
      access_model_names: ['fast'],
      assigned_key_ids: [token, listed],
      assigned_team_ids: [what],
    })
    expect(await modelsOf(token)).toEqual(['fast'])
    told.length = 0
    expect((await take(group.access_group_id)).status).toBeLessThan(300)
    expect(told).toContainEqual({ teamId: what })
    expect(await modelsOf(token)).toEqual(['no-default-models'])
    expect(await modelsOf(ofTeam)).toEqual(['no-default-models'])
    expect(await modelsOf(listed)).toEqual(['other'])
  })

  it('leaves the models of another group to who loses one', async () => {
    const token = await key('sk-two')
    await made({ access_group_name: 'two a', access_model_names: ['slow'], assigned_key_ids: [token] })
    const group = await made({ access_group_name: 'two b', access_model_names: ['fast'], assigned_key_ids: [token] })
    await call('DELETE', `/v1/access_group/${group.access_group_id}`)
    expect(await modelsOf(token)).toEqual(['slow'])
  })

  it('takes nothing away with a group that held no models', async () => {
    const token = await key('sk-tools')
    const group = await made({ access_group_name: 'tools', access_mcp_server_ids: ['s'], assigned_key_ids: [token] })
    await call('DELETE', `/v1/access_group/${group.access_group_id}`)
    expect(await modelsOf(token)).toEqual([])
  })

  it('grants to nobody when one of them does not exist', async () => {
    for (const [field, value] of [
      ['assigned_key_ids', ['sk-ann', 'sk-ghost']],
      ['assigned_team_ids', ['t2', 'ghost']],
    ] as const) {
      const { status, body } = await call('POST', '/v1/access_group', { access_group_name: 'half', [field]: value })
      expect(status).toBe(404)
      expect(body).toMatchObject({ error: { param: field } })
    }
    expect(await query("select 1 from access_groups where access_group_name = 'half'")).toEqual([])
  })

  it('refuses a name that is taken', async () => {
    const { status, body } = await call('POST', '/v1/access_group', { access_group_name: 'grant' })
    expect(status).toBe(409)
    expect(body).toMatchObject({ error: { param: 'access_group_name' } })
  })

  it('says which field is wrong', async () => {
    expect((await call('POST', '/v1/access_group', {})).body).toMatchObject({ detail: [{ loc: ['body', 'access_group_name'] }] })
    expect((await call('POST', '/v1/access_group', { access_group_name: 'x', access_model_names: 'fast' })).body).toMatchObject({
      detail: [{ loc: ['body', 'access_model_names'] }],
    })
  })

  it('is for admins; an admin viewer reads', async () => {
    const { access_group_id: id } = await made({ access_group_name: 'roles' })
    for (const as of ['sk-watch', 'sk-ann']) {
      expect((await call('POST', '/v1/access_group', { access_group_name: 'nope' }, as)).status).toBe(401)
      expect((await call('PUT', `/v1/access_group/${id}`, { description: 'x' }, as)).status).toBe(401)
      expect((await call('DELETE', `/v1/access_group/${id}`, {}, as)).status).toBe(401)
    }
    expect((await call('GET', `/v1/access_group/${id}`, undefined, 'sk-watch')).status).toBe(200)
    expect((await call('GET', '/v1/access_group', undefined, 'sk-ann')).status).toBe(401)
  })
})

describe('/access_group', () => {
  it('shows the groups that the configured models are in', async () => {
    expect((await call('GET', '/access_group/list')).body).toEqual({
      access_groups: [
        { access_group: 'beta', model_names: ['fast'], deployment_count: 1 },
        { access_group: 'cheap', model_names: ['fast', 'slow'], deployment_count: 3 },
      ],
    })
    expect((await call('GET', '/access_group/beta/info')).body).toMatchObject({ model_names: ['fast'] })
    expect((await call('GET', '/access_group/none/info')).status).toBe(404)
  })

  it('says that the configuration is not written', async () => {
    for (const [method, path] of [
      ['POST', '/access_group/new'],
      ['PUT', '/access_group/cheap/update'],
      ['DELETE', '/access_group/cheap/delete'],
    ] as const) {
      const { status, body } = await call(method, path, { access_group: 'cheap', model_names: ['other'] })
      expect(status, path).toBe(400)
      expect(body).toMatchObject({ error: { message: expect.stringContaining('configuration file') } })
    }
  })
})
