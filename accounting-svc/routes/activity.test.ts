import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, NOON, startAccounting, usage } from '../gateway-fixture.ts'
import { createLedger } from '../ledger/book.ts'

type Body = Record<string, unknown>
type Group = Record<
  string,
  { metrics: Body; metadata: Body; api_key_breakdown?: Record<string, { metrics: Body; metadata: Body }> }
>
interface Activity {
  results: { date: string; metrics: Body; breakdown: Record<string, Group> }[]
  metadata: Body
}

const DAY = 86_400_000
const HOUR = 3_600_000
let gateway: AccountingFixture
let ann: { key: string; token: string }
let bob: { key: string; token: string }
let program: { key: string; token: string }

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  await gateway.test.db.query(
    `insert into organizations (organization_id, organization_alias) values ('o1', 'Org one');
     insert into teams (team_id, team_alias, organization_id) values ('t1', 'Team one', 'o1'), ('t2', null, null);
     insert into users (user_id, user_alias) values ('ann', 'Ann'), ('bob', null), ('carl', null);
     insert into team_members (team_id, user_id, role) values ('t1', 'ann', 'user'), ('t1', 'bob', 'admin');
     insert into organization_members (organization_id, user_id, user_role) values ('o1', 'carl', 'org_admin')`,
  )
  const make = async (fields: Body) => (await gateway.call('POST', '/key/generate', fields)).body as typeof ann
  ann = await make({ user_id: 'ann', team_id: 't1', key_alias: 'ann-key' })
  bob = await make({ user_id: 'bob', key_alias: 'bob-key' })
  program = await make({ key_alias: 'program' })
  const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 100_000_001, rateVersion: 'r' }), log: silentLog })
  const ofAnn = { keyHash: ann.token, userId: 'ann', teamId: 't1', organizationId: 'o1' }
  const other = { model: 'claude', provider: 'anthropic' }
  await ledger.book([
    event({
      ...ofAnn,
      callId: 'a1',
      tags: ['x', 'y', 'x'],
      endUser: 'c1',
      attempts: [attempt({ usage: usage({ input: 10, cacheRead: 4, cacheWrite: 1, cacheWrite1h: 2, output: 5 }) })],
    }),
    event({ ...ofAnn, callId: 'a2', tags: ['x'], attempts: [attempt(other)] }),
    // At 23:00 UTC: the next day in Berlin, the same in Los Angeles.
    event({ ...ofAnn, callId: 'a3', startedAt: NOON + 11 * HOUR, outcome: 'failure', status: 500, attempts: [] }),
    event({ keyHash: bob.token, userId: 'bob', callId: 'b1', startedAt: NOON + DAY, endUser: 'c2' }),
    event({ keyHash: program.token, teamId: 't2', callId: 'p1', startedAt: NOON + DAY }),
  ])
})
afterAll(() => gateway.close())

const DATES = 'start_date=2026-11-21&end_date=2026-11-22'
const get = (path: string, key?: string) => gateway.call('GET', path, undefined, key)
const activity = async (path: string, key?: string): Promise<Activity> => {
  const { status, body, text } = await get(path, key)
  expect(status, text).toBe(200)
  return body as Activity
}
const sums = (spend: number, calls: number, more: Body = {}) => ({
  spend,
  prompt_tokens: 10 * calls,
  completion_tokens: 5 * calls,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  total_tokens: 15 * calls,
  successful_requests: calls,
  failed_requests: 0,
  api_requests: calls,
  ...more,
})

