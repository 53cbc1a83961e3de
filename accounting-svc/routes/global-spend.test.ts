import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, NOON, startAccounting } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'

type Body = Record<string, unknown>

const DAY = 86_400_000
const DATES = 'start_date=2026-11-21&end_date=2026-11-22'
let gateway: AccountingFixture
let ann: { key: string; token: string }
let program: { key: string; token: string }

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    // The last 30 days of reports without dates are those up to here.
    clock: { ...systemClock, now: () => NOON + DAY },
    config: {
      litellm_settings: { max_budget: 100.5, budget_duration: '30d' },
      router_settings: {
        provider_budget_config: { openai: { budget_limit: 12.5, time_period: '1d' }, anthropic: { max_budget: 1 } },
      },
    },
  })
  await gateway.test.db.query(
    `insert into teams (team_id, team_alias) values ('t1', 'Team one'); insert into users (user_id, max_budget_nano) values ('ann', 5000000000), ('bob', null);
     insert into tags (tag_name) values ('never used'); insert into customers (user_id) values ('c2'), ('c1')`,
  )
  const make = async (fields: Body) => (await gateway.call('POST', '/key/generate', fields)).body as typeof ann
  ann = await make({ user_id: 'ann', team_id: 't1', key_alias: 'ann-key', max_budget: 7 })
  program = await make({})
  const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 1_000_000_000, rateVersion: 'r' }), log: silentLog })
  const ofAnn = { keyHash: ann.token, userId: 'ann', teamId: 't1' }
  const ofProgram = { keyHash: program.token, startedAt: NOON + DAY }
  const refused = { outcome: 'failure' as const, status: 429, error: { code: 'provider_rate_limited' as const, message: 'slow' } }
  await ledger.book([
    event({ ...ofAnn, callId: 'a1', tags: ['x', 'y'], endUser: 'c1', scopes: ['proxy', 'provider|openai'] }),
    event({
      ...ofAnn,
      callId: 'a2',
      tags: ['x'],
      attempts: [attempt({ model: 'claude', provider: 'anthropic' })],
      modelGroup: 'smart',
    }),
    event({ ...ofProgram, callId: 'p1', endUser: 'c2', cacheHit: true }),
    event({
      ...ofProgram,
      callId: 'p2',
      endUser: 'c2',
      ...refused,
      attempts: [attempt({ apiBase: 'https://a', outcome: 'failure' })],
    }),
  ])
})
afterAll(() => gateway.close())

const get = async (path: string, key?: string): Promise<unknown> => {
  const { status, body, text } = await gateway.call('GET', path, undefined, key)
  expect(status, text).toBe(200)
  return body
}

describe('spend of owners', () => {
  it('is that of their present window, the most expensive first', async () => {
    const keys = (await get('/spend/keys')) as Body[]
    expect(keys.map((row) => [row['token'], row['spend'], row['max_budget']]).sort()).toEqual(
      [
        [ann.token, 2, 7],
        [program.token, 2, null],
      ].sort(),
    )
    expect(await get('/spend/users')).toMatchObject([
      { user_id: 'ann', spend: 2, max_budget: 5 },
      { user_id: 'bob', spend: 0, max_budget: null },
    ])
    expect(await get('/spend/users?user_id=bob')).toMatchObject([{ user_id: 'bob' }])
    expect(await get('/spend/users?limit=1&page=2')).toMatchObject([{ user_id: 'bob' }])
  })

  it('is shown to others as far as it is theirs', async () => {
    expect(await get('/spend/keys', ann.key)).toMatchObject([{ token: ann.token }])
    expect(await get('/spend/keys', program.key)).toMatchObject([{ token: program.token }])
    expect(await get('/spend/users', ann.key)).toMatchObject([{ user_id: 'ann' }])
    expect(await get('/spend/users?user_id=bob', ann.key)).toEqual([])
    expect(await get('/spend/users', program.key)).toEqual([])
    expect(await get('/spend/tags', program.key)).toEqual([])
    expect(await get('/global/spend/models', program.key)).toEqual([{ model: 'gpt-4o', total_spend: 2 }])
    expect(await get(`/global/activity?${DATES}`, program.key)).toMatchObject({ sum_api_requests: 2 })
    for (const path of [
      '/global/spend',
      '/global/spend/all_tag_names',
      '/global/all_end_users',
      '/provider/budgets',
      `/global/activity/exceptions?${DATES}&model_group=x`,
    ]) {
      expect((await gateway.call('GET', path, undefined, ann.key)).status, path).toBe(401)
    }
  })
})

