import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, configOf, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>
type Made = Body & { key: string; token: string }

let gateway: AccountingFixture

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock: testClock(NOON) })
})
afterAll(() => gateway.close())

/** lead runs team t of organization o, mem is a member, head runs the organization, eve is a viewer, root an admin in the team. */
beforeEach(() =>
  gateway.test.db.query(`
    truncate keys, users, teams, team_members, organizations, organization_members, spend, archive;
    insert into users (user_id, user_role) values ('lead', 'internal_user'), ('mem', 'internal_user'), ('head', 'internal_user_viewer'),
      ('out', 'internal_user'), ('eve', 'internal_user_viewer'), ('root', 'proxy_admin');
    insert into organizations (organization_id) values ('o');
    insert into teams (team_id, organization_id) values ('t', 'o'), ('other', null);
    insert into team_members (team_id, user_id, role) values ('t', 'lead', 'admin'), ('t', 'mem', 'user'), ('t', 'root', 'user');
    insert into organization_members (organization_id, user_id, user_role) values ('o', 'head', 'org_admin'), ('o', 'mem', 'internal_user')`),
)

const post = (path: string, body: unknown, key: string = MASTER_KEY) => gateway.call('POST', path, body, key)
const get = (path: string, key: string = MASTER_KEY) => gateway.call('GET', path, undefined, key)

async function made(fields: Body, key = MASTER_KEY): Promise<Made> {
  const { status, body } = await post('/key/generate', fields, key)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as Made
}
const keyOf = async (user: string): Promise<string> => (await made({ user_id: user })).key
const status = async (path: string, body: unknown, key: string): Promise<number> => (await post(path, body, key)).status

describe('making keys', () => {
  it('lets an admin of a team make keys of it for its members, and an admin of its organization', async () => {
    expect(await made({ team_id: 't', user_id: 'mem' }, await keyOf('lead'))).toMatchObject({
      user_id: 'mem',
      created_by: 'lead',
    })
    expect(await made({ team_id: 't', user_id: 'mem' }, await keyOf('head'))).toMatchObject({ organization_id: 'o' })
    expect(await status('/key/generate', { team_id: 'other' }, await keyOf('lead'))).toBe(401)
    expect(await status('/key/generate', { user_id: 'mem' }, await keyOf('lead'))).toBe(401)
  })

  it('lets plain members make keys of their team only where the team lets them', async () => {
    const mem = await keyOf('mem')
    expect(await post('/key/generate', { team_id: 't' }, mem)).toMatchObject({
      status: 401,
      body: { error: { type: 'team_member_permission_error' } },
    })
    await gateway.test.db.query(`update teams set team_member_permissions = '{/key/generate}' where team_id = 't'`)
    expect(await made({ team_id: 't' }, mem)).toMatchObject({ user_id: 'mem', team_id: 't' })
    expect(await status('/key/service-account/generate', { team_id: 't' }, mem)).toBe(401)
  })

  it('never lets anybody but an admin get hold of a key of an admin', async () => {
    const lead = await keyOf('lead')
    expect(await status('/key/generate', { team_id: 't', user_id: 'root' }, lead)).toBe(401)
    const { token } = await made({ team_id: 't', user_id: 'root' })
    expect(await status('/key/regenerate', { key: token }, lead)).toBe(401)
    const mine = await made({ team_id: 't', user_id: 'lead' })
    expect(await status('/key/update', { key: mine.token, user_id: 'root' }, lead)).toBe(401)
  })

  it('puts keys only into projects of their team', async () => {
    await gateway.test.db.query(
      `truncate projects; insert into projects (project_id, team_id) values ('of-t', 't'), ('of-other', 'other')`,
    )
    const [lead, mem] = [await keyOf('lead'), await keyOf('mem')]
    expect(await made({ team_id: 't', project_id: 'of-t' }, lead)).toMatchObject({ project_id: 'of-t' })
    expect(await post('/key/generate', { team_id: 't', project_id: 'of-other' }, lead)).toMatchObject({
      status: 400,
      body: { error: { param: 'project_id' } },
    })
    expect(await status('/key/generate', { project_id: 'of-t' }, mem)).toBe(400)
  })

  it('ends keys of members when their team says, unless they are to end at another time', async () => {
    await gateway.test.db.query(`update teams set metadata = '{"team_member_key_duration": "7d"}' where team_id = 't'`)
    const after = (days: number): string => new Date(NOON + days * 86_400_000).toISOString()
    expect(await made({ team_id: 't', user_id: 'mem' })).toMatchObject({ expires: after(7) })
    expect(await made({ team_id: 't', user_id: 'mem', duration: '1d' })).toMatchObject({ expires: after(1) })
    expect(await made({ team_id: 't' })).toMatchObject({ expires: null })
  })

  it('makes keys of service accounts without a user, for a team that is named', async () => {
    const lead = await keyOf('lead')
    expect(await post('/key/service-account/generate', { team_id: 't', key_alias: 'robot' }, lead)).toMatchObject({
      status: 200,
      body: { user_id: null, team_id: 't', metadata: { service_account_id: 'robot' } },
    })
    expect(await post('/key/service-account/generate', {}, lead)).toMatchObject({
      status: 400,
      body: { error: { param: 'team_id' } },
    })
  })
})

