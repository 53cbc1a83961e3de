import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import { testClock } from '../../shared/clock.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { type AccountingFixture, NOON, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

const told: unknown[] = []
let gateway: AccountingFixture
const keyOf: Record<string, string> = {}

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    clock: testClock(NOON),
    config: {
      model_list: [{ model_name: 'fast', litellm_params: { model: 'openai/gpt-4o', api_key: 'x' }, model_info: { id: 'one' } }],
    },
  })
  gateway.hub.join('edge').onChange('budget', (payload) => told.push(payload))
  await query(`insert into users (user_id, user_role) values ('watch', 'proxy_admin_viewer'), ('ann', 'internal_user')`)
  for (const user of ['watch', 'ann']) {
    keyOf[user] = `sk-${user}`
    await query("insert into keys (token, key_name, user_id) values ($1, 'sk-...', $2)", [hashKey(`sk-${user}`), user])
  }
})
afterAll(() => gateway.close())

const post = (path: string, body?: unknown, key?: string) => gateway.call('POST', path, body, key)
const get = (path: string, key?: string) => gateway.call('GET', path, undefined, key)
const query = <Row = Body>(text: string, values: unknown[] = []) => gateway.test.db.query<Row>(text, values)

describe('POST /tag/new', () => {
  it('holds for routers when it is answered, also for the first tag with a budget', async () => {
    const router = gateway.hub.join('router')
    const bucket = await router.bucket(router.subjects.runtimeBucket)
    const asked = async () => ((await bucket.get('runtime')) as RuntimeSnapshot).settings.tagLimits
    expect(await asked()).toBe(false)
    expect((await post('/tag/new', { name: 'first', max_budget: 1 })).status).toBe(200)
    expect(await asked()).toBe(true)
    await query(`delete from tags where tag_name = 'first'`)
  })

  it('describes a tag and gives it limits', async () => {
    told.length = 0
    const { status, body } = await post('/tag/new', {
      name: 'team|a',
      description: 'Team A',
      models: ['one'],
      max_budget: 2,
      budget_duration: '30d',
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      message: expect.stringContaining('team|a'),
      tag: {
        name: 'team|a',
        description: 'Team A',
        models: ['one'],
        model_info: { one: 'fast' },
        spend: 0,
        litellm_budget_table: { max_budget: 2, budget_duration: '30d', budget_reset_at: '2026-12-01T00:00:00.000Z' },
        created_by: 'default_user_id',
      },
    })
    expect(told).toContainEqual({ tags: ['team|a'] })
    expect(await query("select budget_duration from spend where scope = 'tag|team%7Ca'")).toEqual([{ budget_duration: '30d' }])
  })

  it.each([
    [409, 'name', { name: 'team|a' }],
    [400, 'models', { name: 'b', models: ['two'] }],
    [400, 'budget_id', { name: 'b', budget_id: 'none' }],
    [400, 'budget_id', { name: 'b', budget_id: 'none', max_budget: 1 }],
  ])('answers %i when %s cannot be', async (wanted, field, fields) => {
    const { status, body } = await post('/tag/new', fields)
    expect(status).toBe(wanted)
    expect(body).toMatchObject({ error: { param: field } })
    expect((await post('/tag/info', { names: ['b'] })).body).toEqual({})
  })

  it('says which field is wrong', async () => {
    expect((await post('/tag/new', { name: 'b', rpm_limit: -1 })).body).toMatchObject({
      detail: [{ loc: ['body', 'rpm_limit'] }],
    })
    expect((await post('/tag/new', {})).body).toMatchObject({ detail: [{ loc: ['body', 'name'], msg: 'Field required' }] })
  })
})

describe('POST /tag/update, /tag/info and /tag/delete', () => {
  it('change what is named and keep the rest', async () => {
    await post('/tag/new', { name: 't1', description: 'One', max_budget: 1 })
    await query("insert into spend (scope, spent_nano) values ('tag|t1', 500000001)")
    expect((await post('/tag/update', { name: 't1', max_budget: 4 })).body).toMatchObject({
      tag: { description: 'One', litellm_budget_table: { max_budget: 4 } },
    })
    expect((await post('/tag/info', { names: ['t1', 'ghost'] }, keyOf['watch'])).body).toMatchObject({
      t1: { name: 't1', spend: 0.500000001 },
    })
    expect((await post('/tag/update', { name: 'ghost' })).status).toBe(404)
  })

  it('forget a tag, and keep what it was', async () => {
    await post('/tag/new', { name: 't2' })
    expect((await post('/tag/delete', { name: 't2' })).status).toBe(200)
    expect((await post('/tag/delete', { name: 't2' })).status).toBe(404)
    expect(await query("select object_id from archive where table_name = 'tags'")).toEqual([{ object_id: 't2' }])
    expect(await query("select action from audit_log where table_name = 'tags' and object_id = 't2' order by at")).toEqual([
      { action: 'created' },
      { action: 'deleted' },
    ])
  })

  it('are for admins; an admin viewer reads', async () => {
    for (const [path, body] of [
      ['new', { name: 'x' }],
      ['update', { name: 't1' }],
      ['delete', { name: 't1' }],
    ] as const) {
      for (const user of ['watch', 'ann']) expect((await post(`/tag/${path}`, body, keyOf[user])).status, path).toBe(401)
    }
    for (const path of ['list', 'distinct', 'summary']) {
      expect((await get(`/tag/${path}`, keyOf['watch'])).status, path).toBe(200)
      expect((await get(`/tag/${path}`, keyOf['ann'])).status, path).toBe(401)
    }
    expect((await post('/tag/info', { names: ['t1'] }, keyOf['ann'])).status).toBe(401)
  })
})

