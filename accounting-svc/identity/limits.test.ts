import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Identity, IdentityReply } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { type AccountingFixture, configOf, NOON, startAccounting } from '../gateway-fixture.ts'
import { type LimitOwner, ownerLimits } from './limits.ts'

const HASH = 'a'.repeat(64)
const KEY = `key|${HASH}`
const clock = testClock(NOON)
let gateway: AccountingFixture
let edge: Bus

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock })
  edge = gateway.hub.join('edge')
})
afterAll(() => gateway.close())
beforeEach(() =>
  run(`truncate keys, teams, users, team_members, organizations, projects, budgets, spend, access_groups, deprecated_keys`),
)

const run = (sql: string): Promise<unknown> => gateway.test.db.query(sql)

async function identity(keyHash = HASH): Promise<Identity | null> {
  const reply = (await edge.request(edge.subjects.identity, { v: 1, keyHash }, { timeout: 2000 })) as IdentityReply
  return 'unknown' in reply ? null : reply.identity
}
const limits = async (): Promise<object> => (await identity())?.limits ?? {}

describe('the limits of an identity', () => {
  it('are none where nothing is set', async () => {
    await run(`insert into keys (token, key_name) values ('${HASH}', 'k')`)
    expect(await identity()).toMatchObject({ limits: [], spend: 0, maxBudget: null })
  })

  it('merge what a key says with its budget row, the key winning, and read the spend of the scope', async () => {
    await run(`
      insert into budgets (budget_id, max_budget_nano, rpm_limit, tpm_limit, max_parallel_requests, soft_budget_nano, budget_duration)
        values ('b', 7, 70, 700, 3, 5, '1d');
      insert into keys (token, key_name, max_budget_nano, budget_id) values ('${HASH}', 'k', 9, 'b');
      insert into spend (scope, spent_nano, revision, budget_duration, reset_at) values ('${KEY}', 4, 12, '1d', '2026-11-22')`)
    expect(await identity()).toMatchObject({ spend: 4, maxBudget: 9, rpmLimit: 70, tpmLimit: 700 })
    expect(await limits()).toEqual([
      {
        scope: KEY,
        kind: 'key',
        owner: HASH,
        requests: 70,
        tokens: 700,
        parallel: 3,
        budget: 9,
        softBudget: 5,
        spent: 4,
        revision: 12,
        resetAt: Date.UTC(2026, 10, 22),
      },
    ])
  })

  it('come in the order refusals are reported, each scope once', async () => {
    await run(`
      insert into budgets (budget_id, max_budget_nano, rpm_limit) values ('member', 2, 20), ('org', 6, 60), ('project', 5, 50);
      insert into organizations (organization_id, budget_id, metadata) values ('o|1', 'org', '{"model_tpm_limit": {"m": 61}}');
      insert into projects (project_id, team_id, budget_id, metadata) values ('p', 't', 'project', '{"model_rpm_limit": {"m": 51}}');
      insert into users (user_id, rpm_limit, max_budget_nano) values ('u', 30, 3);
      insert into teams (team_id, max_budget_nano, organization_id, team_member_budget_id, metadata, budget_limits)
        values ('t', 4, 'o|1', 'member', '{"model_rpm_limit": {"m": "41"}}', '[{"budget_duration": "1mo", "max_budget": 1}]');
      insert into keys (token, key_name, user_id, team_id, project_id, tpm_limit, model_max_budget, metadata, budget_limits) values
        ('${HASH}', 'k', 'u', 't', 'p', 10, '{"openai/m": {"budget_limit": "0.5", "time_period": "1d", "rpm_limit": 9}}',
         '{"model_rpm_limit": {"openai/m": 8}}', '[{"budget_duration": "1h", "max_budget": 0.25}]');
      insert into spend (scope, spent_nano, revision) values ('${KEY}|model|openai/m', 11, 1), ('${KEY}|window|1h', 12, 2),
        ('team_member|t|u', 13, 3), ('team|t', 14, 4), ('team|t|window|1mo', 15, 5), ('organization|o%7C1', 16, 6), ('project|p', 17, 7)`)
    const found = (await identity())?.limits ?? []
    expect(found.map(({ scope, spent }) => [scope, spent])).toEqual([
      [KEY, 0],
      [`${KEY}|model|openai/m`, 11],
      [`${KEY}|window|1h`, 12],
      ['team_member|t|u', 13],
      ['user|u', 0],
      ['team|t', 14],
      ['team|t|model|m', 0],
      ['team|t|window|1mo', 15],
      ['project|p', 17],
      ['project|p|model|m', 0],
      ['organization|o%7C1', 16],
      ['organization|o%7C1|model|m', 0],
    ])
    expect(found[1]).toMatchObject({ kind: 'key', owner: HASH, model: 'openai/m', budget: 500_000_000, requests: 8 })
    expect(found[2]).toMatchObject({ kind: 'key', budget: 250_000_000 })
    expect(found[3]).toMatchObject({ kind: 'team_member', owner: 't:u', budget: 2, requests: 20 })
    expect(found[4]).toEqual({ scope: 'user|u', kind: 'user', owner: 'u', requests: 30, spent: 0, revision: 0, resetAt: null })
    expect(found[6]).toMatchObject({ kind: 'team', model: 'm', requests: 41 })
    expect(found[11]).toMatchObject({ kind: 'organization', owner: 'o|1', tokens: 61 })
  })

  it('hold a user to their own budget for keys without a team only', async () => {
    await run(`
      insert into users (user_id, max_budget_nano) values ('u', 3);
      insert into teams (team_id) values ('t');
      insert into keys (token, key_name, user_id) values ('${HASH}', 'k', 'u')`)
    expect(await limits()).toMatchObject([{ scope: 'user|u', budget: 3 }])
    await run(`update keys set team_id = 't'`)
    expect(await limits()).toEqual([])
  })

  it('take from the configuration how many calls at once a key may make, and whether users pay for keys of teams', async () => {
    await run(`
      insert into users (user_id, max_budget_nano) values ('u', 3);
      insert into teams (team_id) values ('t');
      insert into keys (token, key_name, user_id, team_id) values ('${HASH}', 'k', 'u', 't')`)
    const general_settings = { max_parallel_requests: 5, apply_user_budget_to_team_keys: true }
    await gateway.accounting.reconfigure(configOf({ general_settings }))
    expect(await limits()).toMatchObject([
      { scope: KEY, parallel: 5 },
      { scope: 'user|u', budget: 3 },
    ])
    await run(`update keys set max_parallel_requests = 7`)
    expect(await limits()).toMatchObject([{ scope: KEY, parallel: 7 }, {}])
    await gateway.accounting.reconfigure(configOf({}))
    expect(await limits()).toMatchObject([{ scope: KEY, parallel: 7 }])
  })

  it('give a member the budget of the membership rather than the default of the team', async () => {
    await run(`
      insert into budgets (budget_id, max_budget_nano) values ('default', 1), ('own', 2);
      insert into teams (team_id, team_member_budget_id) values ('t', 'default');
      insert into team_members (team_id, user_id, budget_id, metadata)
        values ('t', 'u', 'own', '{"temp_budget_increase": 1e-9, "temp_budget_expiry": "2026-11-22T00:00:00Z"}');
      insert into keys (token, key_name, user_id, team_id) values ('${HASH}', 'k', 'u', 't')`)
    expect(await limits()).toMatchObject([{ budget: 3, budgetAfter: 2, budgetUntil: Date.UTC(2026, 10, 22) }])
    await run(`update team_members set budget_id = null, metadata = '{}'`)
    expect(await limits()).toMatchObject([{ budget: 1 }])
  })
})