describe('keys of a team', () => {
  it('are seen by whoever runs it, and those of its programs by its members', async () => {
    const mine = await made({ team_id: 't', user_id: 'mem' })
    const robot = (await post('/key/service-account/generate', { team_id: 't' })).body as Made
    const sees = async (user: string): Promise<number[]> => {
      const key = await keyOf(user)
      return Promise.all([mine, robot].map(async ({ token }) => (await get(`/key/info?key=${token}`, key)).status))
    }
    expect(await sees('lead')).toEqual([200, 200])
    expect(await sees('head')).toEqual([200, 200])
    expect(await sees('mem')).toEqual([200, 200])
    expect(await sees('root')).toEqual([200, 200])
    expect(await sees('out')).toEqual([404, 404])
  })

  it('are changed by whoever runs it; their user may drop and replace them, not raise their limits', async () => {
    const { token } = await made({ team_id: 't', user_id: 'mem', max_budget: 1 })
    const [lead, mem] = [await keyOf('lead'), await keyOf('mem')]
    expect(await status('/key/update', { key: token, max_budget: 2 }, mem)).toBe(401)
    expect(await status('/key/block', { key: token }, mem)).toBe(401)
    expect(await status('/key/update', { key: token, max_budget: 2 }, lead)).toBe(200)
    expect(await status('/key/block', { key: token }, lead)).toBe(200)
    expect(await status('/key/regenerate', { key: token, max_budget: 3 }, mem)).toBe(401)
    const replaced = await post('/key/regenerate', { key: token }, mem)
    expect(replaced).toMatchObject({ status: 200, body: { max_budget: 2, blocked: true } })
    expect(await status('/key/delete', { keys: [(replaced.body as Made).token] }, mem)).toBe(200)
  })

  it('are moved only between teams that the caller runs, and nobody unblocks their own key', async () => {
    const { token } = await made({ team_id: 't', user_id: 'lead' })
    const [lead, mem] = [await keyOf('lead'), await keyOf('mem')]
    expect(await status('/key/update', { key: token, team_id: 'other' }, lead)).toBe(401)
    const { token: personal } = await made({ user_id: 'mem', blocked: true })
    expect(await status('/key/update', { key: personal, blocked: false }, mem)).toBe(401)
    expect(await status('/key/unblock', { key: personal }, mem)).toBe(401)
    expect(await status('/key/update', { key: personal, key_alias: 'renamed' }, mem)).toBe(200)
  })

  it('are reset in spend by whoever runs it, down and never up', async () => {
    const { token } = await made({ team_id: 't', user_id: 'mem', spend: 5 })
    expect(await status(`/key/${token}/reset_spend`, { reset_to: 0 }, await keyOf('mem'))).toBe(401)
    const lead = await keyOf('lead')
    expect(await status(`/key/${token}/reset_spend`, { reset_to: 5.000000001 }, lead)).toBe(400)
    expect(await post(`/key/${token}/reset_spend`, { reset_to: 1.5 }, lead)).toMatchObject({
      status: 200,
      body: { key_hash: token, spend: 1.5, previous_spend: 5 },
    })
    expect(await get(`/key/info?key=${token}`)).toMatchObject({ body: { info: { spend: 1.5 } } })
    expect((await gateway.counters.peek([`key|${token}`]))[0]).toMatchObject({ spent: 1_500_000_000 })
  })

  it('change together, all or those named, and each failure is told', async () => {
    const [a, b] = [await made({ team_id: 't' }), await made({ team_id: 't' })]
    const foreign = await made({})
    const lead = await keyOf('lead')
    expect(await post('/team/key/bulk_update', { team_id: 't', update_fields: { rpm_limit: 9 } }, lead)).toMatchObject({
      status: 200,
      body: { total_requested: 2, successful_updates: [{ key_info: { rpm_limit: 9 } }, {}], failed_updates: [] },
    })
    expect(await status('/team/key/bulk_update', { team_id: 't', keys: [foreign.token], update_fields: {} }, lead)).toBe(404)
    const bulk = {
      keys: [{ key: a.token, max_budget: 3, tags: ['x'] }, { key: 'sk-nobody-has-this', max_budget: 1 }, { key: b.token }],
    }
    expect(await post('/key/bulk_update', bulk)).toMatchObject({
      status: 200,
      body: {
        total_requested: 3,
        successful_updates: [{ key: a.token, key_info: { max_budget: 3, metadata: { tags: ['x'] } } }, { key: b.token }],
        failed_updates: [{ key: 'sk-nobody-has-this', failed_reason: expect.stringContaining('not found') }],
      },
    })
    expect(await status('/key/bulk_update', bulk, lead)).toBe(401)
  })
})

