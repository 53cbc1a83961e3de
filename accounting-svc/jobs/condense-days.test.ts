import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, attempt, event, startAccounting } from '../gateway-fixture.ts'
import { createLedger, type Ledger } from '../ledger/book.ts'
import { condenseDay, openDays } from '../sql/condensed.ts'
import { condenseDays } from './condense-days.ts'

const DAY = 86_400_000
/** Long past, whenever this runs. */
const LONG_AGO = Date.UTC(2025, 0, 10, 12)

let gateway: AccountingFixture
let ledger: Ledger
let calls = 0

/** One call on a day: everything about it follows from its number, so that owners and models mix. */
const call = (n: number, startedAt: number) => {
  calls += 1
  return event({
    callId: `call-${calls}`,
    startedAt,
    keyHash: String(n % 5).repeat(64),
    userId: n % 4 === 0 ? null : `u${n % 4}`,
    teamId: n % 3 === 0 ? null : `t${n % 3}`,
    organizationId: n % 3 === 1 ? 'o1' : null,
    endUser: n % 2 === 0 ? `c${n % 6}` : null,
    tags: n % 2 === 1 ? [`x${n % 7}`, 'all'] : [],
    modelGroup: `group-${n % 2}`,
    attempts: [attempt({ model: `m${n % 3}`, provider: n % 2 === 0 ? 'openai' : 'anthropic' })],
  })
}

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  let cost = 0
  ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: ++cost * 1_000_003, rateVersion: 'r' }), log: silentLog })
  // Five days long past and today, which stays open.
  for (const start of [0, 1, 2, 3, 4].map((day) => LONG_AGO + day * DAY).concat(Date.now())) {
    await ledger.book(Array.from({ length: 30 }, (_, n) => call(n, start + n)))
  }
})
afterAll(() => gateway.close())

const SPAN = 'start_date=2025-01-11&end_date=2099-01-01'
const REPORTS = [
  '/global/spend',
  ...['logs', 'keys', 'models', 'provider', 'teams', 'tags'].flatMap((name) => [
    `/global/spend/${name}?${SPAN}`,
    `/global/spend/${name}?${SPAN}&limit=2`,
  ]),
  `/global/spend/logs?${SPAN}&api_key=${'1'.repeat(64)}`,
  `/global/spend/tags?${SPAN}&tags=all,x1`,
  '/spend/tags',
  '/spend/logs?start_date=2025-01-11',
  `/global/activity?${SPAN}`,
  `/global/activity/model?${SPAN}`,
  `/global/activity/provider?${SPAN}`,
  `/global/activity/cache_hits?${SPAN}`,
  `/global/spend/report?${SPAN}`,
  `/global/spend/report?${SPAN}&group_by=tag`,
  ...['user', 'team', 'organization', 'tag', 'customer'].flatMap((owner) => [
    `/${owner}/daily/activity?${SPAN}&page_size=1000`,
    `/${owner}/daily/activity/aggregated?${SPAN}`,
  ]),
]

async function answers(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const path of REPORTS) {
    const { status, body, text } = await gateway.call('GET', path)
    expect(status, text).toBe(200)
    found[path] = body
  }
  found['customers'] = (
    await gateway.call('POST', '/global/spend/end_users', { startTime: '2025-01-11', endTime: '2099-01-01' })
  ).body
  return found
}

const condense = () => condenseDays({ db: gateway.test.db }).run()
const open = () => openDays(gateway.test.db, '2025-01-01', '2025-12-31')
const spend = async (day: string) =>
  ((await gateway.call('GET', `/global/spend/logs?start_date=${day}&end_date=${day}`)).body as { spend: number }[])[0]?.spend

describe('condensed days', () => {
  it('answer every report as the full sums do', async () => {
    const before = await answers()
    await condense()
    expect(await open()).toEqual([])
    const sums = await gateway.test.db.query('select kind from daily_model_spend group by kind order by kind')
    expect(sums.map((row) => row['kind'])).toEqual(['customer', 'organization', 'tag', 'team', 'user'])
    expect(await answers()).toEqual(before)
  })

  it('leave out the last days, which calls still come in for', async () => {
    const [row] = await gateway.test.db.query<{ past: boolean }>(
      `select max(day) < (now() at time zone 'UTC')::date - 1 as past from report_days`,
    )
    expect(row?.past).toBe(true)
  })

  it('are opened by a booking, and closed again with it', async () => {
    const before = (await spend('2025-01-12')) as number
    await ledger.book([call(1, LONG_AGO + 2 * DAY)])
    expect(await open()).toEqual(['2025-01-12'])
    const booked = (await spend('2025-01-12')) as number
    expect(booked).toBeGreaterThan(before)
    await condense()
    expect(await open()).toEqual([])
    expect(await spend('2025-01-12')).toBe(booked)
  })

  it('stay open when a booking commits while they are condensed', async () => {
    const before = (await spend('2025-01-13')) as number
    await gateway.test.db.transaction(async (tx) => {
      // What a booking does before it commits.
      await tx.query(
        `update daily_spend set cost_nano = cost_nano + 1000000000 where day = '2025-01-13' and key_hash = $1 and user_id = 'u1'`,
        ['1'.repeat(64)],
      )
      await condenseDay(gateway.test.db, '2025-01-13')
      expect(await spend('2025-01-13')).toBe(before)
    })
    expect(await open()).toEqual(['2025-01-13'])
    expect(await spend('2025-01-13')).toBeGreaterThan(before)
  })

  it('may be condensed by two at once', async () => {
    const before = await answers()
    await Promise.all([condenseDay(gateway.test.db, '2025-01-14'), condenseDay(gateway.test.db, '2025-01-14'), condense()])
    expect(await answers()).toEqual(before)
  })
})
