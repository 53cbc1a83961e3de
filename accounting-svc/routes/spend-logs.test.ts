import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, NOON, startAccounting, usage } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'

type Body = Record<string, unknown>
interface Page {
  data: Body[]
  total: number
  page: number
  page_size: number
  total_pages: number
  total_is_exact: boolean
}

let gateway: AccountingFixture
let ann: { key: string; token: string }
let bob: { key: string; token: string }

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  await gateway.test.db.query(
    `insert into teams (team_id) values ('t1'); insert into users (user_id) values ('ann'), ('bob');
     insert into team_members (team_id, user_id, role) values ('t1', 'ann', 'user'), ('t1', 'bob', 'admin')`,
  )
  const make = async (fields: Body) => (await gateway.call('POST', '/key/generate', fields)).body as typeof ann
  ann = await make({ user_id: 'ann', team_id: 't1', key_alias: 'Ann-key' })
  bob = await make({ user_id: 'bob', key_alias: 'bob-key' })
  let cost = 0
  const ledger = createLedger({
    db: gateway.test.db,
    price: () => ({ cost: ++cost * 1_000_000_000, rateVersion: 'r' }),
    log: silentLog,
  })
  const ofAnn = { keyHash: ann.token, keyAlias: 'Ann-key', userId: 'ann', teamId: 't1', organizationId: 'o1' }
  const at = (seconds: number) => ({ startedAt: NOON + seconds * 1000, endedAt: NOON + seconds * 1000 + 100 * (10 - seconds) })
  // One after the other, so that the nth costs n dollars.
  for (const each of [
    event({
      ...ofAnn,
      ...at(1),
      callId: 'c1',
      sessionId: 's1',
      tags: ['blue'],
      attempts: [attempt({ usage: usage({ input: 500 }) })],
    }),
    event({
      ...ofAnn,
      ...at(2),
      callId: 'c2',
      sessionId: 's1',
      endUser: 'e1',
      modelGroup: 'big',
      attempts: [attempt({ model: 'claude', deploymentId: 'd2' })],
    }),
    event({ keyHash: bob.token, keyAlias: 'bob-key', userId: 'bob', ...at(3), callId: 'c3', sessionId: 's2' }),
    event({
      keyHash: bob.token,
      userId: 'bob',
      ...at(4),
      callId: 'c4',
      outcome: 'failure',
      status: 429,
      error: { code: 'provider_rate_limited', message: 'Please slow DOWN' },
      attempts: [],
    }),
    // Two attempts were billed: two entries, one call.
    event({
      ...ofAnn,
      ...at(5),
      callId: 'c5',
      metadata: { litellm_call_id: 'mine' },
      attempts: [attempt({ outcome: 'partial' }), attempt({ index: 1 })],
    }),
  ]) {
    const { endedAt } = each
    await ledger.book([{ ...each, attempts: each.attempts.map((tried) => ({ ...tried, endedAt })) }])
  }
})
afterAll(() => gateway.close())

const page = async (query = '', key?: string): Promise<Page> => {
  const { status, body, text } = await gateway.call('GET', `/spend/logs/v2?${query}`, undefined, key)
  expect(status, text).toBe(200)
  return body as Page
}
const ids = async (query: string, key?: string) => (await page(query, key)).data.map((row) => row['request_id'])

