import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const announced: { kind: string; payload: unknown }[] = []
let gateway: AccountingFixture

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock: testClock(NOON) })
  const edge = gateway.hub.join('edge')
  for (const kind of ['identity', 'budget'] as const) edge.onChange(kind, (payload) => announced.push({ kind, payload }))
  await gateway.test.db.query(
    `insert into users (user_id, user_role) values ('ann', 'internal_user'), ('watch', 'proxy_admin_viewer')`,
  )
})
afterAll(() => gateway.close())

const post = (path: string, body?: unknown, key: string = MASTER_KEY) => gateway.call('POST', path, body, key)
const get = (path: string, key: string = MASTER_KEY) => gateway.call('GET', path, undefined, key)
const rows = (text: string, values: unknown[] = []) => gateway.test.db.query(text, values)

async function made(fields: Body = {}): Promise<Body & { budget_id: string }> {
  const { status, body } = await post('/budget/new', fields)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as Body & { budget_id: string }
}

async function keyOf(fields: Body): Promise<{ key: string; token: string }> {
  return (await post('/key/generate', fields)).body as { key: string; token: string }
}

/** Links one owner of each kind to the row. */
async function linkAll(id: string): Promise<string[]> {
  const token = (await keyOf({ budget_id: id })).token
  await rows(`insert into teams (team_id, team_member_budget_id) values ('t|${id}', '${id}');
    insert into team_members (team_id, user_id, budget_id) values ('t|${id}', 'ann', null), ('other', 'u-${id}', '${id}');
    insert into organizations (organization_id, budget_id) values ('o-${id}', '${id}');
    insert into organization_members (organization_id, user_id, budget_id) values ('o-${id}', 'ann', '${id}');
    insert into projects (project_id, team_id, budget_id) values ('p-${id}', 'x', '${id}');
    insert into customers (user_id, budget_id) values ('c-${id}', '${id}');
    insert into tags (tag_name, budget_id) values ('g-${id}', '${id}')`)
  return [
    `customer|c-${id}`,
    `key|${token}`,
    `organization_member|o-${id}|ann`,
    `organization|o-${id}`,
    `project|p-${id}`,
    `tag|g-${id}`,
    `team_member|other|u-${id}`,
    `team_member|t%7C${id}|ann`,
  ]
}

async function windows(): Promise<Record<string, string | null>> {
  const found = await rows('select scope, budget_duration from spend')
  return Object.fromEntries(found.map((row) => [String(row['scope']), row['budget_duration'] as string | null]))
}

describe('POST /budget/new', () => {
  it('makes a row with an id of its own and gives back every field as it was sent', async () => {
    const fields = {
      max_budget: 12.000000001,
      soft_budget: 10,
      max_parallel_requests: 3,
      tpm_limit: 100,
      rpm_limit: 10,
      model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
      budget_duration: '30d',
      allowed_models: ['gpt-4o'],
    }
    const body = await made(fields)
    expect(body).toMatchObject({ ...fields, created_by: 'default_user_id', budget_reset_at: '2026-12-01T00:00:00.000Z' })
    expect(body.budget_id).toMatch(/^[0-9a-f-]{36}$/)
    expect((await post('/budget/info', { budgets: [body.budget_id, 'nobody'] })).body).toEqual([body])
  })

  it('reads numbers that are sent as text, and an empty text as none', async () => {
    expect(await made({ max_budget: '0.000000001', rpm_limit: '7', tpm_limit: '', soft_budget: '' })).toMatchObject({
      max_budget: 0.000000001,
      rpm_limit: 7,
      tpm_limit: null,
      soft_budget: null,
    })
  })

  it('takes an id, and refuses one that exists by name', async () => {
    expect((await made({ budget_id: 'gold' })).budget_id).toBe('gold')
    const { status, body } = await post('/budget/new', { budget_id: 'gold' })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'budget_id', message: expect.stringContaining('gold') } })
  })

  it.each([
    [{ max_budget: -1 }, ['body', 'max_budget']],
    [{ max_budget: '-0.5' }, ['body', 'max_budget']],
    [{ soft_budget: 'ten' }, ['body', 'soft_budget']],
    [{ budget_duration: 'weekly' }, ['body', 'budget_duration']],
    [{ budget_duration: '999999999mo' }, ['body', 'budget_duration']],
    [{ rpm_limit: -5 }, ['body', 'rpm_limit']],
    [{ rpm_limit: true }, ['body', 'rpm_limit']],
    [{ tpm_limit: '1e3' }, ['body', 'tpm_limit']],
    [{ max_parallel_requests: 0.5 }, ['body', 'max_parallel_requests']],
    [{ model_max_budget: { m: { budget_limit: -1 } } }, ['body', 'model_max_budget', 'm', 'budget_limit']],
    [{ allowed_models: 'gpt-4o' }, ['body', 'allowed_models']],
  ])('refuses %j and says where it is wrong', async (fields, place) => {
    const { status, body } = await post('/budget/new', fields)
    expect(status).toBe(422)
    expect((body as { detail: { loc: string[] }[] }).detail[0]?.loc).toEqual(place)
  })
})