describe('GET /key/list', () => {
  const list = async (query: string, key?: string): Promise<string[]> =>
    (
      (await get(`/key/list?size=100&return_full_object=true&sort_by=key_alias&sort_order=asc${query}`, key)).body as {
        keys: Body[]
      }
    ).keys
      .map((row) => row['key_alias'])
      .filter((alias): alias is string => alias !== null)

  it('shows keys of teams and organizations that the caller runs, and keys they made, where asked', async () => {
    const [lead, mem, head] = [await keyOf('lead'), await keyOf('mem'), await keyOf('head')]
    await made({ key_alias: 'a-mem', team_id: 't', user_id: 'mem' })
    await made({ key_alias: 'b-robot', team_id: 't' })
    await made({ key_alias: 'c-other', team_id: 'other', user_id: 'out' })
    await made({ key_alias: 'd-lead' }, lead)
    await made({ key_alias: 'e-made', team_id: 't', user_id: 'mem' }, lead)
    expect(await list('', lead)).toEqual(['d-lead'])
    expect(await list('&include_team_keys=true', lead)).toEqual(['a-mem', 'b-robot', 'd-lead', 'e-made'])
    expect(await list('&include_created_by_keys=true', lead)).toEqual(['d-lead', 'e-made'])
    expect(await list('&team_id=t', lead)).toEqual(['a-mem', 'b-robot', 'e-made'])
    expect(await list('&team_id=other', lead)).toEqual([])
    expect(await list('&include_team_keys=true', mem)).toEqual(['a-mem', 'b-robot', 'e-made'])
    expect(await list('&organization_id=o', head)).toEqual(['a-mem', 'b-robot', 'e-made'])
    expect(await list('&user_id=lead&include_created_by_keys=true')).toEqual(['d-lead', 'e-made'])
    expect(((await get('/key/aliases?search=E-', lead)).body as { aliases: string[] }).aliases).toEqual(['e-made'])
    expect((await get('/key/aliases', mem)).body).toMatchObject({
      aliases: ['a-mem', 'b-robot', 'e-made'],
      total_count: 3,
      current_page: 1,
      size: 50,
    })
  })

  it('filters by project, access group, agent and expiry, and shows the user beside a key', async () => {
    await made({ key_alias: 'a', project_id: 'p', user_id: 'mem', duration: '1d' })
    await made({ key_alias: 'b', access_group_ids: ['g'], agent_id: 'agent' })
    expect(await list('&project_id=p')).toEqual(['a'])
    expect(await list('&access_group_id=g')).toEqual(['b'])
    expect(await list('&agent_id=agent')).toEqual(['b'])
    expect(await list('&expires=2026-12-01')).toEqual(['a'])
    expect(await list('&expires=never')).toEqual(['b'])
    expect((await get('/key/list?project_id=p&expand=user')).body).toMatchObject({
      keys: [{ key_alias: 'a', user: { user_id: 'mem', user_role: 'internal_user' } }],
    })
  })

  it('shows deleted keys as they were, to users their own', async () => {
    const { key, token } = await made({ key_alias: 'gone', user_id: 'mem', max_budget: 3 })
    await post('/key/delete', { keys: [key] })
    expect((await get('/key/list?status=deleted&return_full_object=true', await keyOf('mem'))).body).toMatchObject({
      keys: [{ token, key_alias: 'gone', max_budget: 3, deleted_by: 'default_user_id' }],
      total_count: 1,
    })
    expect((await get('/key/list?status=deleted', await keyOf('out'))).body).toMatchObject({ keys: [] })
  })
})

