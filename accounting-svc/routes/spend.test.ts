import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, NOON, startAccounting, usage } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'

type Body = Record<string, unknown>

const DAY = 86_400_000
let gateway: AccountingFixture
let ann: { key: string; token: string }
let program: { key: string; token: string }

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  await gateway.test.db.query(
    `insert into users (user_id) values ('ann'), ('bob'); insert into teams (team_id, team_alias) values ('t1', 'Team one')`,
  )
  ann = (await gateway.call('POST', '/key/generate', { user_id: 'ann', key_alias: 'ann-key', team_id: 't1' })).body as typeof ann
  program = (await gateway.call('POST', '/key/generate', {})).body as typeof program
  // A third of a dollar in nano-dollars, so that sums show whether anything is rounded.
  const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 333_333_333, rateVersion: 'r' }), log: silentLog })
  const annEvent = { keyHash: ann.token, keyAlias: 'ann-key', userId: 'ann', teamId: 't1' }
  await ledger.book([
    event({
      ...annEvent,
      callId: 'one',
      tags: ['x'],
      endUser: 'customer-1',
      sessionId: 's',
      clientIp: '10.0.0.1',
      metadata: { mine: 1 },
    }),
    event({
      ...annEvent,
      callId: 'two',
      startedAt: NOON + 1000,
      endedAt: NOON + 1500,
      attempts: [attempt({ model: 'claude', provider: 'anthropic' })],
    }),
    event({ ...annEvent, callId: 'three', startedAt: NOON + DAY }),
    event({ keyHash: program.token, callId: 'four', startedAt: NOON + DAY + 1, endUser: 'customer-1' }),
    event({
      keyHash: program.token,
      callId: 'five',
      startedAt: NOON + DAY + 2,
      outcome: 'failure',
      status: 429,
      error: { code: 'provider_rate_limited', message: 'slow down' },
      attempts: [],
    }),
  ])
})
afterAll(() => gateway.close())

const logs = async (query: string, key?: string): Promise<Body[]> => {
  const { status, body, text } = await gateway.call('GET', `/spend/logs${query}`, undefined, key)
  expect(status, text).toBe(200)
  return body as Body[]
}
const ids = async (query: string, key?: string) => (await logs(query, key)).map((row) => row['request_id'])