describe('GET /spend/logs/v2', () => {
  it('pages through the ledger, newest first', async () => {
    expect(await page()).toMatchObject({ total: 6, page: 1, page_size: 50, total_pages: 1, total_is_exact: true })
    expect(await ids('')).toEqual(['c5', 'c5', 'c4', 'c3', 'c2', 'c1'])
    const pages = await Promise.all([1, 2, 3, 4].map((number) => page(`page=${number}&page_size=2`)))
    expect(pages.map(({ data }) => data.map((row) => row['request_id']))).toEqual([['c5', 'c5'], ['c4', 'c3'], ['c2', 'c1'], []])
    expect(pages[2]).toMatchObject({ total: 6, page: 3, page_size: 2, total_pages: 3 })
    expect((await gateway.call('GET', '/spend/logs/ui')).body).toEqual(await page())
  })

  it('filters by everything it names', async () => {
    const found: Record<string, string[]> = {
      [`api_key=${ann.key}`]: ['c5', 'c5', 'c2', 'c1'],
      [`api_key=${bob.token}`]: ['c4', 'c3'],
      'user_id=bob': ['c4', 'c3'],
      'team_id=t1': ['c5', 'c5', 'c2', 'c1'],
      'organization_id=o1&user_id=ann,bob': ['c5', 'c5', 'c2', 'c1'],
      'end_user=e1': ['c2'],
      'request_id=c3': ['c3'],
      'request_id=mine': ['c5', 'c5'],
      'session_id=s1': ['c2', 'c1'],
      'min_spend=2&max_spend=3': ['c3', 'c2'],
      'min_spend=4.000000001': ['c5'],
      'status_filter=failure': ['c5', 'c4'],
      'status_filter=success': ['c5', 'c3', 'c2', 'c1'],
      'status_filter=': ['c5', 'c5', 'c4', 'c3', 'c2', 'c1'],
      'model=claude': ['c2'],
      'model_group=big,none': ['c2'],
      'model_id=d2': ['c2'],
      'key_alias=ann': ['c5', 'c5', 'c2', 'c1'],
      'error_code=429': ['c4'],
      'error_code=provider_rate_limited': ['c4'],
      'error_code=500': [],
      'error_message=slow%20down': ['c4'],
      'tag=blue': ['c1'],
      'start_date=2026-11-21%2012:00:02&end_date=2026-11-21%2012:00:03': ['c3', 'c2'],
      'start_date=2026-11-21&end_date=2026-11-21': ['c5', 'c5', 'c4', 'c3', 'c2', 'c1'],
      'start_date=2026-11-21T13:00:04%2B01:00': ['c5', 'c5', 'c4'],
      'end_date=2026-11-20': [],
      'model=nothing': [],
    }
    for (const [query, expected] of Object.entries(found)) {
      expect(await ids(query), query).toEqual(expected)
      expect((await page(query)).total, query).toBe(expected.length)
    }
  })

  it('sorts by what it names, either way', async () => {
    expect(await ids('sort_by=spend&sort_order=asc')).toEqual(['c4', 'c1', 'c2', 'c3', 'c5', 'c5'])
    expect((await ids('sort_by=spend')).slice(0, 3)).toEqual(['c5', 'c5', 'c3'])
    expect((await ids('sort_by=total_tokens'))[0]).toBe('c1')
    expect((await ids('sort_by=request_duration_ms'))[0]).toBe('c1')
    expect((await ids('sort_by=model&sort_order=asc'))[0]).toBe('c2')
    expect((await ids('sort_order=asc'))[0]).toBe('c1')
    expect((await gateway.call('GET', '/spend/logs/v2?sort_by=metadata')).status).toBe(422)
  })

  it('shows others what is theirs, and admins of a team the team', async () => {
    expect(await ids('', ann.key)).toEqual(['c5', 'c5', 'c2', 'c1'])
    expect(await ids('user_id=bob', ann.key)).toEqual([])
    expect(await ids('', bob.key)).toEqual(['c5', 'c5', 'c4', 'c3', 'c2', 'c1'])
    expect((await page('', ann.key)).total).toBe(4)
  })

  it('answers 400 to what does not fit, naming the field', async () => {
    for (const [query, field] of [
      ['start_date=x', 'start_date'],
      ['start_date=2026-11-21%2025:00:00', 'start_date'],
      ['start_date=2026-11-21&end_date=2026-11-20', 'end_date'],
      ['min_spend=much', 'min_spend'],
      ['max_spend=1e30', 'max_spend'],
    ]) {
      const { status, body } = await gateway.call('GET', `/spend/logs/v2?${query}`)
      expect([status, (body as { error: { param: string } }).error.param], query).toEqual([400, field])
    }
  })

  it('counts up to 10,000 and goes on with the daily sums', async () => {
    const keyHash = 'f'.repeat(64)
    await gateway.test.db.query(
      `insert into ledger (call_id, take, attempt, entry, started_at, calls, key_hash, endpoint, requested_model, model_group, outcome, status,
         attempt_started_at, ended_at, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated, cost_nano,
         stream, cache_hit, router_id)
       select 'many-' || n, 1, 0, 'settled', '2026-06-01', 1, $1, 'e', 'm', 'm', 'success', 200, '2026-06-01', '2026-06-01', 0, 0, 0, 0, 0, false, 0,
         false, false, 'r' from generate_series(1, 10001) n`,
      [keyHash],
    )
    await gateway.test.db.query(
      `insert into daily_spend values ('2026-06-01', $1, '', '', '', 'm', '', '', 'e', 0, 0, 0, 0, 0, 10001, 10001, 0)`,
      [keyHash],
    )
    expect(await page(`api_key=${keyHash}&end_date=2026-06-01%2010:00:00`)).toMatchObject({
      total: 10001,
      total_pages: 201,
      total_is_exact: false,
    })
    expect(await page(`api_key=${keyHash}&status_filter=success`)).toMatchObject({ total: 10000, total_is_exact: false })
  })

  it('comes as CSV', async () => {
    const { text, headers } = await gateway.call('GET', '/spend/logs/v2?session_id=s1&format=csv&page_size=1')
    expect(headers.get('content-disposition')).toBe('attachment; filename="spend-logs.csv"')
    const lines = text.split('\r\n')
    expect(lines).toHaveLength(4)
    expect(lines[1]).toBe(
      `c2,acompletion,${ann.token},Ann-key,ann,t1,o1,e1,s1,2026-11-21T12:00:02.000Z,2026-11-21T12:00:02.800Z,claude,big,d2,openai,2,10,5,0,0,success,,,false,,settled,0,r,`,
    )
  })
})

