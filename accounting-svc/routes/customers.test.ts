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
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock: testClock(NOON) })
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
const window = (scope: string) => query('select budget_duration, reset_at from spend where scope = $1', [scope])

async function made(fields: Body): Promise<Body & { budget_id: string; litellm_budget_table: Body }> {
  const { status, body } = await post('/customer/new', fields)
  expect(status, JSON.stringify(body)).toBe(200)
  return body as Body & { budget_id: string; litellm_budget_table: Body }
}

describe('POST /customer/new', () => {
  it('holds for routers when it is answered, also for the first customer with a limit', async () => {
    const router = gateway.hub.join('router')
    const bucket = await router.bucket(router.subjects.runtimeBucket)
    const asked = async () => ((await bucket.get('runtime')) as RuntimeSnapshot).settings.customerLimits
    expect(await asked()).toBe(false)
    await made({ user_id: 'first', allowed_model_region: 'eu' })
    expect(await asked()).toBe(true)
    await query(`delete from customers where user_id = 'first'`)
  })

  it('adds a customer without limits', async () => {
    expect(await made({ user_id: 'c1', alias: 'One', allowed_model_region: 'eu', default_model: 'm' })).toMatchObject({
      user_id: 'c1',
      alias: 'One',
      spend: 0,
      blocked: false,
      allowed_model_region: 'eu',
      default_model: 'm',
      litellm_budget_table: null,
      object_permission: null,
    })
  })

  it('makes a budget row for limits of its own, and schedules its window', async () => {
    const limits = {
      max_budget: 2.5,
      soft_budget: 2,
      budget_duration: '1d',
      tpm_limit: 100,
      rpm_limit: 10,
      max_parallel_requests: 3,
      model_max_budget: { m: { budget_limit: 1, time_period: '7d' } },
    }
    const customer = await made({ user_id: 'c2', ...limits })
    expect(customer.litellm_budget_table).toMatchObject({ ...limits, budget_reset_at: '2026-11-22T00:00:00.000Z' })
    expect(await window('customer|c2')).toEqual([{ budget_duration: '1d', reset_at: new Date('2026-11-22T00:00:00Z') }])
    expect(await window('customer|c2|model|m')).toMatchObject([{ budget_duration: '7d' }])
  })

  it('shares a budget row that is there', async () => {
    await post('/budget/new', { budget_id: 'free', max_budget: 1 })
    expect(await made({ user_id: 'c3', budget_id: 'free' })).toMatchObject({
      budget_id: 'free',
      litellm_budget_table: { max_budget: 1 },
    })
  })

  it.each([
    ['both', { max_budget: 1, budget_id: 'free' }],
    ['a budget row that is not there', { budget_id: 'none' }],
  ])('refuses %s, and adds nobody', async (_, fields) => {
    const { status, body } = await post('/customer/new', { user_id: 'c4', ...fields })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'budget_id' } })
    expect((await get('/customer/info?end_user_id=c4')).status).toBe(404)
  })

  it('refuses an id that is taken', async () => {
    const { status, body } = await post('/customer/new', { user_id: 'c1' })
    expect(status).toBe(409)
    expect(body).toMatchObject({ error: { param: 'user_id' } })
  })

  it.each([
    ['user_id', { user_id: '' }],
    ['max_budget', { user_id: 'x', max_budget: -1 }],
    ['budget_duration', { user_id: 'x', budget_duration: 'soon' }],
    ['allowed_model_region', { user_id: 'x', allowed_model_region: 'moon' }],
  ])('says that %s is wrong', async (field, fields) => {
    const { status, body } = await post('/customer/new', fields)
    expect(status).toBe(422)
    expect(body).toMatchObject({ detail: [{ loc: ['body', field] }] })
  })

  it('tells routers, and is written down', async () => {
    told.length = 0
    await made({ user_id: 'c5', blocked: true })
    expect(told).toContainEqual({ customers: ['c5'] })
    expect(
      await query(
        "select action, updated_values ->> 'user_id' as id from audit_log where table_name = 'customers' and object_id = 'c5'",
      ),
    ).toEqual([{ action: 'created', id: 'c5' }])
  })

  it('goes by its other name too', async () => {
    expect((await post('/end_user/new', { user_id: 'c6' })).status).toBe(200)
    expect((await get('/end_user/info?end_user_id=c6')).body).toMatchObject({ user_id: 'c6' })
  })
})