describe('GET /user/daily/activity', () => {
  it('has the shape of LiteLLM’s, latest day first', async () => {
    const { results, metadata } = await activity(`/user/daily/activity?${DATES}&user_id=ann`)
    expect(metadata).toEqual({
      total_spend: 0.200000002,
      total_prompt_tokens: 20,
      total_completion_tokens: 10,
      total_tokens: 30,
      total_api_requests: 3,
      total_successful_requests: 2,
      total_failed_requests: 1,
      total_cache_read_input_tokens: 4,
      total_cache_creation_input_tokens: 3,
      page: 1,
      total_pages: 1,
      has_more: false,
    })
    const cached = { cache_read_input_tokens: 4, cache_creation_input_tokens: 3 }
    const day = sums(0.200000002, 2, { ...cached, failed_requests: 1, api_requests: 3 })
    const gpt = sums(0.100000001, 1, cached)
    const claude = sums(0.100000001, 1)
    const names = { key_alias: 'ann-key', team_id: 't1' }
    const by = (metrics: Body) => ({ metrics, metadata: {}, api_key_breakdown: { [ann.token]: { metrics, metadata: names } } })
    expect(results).toEqual([
      {
        date: '2026-11-21',
        metrics: day,
        breakdown: {
          mcp_servers: {},
          models: { 'gpt-4o': by(gpt), claude: by(claude) },
          model_groups: { 'gpt-4o': by(day) },
          providers: { openai: by(gpt), anthropic: by(claude) },
          endpoints: { acompletion: by(day) },
          api_keys: { [ann.token]: { metrics: day, metadata: names } },
          entities: { ann: { ...by(day), metadata: { user_alias: 'Ann' } } },
        },
      },
    ])
  })

  it('shows an admin everybody, calls of nobody as Unassigned, and filters', async () => {
    const entities = async (query: string) =>
      (await activity(`/user/daily/activity?${DATES}${query}`)).results.map((day) => [
        day.date,
        Object.keys(day.breakdown['entities'] ?? {}).sort(),
      ])
    expect(await entities('')).toEqual([
      ['2026-11-22', ['Unassigned', 'bob']],
      ['2026-11-21', ['ann']],
    ])
    expect(await entities('&exclude_user_ids=ann,nobody')).toEqual([['2026-11-22', ['Unassigned', 'bob']]])
    expect(await entities('&model=claude')).toEqual([['2026-11-21', ['ann']]])
    expect(await entities(`&api_key=${program.token}`)).toEqual([['2026-11-22', ['Unassigned']]])
  })

  it('shows others themselves only', async () => {
    expect((await activity(`/user/daily/activity?${DATES}`, ann.key)).metadata).toMatchObject({ total_api_requests: 3 })
    expect((await activity(`/user/daily/activity?${DATES}&user_id=bob`, bob.key)).metadata).toMatchObject({
      total_api_requests: 1,
    })
    // An admin of a team is not an admin of its members.
    expect((await activity(`/user/daily/activity?${DATES}`, bob.key)).metadata).toMatchObject({ total_api_requests: 1 })
    expect((await activity(`/user/daily/activity?${DATES}`, program.key)).metadata).toMatchObject({ total_api_requests: 1 })
    expect((await get(`/user/daily/activity?${DATES}&user_id=ann`, bob.key)).status).toBe(403)
    expect((await get(`/user/daily/activity?${DATES}&user_id=ann`, program.key)).status).toBe(403)
    expect((await activity(`/user/daily/activity/aggregated?${DATES}`, ann.key)).metadata).toMatchObject({
      total_api_requests: 3,
    })
  })

  it('comes in pages that add up to the whole', async () => {
    const whole = await activity(`/user/daily/activity/aggregated?${DATES}`)
    let spend = 0
    const pages: Body[] = []
    for (let page = 1; page <= 5; page++) {
      const { metadata } = await activity(`/user/daily/activity?${DATES}&page=${page}&page_size=1`)
      pages.push(metadata)
      spend += metadata['total_spend'] as number
    }
    // Ann's failed call reached no model, so it has a row of its own.
    expect(pages.map(({ page, total_pages, has_more }) => [page, total_pages, has_more])).toEqual([
      [1, 5, true],
      [2, 5, true],
      [3, 5, true],
      [4, 5, true],
      [5, 5, false],
    ])
    expect(spend.toFixed(9)).toBe('0.400000004')
    expect(whole.metadata).toMatchObject({
      total_spend: 0.400000004,
      total_api_requests: 5,
      page: 1,
      total_pages: 1,
      has_more: false,
    })
    expect((await activity(`/user/daily/activity?${DATES}&page=9`)).results).toEqual([])
  })

  it('counts days in the zone it is asked for', async () => {
    const calls = async (zone: string) =>
      (await activity(`/user/daily/activity?${DATES}&user_id=ann&timezone=${zone}`)).results.map((day) => [
        day.date,
        day.metrics['api_requests'],
      ])
    expect(await calls('0')).toEqual([['2026-11-21', 3]])
    expect(await calls('480')).toEqual([['2026-11-21', 3]])
    const berlin = [
      ['2026-11-22', 1],
      ['2026-11-21', 2],
    ]
    expect(await calls('-60')).toEqual(berlin)
    expect(await calls('Europe/Berlin')).toEqual(berlin)
    const { results } = await activity(`/tag/daily/activity?start_date=2026-11-21&end_date=2026-11-21&timezone=-60`)
    expect(results[0]?.breakdown['entities']?.['x']?.metrics).toMatchObject({ api_requests: 2, spend: 0.200000002 })
    expect((await activity(`/customer/daily/activity?${DATES}&timezone=480`)).results.map((day) => day.date)).toEqual([
      '2026-11-22',
      '2026-11-21',
    ])
  })

  it('answers 400 to dates that are missing or wrong and to zones there are not, naming the field', async () => {
    for (const [query, field] of [
      ['', 'start_date'],
      ['start_date=2026-11-21', 'end_date'],
      ['start_date=x&end_date=2026-11-21', 'start_date'],
      ['start_date=2026-11-21&end_date=2026-11-31', 'end_date'],
      ['start_date=2026-11-21&end_date=2026-11-20', 'end_date'],
      [`${DATES}&timezone=Mars/Olympus`, 'timezone'],
      [`${DATES}&timezone=2000`, 'timezone'],
    ]) {
      for (const path of ['/user/daily/activity', '/tag/daily/activity/aggregated']) {
        const { status, body } = await get(`${path}?${query}`)
        expect([status, (body as { error: { param: string } }).error.param], query).toEqual([400, field])
      }
    }
    expect((await get(`/user/daily/activity?${DATES}&page=0`)).status).toBe(422)
  })

  it('has its shape when there is nothing', async () => {
    const empty = { results: [], metadata: { total_spend: 0, total_api_requests: 0, page: 1, total_pages: 0, has_more: false } }
    for (const owner of ['user', 'team', 'organization', 'tag', 'customer']) {
      expect(await activity(`/${owner}/daily/activity?start_date=2020-01-01&end_date=2020-01-31`)).toMatchObject(empty)
      expect((await activity(`/${owner}/daily/activity/aggregated?start_date=2020-01-01&end_date=2020-01-31`)).results).toEqual(
        [],
      )
    }
  })

  it('comes as CSV, all of it', async () => {
    const { text, headers } = await get(`/user/daily/activity?${DATES}&page_size=1&format=csv`)
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8')
    const lines = text.split('\r\n')
    expect(lines).toHaveLength(7)
    expect(lines[0]).toBe(
      'date,entity,api_key,model_group,model,provider,endpoint,spend,prompt_tokens,completion_tokens,cache_read_input_tokens,cache_creation_input_tokens,api_requests,successful_requests,failed_requests',
    )
    expect(lines).toContain(`2026-11-21,ann,${ann.token},gpt-4o,claude,anthropic,acompletion,0.100000001,10,5,0,0,1,1,0`)
  })
})

