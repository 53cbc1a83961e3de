import type { Spent } from '../../shared/counters/counters.ts'
import type { Transaction } from '../../shared/db/db.ts'
import type { BudgetRow } from './budgets.ts'
import { KEY_COLUMNS, type KeyRow } from './keys.ts'

export type { BudgetRow }

/** What was spent in the present window of a scope, nano-dollars; times are Unix milliseconds. */
export interface SpendState {
  spent: number
  revision: number
  resetAt: number | null
  duration: string | null
}
export type Spends = Readonly<Record<string, SpendState>>

/** All an Identity is made of. */
export interface IdentityRow {
  key: KeyRow
  keyBudget: BudgetRow | null
  user: {
    user_role: string | null
    user_email: string | null
    models: string[]
    max_budget_nano: number | null
    max_parallel_requests: number | null
    tpm_limit: number | null
    rpm_limit: number | null
    model_max_budget: Record<string, unknown>
    budget_limits: unknown
    metadata: Record<string, unknown>
  } | null
  team: {
    team_alias: string | null
    organization_id: string | null
    models: string[]
    model_aliases: Record<string, unknown>
    blocked: boolean
    metadata: Record<string, unknown>
    max_budget_nano: number | null
    soft_budget_nano: number | null
    max_parallel_requests: number | null
    tpm_limit: number | null
    rpm_limit: number | null
    model_max_budget: Record<string, unknown>
    budget_limits: unknown
    default_team_member_models: string[]
    access_group_ids: string[]
    default_estimated_output_tokens: number | null
    default_estimated_output_tokens_per_model: unknown
    router_settings: unknown
  } | null
  /** The user's membership of the team; null where there is none, which leaves the team's default for members. */
  member: { metadata: Record<string, unknown>; allowed_models: string[] } | null
  memberBudget: BudgetRow | null
  organization: { models: string[]; metadata: Record<string, unknown> } | null
  organizationBudget: BudgetRow | null
  project: { models: string[]; metadata: Record<string, unknown>; blocked: boolean } | null
  projectBudget: BudgetRow | null
  /** Models of the access groups that key and team name. */
  groups: Record<string, string[]>
  spends: Spends
  /** Set where the hash was rotated away and still works until then. */
  revokeAt: Date | null
}

const budget = (table: string): string => `case when ${table}.budget_id is null then null else to_jsonb(${table}) end`
const object = (column: string): string => `case jsonb_typeof(${column}) when 'object' then ${column} else '{}' end`
const array = (column: string): string => `case jsonb_typeof(${column}) when 'array' then ${column} else '[]' end`

/** Names of the spend rows of owners: their own, those of their models with a budget, those of their further windows. */
const NAMES = `
  select owner.scope from owner where owner.scope is not null
  union select scope_of(owner.scope || '|model', model) from owner, jsonb_object_keys(owner.models) as model where owner.scope is not null
  union select scope_of(owner.scope || '|window', part ->> 'budget_duration') from owner, jsonb_array_elements(owner.windows) as part
    where owner.scope is not null and part ->> 'budget_duration' is not null`

const STATE = `jsonb_build_object('spent', s.spent_nano, 'revision', s.revision, 'duration', s.budget_duration,
  'resetAt', floor(extract(epoch from s.reset_at) * 1000))`