describe('GET /spend/logs', () => {
  it('gives the rows of the ledger, newest first, as LiteLLM’s table has them', async () => {
    expect(await ids('')).toEqual(['five', 'four', 'three', 'two', 'one'])
    const [row] = await logs('?request_id=one')
    expect(row).toEqual({
      request_id: 'one',
      call_type: 'acompletion',
      api_key: ann.token,
      spend: 0.333333333,
      total_tokens: 15,
      prompt_tokens: 10,
      completion_tokens: 5,
      startTime: '2026-11-21T12:00:00.000Z',
      endTime: '2026-11-21T12:00:00.100Z',
      completionStartTime: '2026-11-21T12:00:00.020Z',
      request_duration_ms: 100,
      model: 'gpt-4o',
      model_id: 'd1',
      model_group: 'gpt-4o',
      custom_llm_provider: 'openai',
      api_base: '',
      user: 'ann',
      metadata: {
        mine: 1,
        user_api_key: ann.token,
        user_api_key_alias: 'ann-key',
        user_api_key_team_id: 't1',
        user_api_key_user_id: 'ann',
        status: 'success',
        turnpike: expect.objectContaining({ entry: 'settled', take: 1, attempt: 0, rate_version: 'r' }),
      },
      cache_hit: 'False',
      cache_key: '',
      request_tags: ['x'],
      team_id: 't1',
      organization_id: null,
      end_user: 'customer-1',
      requester_ip_address: '10.0.0.1',
      messages: {},
      response: {},
      proxy_server_request: {},
      session_id: 's',
      status: 'success',
      agent_id: null,
    })
  })

  it('shows a call that failed, at no cost, with its error', async () => {
    expect((await logs('?request_id=five'))[0]).toMatchObject({
      spend: 0,
      status: 'failure',
      model: 'gpt-4o',
      metadata: { error_information: { error_code: '429', error_class: 'provider_rate_limited', error_message: 'slow down' } },
    })
  })

  it('finds by key, hash, user and date', async () => {
    expect(await ids(`?api_key=${ann.key}`)).toEqual(['three', 'two', 'one'])
    expect(await ids(`?api_key=${program.token}`)).toEqual(['five', 'four'])
    expect(await ids('?user_id=ann')).toEqual(['three', 'two', 'one'])
    expect(await ids('?start_date=2026-11-21&end_date=2026-11-21&summarize=false')).toEqual(['two', 'one'])
    expect(await ids('?start_date=2026-11-22&summarize=false')).toEqual(['five', 'four', 'three'])
    expect(await ids('?request_id=nothing')).toEqual([])
  })

  it('sums up days when dates are given, without losing a nano-dollar', async () => {
    const text = (await gateway.call('GET', '/spend/logs?start_date=2026-11-21&end_date=2026-11-22')).text
    expect(JSON.parse(text)).toEqual([
      {
        startTime: '2026-11-21',
        spend: 0.666666666,
        users: { ann: 0.666666666 },
        models: { 'gpt-4o': 0.333333333, claude: 0.333333333 },
        [ann.token]: 0.666666666,
      },
      {
        startTime: '2026-11-22',
        spend: 0.666666666,
        users: { ann: 0.333333333, '': 0.333333333 },
        models: { 'gpt-4o': 0.666666666, '': 0 },
        [ann.token]: 0.333333333,
        [program.token]: 0.333333333,
      },
    ])
    expect(text).toContain('"spend":0.666666666')
  })

  it('shows a user and a program only what is theirs, whatever they ask for', async () => {
    expect(await ids('', ann.key)).toEqual(['three', 'two', 'one'])
    expect(await ids('?user_id=bob', ann.key)).toEqual([])
    expect(await ids(`?api_key=${program.token}`, ann.key)).toEqual([])
    expect(await ids('?request_id=four', ann.key)).toEqual([])
    expect(await ids('', program.key)).toEqual(['five', 'four'])
    expect(await ids(`?api_key=${ann.key}`, program.key)).toEqual([])
    expect(await logs('?start_date=2026-11-01', program.key)).toMatchObject([{ startTime: '2026-11-22', spend: 0.333333333 }])
  })

  it('answers 400 to what is no date, naming the field', async () => {
    for (const [query, field] of [
      ['start_date=yesterday', 'start_date'],
      ['start_date=2026-13-45', 'start_date'],
      ['start_date=2026-02-30', 'start_date'],
      ['start_date=2026-11-21&end_date=2026-11-20', 'end_date'],
    ]) {
      const { status, body } = await gateway.call('GET', `/spend/logs?${query}`)
      expect([status, (body as { error: { param: string } }).error.param], query).toEqual([400, field])
    }
  })

  it('streams more rows than a page, each once and in order, also where many began in one millisecond', async () => {
    const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 1, rateVersion: 'r' }), log: silentLog })
    const keyHash = 'c'.repeat(64)
    const events = Array.from({ length: 2500 }, (_, index) =>
      event({ keyHash, callId: `many-${index}`, startedAt: NOON + (index % 3), attempts: [attempt({ usage: usage() })] }),
    )
    await ledger.book(events)
    const rows = await logs(`?api_key=${keyHash}`)
    expect(new Set(rows.map((row) => row['request_id'])).size).toBe(2500)
    expect(rows.map((row) => row['startTime'])).toEqual(
      rows
        .map((row) => row['startTime'])
        .toSorted()
        .toReversed(),
    )
  })
})

describe('GET /global/spend/report', () => {
  const report = async (query: string) =>
    (await gateway.call('GET', `/global/spend/report?start_date=2026-11-21&end_date=2026-11-22${query}`)).body

  it('groups by day and team', async () => {
    expect(await report('&team_id=t1')).toEqual([
      {
        group_by_day: '2026-11-21',
        teams: [
          {
            team_name: 'Team one',
            total_spend: 0.666666666,
            metadata: [
              { model: 'claude', spend: 0.333333333, total_tokens: 15, api_key: ann.token },
              { model: 'gpt-4o', spend: 0.333333333, total_tokens: 15, api_key: ann.token },
            ],
          },
        ],
      },
      {
        group_by_day: '2026-11-22',
        teams: [
          {
            team_name: 'Team one',
            total_spend: 0.333333333,
            metadata: [{ model: 'gpt-4o', spend: 0.333333333, total_tokens: 15, api_key: ann.token }],
          },
        ],
      },
    ])
  })

  it('groups by customer and by key', async () => {
    expect(await report('&group_by=customer')).toMatchObject([
      { group_by_day: '2026-11-21', customers: [{ customer: 'customer-1', total_spend: 0.333333333 }] },
      { group_by_day: '2026-11-22', customers: [{ customer: 'customer-1', total_spend: 0.333333333 }] },
    ])
    expect(await report(`&api_key=${ann.key}`)).toEqual([
      {
        api_key: ann.token,
        total_cost: 0.999999999,
        total_input_tokens: 30,
        total_output_tokens: 15,
        model_details: [
          { model: 'claude', total_cost: 0.333333333, total_input_tokens: 10, total_output_tokens: 5 },
          { model: 'gpt-4o', total_cost: 0.666666666, total_input_tokens: 20, total_output_tokens: 10 },
        ],
      },
    ])
  })

  it('needs both dates, and an admin', async () => {
    expect((await gateway.call('GET', '/global/spend/report?start_date=2026-11-21')).status).toBe(400)
    expect(
      (await gateway.call('GET', '/global/spend/report?start_date=2026-11-21&end_date=2026-11-22', undefined, ann.key)).status,
    ).toBe(401)
  })
})