describe('GET /team/daily/activity', () => {
  const teams = async (query = '', key?: string) =>
    (await activity(`/team/daily/activity?${DATES}${query}`, key)).results.flatMap((day) =>
      Object.entries(day.breakdown['entities'] ?? {}).map(([id, group]) => [
        id,
        group.metrics['api_requests'],
        group.metadata['team_alias'],
      ]),
    )

  it('shows teams only, by name', async () => {
    expect(await teams()).toEqual([
      ['t2', 1, 't2'],
      ['t1', 3, 'Team one'],
    ])
    expect(await teams('&team_ids=t1')).toEqual([['t1', 3, 'Team one']])
    expect(await teams('&exclude_team_ids=t1')).toEqual([['t2', 1, 't2']])
  })

  it('shows an admin of the team all of it and a member their part, unless the team lets members see all', async () => {
    expect(await teams('', bob.key)).toEqual([['t1', 3, 'Team one']])
    expect(await teams('&team_ids=t1', ann.key)).toEqual([['t1', 3, 'Team one']])
    expect((await get(`/team/daily/activity?${DATES}&team_ids=t2`, bob.key)).status).toBe(403)
    const member = (await gateway.call('POST', '/key/generate', { user_id: 'dora' })).body as { key: string }
    await gateway.test.db.query(
      `insert into users (user_id) values ('dora') on conflict do nothing; insert into team_members (team_id, user_id) values ('t1', 'dora')`,
    )
    expect(await teams('', member.key)).toEqual([])
    await gateway.test.db.query(`update teams set team_member_permissions = '{/team/daily/activity}' where team_id = 't1'`)
    expect(await teams('', member.key)).toEqual([['t1', 3, 'Team one']])
  })
})