describe('the configuration', () => {
  const using = (config: object): Promise<void> => gateway.accounting.reconfigure(configOf(config))

  it('says which roles make keys and what they must name', async () => {
    const [lead, mem] = [await keyOf('lead'), await keyOf('mem')]
    await gateway.test.db.query(`update teams set team_member_permissions = '{/key/generate}' where team_id = 't'`)
    await using({
      litellm_settings: {
        key_generation_settings: {
          team_key_generation: { allowed_team_member_roles: ['admin'], required_params: ['tags'] },
          personal_key_generation: { allowed_user_roles: ['proxy_admin'] },
        },
      },
    })
    expect(await post('/key/generate', {}, mem)).toMatchObject({
      status: 403,
      body: { error: { message: expect.stringContaining('Personal key creation has been restricted') } },
    })
    expect(await status('/key/generate', { team_id: 't', tags: ['x'] }, mem)).toBe(403)
    expect(await post('/key/generate', { team_id: 't' }, lead)).toMatchObject({ status: 400, body: { error: { param: 'tags' } } })
    expect(await status('/key/generate', { team_id: 't', tags: ['x'] }, lead)).toBe(200)
    expect(await post('/key/generate', { team_id: 'missing', tags: ['x'] })).toMatchObject({ status: 400 })
    expect(await status('/key/generate', {}, MASTER_KEY)).toBe(200)
    await using({ general_settings: { default_team_disabled: true } })
    expect(await post('/key/generate', {})).toMatchObject({ status: 400, body: { error: { param: 'team_id' } } })
    await using({})
  })

  it('checks the form of aliases where asked', async () => {
    await using({ litellm_settings: { enable_key_alias_format_validation: true } })
    const { token } = await made({ key_alias: 'team/prod@eu-1.x_y' })
    for (const alias of ['x', '-ab', 'a b', 'ab/', 'a'.repeat(256)]) {
      expect(await post('/key/update', { key: token, key_alias: alias })).toMatchObject({
        status: 400,
        body: { error: { param: 'key_alias' } },
      })
    }
    await using({})
    expect(await status('/key/update', { key: token, key_alias: '-' }, MASTER_KEY)).toBe(200)
  })

  it('holds changes to the most there is, and lets nobody take a bound away', async () => {
    await using({ litellm_settings: { upperbound_key_generate_params: { max_budget: 10, duration: '30d' } } })
    const { token } = await made({ max_budget: 5, duration: '1d' })
    expect(await status('/key/update', { key: token, max_budget: 11 }, MASTER_KEY)).toBe(400)
    expect((await post('/key/update', { key: token, max_budget: null, duration: '-1' })).body).toMatchObject({
      max_budget: 10,
      expires: new Date(NOON + 30 * 86_400_000).toISOString(),
    })
    expect((await post('/key/update', { key: token, key_alias: 'only this' })).body).toMatchObject({ max_budget: 10 })
    await using({})
    expect((await post('/key/update', { key: token, duration: '-1' })).body).toMatchObject({ expires: null })
  })
})

describe('guaranteed throughput', () => {
  it('is refused where the keys of a team, or of an organization, would be promised more than it has', async () => {
    await gateway.test.db.query(`update teams set tpm_limit = 100, metadata = '{"model_rpm_limit": {"m": 5}}' where team_id = 't';
      insert into budgets (budget_id, rpm_limit) values ('of-o', 10);
      update organizations set budget_id = 'of-o'`)
    const guaranteed = { team_id: 't', tpm_limit_type: 'guaranteed_throughput', rpm_limit_type: 'guaranteed_throughput' }
    const { token } = await made({ ...guaranteed, tpm_limit: 60 })
    expect(await post('/key/generate', { ...guaranteed, tpm_limit: 41 })).toMatchObject({
      status: 400,
      body: {
        error: {
          param: 'tpm_limit',
          message: 'Allocated TPM limit=60 + Key TPM limit=41 is greater than team TPM limit=100',
        },
      },
    })
    expect(await status('/key/generate', { team_id: 't', tpm_limit: 90 }, MASTER_KEY)).toBe(200)
    expect(await status('/key/generate', { ...guaranteed, tpm_limit: 40, model_rpm_limit: { m: 5 } }, MASTER_KEY)).toBe(200)
    expect(await status('/key/generate', { ...guaranteed, model_rpm_limit: { m: 1 } }, MASTER_KEY)).toBe(400)
    expect(await status('/key/update', { key: token, tpm_limit: 61 }, MASTER_KEY)).toBe(400)
    expect(await status('/key/update', { key: token, tpm_limit: 60 }, MASTER_KEY)).toBe(200)
    expect(await status('/key/generate', { ...guaranteed, rpm_limit: 11 }, MASTER_KEY)).toBe(400)
  })

  it('holds when many ask at once', async () => {
    await gateway.test.db.query(`update teams set tpm_limit = 100 where team_id = 't'`)
    const fields = { team_id: 't', tpm_limit_type: 'guaranteed_throughput', tpm_limit: 30 }
    const answers = await Promise.all(Array.from({ length: 6 }, () => status('/key/generate', fields, MASTER_KEY)))
    expect(answers.filter((code) => code === 200)).toHaveLength(3)
  })
})