describe('POST /budget/update', () => {
  it('changes what is named, keeps the rest, and takes null as none', async () => {
    const { budget_id } = await made({ max_budget: 1, rpm_limit: 5 })
    expect((await post('/budget/update', { budget_id, max_budget: 2.5 })).body).toMatchObject({ max_budget: 2.5, rpm_limit: 5 })
    expect((await post('/budget/update', { budget_id, max_budget: null })).body).toMatchObject({ max_budget: null, rpm_limit: 5 })
  })

  it('reschedules the windows of everybody who is linked to the row, and tells every process', async () => {
    const { budget_id } = await made({ budget_id: 'shared', max_budget: 1 })
    const owners = await linkAll(budget_id)
    announced.length = 0
    await post('/budget/update', {
      budget_id,
      budget_duration: '7d',
      model_max_budget: { m: { budget_limit: 1, time_period: '1d' } },
    })
    const open = await windows()
    expect(Object.fromEntries(owners.map((scope) => [scope, open[scope]]))).toEqual(
      Object.fromEntries(owners.map((scope) => [scope, '7d'])),
    )
    expect(open[`customer|c-${budget_id}|model|m`]).toBe('1d')
    expect(announced).toEqual([
      { kind: 'identity', payload: {} },
      { kind: 'budget', payload: {} },
    ])
    await post('/budget/update', { budget_id, budget_duration: null })
    const closed = await windows()
    expect(owners.map((scope) => closed[scope])).toEqual(owners.map(() => null))
  })

  it('leaves a key with a window of its own its window', async () => {
    const { budget_id } = await made({ budget_duration: '1d' })
    const { token } = await keyOf({ budget_id, budget_duration: '30d' })
    await post('/budget/update', { budget_id, budget_duration: '7d' })
    expect((await windows())[`key|${token}`]).toBe('30d')
  })

  it('refuses a row that does not exist by name', async () => {
    const { status, body } = await post('/budget/update', { budget_id: 'none', max_budget: 1 })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'budget_id', message: expect.stringContaining('none') } })
  })
})

describe('POST /budget/delete', () => {
  it('leaves everybody who was linked to the row without it, and their windows closed', async () => {
    const { budget_id } = await made({ budget_id: 'doomed', budget_duration: '1d' })
    const owners = await linkAll(budget_id)
    await post('/budget/update', { budget_id, budget_duration: '7d' })
    announced.length = 0
    expect((await post('/budget/delete', { id: budget_id })).body).toMatchObject({ budget_id })
    for (const table of ['keys', 'team_members', 'organizations', 'organization_members', 'projects', 'customers', 'tags'])
      expect(await rows(`select 1 from ${table} where budget_id = $1`, [budget_id]), table).toEqual([])
    expect(await rows('select 1 from teams where team_member_budget_id = $1', [budget_id])).toEqual([])
    const open = await windows()
    expect(owners.map((scope) => open[scope])).toEqual(owners.map(() => null))
    expect(announced.map(({ kind }) => kind)).toEqual(['identity', 'budget'])
    expect((await post('/budget/delete', { id: budget_id })).status).toBe(400)
  })
})

describe('reading budgets', () => {
  it('lists every row, and describes the fields of one', async () => {
    const { budget_id } = await made({ max_budget: 3 })
    expect((await get('/budget/list')).body).toContainEqual(expect.objectContaining({ budget_id, max_budget: 3 }))
    expect((await get(`/budget/settings?budget_id=${budget_id}`)).body).toContainEqual(
      expect.objectContaining({ field_name: 'max_budget', field_value: 3, stored_in_db: true }),
    )
  })
})

describe('who may touch budgets', () => {
  it('lets admins write, admin viewers read, and others do neither', async () => {
    const ann = (await keyOf({ user_id: 'ann' })).key
    const viewer = (await keyOf({ user_id: 'watch' })).key
    const { budget_id } = await made()
    expect((await post('/budget/info', { budgets: [budget_id] }, viewer)).status).toBe(200)
    expect((await get('/budget/list', viewer)).status).toBe(200)
    expect((await post('/budget/new', {}, viewer)).status).toBe(401)
    expect((await post('/budget/info', { budgets: [budget_id] }, ann)).status).toBe(401)
    expect((await get('/budget/list', ann)).status).toBe(401)
    expect((await post('/budget/update', { budget_id, max_budget: 1 }, ann)).status).toBe(401)
  })

  it('writes down who changed what, and from what', async () => {
    const { budget_id } = await made({ max_budget: 1 })
    await post('/budget/update', { budget_id, max_budget: 2 })
    await post('/budget/delete', { id: budget_id })
    const log = await rows(
      `select action, changed_by, before_value ->> 'max_budget' as before, updated_values ->> 'max_budget' as after
       from audit_log where table_name = 'budgets' and object_id = $1 order by at, action`,
      [budget_id],
    )
    expect(log.map(({ action, before, after }) => [action, before, after])).toEqual([
      ['created', null, '1'],
      ['updated', '1', '2'],
      ['deleted', '2', null],
    ])
    expect(log[0]?.['changed_by']).toBe('default_user_id')
  })
})
