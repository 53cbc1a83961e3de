import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const announced: unknown[] = []
let gateway: AccountingFixture
let edge: Bus
const keys: Record<string, string> = {}

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock: testClock(NOON) })
  edge = gateway.hub.join('edge')
  edge.onChange('identity', (payload) => announced.push(payload))
  await rows(`insert into users (user_id, user_role, user_email) values
    ('chief', 'internal_user', 'chief@example.com'), ('ann', 'internal_user', 'ann@example.com'), ('watch', 'proxy_admin_viewer', null)`)
  for (const user_id of ['chief', 'ann', 'watch'])
    keys[user_id] = (await ok('POST', '/key/generate', { user_id }))['key'] as string
})
afterAll(() => gateway.close())
beforeEach(() => {
  announced.length = 0
})

const call = (method: string, path: string, body?: unknown, key: string | undefined = MASTER_KEY) =>
  gateway.call(method, path, body, key)
const rows = (text: string, values: unknown[] = []) => gateway.test.db.query(text, values)

async function ok(method: string, path: string, body?: unknown, key?: string): Promise<Body> {
  const reply = await call(method, path, body, key)
  expect(reply.status, reply.text).toBe(200)
  return reply.body as Body
}

async function identity(key: string): Promise<Body> {
  const keyHash = createHash('sha256').update(key).digest('hex')
  const reply = (await edge.request(edge.subjects.identity, { v: 1, keyHash }, { timeout: 2000 })) as Body
  return (reply['identity'] ?? reply) as Body
}

let count = 0
async function organization(fields: Body = {}): Promise<string> {
  const organization_id = `org-${count++}`
  await ok('POST', '/organization/new', { organization_id, organization_alias: organization_id, ...fields })
  return organization_id
}
const info = (id: string): Promise<Body> => ok('GET', `/organization/info?organization_id=${id}`)
const windowOf = async (scope: string): Promise<unknown> =>
  (await rows('select budget_duration from spend where scope = $1', [scope]))[0]?.['budget_duration']

describe('POST /organization/new', () => {
  it('keeps what it is sent, the limits in a budget row', async () => {
    const limits = {
      max_budget: 100.5,
      soft_budget: 90,
      tpm_limit: 1000,
      rpm_limit: 10,
      max_parallel_requests: 4,
      budget_duration: '30d',
    }
    const body = await ok('POST', '/organization/new', {
      organization_alias: 'Acme',
      models: ['gpt-4o'],
      metadata: { a: 1 },
      model_rpm_limit: { 'gpt-4o': 5 },
      object_permission: { mcp_servers: ['s'] },
      ...limits,
    })
    expect(body).toMatchObject({
      organization_alias: 'Acme',
      models: ['gpt-4o'],
      metadata: { a: 1, model_rpm_limit: { 'gpt-4o': 5 } },
      object_permission: { mcp_servers: ['s'] },
      spend: 0,
      created_by: 'default_user_id',
      litellm_budget_table: { ...limits, budget_reset_at: '2026-12-01T00:00:00.000Z' },
    })
    expect(body['budget_id']).toBe((body['litellm_budget_table'] as Body)['budget_id'])
    expect(await windowOf(`organization|${body['organization_id']}`)).toBe('30d')
    expect(announced).toEqual([{ organizationId: body['organization_id'] }])
  })

  it('shares a budget row that is there, and refuses one that is not', async () => {
    await ok('POST', '/budget/new', { budget_id: 'tier', max_budget: 3 })
    const id = await organization({ budget_id: 'tier' })
    expect(await info(id)).toMatchObject({ budget_id: 'tier', litellm_budget_table: { max_budget: 3 } })
    const refused = await call('POST', '/organization/new', { organization_alias: 'x', budget_id: 'none' })
    expect([refused.status, (refused.body as { error: Body }).error['param']]).toEqual([400, 'budget_id'])
  })

  it.each([
    [{}, ['body', 'organization_alias'], 'missing'],
    [{ organization_alias: 'x', max_budget: -1 }, ['body', 'max_budget'], 'custom'],
    [{ organization_alias: 'x', budget_duration: 'soon' }, ['body', 'budget_duration'], 'custom'],
  ])('refuses %j and says where it is wrong', async (fields, place, type) => {
    const { status, body } = await call('POST', '/organization/new', fields)
    expect(status).toBe(422)
    expect((body as { detail: Body[] }).detail[0]).toMatchObject({ loc: place, type })
  })

  it('refuses an id that exists by name', async () => {
    const id = await organization()
    const { status, body } = await call('POST', '/organization/new', { organization_alias: 'x', organization_id: id })
    expect([status, (body as { error: Body }).error['param']]).toEqual([400, 'organization_id'])
  })
})