describe('tags of calls', () => {
  beforeAll(async () => {
    const [ann, other] = await query<{ token: string }>(
      "select token from keys where user_id in ('ann', 'watch') order by user_id",
    )
    const add = (day: string, label: string, key: string | undefined, cost: number, calls: number, failed: number) =>
      query(
        `insert into daily_label_spend values ($1, 'tag', $2, $3, '', 'g', 'm', 'openai', 'acompletion', $4, 10, 5, 0, 0, $5, $6, $7)`,
        [day, label, key, cost, calls, calls - failed, failed],
      )
    await add('2026-11-20', 'blue', ann?.token, 1_000_000_000, 3, 1)
    await add('2026-11-21', 'blue', other?.token, 500_000_001, 2, 0)
    await add('2026-11-21', 'red', ann?.token, 1, 1, 0)
    await query(
      "insert into daily_label_spend values ('2026-11-21', 'customer', 'not a tag', 'k', '', 'g', 'm', 'openai', 'acompletion', 1, 1, 1, 0, 0, 1, 1, 0)",
    )
  })

  it('are listed once each, described or not', async () => {
    expect((await get('/tag/distinct')).body).toEqual({ results: [{ tag: 'blue' }, { tag: 'red' }] })
  })

  it('are summed over the days asked for, the dearest first', async () => {
    expect((await get('/tag/summary')).body).toEqual({
      results: [
        {
          tag: 'blue',
          unique_users: 2,
          total_requests: 5,
          successful_requests: 4,
          failed_requests: 1,
          total_tokens: 30,
          total_spend: 1.500000001,
        },
        expect.objectContaining({ tag: 'red', total_spend: 1e-9 }),
      ],
    })
    expect((await get('/tag/summary?start_date=2026-11-21&end_date=2026-11-21&tag_filter=blue')).body).toMatchObject({
      results: [{ tag: 'blue', unique_users: 1, total_requests: 2 }],
    })
    expect((await get('/tag/summary?tag_filters=red,%20none')).body).toMatchObject({ results: [{ tag: 'red' }] })
    expect((await get('/tag/summary?start_date=2026-13-01')).body).toMatchObject({ detail: [{ loc: ['query', 'start_date'] }] })
  })

  it('count users by day, week and month', async () => {
    expect((await get('/tag/dau')).body).toEqual({
      results: [
        { tag: 'blue', active_users: 1, date: '2026-11-21', period_start: null, period_end: null },
        { tag: 'red', active_users: 1, date: '2026-11-21', period_start: null, period_end: null },
        { tag: 'blue', active_users: 1, date: '2026-11-20', period_start: null, period_end: null },
      ],
    })
    expect((await get('/tag/wau?tag_filter=blue')).body).toEqual({
      results: [{ tag: 'blue', active_users: 2, date: '2026-11-21', period_start: '2026-11-15', period_end: '2026-11-21' }],
    })
    expect((await get('/tag/mau?tag_filters=red')).body).toMatchObject({
      results: [{ active_users: 1, period_start: '2026-10-23' }],
    })
    expect((await get('/tag/mau', keyOf['ann'])).status).toBe(401)
  })

  it('tell who used them, a page at a time', async () => {
    expect((await get('/tag/user-agent/per-user-analytics?page_size=1')).body).toEqual({
      results: [
        {
          user_id: 'ann',
          user_email: null,
          user_agent: 'blue',
          successful_requests: 2,
          failed_requests: 1,
          total_requests: 3,
          total_tokens: 15,
          spend: 1,
        },
      ],
      total_count: 3,
      page: 1,
      page_size: 1,
      total_pages: 3,
    })
    expect((await get('/tag/user-agent/per-user-analytics?tag_filters=red')).body).toMatchObject({ results: [{ spend: 1e-9 }] })
  })
})