/** The whole of a key in one look-up; a hash that was rotated away stands for the key that took its place until it is revoked. */
export async function findIdentity(db: Transaction, token: string, now: Date): Promise<IdentityRow | undefined> {
  const rows = await db.query<KeyRow & { found: Omit<IdentityRow, 'key' | 'revokeAt'>; revoke_at: Date | null }>(
    `select ${KEY_COLUMNS}, asked.revoke_at, jsonb_build_object(
       'keyBudget', ${budget('kb')}, 'memberBudget', ${budget('mb')}, 'organizationBudget', ${budget('ob')},
       'projectBudget', ${budget('pb')},
       'user', case when u.user_id is null then null else jsonb_build_object('user_role', u.user_role, 'user_email', u.user_email,
         'models', u.models, 'max_budget_nano', u.max_budget_nano, 'max_parallel_requests', u.max_parallel_requests,
         'tpm_limit', u.tpm_limit, 'rpm_limit', u.rpm_limit, 'model_max_budget', u.model_max_budget, 'budget_limits', u.budget_limits,
         'metadata', u.metadata) end,
       'team', case when t.team_id is null then null else jsonb_build_object('team_alias', t.team_alias,
         'organization_id', t.organization_id, 'models', t.models, 'model_aliases', t.model_aliases, 'blocked', t.blocked,
         'metadata', t.metadata, 'max_budget_nano', t.max_budget_nano, 'soft_budget_nano', t.soft_budget_nano,
         'max_parallel_requests', t.max_parallel_requests, 'tpm_limit', t.tpm_limit, 'rpm_limit', t.rpm_limit,
         'model_max_budget', t.model_max_budget, 'budget_limits', t.budget_limits, 'access_group_ids', t.access_group_ids,
         'default_team_member_models', t.default_team_member_models, 'router_settings', t.router_settings,
         'default_estimated_output_tokens', t.default_estimated_output_tokens,
         'default_estimated_output_tokens_per_model', t.default_estimated_output_tokens_per_model) end,
       'member', case when m.user_id is null then null else jsonb_build_object('metadata', m.metadata,
         'allowed_models', m.allowed_models) end,
       'organization', case when o.organization_id is null then null else jsonb_build_object('models', o.models,
         'metadata', o.metadata) end,
       'project', case when p.project_id is null then null else jsonb_build_object('models', p.models, 'metadata', p.metadata,
         'blocked', p.blocked) end,
       'groups', (select coalesce(jsonb_object_agg(g.access_group_id, g.models), '{}') from access_groups g
         where g.access_group_id = any(k.access_group_ids || t.access_group_ids)),
       'spends', (
         with owner (scope, models, windows) as (values
           ('proxy', '{}'::jsonb, '[]'::jsonb),
           ('key|' || k.token, ${object('k.model_max_budget')} || ${object('kb.model_max_budget')}, ${array('k.budget_limits')}),
           (scope_of(scope_of('team_member', k.team_id), k.user_id), ${object('mb.model_max_budget')}, '[]'),
           (scope_of('user', k.user_id), ${object('u.model_max_budget')}, ${array('u.budget_limits')}),
           (scope_of('team', k.team_id), ${object('t.model_max_budget')}, ${array('t.budget_limits')}),
           (scope_of('project', p.project_id), ${object('pb.model_max_budget')}, '[]'),
           (scope_of('organization', o.organization_id), ${object('ob.model_max_budget')}, '[]'))
         select coalesce(jsonb_object_agg(s.scope, ${STATE}), '{}') from spend s where s.scope = any(array(${NAMES})))
       ) as found
     from (
       select token, null::timestamptz as revoke_at from keys where token = $1
       union all select active_token, revoke_at from deprecated_keys where token = $1 and revoke_at > $2
       order by revoke_at nulls first limit 1) asked
     join keys k on k.token = asked.token
     left join budgets kb on kb.budget_id = k.budget_id
     left join users u on u.user_id = k.user_id
     left join teams t on t.team_id = k.team_id
     left join team_members m on m.team_id = k.team_id and m.user_id = k.user_id
     left join budgets mb on mb.budget_id = coalesce(m.budget_id, t.team_member_budget_id) and k.user_id is not null
     left join organizations o on o.organization_id = coalesce(k.organization_id, t.organization_id)
     left join budgets ob on ob.budget_id = o.budget_id
     left join projects p on p.project_id = k.project_id
     left join budgets pb on pb.budget_id = p.budget_id`,
    [token, now],
    'identity_find',
  )
  const row = rows[0]
  if (row === undefined) return undefined
  const { found, revoke_at, ...key } = row
  return { ...found, key, revokeAt: revoke_at }
}