describe('the limits of an owner', () => {
  const owner = (fields: Partial<LimitOwner>): LimitOwner => ({ scope: 'key|k', kind: 'key', owner: 'k', ...fields })

  it('take a temporary increase while it lasts, and never without a budget', () => {
    const metadata = { temp_budget_increase: 5, temp_budget_expiry: new Date(NOON).toISOString() }
    const own = { max_budget_nano: 1_000_000_000 }
    expect(ownerLimits(owner({ own, metadata }), {}, NOON - 1)).toMatchObject([
      { budget: 6_000_000_000, budgetUntil: NOON, budgetAfter: 1_000_000_000 },
    ])
    expect(ownerLimits(owner({ own, metadata }), {}, NOON)).toEqual([
      { scope: 'key|k', kind: 'key', owner: 'k', budget: 1_000_000_000, spent: 0, revision: 0, resetAt: null },
    ])
    expect(ownerLimits(owner({ metadata }), {}, NOON - 1)).toEqual([])
  })

  it('tell a limit of 0 from none', () => {
    const own = { max_budget_nano: 0, rpm_limit: 0 }
    expect(ownerLimits(owner({ own }), {}, NOON)).toMatchObject([{ budget: 0, requests: 0 }])
  })

  it('read model budgets under every name LiteLLM has for their parts', () => {
    const model_max_budget = {
      a: { max_budget: '0.1', budget_duration: '1d' },
      b: { budget_limit: 2 },
      c: 3,
      d: { tpm_limit: '4' },
    }
    expect(ownerLimits(owner({ own: { model_max_budget } }), {}, NOON)).toMatchObject([
      { model: 'a', budget: 100_000_000 },
      { model: 'b', budget: 2_000_000_000 },
      { model: 'c', budget: 3_000_000_000 },
      { model: 'd', tokens: 4 },
    ])
  })
})