describe('GET /spend/logs/session/ui', () => {
  it('gives the calls of a session in the order they began', async () => {
    const { body } = await gateway.call('GET', '/spend/logs/session/ui?session_id=s1')
    expect((body as Page).data.map((row) => row['request_id'])).toEqual(['c1', 'c2'])
    expect(body).toMatchObject({ total: 2, page: 1, total_pages: 1 })
    // A call without a session is one of its own.
    expect(((await gateway.call('GET', '/spend/logs/session/ui?session_id=c4')).body as Page).total).toBe(1)
    expect(((await gateway.call('GET', '/spend/logs/session/ui?session_id=s2', undefined, ann.key)).body as Page).total).toBe(0)
    expect((await gateway.call('GET', '/spend/logs/session/ui')).status).toBe(422)
  })
})

describe('GET /spend/logs/ui/{request_id}', () => {
  it('gives the entry that stands for the call, and 404 where there is none to see', async () => {
    const call = (id: string, key?: string) => gateway.call('GET', `/spend/logs/ui/${id}`, undefined, key)
    expect((await call('c5')).body).toMatchObject({ request_id: 'c5', spend: 5, status: 'success', messages: {}, response: {} })
    expect((await call('c3', ann.key)).status).toBe(404)
    expect((await call('nothing')).status).toBe(404)
  })
})

describe('an answer from the cache', () => {
  it('is in the ledger with its key and the tokens it saved, at no cost, and among the cache hits', async () => {
    const keyHash = 'c'.repeat(64)
    const price = () => ({ cost: 1_000_000_000, rateVersion: 'r' })
    const saved = { cacheHit: true, cacheKey: 'place:key-1', savedUsage: usage({ input: 30, output: 12 }), attempts: [] }
    const ledger = createLedger({ db: gateway.test.db, price, log: silentLog })
    await ledger.book([event({ callId: 'h1', keyHash, ...saved }), event({ callId: 'h2', keyHash })])
    const [row] = (await page(`api_key=${keyHash}&request_id=h1`)).data
    expect(row).toMatchObject({ cache_hit: 'True', cache_key: 'place:key-1', spend: 0, prompt_tokens: 30, completion_tokens: 12 })
    const query = `start_date=2026-11-21&end_date=2026-11-21&api_keys=${keyHash}`
    const hits = (await gateway.call('GET', `/global/activity/cache_hits?${query}`)).body as Body[]
    const sum = (field: string) => hits.reduce((all, row) => all + (row[field] as number), 0)
    expect([sum('cache_hit_true_rows'), sum('cached_completion_tokens'), sum('generated_completion_tokens')]).toEqual([1, 12, 5])
  })
})
