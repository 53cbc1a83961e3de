import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeSettings, RuntimeSnapshot } from '../../proto/deployment.ts'
import type { LimitsReply } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, configOf, NOON, startAccounting } from '../gateway-fixture.ts'

const MIDNIGHT = Date.UTC(2026, 10, 22)
let gateway: AccountingFixture
let router: Bus

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock: testClock(NOON) })
  router = gateway.hub.join('router')
})
afterAll(() => gateway.close())

const run = <Row>(sql: string): Promise<Row[]> => gateway.test.db.query<Row>(sql)
const ask = async (customers: string[], tags: string[] = []): Promise<LimitsReply> =>
  (await router.request(router.subjects.limits, { v: 1, customers, tags }, { timeout: 2000 })) as LimitsReply

async function settings(): Promise<RuntimeSettings> {
  const bucket = await router.bucket(router.subjects.runtimeBucket)
  return ((await bucket.get('runtime')) as RuntimeSnapshot).settings
}

/** What is published after a change of customers or tags is announced. */
async function publishedAfter(change: object): Promise<RuntimeSettings> {
  const published = new Promise<void>((resolve) => {
    const listening = router.onChange('deployment', () => {
      void listening.stop()
      resolve()
    })
  })
  router.announce('budget', change)
  await published
  return settings()
}

describe('the limits of customers and tags', () => {
  it('are empty for names nobody limited', async () => {
    expect(await ask(['nobody'], ['nothing'])).toEqual({
      v: 1,
      customers: { nobody: { limits: [], blocked: false, region: null, defaultModel: null } },
      tags: { nothing: [] },
    })
  })

  it('are those of their budget rows, per model too, with what was spent, in a window that is scheduled when it is not yet', async () => {
    await run(`
      insert into budgets (budget_id, max_budget_nano, rpm_limit, budget_duration, model_max_budget)
        values ('b', 5, 50, '1d', '{"m": {"budget_limit": 1, "time_period": "30d"}}');
      insert into customers (user_id, budget_id, blocked, allowed_model_region, default_model) values ('c|1', 'b', true, 'eu', 'small');
      insert into tags (tag_name, budget_id) values ('t', 'b');
      insert into spend (scope, spent_nano, revision) values ('customer|c%7C1', 3, 9)`)
    const { customers, tags } = await ask(['c|1'], ['t'])
    expect(customers['c|1']).toEqual({
      limits: [
        {
          scope: 'customer|c%7C1',
          kind: 'customer',
          owner: 'c|1',
          requests: 50,
          budget: 5,
          spent: 3,
          revision: 9,
          resetAt: MIDNIGHT,
        },
        {
          scope: 'customer|c%7C1|model|m',
          kind: 'customer',
          owner: 'c|1',
          model: 'm',
          budget: 1_000_000_000,
          spent: 0,
          revision: 0,
          resetAt: Date.UTC(2026, 11, 1),
        },
      ],
      blocked: true,
      region: 'eu',
      defaultModel: 'small',
    })
    expect(tags['t']).toMatchObject([{ scope: 'tag|t', kind: 'tag', owner: 't', budget: 5, resetAt: MIDNIGHT }, { model: 'm' }])
  })

  it('are announced to routers when the first appears and when the last goes', async () => {
    await run(`truncate customers, tags; insert into customers (user_id, blocked) values ('bad', true)`)
    expect(await settings()).toMatchObject({ customerLimits: false, tagLimits: false })
    expect(await publishedAfter({ customers: ['bad'] })).toMatchObject({ customerLimits: true, tagLimits: false })
    await run(`insert into tags (tag_name, budget_id) values ('t', 'b')`)
    expect(await publishedAfter({ tags: ['t'] })).toMatchObject({ customerLimits: true, tagLimits: true })
    await run(`truncate customers, tags`)
    expect(await publishedAfter({})).toMatchObject({ customerLimits: false, tagLimits: false })
  })

  it('come from the configuration where no row says otherwise', async () => {
    await run(`truncate customers, tags, budgets, spend`)
    const litellm_settings = { max_end_user_budget: 0.5, tag_budget_config: { t: { max_budget: 2, budget_duration: '1d' } } }
    await gateway.accounting.reconfigure(configOf({ litellm_settings }))
    expect(await settings()).toMatchObject({ customerLimits: true, tagLimits: true })
    expect(await ask(['x'], ['t', 'constructor'])).toMatchObject({
      customers: { x: { limits: [{ kind: 'customer', budget: 500_000_000, resetAt: null }] } },
      tags: { t: [{ budget: 2_000_000_000, resetAt: MIDNIGHT }], constructor: [] },
    })
    await run(`insert into budgets (budget_id, max_budget_nano) values ('default', 7), ('own', 8);
      insert into customers (user_id, budget_id) values ('y', 'own');
      insert into tags (tag_name, budget_id) values ('t', 'own')`)
    await gateway.accounting.reconfigure(
      configOf({ litellm_settings: { ...litellm_settings, max_end_user_budget_id: 'default' } }),
    )
    expect(await ask(['x', 'y'], ['t'])).toMatchObject({
      customers: { x: { limits: [{ budget: 7 }] }, y: { limits: [{ budget: 8 }] } },
      tags: { t: [{ budget: 8, resetAt: null }] },
    })
  })
})

describe('the budgets of providers, deployments and the proxy', () => {
  it('are published with what was spent, in windows of their own', async () => {
    await run(`truncate spend; insert into spend (scope, spent_nano, revision) values ('provider|openai', 5, 2), ('proxy', 6, 3)`)
    await gateway.accounting.reconfigure(
      configOf({
        litellm_settings: { max_budget: 100, budget_duration: '30d' },
        router_settings: { provider_budget_config: { openai: { budget_limit: '0.1', time_period: '1d' } } },
        model_list: [
          {
            model_name: 'm',
            litellm_params: { model: 'mock/m', max_budget: 1, budget_duration: '7d' },
            model_info: { id: 'dep-1' },
          },
        ],
      }),
    )
    expect((await settings()).providerBudgets).toEqual([
      {
        scope: 'provider|openai',
        kind: 'provider',
        owner: 'openai',
        budget: 100_000_000,
        spent: 5,
        revision: 2,
        resetAt: MIDNIGHT,
      },
      {
        scope: 'deployment|dep-1',
        kind: 'deployment',
        owner: 'dep-1',
        budget: 1_000_000_000,
        spent: 0,
        revision: 0,
        resetAt: Date.UTC(2026, 10, 23),
      },
    ])
    expect(await run(`select budget_duration, spent_nano from spend where scope = 'proxy'`)).toEqual([
      { budget_duration: '30d', spent_nano: 6 },
    ])
  })

  it('limit every key where they are the proxy’s', async () => {
    await run(`insert into keys (token, key_name) values ('${'c'.repeat(64)}', 'k')`)
    const reply = await router.request(router.subjects.identity, { v: 1, keyHash: 'c'.repeat(64) }, { timeout: 2000 })
    expect(reply).toMatchObject({
      identity: {
        limits: [{ scope: 'proxy', kind: 'proxy', budget: 100_000_000_000, spent: 6, resetAt: Date.UTC(2026, 11, 1) }],
      },
    })
  })
})