describe('PATCH /organization/update', () => {
  it('changes what is named and keeps the rest, limits included, under both paths', async () => {
    const id = await organization({ max_budget: 5, rpm_limit: 7, metadata: { a: 1 } })
    const { key } = (await ok('POST', '/key/generate', { organization_id: id })) as { key: string }
    const updated = await ok('PATCH', '/organization/update', {
      organization_id: id,
      max_budget: 6,
      budget_duration: '1d',
      model_tpm_limit: { m: 1 },
    })
    expect(updated).toMatchObject({
      metadata: { a: 1, model_tpm_limit: { m: 1 } },
      litellm_budget_table: { max_budget: 6, rpm_limit: 7, budget_duration: '1d' },
    })
    expect(await windowOf(`organization|${id}`)).toBe('1d')
    expect(announced).toContainEqual({ organizationId: id })
    expect(((await identity(key))['limits'] as Body[]).find(({ kind }) => kind === 'organization')).toMatchObject({
      budget: 6_000_000_000,
      requests: 7,
    })
    expect(await ok('PATCH', `/v2/organization/${id}`, { organization_alias: 'New', max_budget: null })).toMatchObject({
      organization_alias: 'New',
      litellm_budget_table: { max_budget: null, rpm_limit: 7 },
    })
  })

  it('copies a shared row before it changes it for one', async () => {
    await ok('POST', '/budget/new', { budget_id: 'both', max_budget: 3 })
    const [one, two] = [await organization({ budget_id: 'both' }), await organization({ budget_id: 'both' })]
    await ok('PATCH', '/organization/update', { organization_id: one, max_budget: 9 })
    expect((await info(one))['litellm_budget_table']).toMatchObject({ max_budget: 9 })
    expect(await info(two)).toMatchObject({ budget_id: 'both', litellm_budget_table: { max_budget: 3 } })
  })

  it('refuses an organization that does not exist by name', async () => {
    const { status, body } = await call('PATCH', '/organization/update', { organization_id: 'none' })
    expect([status, (body as { error: Body }).error['param']]).toEqual([404, 'organization_id'])
  })
})

