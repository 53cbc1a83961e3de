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
  await rows(
    `insert into users (user_id, user_role) values ('ann', 'internal_user'), ('bob', 'internal_user'), ('eve', 'internal_user')`,
  )
  for (const user_id of ['ann', 'bob', 'eve']) keys[user_id] = (await ok('POST', '/key/generate', { user_id }))['key'] as string
  await ok('POST', '/team/new', {
    team_id: 't1',
    models: ['gpt-4o', 'claude-*'],
    members_with_roles: [{ user_id: 'ann', role: 'admin' }, { user_id: 'bob' }],
  })
  await ok('POST', '/team/new', { team_id: 't2' })
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

const windowOf = async (scope: string): Promise<unknown> =>
  (await rows('select budget_duration from spend where scope = $1', [scope]))[0]?.['budget_duration']

describe('a project', () => {
  it('keeps what it is sent, limits its keys, changes and goes with them', async () => {
    const made = await ok('POST', '/project/new', {
      team_id: 't1',
      project_alias: 'P',
      description: 'd',
      models: ['gpt-4o'],
      metadata: { a: 1 },
      model_rpm_limit: { 'gpt-4o': 3 },
      tags: ['x'],
      guardrails: ['g'],
      max_budget: 2.5,
      rpm_limit: 7,
      budget_duration: '7d',
    })
    const id = made['project_id'] as string
    expect(made).toMatchObject({
      team_id: 't1',
      project_alias: 'P',
      description: 'd',
      models: ['gpt-4o'],
      metadata: { a: 1, model_rpm_limit: { 'gpt-4o': 3 }, tags: ['x'], guardrails: ['g'] },
      model_rpm_limit: { 'gpt-4o': 3 },
      blocked: false,
      spend: 0,
      litellm_budget_table: { max_budget: 2.5, rpm_limit: 7, budget_duration: '7d' },
    })
    expect(announced).toEqual([{ projectId: id }])
    expect(await windowOf(`project|${id}`)).toBe('7d')

    const { key, token } = (await ok('POST', '/key/generate', { team_id: 't1', project_id: id })) as {
      key: string
      token: string
    }
    const limit = async (): Promise<unknown> =>
      ((await identity(key))['limits'] as Body[]).find(({ kind, model }) => kind === 'project' && model === undefined)
    expect(await limit()).toMatchObject({ owner: id, budget: 2_500_000_000, requests: 7 })

    const updated = await ok('POST', '/project/update', { project_id: id, max_budget: 5, description: null })
    expect(updated).toMatchObject({
      project_alias: 'P',
      description: null,
      budget_id: made['budget_id'],
      litellm_budget_table: { max_budget: 5, rpm_limit: 7 },
    })
    expect(await limit()).toMatchObject({ budget: 5_000_000_000 })
    expect(await ok('GET', `/project/info?project_id=${id}`)).toEqual(updated)

    announced.length = 0
    expect(await ok('DELETE', '/project/delete', { project_ids: [id] })).toMatchObject([{ project_id: id }])
    expect(announced).toEqual([{ projectId: id }, { keyHashes: [token] }])
    expect(await identity(key)).toMatchObject({ unknown: true })
    expect(await windowOf(`project|${id}`)).toBeNull()
    const kept = await rows('select table_name from archive where object_id = any($1) order by 1', [[id, token]])
    expect(kept.map(({ table_name }) => table_name)).toEqual(['keys', 'projects'])
    const log = await rows(`select action from audit_log where table_name = 'projects' and object_id = $1`, [id])
    expect(log.map(({ action }) => action).sort()).toEqual(['created', 'deleted', 'updated'])
  })

  it('that is blocked says so in the log', async () => {
    const { project_id } = await ok('POST', '/project/new', { team_id: 't1' })
    expect(await ok('POST', '/project/update', { project_id, blocked: true })).toMatchObject({ blocked: true })
    expect(await rows(`select 1 from audit_log where object_id = $1 and action = 'blocked'`, [project_id])).toHaveLength(1)
  })

  it.each([
    [{ team_id: 'none' }, 404, 'team_id'],
    [{ team_id: 't1', models: ['mistral'] }, 400, 'models'],
    [{ team_id: 't1', budget_id: 'none' }, 400, 'budget_id'],
    [{ team_id: 't1', budget_id: 'none', max_budget: 1 }, 400, 'budget_id'],
  ])('%j is refused, and by name', async (fields, status, param) => {
    const reply = await call('POST', '/project/new', fields)
    expect([reply.status, (reply.body as { error: Body }).error['param']]).toEqual([status, param])
  })

  it.each([
    [{}, 'team_id'],
    [{ team_id: 't1', max_budget: -1 }, 'max_budget'],
    [{ team_id: 't1', budget_duration: '1y' }, 'budget_duration'],
    [{ team_id: 't1', rpm_limit: 'many' }, 'rpm_limit'],
  ])('%j is refused, with its place', async (fields, place) => {
    const reply = await call('POST', '/project/new', fields)
    expect(reply.status).toBe(422)
    expect((reply.body as { detail: Body[] }).detail[0]).toMatchObject({ loc: ['body', place] })
  })

  it('stays in its team', async () => {
    const { project_id } = await ok('POST', '/project/new', { team_id: 't1' })
    const reply = await call('POST', '/project/update', { project_id, team_id: 't2' })
    expect([reply.status, (reply.body as { error: Body }).error['param']]).toEqual([400, 'team_id'])
  })

  it('is run by admins of its team, read by members, and unseen by others', async () => {
    const { ann, bob, eve } = keys
    const made = await ok('POST', '/project/new', { team_id: 't1' }, ann)
    const id = made['project_id']
    const read = (key?: string) => call('GET', `/project/info?project_id=${id}`, undefined, key)
    const listed = async (key?: string): Promise<unknown[]> =>
      ((await ok('GET', '/project/list', undefined, key)) as unknown as Body[]).map(({ project_id }) => project_id)
    expect((await read(bob)).status).toBe(200)
    expect((await read(eve)).status).toBe(404)
    expect(await listed(bob)).toContain(id)
    expect(await listed(eve)).toEqual([])
    expect(await listed()).toContain(id)
    expect((await call('POST', '/project/new', { team_id: 't1' }, bob)).status).toBe(401)
    expect((await call('POST', '/project/update', { project_id: id, max_budget: 1 }, bob)).status).toBe(401)
    expect((await call('POST', '/project/update', { project_id: id, max_budget: 1 }, eve)).status).toBe(404)
    expect((await call('DELETE', '/project/delete', { project_ids: [id] }, bob)).status).toBe(401)
    expect((await call('DELETE', '/project/delete', { project_ids: [id] }, ann)).status).toBe(200)
  })
})
