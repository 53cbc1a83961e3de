import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, NOON, startAccounting, usage } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'

const DAY = 86_400_000
let gateway: AccountingFixture
let user: string

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  user = ((await gateway.call('POST', '/key/generate', {})).body as { key: string }).key
  const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 500_000_000, rateVersion: 'r' }), log: silentLog })
  const served = (deploymentId: string, reportedModel?: string) =>
    attempt({
      deploymentId,
      usage: usage({ input: 100, cacheRead: 40, cacheWrite: 10, cacheWrite1h: 5, output: 7 }),
      ...(reportedModel === undefined ? {} : { reportedModel }),
    })
  await ledger.book([
    event({ callId: 'a', attempts: [served('d1', 'gpt-4o-2024-08-06')] }),
    event({ callId: 'b', attempts: [served('d2')] }),
    event({ callId: 'c', startedAt: NOON + DAY, attempts: [served('d1')] }),
    event({ callId: 'other', attempts: [attempt({ provider: 'azure' })] }),
  ])
})
afterAll(() => gateway.close())

const reconcile = (body: Record<string, unknown>, key?: string) =>
  gateway.call('POST', '/spend/reconcile', { provider: 'openai', ...body }, key)
const bucket = (day: number, results: unknown[]) => ({ start_time: Date.UTC(2026, 10, day) / 1000, results })
const cost = (value: unknown, lineItem: string | null, key?: string) => ({
  amount: { value, currency: 'usd' },
  line_item: lineItem,
  ...(key === undefined ? {} : { api_key_id: key }),
})