describe('an identity', () => {
  it('is found by a hash that was rotated away until it is revoked, as the key that took its place', async () => {
    const old = 'b'.repeat(64)
    await run(`insert into keys (token, key_name) values ('${HASH}', 'k');
      insert into deprecated_keys values ('${old}', '${HASH}', '2026-11-21T13:00:00Z')`)
    expect(await identity(old)).toMatchObject({ keyHash: HASH, expires: NOON + 3_600_000 })
    expect(await identity()).toMatchObject({ keyHash: HASH, expires: null })
    await run(`update deprecated_keys set revoke_at = '2026-11-21T12:00:00Z'`)
    expect(await identity(old)).toBeNull()
  })

  it('may use what key, team, member, organization and project all allow, access groups included', async () => {
    await run(`
      insert into access_groups (access_group_id, access_group_name, models) values ('g', 'G', '{a,b,c}'), ('tools', 'T', '{}');
      insert into organizations (organization_id, models) values ('o', '{a,b,c,d}');
      insert into projects (project_id, team_id, models) values ('p', 't', '{a,b,d}');
      insert into teams (team_id, organization_id, models, access_group_ids) values ('t', 'o', '{d}', '{g}');
      insert into keys (token, key_name, team_id, project_id) values ('${HASH}', 'k', 't', 'p')`)
    expect((await identity())?.models.toSorted()).toEqual(['a', 'b', 'd'])
    await run(`update keys set access_group_ids = '{g}'`)
    expect((await identity())?.models).toEqual(['a', 'b'])
    await run(`update keys set access_group_ids = '{tools}'`)
    expect((await identity())?.models.toSorted()).toEqual(['a', 'b', 'd'])
    await run(`update keys set access_group_ids = '{gone}'`)
    expect((await identity())?.models).toEqual(['no-default-models'])
  })

  it('carries tags of key, team and project, the estimates of the key before those of its team, and the fallbacks of budgets', async () => {
    await run(`
      insert into projects (project_id, team_id, metadata, blocked) values ('p', 't', '{"tags": ["c", "a"]}', true);
      insert into teams (team_id, metadata, default_estimated_output_tokens, default_estimated_output_tokens_per_model)
        values ('t', '{"tags": ["b"]}', 5, '{"m": 6, "n": 7}');
      insert into keys (token, key_name, team_id, project_id, metadata, budget_fallbacks, default_estimated_output_tokens_per_model)
        values ('${HASH}', 'k', 't', 'p', '{"tags": ["a"], "enforced_params": ["user"]}', '{"m": ["n"]}', '{"m": 8}')`)
    expect(await identity()).toMatchObject({
      tags: ['a', 'b', 'c'],
      estimatedOutputTokens: 5,
      estimatedOutputTokensPerModel: { m: 8, n: 7 },
      budgetFallbacks: { m: ['n'] },
      enforcedParams: ['user'],
      projectId: 'p',
      blocked: true,
    })
  })
})
