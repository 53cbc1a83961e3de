import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hashKey } from '../../shared/config/secrets.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

type Body = Record<string, unknown>

let gateway: AccountingFixture
const keyOf: Record<string, string> = {}

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  await query(`insert into users (user_id, user_role) values ('watch', 'proxy_admin_viewer'), ('ann', 'internal_user')`)
  for (const user of ['watch', 'ann']) {
    keyOf[user] = `sk-${user}`
    await query("insert into keys (token, key_name, user_id) values ($1, 'sk-...', $2)", [hashKey(`sk-${user}`), user])
  }
  const rows = [
    ['a1', '2026-11-01T10:00:00Z', 'ann', 'h1', 'created', 'teams', 't1'],
    ['a2', '2026-11-02T10:00:00Z', 'bob', 'h2', 'updated', 'teams', 't1'],
    ['a3', '2026-11-02T23:59:59.999Z', 'bob', 'h1', 'blocked', 'keys', 'k1'],
    ['a4', '2026-11-03T00:00:00Z', 'ann', 'h1', 'deleted', 'users', 'u1'],
  ]
  for (const row of rows) {
    await query(
      `insert into audit_log (id, at, changed_by, changed_by_api_key, action, table_name, object_id, before_value, updated_values)
       values ($1, $2, $3, $4, $5, $6, $7, '{"a": 1}', '{"a": 2}')`,
      row,
    )
  }
})
afterAll(() => gateway.close())

const get = (path: string, key?: string) => gateway.call('GET', path, undefined, key)
const query = <Row = Body>(text: string, values: unknown[] = []) => gateway.test.db.query<Row>(text, values)
const ids = async (filter: string): Promise<unknown[]> =>
  ((await get(`/audit?end_date=2026-11-30&page_size=100&${filter}`)).body as { audit_logs: Body[] }).audit_logs.map(
    (row) => row['id'],
  )

describe('GET /audit', () => {
  it('gives entries the newest first, as LiteLLM names their tables', async () => {
    const { body } = await get('/audit?start_date=2026-11-01&end_date=2026-11-01')
    expect(body).toEqual({
      audit_logs: [
        {
          id: 'a1',
          updated_at: '2026-11-01T10:00:00.000Z',
          changed_by: 'ann',
          changed_by_api_key: 'h1',
          action: 'created',
          table_name: 'LiteLLM_TeamTable',
          object_id: 't1',
          before_value: { a: 1 },
          updated_values: { a: 2 },
        },
      ],
      total: 1,
      page: 1,
      page_size: 10,
      total_pages: 1,
    })
    expect(await ids('start_date=2026-11-01')).toEqual(['a4', 'a3', 'a2', 'a1'])
  })

  it.each([
    ['changed_by=ann', ['a4', 'a1']],
    ['changed_by_api_key=h2', ['a2']],
    ['action=blocked', ['a3']],
    ['table_name=teams', ['a2', 'a1']],
    ['table_name=LiteLLM_TeamTable', ['a2', 'a1']],
    ['object_id=t1&action=updated', ['a2']],
    ['sort_order=asc&changed_by=ann', ['a1', 'a4']],
    ['sort_by=changed_by&sort_order=asc', ['a1', 'a4', 'a2', 'a3']],
    ['changed_by=nobody', []],
  ])('filters and sorts by %s', async (filter, expected) => {
    expect(await ids(`start_date=2026-11-01&${filter}`)).toEqual(expected)
  })

  it('takes whole days and exact times', async () => {
    const range = async (start: string, end: string): Promise<unknown[]> =>
      ((await get(`/audit?start_date=${start}&end_date=${end}`)).body as { audit_logs: Body[] }).audit_logs.map(
        (row) => row['id'],
      )
    expect(await range('2026-11-02', '2026-11-02')).toEqual(['a3', 'a2'])
    expect(await range('2026-11-02T10:00:00Z', '2026-11-02 10:00:00')).toEqual(['a2'])
    expect(await range('2026-11-02T23:00:00', '2026-11-03T01:00:00%2B01:00')).toEqual(['a4', 'a3'])
  })

  it('goes by pages', async () => {
    expect((await get('/audit?start_date=2026-11-01&end_date=2026-11-03&page=2&page_size=3')).body).toMatchObject({
      audit_logs: [{ id: 'a1' }],
      total: 4,
      page: 2,
      total_pages: 2,
    })
  })

  it.each(['start_date=soon', 'end_date=2026-13-01', 'action=eaten', 'sort_by=before_value', 'page=0', 'page_size=101'])(
    'names the parameter in %s that is wrong',
    async (filter) => {
      const { status, body } = await get(`/audit?${filter}`)
      expect(status).toBe(422)
      expect(body).toMatchObject({ detail: [{ loc: ['query', filter.split('=')[0]] }] })
    },
  )

  it('is for those who read everything', async () => {
    for (const path of ['/audit', '/audit/a1']) {
      expect((await get(path, keyOf['watch'])).status).toBe(200)
      expect((await get(path, keyOf['ann'])).status).toBe(401)
    }
  })
})

describe('GET /audit/{id}', () => {
  it('gives one entry, or none', async () => {
    expect((await get('/audit/a3')).body).toMatchObject({ id: 'a3', table_name: 'LiteLLM_VerificationToken', object_id: 'k1' })
    const { status, body } = await get('/audit/none')
    expect(status).toBe(404)
    expect(body).toMatchObject({ error: { param: 'id' } })
  })
})