describe('GET /global/spend…', () => {
  it('says what everything cost of the gateway’s budget', async () => {
    expect(await get('/global/spend')).toEqual({ spend: 1, max_budget: 100.5 })
  })

  it('sums by day, key, model, provider, team and tag', async () => {
    expect(await get('/global/spend/logs')).toEqual([
      { date: '2026-11-21', spend: 2 },
      { date: '2026-11-22', spend: 2 },
    ])
    expect(await get(`/global/spend/logs?api_key=${ann.token}`)).toEqual([{ date: '2026-11-21', spend: 2 }])
    expect(await get('/global/spend/logs?start_date=2026-11-22&end_date=2026-11-30')).toEqual([{ date: '2026-11-22', spend: 2 }])
    expect(((await get('/global/spend/keys')) as Body[]).find((row) => row['api_key'] === ann.token)).toMatchObject({
      key_alias: 'ann-key',
      total_spend: 2,
    })
    expect(await get('/global/spend/keys?limit=1')).toHaveLength(1)
    expect(await get('/global/spend/models')).toEqual([
      { model: 'gpt-4o', total_spend: 3 },
      { model: 'claude', total_spend: 1 },
    ])
    expect(await get('/global/spend/provider')).toEqual([
      { provider: 'openai', spend: 3 },
      { provider: 'anthropic', spend: 1 },
    ])
    expect(await get('/global/spend/teams')).toEqual({
      daily_spend: [
        { date: '2026-11-21', 'Team one': 2 },
        { date: '2026-11-22', Unassigned: 2 },
      ],
      teams: ['Team one', 'Unassigned'],
      total_spend_per_team: [
        { team_id: 'Team one', total_spend: 2 },
        { team_id: 'Unassigned', total_spend: 2 },
      ],
    })
    const tags = [
      { name: 'x', spend: 2, log_count: 2 },
      { name: 'y', spend: 1, log_count: 1 },
    ]
    expect(await get('/global/spend/tags')).toEqual({ spend_per_tag: tags })
    expect(await get('/global/spend/tags?tags=all-tags')).toEqual({ spend_per_tag: tags })
    expect(await get('/global/spend/tags?tags=y')).toEqual({ spend_per_tag: tags.slice(1) })
    expect(await get('/spend/tags')).toEqual(
      tags.map(({ name, spend, log_count }) => ({ individual_request_tag: name, log_count, total_spend: spend })),
    )
    expect(await get('/spend/tags?start_date=2026-11-22')).toEqual([])
    expect(await get('/global/spend/all_tag_names')).toEqual({ tag_names: ['never used', 'x', 'y'] })
  })

  it('sums by customer', async () => {
    const post = async (body: Body) => (await gateway.call('POST', '/global/spend/end_users', body)).body
    expect(await post({})).toEqual([
      { end_user: 'c2', total_count: 2, total_spend: 2 },
      { end_user: 'c1', total_count: 1, total_spend: 1 },
    ])
    expect(await post({ api_key: ann.key, startTime: '2026-11-21T00:00:00.000Z', endTime: '2026-11-21 23:00:00' })).toEqual([
      { end_user: 'c1', total_count: 1, total_spend: 1 },
    ])
    expect((await gateway.call('POST', '/global/spend/end_users', { startTime: 'x' })).status).toBe(400)
    expect(await get('/global/all_end_users')).toEqual({ end_users: ['c1', 'c2'] })
    expect(await get('/global/all_end_users?after=c1')).toEqual({ end_users: ['c2'] })
  })

  it('reports by tag, and by user within teams', async () => {
    expect(await get(`/global/spend/report?${DATES}&group_by=tag`)).toEqual([
      {
        group_by_day: '2026-11-21',
        tags: [
          {
            tag: 'x',
            total_spend: 2,
            metadata: [
              { model: 'claude', spend: 1, total_tokens: 15, api_key: ann.token },
              { model: 'gpt-4o', spend: 1, total_tokens: 15, api_key: ann.token },
            ],
          },
          { tag: 'y', total_spend: 1, metadata: [{ model: 'gpt-4o', spend: 1, total_tokens: 15, api_key: ann.token }] },
        ],
      },
    ])
    expect(await get(`/global/spend/report?${DATES}&internal_user_id=ann`)).toMatchObject([
      { group_by_day: '2026-11-21', teams: [{ team_name: 'Team one', total_spend: 2 }] },
    ])
    expect(await get(`/global/spend/report?${DATES}&internal_user_id=bob`)).toEqual([])
    expect(await get('/global/spend/report?start_date=2026-01-01&end_date=2026-12-31')).toHaveLength(2)
  })

  it('comes as CSV where it is a list', async () => {
    const csv = async (path: string) => (await gateway.call('GET', `${path}${path.includes('?') ? '&' : '?'}format=csv`)).text
    expect(await csv('/global/spend/models')).toBe('model,total_spend\r\ngpt-4o,3\r\nclaude,1\r\n')
    expect(await csv('/global/spend/teams')).toBe(
      'date,team_id,team,spend\r\n2026-11-21,t1,Team one,2\r\n2026-11-22,,Unassigned,2\r\n',
    )
    expect(await csv(`/global/spend/report?${DATES}&group_by=tag`)).toBe(
      `date,tag,model,api_key,spend,prompt_tokens,completion_tokens\r\n2026-11-21,x,claude,${ann.token},1,10,5\r\n2026-11-21,x,gpt-4o,${ann.token},1,10,5\r\n2026-11-21,y,gpt-4o,${ann.token},1,10,5\r\n`,
    )
    expect((await csv('/spend/keys')).split('\r\n')[0]).toBe(
      'token,key_name,key_alias,user_id,team_id,organization_id,spend,max_budget,budget_duration,budget_reset_at,expires,blocked',
    )
  })
})