describe('activity of organizations, tags and customers', () => {
  const entities = async (path: string, key?: string) => {
    const found: Body = {}
    for (const day of (await activity(path, key)).results) {
      for (const [id, group] of Object.entries(day.breakdown['entities'] ?? {}))
        found[id] = ((found[id] as number) ?? 0) + (group.metrics['api_requests'] as number)
    }
    return found
  }

  it('is shown to admins', async () => {
    expect(await entities(`/organization/daily/activity?${DATES}`)).toEqual({ o1: 3 })
    expect(await entities(`/tag/daily/activity?${DATES}`)).toEqual({ x: 2, y: 1 })
    expect(await entities(`/tag/daily/activity?${DATES}&tags=y`)).toEqual({ y: 1 })
    expect(await entities(`/customer/daily/activity?${DATES}`)).toEqual({ c1: 1, c2: 1 })
    expect(await entities(`/customer/daily/activity?${DATES}&end_user_ids=c2&model=gpt-4o`)).toEqual({ c2: 1 })
  })

  it('is shown to others as far as it is theirs', async () => {
    expect(await entities(`/customer/daily/activity?${DATES}`, bob.key)).toEqual({ c1: 1, c2: 1 })
    expect(await entities(`/customer/daily/activity?${DATES}`, ann.key)).toEqual({ c1: 1 })
    expect(await entities(`/tag/daily/activity?${DATES}`, program.key)).toEqual({})
    const carl = (await gateway.call('POST', '/key/generate', { user_id: 'carl' })).body as { key: string }
    expect(await entities(`/organization/daily/activity?${DATES}`, carl.key)).toEqual({ o1: 3 })
    expect((await get(`/organization/daily/activity?${DATES}&organization_ids=o1`, bob.key)).status).toBe(403)
  })
})

describe('a large aggregated report', () => {
  it('has exact sums, and the keys and owners that cost most', async () => {
    // 2,500 rows of one day: more than are broken down completely.
    await gateway.test.db.query(
      `insert into daily_spend select '2025-01-01', lpad(to_hex(n), 64, '0'), 'u' || n, '', '', 'm' || n % 3, 'm' || n % 3, 'p', 'acompletion',
         n, 1, 1, 0, 0, 1, 1, 0 from generate_series(1, 2500) n`,
    )
    const { results, metadata } = await activity('/user/daily/activity/aggregated?start_date=2025-01-01&end_date=2025-01-01')
    expect(metadata).toMatchObject({ total_api_requests: 2500, total_spend: 0.00312625 })
    const { metrics, breakdown } = results[0] as Activity['results'][0]
    expect(metrics['api_requests']).toBe(2500)
    expect(
      Object.values(breakdown['models'] ?? {}).reduce((sum, group) => sum + (group.metrics['api_requests'] as number), 0),
    ).toBe(2500)
    const top = (kind: string) => Object.keys(breakdown[kind] ?? {}).sort()
    expect(top('entities')).toEqual(Array.from({ length: 10 }, (_, index) => `u${2491 + index}`))
    expect(top('api_keys')).toEqual(
      Array.from({ length: 10 }, (_, index) => (2491 + index).toString(16).padStart(64, '0')).sort(),
    )
    expect(Object.values(breakdown['models'] ?? {}).flatMap((group) => Object.keys(group.api_key_breakdown ?? {}))).toHaveLength(
      10,
    )
  })
})