/** What was spent in these scopes; those never spent in are missing. */
export async function findSpends(db: Transaction, names: readonly string[]): Promise<Spends> {
  if (names.length === 0) return {}
  const rows = await db.query<{ spends: Spends }>(
    `select coalesce(jsonb_object_agg(s.scope, ${STATE}), '{}') as spends from spend s where s.scope = any($1)`,
    [names],
    'spends_find',
  )
  return rows[0]?.spends ?? {}
}

export interface CustomerRow {
  id: string
  blocked: boolean | null
  allowed_model_region: string | null
  default_model: string | null
  budget: BudgetRow | null
}

/** These customers with their budget rows, in any order; those without a row of their own get `defaultBudget` (an id) too. */
export function findCustomerLimits(
  db: Transaction,
  ids: readonly string[],
  defaultBudget: string | null,
): Promise<CustomerRow[]> {
  return db.query<CustomerRow>(
    `select asked.id, c.blocked, c.allowed_model_region, c.default_model, ${budget('b')} as budget
     from unnest($1::text[]) as asked(id)
     left join customers c on c.user_id = asked.id
     left join budgets b on b.budget_id = coalesce(c.budget_id, $2)`,
    [ids, defaultBudget],
    'customer_limits',
  )
}

export function findTagBudgets(db: Transaction, names: readonly string[]): Promise<(BudgetRow & { tag_name: string })[]> {
  return db.query<BudgetRow & { tag_name: string }>(
    'select t.tag_name, b.* from tags t join budgets b on b.budget_id = t.budget_id where t.tag_name = any($1)',
    [names],
    'tag_budgets',
  )
}

/** Whether any customer is limited or blocked or bound to a region, and whether any tag has a budget. */
export async function anyLimited(db: Transaction): Promise<{ customers: boolean; tags: boolean }> {
  const rows = await db.query<{ customers: boolean; tags: boolean }>(
    `select exists (select 1 from customers where blocked or budget_id is not null or allowed_model_region is not null) as customers,
       exists (select 1 from tags where budget_id is not null) as tags`,
  )
  return rows[0] ?? { customers: true, tags: true }
}

/** Sets what was spent in a scope, nano-dollars; what counters are to be told. */
export async function setSpend(tx: Transaction, scope: string, spent: number): Promise<Spent> {
  const rows = await tx.query<Spent>(
    `insert into spend (scope, spent_nano, revision) values ($1, $2, 1)
     on conflict (scope) do update set spent_nano = excluded.spent_nano, revision = spend.revision + 1, updated_at = now()
     returning scope, spent_nano as spent, revision`,
    [scope, spent],
  )
  return rows[0] as Spent
}

/**
 * Gives scopes other names, with what was spent in them and their windows; what counters are to be told. What was spent under the other
 * name already is added: a hash may come back to a key, and calls that ran meanwhile were booked on it.
 */
export async function renameSpends(tx: Transaction, names: readonly { from: string; to: string }[]): Promise<Spent[]> {
  const pairs = [names.map(({ from }) => from), names.map(({ to }) => to)]
  const present = await tx.query<Spent>(
    `delete from spend s using unnest($1::text[], $2::text[]) as name (old, new)
     where s.scope = name.new and exists (select 1 from spend o where o.scope = name.old)
     returning s.scope, s.spent_nano as spent, s.revision`,
    pairs,
  )
  return tx.query<Spent>(
    `update spend s set scope = name.new, spent_nano = s.spent_nano + coalesce(present.spent, 0),
       revision = greatest(s.revision, present.revision) + 1, updated_at = now()
     from unnest($1::text[], $2::text[]) as name (old, new)
       left join unnest($3::text[], $4::bigint[], $5::bigint[]) as present (scope, spent, revision) on present.scope = name.new
     where s.scope = name.old
     returning s.scope, s.spent_nano as spent, s.revision`,
    [...pairs, present.map((row) => row.scope), present.map((row) => row.spent), present.map((row) => row.revision)],
  )
}
