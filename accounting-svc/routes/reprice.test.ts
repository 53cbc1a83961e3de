import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AccountingFixture, attempt, event, NOON, startAccounting, usage } from '../gateway-fixture.ts'

const KEY = createHash('sha256').update('one').digest('hex')
const DAY = 86_400_000
const config = {
  model_list: [
    {
      model_name: 'gpt-4o',
      litellm_params: { model: 'openai/gpt-4o', input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 },
      model_info: { id: 'd1' },
    },
  ],
}

let fixture: AccountingFixture
beforeEach(async () => {
  fixture = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { config })
})
afterEach(() => fixture.close())

interface Answer {
  id: string
  entries: number
  changed: number
  booked: number
  skipped: number
  unpriced: number
  complete: boolean
  next: string | null
  old_spend: number
  new_spend: number
  difference: number
  results: Record<string, unknown>[]
}

const period = { start_date: '2026-11-20', end_date: '2026-11-22' }

async function reprice(body: Record<string, unknown>): Promise<Answer> {
  const answer = await fixture.call('POST', '/spend/reprice', { ...period, ...body })
  expect(answer.status, answer.text).toBe(200)
  return answer.body as Answer
}

async function book(...events: Parameters<typeof event>[0][]): Promise<void> {
  const router = fixture.hub.join('router')
  await router.append(
    '0',
    events.map((fields) => event({ keyHash: KEY, ...fields })),
  )
  const wanted = events.length
  for (let tries = 0; tries < 200; tries += 1) {
    const [row] = await query<{ count: number }>('select count(*)::int as count from ledger')
    if ((row?.count ?? 0) >= wanted) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error('the events were not booked')
}

const query = <Row>(sql: string): Promise<Row[]> => fixture.test.db.query<Row>(sql)
const spent = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await query<{ scope: string; spent_nano: number }>('select scope, spent_nano from spend')).map((row) => [
      row.scope,
      row.spent_nano,
    ]),
  )
const total = async (table: string): Promise<number> =>
  Number((await query<{ sum: string }>(`select sum(cost_nano)::text as sum from ${table}`))[0]?.sum ?? 0)

/** 10 × 1000 + 5 × 2000. */
const OLD = 20_000
/** 10 × 3000 + 5 × 4000. */
const NEW = 50_000
const prices = { input_cost_per_token: 3e-6, output_cost_per_token: 4e-6 }