describe('POST /customer/update', () => {
  it('changes what is named and keeps the rest', async () => {
    await made({ user_id: 'u1', alias: 'One', max_budget: 1, rpm_limit: 5 })
    expect((await post('/customer/update', { user_id: 'u1', max_budget: 3 })).body).toMatchObject({
      alias: 'One',
      litellm_budget_table: { max_budget: 3, rpm_limit: 5 },
    })
    expect((await post('/customer/update', { user_id: 'u1', alias: null })).body).toMatchObject({
      alias: null,
      litellm_budget_table: { max_budget: 3 },
    })
  })

  it('changes nothing for others who share the budget row', async () => {
    await made({ user_id: 'u2', budget_id: 'free' })
    const { body } = await post('/customer/update', { user_id: 'u2', max_budget: 7 })
    expect(body).toMatchObject({ litellm_budget_table: { max_budget: 7 } })
    expect((await get('/customer/info?end_user_id=c3')).body).toMatchObject({
      budget_id: 'free',
      litellm_budget_table: { max_budget: 1 },
    })
  })

  it('moves to another budget row, and to none, with its window', async () => {
    await post('/budget/new', { budget_id: 'weekly', max_budget: 1, budget_duration: '7d' })
    await made({ user_id: 'u3', max_budget: 1 })
    expect((await post('/customer/update', { user_id: 'u3', budget_id: 'weekly' })).body).toMatchObject({ budget_id: 'weekly' })
    expect(await window('customer|u3')).toMatchObject([{ budget_duration: '7d' }])
    expect((await post('/customer/update', { user_id: 'u3', budget_id: null })).body).toMatchObject({
      litellm_budget_table: null,
    })
    expect(await window('customer|u3')).toMatchObject([{ budget_duration: null, reset_at: null }])
  })

  it('sets what was spent in the present window, and tells the counters', async () => {
    expect(await made({ user_id: 'u5', spend: 1.5 })).toMatchObject({ spend: 1.5 })
    expect((await gateway.counters.peek(['customer|u5']))[0]).toMatchObject({ spent: 1_500_000_000 })
    expect((await post('/customer/update', { user_id: 'u5', spend: 0 })).body).toMatchObject({ spend: 0 })
    expect((await gateway.counters.peek(['customer|u5']))[0]).toMatchObject({ spent: 0 })
  })

  it('knows nobody by another id', async () => {
    expect((await post('/customer/update', { user_id: 'ghost', alias: 'x' })).status).toBe(404)
  })

  it('keeps both of two changes made at once', async () => {
    await made({ user_id: 'u4', max_budget: 1 })
    await Promise.all([
      post('/customer/update', { user_id: 'u4', max_budget: 5 }),
      post('/customer/update', { user_id: 'u4', rpm_limit: 6 }),
    ])
    expect((await get('/customer/info?end_user_id=u4')).body).toMatchObject({
      litellm_budget_table: { max_budget: 5, rpm_limit: 6 },
    })
  })
})

describe('POST /customer/block', () => {
  it('blocks those who are there and those who have not called yet, and unblocks them', async () => {
    await made({ user_id: 'k1' })
    told.length = 0
    const { body } = await post('/customer/block', { user_ids: ['k1', 'k2'] })
    expect(body).toMatchObject({
      blocked_users: [
        { user_id: 'k1', blocked: true },
        { user_id: 'k2', blocked: true },
      ],
    })
    expect(told).toContainEqual({ customers: ['k1', 'k2'] })
    expect((await post('/customer/unblock', { user_ids: ['k1'] })).body).toMatchObject({ unblocked_users: [{ blocked: false }] })
    expect(await query("select action from audit_log where table_name = 'customers' and object_id = 'k1' order by at")).toEqual([
      { action: 'created' },
      { action: 'blocked' },
      { action: 'unblocked' },
    ])
  })

  it('reaches whoever asks for the limits of a customer', async () => {
    const router = gateway.hub.join('router')
    const ask = async (): Promise<unknown> =>
      (
        (await router.request(router.subjects.limits, { v: 1, customers: ['k3'], tags: [] }, { timeout: 2000 })) as {
          customers: Body
        }
      ).customers['k3']
    expect(await ask()).toMatchObject({ blocked: false, limits: [] })
    await post('/customer/block', { user_ids: ['k3'] })
    await post('/customer/update', { user_id: 'k3', max_budget: 1.5 })
    expect(await ask()).toMatchObject({ blocked: true, limits: [{ scope: 'customer|k3', budget: 1_500_000_000 }] })
  })

  it('unblocks nobody who is not there', async () => {
    expect((await post('/customer/unblock', { user_ids: ['ghost'] })).status).toBe(404)
  })
})

describe('POST /customer/delete', () => {
  it('deletes customers, and keeps what they were', async () => {
    await made({ user_id: 'd1', max_budget: 1 })
    expect((await post('/customer/delete', { user_ids: ['d1'] })).body).toMatchObject({ deleted_customers: 1 })
    expect((await get('/customer/info?end_user_id=d1')).status).toBe(404)
    expect(
      await query("select row -> 'litellm_budget_table' ->> 'max_budget' as budget from archive where table_name = 'customers'"),
    ).toEqual([{ budget: '1' }])
  })

  it('deletes nobody when one of them is not there', async () => {
    await made({ user_id: 'd2' })
    const { status, body } = await post('/customer/delete', { user_ids: ['d2', 'ghost'] })
    expect(status).toBe(404)
    expect(body).toMatchObject({ error: { message: expect.stringContaining("'ghost'") } })
    expect((await get('/customer/info?end_user_id=d2')).status).toBe(200)
  })
})

describe('GET /customer/info and /customer/list', () => {
  it('tell what was spent in the present window', async () => {
    await query("update spend set spent_nano = 1500000001 where scope = 'customer|c2'")
    expect((await get('/customer/info?end_user_id=c2')).body).toMatchObject({ spend: 1.500000001 })
  })

  it('list every customer once', async () => {
    await query("insert into customers (user_id) select 'many-' || n from generate_series(1, 2500) n")
    const ids = ((await get('/customer/list')).body as Body[]).map((customer) => customer['user_id'])
    const all = await query<{ user_id: string }>('select user_id from customers order by user_id')
    expect(ids).toEqual(all.map((row) => row.user_id))
  })

  it('are for those who read everything; viewers write nothing', async () => {
    expect((await get('/customer/list', keyOf['watch'])).status).toBe(200)
    expect((await get('/customer/list', keyOf['ann'])).status).toBe(401)
    expect((await get('/customer/info?end_user_id=c2', keyOf['ann'])).status).toBe(401)
    for (const [path, body] of [
      ['new', { user_id: 'nope' }],
      ['update', { user_id: 'c2', alias: 'x' }],
      ['delete', { user_ids: ['c2'] }],
      ['block', { user_ids: ['c2'] }],
      ['unblock', { user_ids: ['c2'] }],
    ] as const) {
      expect((await post(`/customer/${path}`, body, keyOf['watch'])).status, path).toBe(401)
      expect((await post(`/customer/${path}`, body, keyOf['ann'])).status, path).toBe(401)
    }
  })
})