describe('what else keys do', () => {
  it('shows the linked budget row, the end of its window, and what each limited model has cost', async () => {
    await gateway.test.db.query(
      `truncate budgets; insert into budgets (budget_id, max_budget_nano, budget_duration) values ('b', 2000000000, '1d')`,
    )
    const { token } = await made({ budget_id: 'b', model_max_budget: { m: { budget_limit: 1, time_period: '30d' } } })
    await gateway.test.db.query(`update spend set spent_nano = 250000000 where scope = 'key|${token}|model|m'`)
    expect((await get(`/key/info?key=${token}`)).body).toMatchObject({
      info: {
        max_budget: null,
        budget_id: 'b',
        budget_reset_at: '2026-11-22T00:00:00.000Z',
        litellm_budget_table: { budget_id: 'b', max_budget: 2, budget_duration: '1d' },
        model_spend: { m: 0.25 },
        model_max_budget_usage: { m: { current_spend: 0.25, budget_limit: 1, time_period: '30d' } },
      },
    })
    expect(await post('/key/update', { key: token, budget_id: 'nothing' })).toMatchObject({
      status: 400,
      body: { error: { param: 'budget_id' } },
    })
  })

  it('tells of several keys at once', async () => {
    const [a, b] = [await made({}), await made({})]
    const { status, body } = await post('/v2/key/info', { keys: [a.key, b.token, 'sk-nobody-has-this'] })
    expect(status).toBe(200)
    expect((body as { info: Body[] }).info.map((row) => row['token']).sort()).toEqual([a.token, b.token].sort())
    expect((await post('/v2/key/info', { keys: [a.key] }, await keyOf('mem'))).status).toBe(401)
  })

  it('says of a key that it works, and of callbacks on it that they are not run', async () => {
    const [plain, logging] = [await made({}), await made({ metadata: { logging: [{ callback_name: 'langfuse' }] } })]
    expect((await post('/key/health', {}, plain.key)).body).toEqual({ key: 'healthy', logging_callbacks: null })
    expect((await post('/key/health', {}, logging.key)).body).toMatchObject({
      key: 'unhealthy',
      logging_callbacks: { callbacks: ['langfuse'], status: 'unhealthy' },
    })
  })

  it('takes a temporary increase whole or not at all', async () => {
    const { token } = await made({ max_budget: 1 })
    expect(await status('/key/update', { key: token, temp_budget_increase: 5 }, MASTER_KEY)).toBe(400)
    expect((await post('/key/update', { key: token, temp_budget_increase: 5, temp_budget_expiry: '10d' })).body).toMatchObject({
      max_budget: 1,
      temp_budget_increase: 5,
      temp_budget_expiry: new Date(NOON + 10 * 86_400_000).toISOString(),
    })
  })

  it('writes down every write with who, what, before and after, and never the key', async () => {
    const fields = { key_alias: 'audited', max_budget: 1 }
    const { key, token } = await made(fields)
    await post('/key/update', { key, max_budget: 2 })
    await post('/key/block', { key })
    await post('/key/delete', { keys: [key] })
    const rows = await gateway.test.db.query<Body>(
      `select action, changed_by, changed_by_api_key, before_value ->> 'max_budget' as before, updated_values ->> 'max_budget' as after,
         row_to_json(a)::text as whole from audit_log a where table_name = 'keys' and object_id = $1 order by at, action`,
      [token],
    )
    expect(rows.map(({ action, before, after }) => [action, before, after])).toEqual([
      ['created', null, '1'],
      ['updated', '1', '2'],
      ['blocked', '2', '2'],
      ['deleted', '2', null],
    ])
    expect(rows[0]).toMatchObject({ changed_by: 'default_user_id', changed_by_api_key: 'litellm_proxy_master_key' })
    expect(JSON.stringify(rows)).not.toContain(key)
  })
})