describe('/spend/reprice', () => {
  it('only reports, unless it is told to book', async () => {
    await book({ callId: 'a' }, { callId: 'b', startedAt: NOON - DAY })
    const report = await reprice({ prices })
    expect(report).toMatchObject({ entries: 2, changed: 2, booked: 0, complete: true, old_spend: 0.00004, new_spend: 0.0001 })
    expect(report.results).toEqual([
      {
        date: '2026-11-20',
        model: 'gpt-4o',
        api_key: KEY,
        entries: 1,
        old_spend: 0.00002,
        new_spend: 0.00005,
        difference: 0.00003,
      },
      {
        date: '2026-11-21',
        model: 'gpt-4o',
        api_key: KEY,
        entries: 1,
        old_spend: 0.00002,
        new_spend: 0.00005,
        difference: 0.00003,
      },
    ])
    expect(await total('ledger')).toBe(2 * OLD)
  })

  it('books the difference beside every entry, in its sums and its owners’ spend, once under one id', async () => {
    await book(
      { callId: 'a', teamId: 't', tags: ['x'], scopes: ['provider|openai'] },
      { callId: 'b', teamId: 't', endUser: 'c' },
      { callId: 'c', outcome: 'failure', attempts: [] },
    )
    const first = await reprice({ prices, dry_run: false, id: 'r1' })
    expect(first).toMatchObject({ entries: 2, changed: 2, booked: 2, skipped: 0, difference: 0.00006 })
    expect(await total('ledger')).toBe(2 * NEW)
    expect(await total('daily_spend')).toBe(2 * NEW)
    expect(await total('daily_label_spend')).toBe(2 * NEW)
    expect(await spent()).toMatchObject({
      [`key|${KEY}`]: 2 * NEW,
      'team|t': 2 * NEW,
      'tag|x': NEW,
      'customer|c': NEW,
      'provider|openai': NEW,
    })
    const [row] = await query(
      `select entry, calls, input_tokens, output_tokens, cost_nano, team_id, extra_scopes, rate_version from ledger
       where call_id = 'a' and entry <> 'settled'`,
    )
    expect(row).toMatchObject({
      entry: 'adjustment:r1',
      calls: 0,
      input_tokens: 0,
      output_tokens: 0,
      cost_nano: NEW - OLD,
      team_id: 't',
      extra_scopes: ['provider|openai'],
      rate_version: expect.stringMatching(/^reprice:/),
    })
    const [day] = await query('select sum(calls)::int as calls, sum(input_tokens)::int as input from daily_spend')
    expect(day).toEqual({ calls: 3, input: 20 })

    expect(await reprice({ prices, dry_run: false, id: 'r1' })).toMatchObject({ changed: 0, booked: 0, difference: 0 })
    // Even at other prices nothing is booked twice under one id; another id takes what was adjusted into account.
    expect(await reprice({ dry_run: false, id: 'r1' })).toMatchObject({ changed: 2, booked: 0, skipped: 2 })
    expect(await reprice({ dry_run: false, id: 'r2' })).toMatchObject({ changed: 2, booked: 2, difference: -0.00006 })
    expect(await total('ledger')).toBe(2 * OLD)
    expect((await spent())['team|t']).toBe(2 * OLD)
  })

  it('leaves the spend of a window alone that closed since the call', async () => {
    const now = Date.now()
    await book({ callId: 'old', teamId: 't', userId: 'u' })
    await query(
      `update spend set budget_duration = '1d', reset_at = to_timestamp(${now + DAY} / 1000.0), spent_nano = 7 where scope = 'team|t'`,
    )
    await reprice({ prices, dry_run: false })
    expect(await spent()).toMatchObject({ 'team|t': 7, 'user|u': NEW, [`key|${KEY}`]: NEW })
    expect(await total('daily_spend')).toBe(NEW)
  })

  it('counts in a window that the call lies in', async () => {
    await book({ callId: 'new', teamId: 't' })
    const end = new Date(NOON + 12 * 3_600_000).toISOString()
    await query(`update spend set budget_duration = '1d', reset_at = '${end}' where scope = 'team|t'`)
    await reprice({ prices, dry_run: false })
    expect((await spent())['team|t']).toBe(NEW)
  })

  it('goes on where it stopped, and narrows to a filter', async () => {
    await book(...['a', 'b', 'c', 'd', 'e'].map((callId) => ({ callId, userId: callId === 'e' ? 'other' : 'u' })))
    const first = await reprice({ prices, dry_run: false, id: 'r', max_entries: 3 })
    expect(first).toMatchObject({ entries: 3, booked: 3, complete: false })
    const rest = await reprice({ prices, dry_run: false, id: 'r', after: first.next })
    expect(rest).toMatchObject({ entries: 2, booked: 2, complete: true, next: null })
    expect(await total('ledger')).toBe(5 * NEW)
    expect(await reprice({ prices, user_id: 'other' })).toMatchObject({ entries: 1 })
    expect(await reprice({ prices, model: 'none' })).toMatchObject({ entries: 0, results: [] })
    expect(await reprice({ prices, start_date: '2026-11-01', end_date: '2026-11-02' })).toMatchObject({ entries: 0 })
  })

  it('prices by a version: of the configuration, of the API, of the catalogue', async () => {
    await book({ callId: 'a' })
    const [row] = await query<{ rate_version: string }>('select rate_version from ledger')
    expect(await reprice({ rate_version: row?.rate_version })).toMatchObject({ changed: 0, unpriced: 0 })
    const made = await fixture.call('POST', '/model/prices', {
      model: 'openai/gpt-4o',
      ...prices,
      effective_from: '2030-01-01T00:00:00Z',
    })
    const { rate_version } = made.body as { rate_version: string }
    expect(await reprice({ rate_version })).toMatchObject({ changed: 1, new_spend: 0.00005 })
    const refused = await fixture.call('POST', '/spend/reprice', { ...period, rate_version: 'none' })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('rate_version')
  })

  it('prices what had no price when it was booked', async () => {
    const unknown = attempt({
      deploymentId: 'gone',
      provider: 'openai',
      model: 'made-up',
      usage: usage({ cacheWrite1h: 2, cacheRead: 1 }),
    })
    await book({ callId: 'a', attempts: [unknown] })
    expect(await reprice({})).toMatchObject({ unpriced: 1, changed: 0 })
    await fixture.call('POST', '/model/prices', {
      model: 'openai/made-up',
      input_cost_per_token: 1e-6,
      output_cost_per_token: 2e-6,
      cache_read_input_token_cost: 5e-7,
      cache_creation_input_token_cost_above_1hr: 4e-6,
      effective_from: '2026-01-01T00:00:00Z',
    })
    await reprice({ dry_run: false })
    // 7 × 1000 + 1 × 500 + 2 × 4000 + 5 × 2000
    expect(await total('ledger')).toBe(25_500)
  })
})