describe('GET /global/activity…', () => {
  it('counts per day, model and provider', async () => {
    expect(await get(`/global/activity?${DATES}`)).toEqual({
      daily_data: [
        { date: 'Nov 21', day: '2026-11-21', api_requests: 2, total_tokens: 30, spend: 2 },
        { date: 'Nov 22', day: '2026-11-22', api_requests: 2, total_tokens: 30, spend: 2 },
      ],
      sum_api_requests: 4,
      sum_total_tokens: 60,
      sum_spend: 4,
    })
    expect(await get(`/global/activity/model?${DATES}`)).toMatchObject([
      { model: 'gpt-4o', sum_api_requests: 3, daily_data: [{ api_requests: 1 }, { api_requests: 2 }] },
      { model: 'smart', sum_api_requests: 1 },
    ])
    expect(await get(`/global/activity/provider?${DATES}`)).toMatchObject([
      { provider: 'openai', sum_api_requests: 3 },
      { provider: 'anthropic', sum_spend: 1 },
    ])
    expect(await get('/global/activity?start_date=2020-01-01&end_date=2020-01-02')).toEqual({
      daily_data: [],
      sum_api_requests: 0,
      sum_total_tokens: 0,
      sum_spend: 0,
    })
    expect((await gateway.call('GET', '/global/activity')).status).toBe(400)
  })

  it('counts what was refused for going too fast', async () => {
    const day = [{ date: 'Nov 22', day: '2026-11-22', num_rate_limit_exceptions: 1 }]
    const refused = { daily_data: day, sum_num_rate_limit_exceptions: 1 }
    expect(await get(`/global/activity/exceptions?${DATES}&model_group=gpt-4o`)).toEqual(refused)
    expect(await get(`/global/activity/exceptions/deployment?${DATES}&model_group=gpt-4o`)).toEqual([
      { api_base: 'https://a', ...refused },
    ])
    expect(await get(`/global/activity/exceptions?${DATES}&model_group=smart`)).toEqual({
      daily_data: [],
      sum_num_rate_limit_exceptions: 0,
    })
  })

  it('counts answers from the cache beside those that were generated', async () => {
    const hits = (await get(`/global/activity/cache_hits?${DATES}&api_keys=${program.token}`)) as Body[]
    const sum = (field: string) => hits.reduce((all, row) => all + (row[field] as number), 0)
    expect(hits.every((row) => row['api_key'] === program.token)).toBe(true)
    expect([sum('total_rows'), sum('cache_hit_true_rows'), sum('cached_completion_tokens')]).toEqual([2, 1, 5])
  })
})

describe('GET /provider/budgets', () => {
  it('says what is spent of each', async () => {
    expect(await get('/provider/budgets')).toEqual({
      providers: {
        openai: { budget_limit: 12.5, time_period: '1d', spend: 1, budget_reset_at: expect.any(String) },
        anthropic: { budget_limit: 1, time_period: null, spend: 0, budget_reset_at: null },
      },
    })
  })
})

describe('POST /global/spend/reset', () => {
  it('is for the master key alone, empties the windows and leaves the ledger', async () => {
    const admin = (await gateway.call('POST', '/user/new', { user_role: 'proxy_admin', user_id: 'root' })).body as { key: string }
    expect((await gateway.call('POST', '/global/spend/reset', {}, admin.key)).status).toBe(401)
    const [before] = await gateway.test.db.query<{ revision: number }>('select revision from spend where scope = $1', [
      `key|${ann.token}`,
    ])
    expect((await gateway.call('POST', '/global/spend/reset')).body).toMatchObject({ status: 'success' })
    expect(((await get('/spend/keys')) as Body[]).every((row) => row['spend'] === 0)).toBe(true)
    expect((await gateway.counters.peek([`key|${ann.token}`]))[0]).toMatchObject({
      spent: 0,
      revision: (before?.revision ?? 0) + 1,
    })
    const [after] = await gateway.test.db.query<{ revision: number }>('select revision from spend where scope = $1', [
      `key|${ann.token}`,
    ])
    expect(after?.revision).toBe((before?.revision ?? 0) + 1)
    expect(await get('/global/spend/logs')).toMatchObject([{ spend: 2 }, { spend: 2 }])
    expect(
      await gateway.test.db.query(`select action, object_id, changed_by_api_key from audit_log where table_name = 'spend'`),
    ).toEqual([{ action: 'updated', object_id: '*', changed_by_api_key: 'litellm_proxy_master_key' }])
  })
})