describe('DELETE /organization/delete', () => {
  it('revokes the keys of the organization and of its teams, and keeps what was', async () => {
    const id = await organization()
    await ok('POST', '/team/new', { team_id: `t-${id}`, organization_id: id })
    const inTeam = (await ok('POST', '/key/generate', { team_id: `t-${id}` })) as { key: string; token: string }
    const direct = (await ok('POST', '/key/generate', { organization_id: id })) as { key: string; token: string }
    await ok('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } })
    announced.length = 0
    expect(await ok('DELETE', '/organization/delete', { organization_ids: [id] })).toMatchObject([{ organization_id: id }])
    for (const { key } of [inTeam, direct]) expect(await identity(key)).toMatchObject({ unknown: true })
    expect(announced).toContainEqual({ organizationId: id })
    expect(announced).toContainEqual({ keyHashes: expect.arrayContaining([inTeam.token, direct.token]) })
    for (const table of ['organizations', 'organization_members', 'teams', 'keys'])
      expect(await rows(`select 1 from ${table} where organization_id = $1`, [id]), table).toEqual([])
    const kept = await rows('select table_name from archive where object_id = any($1)', [
      [id, `t-${id}`, inTeam.token, direct.token],
    ])
    expect(kept.map(({ table_name }) => table_name).sort()).toEqual(['keys', 'keys', 'organizations', 'teams'])
    expect((await call('GET', `/organization/info?organization_id=${id}`)).status).toBe(404)
  })
})

describe('members', () => {
  it('join, are made users where nobody knows them, change and leave', async () => {
    const id = await organization()
    const added = await ok('POST', '/organization/member_add', {
      organization_id: id,
      member: [
        { user_id: 'chief', role: 'org_admin' },
        { user_email: `new-${id}@example.com`, role: 'internal_user_viewer' },
      ],
      max_budget_in_organization: 4,
    })
    expect(added).toMatchObject({
      organization_id: id,
      updated_users: expect.arrayContaining([expect.objectContaining({ user_id: 'chief' })]),
      updated_organization_memberships: [
        { user_id: 'chief', user_role: 'org_admin', litellm_budget_table: { max_budget: 4 } },
        { user_email: `new-${id}@example.com`, user_role: 'internal_user_viewer' },
      ],
    })
    const changed = await ok('PATCH', '/organization/member_update', {
      organization_id: id,
      user_id: 'chief',
      role: 'internal_user',
      max_budget_in_organization: 5,
    })
    expect(changed).toMatchObject({ user_role: 'internal_user', litellm_budget_table: { max_budget: 5 } })
    const left = await ok('DELETE', '/organization/member_delete', { organization_id: id, user_email: 'CHIEF@example.com' })
    expect(left).toMatchObject({ user_id: 'chief' })
    expect((await info(id))['members']).toHaveLength(1)
    expect((await call('DELETE', '/organization/member_delete', { organization_id: id, user_id: 'chief' })).status).toBe(404)
  })

  it('are refused twice, and in a role nobody knows', async () => {
    const id = await organization()
    await ok('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } })
    const twice = await call('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } })
    expect([twice.status, (twice.body as { error: Body }).error['param']]).toEqual([400, 'user_id'])
    const role = await call('PATCH', '/organization/member_update', { organization_id: id, user_id: 'ann', role: 'king' })
    expect(role.body).toMatchObject({ detail: [{ loc: ['body', 'role'] }] })
  })
})

describe('who may', () => {
  it('read and run an organization: members read, its admins run it, others do not even see it', async () => {
    const id = await organization({ max_budget: 1 })
    await ok('POST', '/organization/member_add', { organization_id: id, member: [{ user_id: 'chief', role: 'org_admin' }] })
    const { chief, ann, watch } = keys
    const one = (key?: string) => call('GET', `/organization/info?organization_id=${id}`, undefined, key)
    expect((await one(ann)).status).toBe(404)
    expect(
      (await call('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } }, ann)).status,
    ).toBe(404)
    expect(
      (await call('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } }, chief)).status,
    ).toBe(200)
    expect((await one(ann)).status).toBe(200)
    expect((await call('PATCH', '/organization/update', { organization_id: id, max_budget: 100 }, ann)).status).toBe(401)
    expect((await call('DELETE', '/organization/member_delete', { organization_id: id, user_id: 'chief' }, ann)).status).toBe(401)
    expect((await call('POST', '/organization/new', { organization_alias: 'x' }, chief)).status).toBe(401)
    expect((await one(watch)).status).toBe(200)
    expect((await call('PATCH', '/organization/update', { organization_id: id, max_budget: 100 }, watch)).status).toBe(401)
  })

  it('set the limits of an organization: not its own admins, whom they bind', async () => {
    const id = await organization({ max_budget: 1, models: ['gpt-4o'] })
    await ok('POST', '/organization/member_add', { organization_id: id, member: [{ user_id: 'chief', role: 'org_admin' }] })
    for (const fields of [
      { max_budget: 100 },
      { budget_id: 'x' },
      { models: [] },
      { budget_duration: '1s' },
      { model_rpm_limit: {} },
      { metadata: {} },
    ])
      expect(
        (await call('PATCH', '/organization/update', { organization_id: id, ...fields }, keys['chief'])).status,
        JSON.stringify(fields),
      ).toBe(401)
    expect(
      (await call('PATCH', '/organization/update', { organization_id: id, organization_alias: 'Mine' }, keys['chief'])).status,
    ).toBe(200)
    expect((await info(id))['litellm_budget_table']).toMatchObject({ max_budget: 1 })
  })

  it('list them: all for who reads everything, else those one is a member of', async () => {
    const id = await organization()
    const ids = async (key?: string, query = ''): Promise<unknown[]> =>
      ((await ok('GET', `/organization/list${query}`, undefined, key)) as unknown as Body[]).map(
        ({ organization_id }) => organization_id,
      )
    expect(await ids(keys['watch'])).toContain(id)
    expect(await ids(keys['ann'])).not.toContain(id)
    await ok('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } })
    expect(await ids(keys['ann'])).toContain(id)
    expect(await ids(undefined, `?org_alias=${id.toUpperCase()}`)).toContain(id)
    expect(await ids(undefined, `?org_id=${id}`)).toEqual([id])
  })
})

describe('the audit log', () => {
  it('holds every write to an organization and its members', async () => {
    const id = await organization()
    await ok('PATCH', '/organization/update', { organization_id: id, max_budget: 1 })
    await ok('POST', '/organization/member_add', { organization_id: id, member: { user_id: 'ann' } })
    await ok('PATCH', '/organization/member_update', { organization_id: id, user_id: 'ann', role: 'org_admin' })
    await ok('DELETE', '/organization/member_delete', { organization_id: id, user_id: 'ann' })
    await ok('DELETE', '/organization/delete', { organization_ids: [id] })
    const log = await rows(`select table_name, action from audit_log where object_id in ($1, $2)`, [id, `${id}:ann`])
    expect(log.map(({ table_name, action }) => `${table_name} ${action}`).sort()).toEqual([
      'organization_members created',
      'organization_members deleted',
      'organization_members updated',
      'organizations created',
      'organizations deleted',
      'organizations updated',
    ])
  })
})
