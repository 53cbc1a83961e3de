import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { createHttpClient } from '../../shared/http/client.ts'
import { postJson } from '../../shared/http/post.ts'
import { silentLog } from '../../shared/log.ts'
import { MIGRATIONS } from '../accounting.ts'
import { alertsOf, alertText, createSpenders, webhookBody } from '../ledger/alerts.ts'
import { findBudgetAlerts, sendBudgetAlerts } from './budget-alerts.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(() => test.drop())

const KEY = 'a'.repeat(64)
beforeEach(() =>
  test.db.query(`
    truncate spend, budget_alerts, keys, users, teams, team_members, organizations, projects, customers, tags, budgets;
    insert into budgets (budget_id, max_budget_nano, soft_budget_nano) values ('b', 1000, 500), ('none', null, null);
    insert into keys (token, key_name, key_alias, max_budget_nano, soft_budget_nano, budget_id, user_id) values
      ('${KEY}', 'sk-...aaaa', 'mine', 2000, null, 'b', 'u');
    insert into users (user_id, user_email, max_budget_nano) values ('u', 'u@example.com', 1000);
    insert into teams (team_id, team_alias, max_budget_nano, soft_budget_nano, team_member_budget_id) values ('t', 'core', 1000, 300, 'b');
    insert into organizations (organization_id, budget_id) values ('o', 'b');
    insert into projects (project_id, team_id, budget_id) values ('p', 't', 'b');
    insert into customers (user_id, budget_id) values ('c', 'b'), ('free', 'none'), ('none', null);
    insert into tags (tag_name, budget_id) values ('g', 'b');`),
)

const spenders = createSpenders()
const look = () => findBudgetAlerts({ db: test.db, spenders, log: silentLog }).run()

/** Sets what scopes have spent, as a booking would, and looks. */
async function spend(amounts: Record<string, number>, resetAt: string | null = null): Promise<void> {
  for (const [scope, spent] of Object.entries(amounts)) {
    await test.db.query(
      `insert into spend (scope, spent_nano, reset_at) values ($1, $2, $3)
       on conflict (scope) do update set spent_nano = excluded.spent_nano, reset_at = excluded.reset_at`,
      [scope, spent, resetAt],
    )
    spenders.note([{ scope, spent, revision: 1 }])
  }
  await look()
}
const alerts = async () =>
  (await test.db.query<{ text: string }>(`select scope || ' ' || threshold as text from budget_alerts order by 1`)).map(
    ({ text }) => text,
  )

describe('budget alerts', () => {
  it('come when the soft budget, four fifths and all of the budget are reached, each once', async () => {
    await spend({ 'team|t': 299 })
    expect(await alerts()).toEqual([])
    await spend({ 'team|t': 300 })
    await spend({ 'team|t': 799 })
    expect(await alerts()).toEqual(['team|t soft'])
    await spend({ 'team|t': 800 })
    await spend({ 'team|t': 800 })
    expect(await alerts()).toEqual(['team|t 80', 'team|t soft'])
    await spend({ 'team|t': 5000 })
    expect(await alerts()).toEqual(['team|t 100', 'team|t 80', 'team|t soft'])
  })

  it('come again in the next window, and for a budget that was raised', async () => {
    await spend({ 'user|u': 900 }, '2026-12-01T00:00:00Z')
    await spend({ 'user|u': 900 }, '2027-01-01T00:00:00Z')
    await test.db.query(`update users set max_budget_nano = 1100`)
    await spend({ 'user|u': 901 }, '2027-01-01T00:00:00Z')
    expect(await alerts()).toEqual(['user|u 80', 'user|u 80', 'user|u 80'])
  })

  it('come for every kind of owner, from its own limits or its budget row', async () => {
    const scopes = [
      `key|${KEY}`,
      'team_member|t|u',
      'organization|o',
      'project|p',
      'customer|c',
      'tag|g',
      'customer|free',
      'customer|none',
      'customer|unknown',
      'provider|openai',
      `key|${KEY}|model|gpt`,
    ]
    await spend(Object.fromEntries(scopes.map((scope) => [scope, 600])))
    expect(await alerts()).toEqual([
      'customer|c soft',
      `key|${KEY} soft`,
      'organization|o soft',
      'project|p soft',
      'tag|g soft',
      'team_member|t|u soft',
    ])
    const [owner] = await test.db.query(`select owner, budget_nano, soft_nano from budget_alerts where scope like 'key|%'`)
    expect(owner).toEqual({ owner: { key_alias: 'mine', user_id: 'u' }, budget_nano: 2000, soft_nano: 500 })
  })

  it('do not come for a budget of 0 nor for one above what a double counts', () => {
    const found = { scope: 'user|u', spent: 5, hard: 0, soft: 0, resetAt: null, owner: {} }
    expect(alertsOf(found)).toEqual([])
    const most = Number.MAX_SAFE_INTEGER
    expect(alertsOf({ ...found, hard: most, spent: most - 1 }).map(({ threshold }) => threshold)).toEqual(['80'])
  })

  it('are asked for once of who spent many times', () => {
    spenders.note([
      { scope: 'user|a', spent: 1, revision: 1 },
      { scope: 'user|a', spent: 2, revision: 2 },
      { scope: 'run|k|r', spent: 2, revision: 2 },
      { scope: 'team_member|t|u', spent: 2, revision: 2 },
    ])
    expect(spenders.take(10)).toEqual([
      { scope: 'user|a', kind: 'user', id: 'a', member: null },
      { scope: 'team_member|t|u', kind: 'team_member', id: 't', member: 'u' },
    ])
    expect(spenders.take(10)).toEqual([])
  })
})