describe('POST /spend/reconcile', () => {
  it('compares per day and model what was booked with what was charged', async () => {
    const data = {
      data: [
        bucket(21, [cost(0.3, 'gpt-4o-2024-08-06, input'), cost('0.2', 'gpt-4o-2024-08-06, output')]),
        bucket(22, [cost(0.75, 'gpt-4o')]),
      ],
    }
    const { status, body, text } = await reconcile({ format: 'openai_costs', data })
    expect(status, text).toBe(200)
    expect(body).toMatchObject({
      provider: 'openai',
      start_date: '2026-11-21',
      end_date: '2026-11-22',
      compared_by: ['date', 'model'],
      other_currencies: {},
      totals: [
        {
          measure: 'cost',
          ours: 1.5,
          theirs: 1.25,
          difference: 0.25,
          relative: 0.2,
          match: 1,
          differs: 1,
          only_ours: 1,
          only_theirs: 0,
        },
      ],
      rows: [
        {
          date: '2026-11-21',
          model: 'gpt-4o',
          key: '',
          measure: 'cost',
          ours: 0.5,
          theirs: 0,
          difference: 0.5,
          relative: null,
          status: 'only_ours',
        },
        { date: '2026-11-21', model: 'gpt-4o-2024-08-06', ours: 0.5, theirs: 0.5, difference: 0, relative: 0, status: 'match' },
        {
          date: '2026-11-22',
          model: 'gpt-4o',
          ours: 0.5,
          theirs: 0.75,
          difference: -0.25,
          relative: -0.333333,
          status: 'differs',
        },
      ],
    })
  })

  it('compares per key when it is told whose is whose', async () => {
    const data = [{ data: [bucket(21, [cost(0.5, 'gpt-4o', 'key_1'), cost(0.25, 'gpt-4o', 'key_3')])] }]
    const keys = { key_1: { deployment_id: 'd1' }, key_2: { api_key: ['x'.repeat(10)], deployment_id: ['d2'] } }
    const { body } = await reconcile({ format: 'openai_costs', data, keys, end_date: '2026-11-21', only_differences: true })
    expect(body).toMatchObject({
      compared_by: ['date', 'model', 'key'],
      totals: [{ ours: 1, theirs: 0.75, match: 1, only_ours: 1, only_theirs: 1 }],
      rows: [
        { key: 'key_2', ours: 0.5, theirs: 0, status: 'only_ours' },
        { key: 'key_3', ours: 0, theirs: 0.25, status: 'only_theirs' },
      ],
    })
    expect(
      (await reconcile({ format: 'openai_costs', data, keys: { a: { deployment_id: 'd1' }, b: { deployment_id: 'd1' } } }))
        .status,
    ).toBe(400)
  })

  it('compares in sum what the export does not tell apart, within its tolerance', async () => {
    const data = { data: [bucket(21, [cost(1.009, null)])] }
    const statuses = async (more = {}) =>
      ((await reconcile({ format: 'openai_costs', data, ...more })).body as { rows: { status: string }[] }).rows.map(
        (row) => row.status,
      )
    expect(await statuses()).toEqual(['match'])
    expect(await statuses({ tolerance: { absolute: 0 } })).toEqual(['differs'])
    expect(await statuses({ tolerance: { absolute: 0, relative: 0.01 } })).toEqual(['match'])
    expect(await statuses({ deployment_ids: ['d1'] })).toEqual(['differs'])
  })

  it('keeps every digit of JSON given as text', async () => {
    const data = '{"data":[{"start_time":1795219200,"results":[{"amount":{"value":123456789.123456789,"currency":"usd"}}]}]}'
    const { text } = await reconcile({ format: 'openai_costs', data })
    expect(text).toContain('"theirs":123456789.123456789,')
    expect((await reconcile({ format: 'openai_costs', data: '{' })).status).toBe(400)
  })

  it('compares tokens where the export has them', async () => {
    const results = [
      {
        model: 'gpt-4o',
        uncached_input_tokens: 90,
        cache_read_input_tokens: 80,
        cache_creation: { ephemeral_5m_input_tokens: 30 },
        output_tokens: 13,
      },
    ]
    const data = { data: [{ starting_at: '2026-11-21T00:00:00Z', results }] }
    const { body } = await reconcile({ format: 'anthropic_usage', data, models: { 'gpt-4o': 'gpt-4o' } })
    expect((body as { totals: unknown[] }).totals).toMatchObject([
      { measure: 'cache_read_tokens', ours: 80, theirs: 80 },
      { measure: 'cache_write_tokens', ours: 30, theirs: 30 },
      { measure: 'output_tokens', ours: 14, theirs: 13 },
      { measure: 'uncached_input_tokens', ours: 90, theirs: 90 },
    ])
  })

  it('reads CSV and writes it', async () => {
    const response = await fetch(`http://127.0.0.1:${gateway.accounting.port}/spend/reconcile`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-master-1234', accept: 'text/csv' },
      body: JSON.stringify({
        provider: 'azure',
        format: 'csv',
        data: 'date,what,usd\n2026-11-21,gpt-4o,0.5\n',
        columns: { model: 'what', cost: 'usd' },
      }),
    })
    expect(await response.text()).toBe(
      'date,model,key,measure,ours,theirs,difference,relative,status\r\n2026-11-21,gpt-4o,,cost,0.5,0.5,0,0,match\r\n',
    )
  })

  it('says what is only ours when the export is empty, given the days', async () => {
    const data = { data: [] }
    const { status, body } = await reconcile({ format: 'openai_costs', data })
    expect([status, (body as { error: { param: string } }).error.param]).toEqual([400, 'data'])
    expect(
      (await reconcile({ format: 'openai_costs', data, start_date: '2026-11-01', end_date: '2026-11-30' })).body,
    ).toMatchObject({
      rows: [{ status: 'only_ours' }, { status: 'only_ours' }],
    })
    expect((await reconcile({ format: 'openai_costs', data, start_date: '2026-11-31', end_date: '2026-11-30' })).status).toBe(400)
    expect((await reconcile({ format: 'csv', data: 'date,cost\n2026-11-21,x\n' })).status).toBe(400)
    expect(
      (await reconcile({ format: 'openai_costs', data: { data: [bucket(21, [cost(1, null)])] }, tolerance: { absolute: -1 } }))
        .status,
    ).toBe(400)
  })

  it('is for admins', async () => {
    expect((await reconcile({ format: 'openai_costs', data: { data: [] } }, user)).status).toBe(401)
  })
})