describe('the webhook', () => {
  /** A server that keeps what it is posted and answers with what `answer` says. */
  async function receive(answer: () => number, run: (url: string, bodies: unknown[]) => Promise<void>): Promise<void> {
    const bodies: unknown[] = []
    const server = createServer((request, response) => {
      let text = ''
      request.on('data', (part) => {
        text += part
      })
      request.on('end', () => {
        bodies.push(JSON.parse(text))
        response.writeHead(answer()).end('{}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const http = createHttpClient()
    posting = (url, body) => postJson(http, url, body, 2_000)
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=x`, bodies)
    await http.close()
    await new Promise((resolve) => server.close(resolve))
  }
  let posting = (_url: string, _body: unknown): Promise<number> => Promise.resolve(0)
  const send = (url: string | null) => sendBudgetAlerts({ db: test.db, url: () => url, post: posting, log: silentLog }).run()

  it('gets each alert once', async () => {
    await receive(
      () => 200,
      async (url, bodies) => {
        await spend({ [`key|${KEY}`]: 1_500_000_000 })
        await spend({ 'user|u': 850 })
        await send(url)
        await send(url)
        expect(bodies).toHaveLength(4)
        expect(bodies).toContainEqual({
          spend: 1.5,
          max_budget: 0.000002,
          soft_budget: 5e-7,
          token: KEY,
          customer_id: null,
          user_id: 'u',
          team_id: null,
          team_alias: null,
          organization_id: null,
          user_email: null,
          key_alias: 'mine',
          projected_exceeded_date: null,
          projected_spend: null,
          event: 'budget_crossed',
          event_group: 'key',
          event_message: `The key ${KEY} has spent $1.5 and reached the budget of $0.000002.`,
        })
        expect(bodies).toContainEqual(
          expect.objectContaining({ event: 'threshold_crossed', event_group: 'user', user_email: 'u@example.com' }),
        )
      },
    )
  })

  it('gets an alert again that it did not take, five times at most', async () => {
    await receive(
      () => 500,
      async (url, bodies) => {
        await spend({ 'user|u': 850 }, '2026-12-01T00:00:00Z')
        for (let time = 0; time < 7; time++) await send(url)
        expect(bodies).toHaveLength(5)
      },
    )
    await send('http://127.0.0.1:1/')
  })

  it('is left alone when there is none', async () => {
    await spend({ 'user|u': 850 })
    await send(null)
    expect(await test.db.query('select attempts, sent_at from budget_alerts')).toEqual([{ attempts: 0, sent_at: null }])
  })

  it('is told of members and customers by name', () => {
    const alert = { threshold: 'soft' as const, limit: 5, spent: 5, hard: null, soft: 5, resetAt: null, owner: {} }
    expect(webhookBody({ ...alert, scope: 'team_member|t|a%7Cb' })).toMatchObject({ user_id: 'a|b', event_group: 'team_member' })
    expect(webhookBody({ ...alert, scope: 'customer|c' })).toMatchObject({ customer_id: 'c', event_group: 'end_user' })
    expect(alertText({ ...alert, scope: 'team_member|t|u' })).toBe(
      'The team member u in t has spent $0.000000005 and reached the soft budget of $0.000000005.',
    )
  })
})
