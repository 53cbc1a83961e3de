import type { Database } from '../../shared/db/db.ts'

/** A scope taken apart: kind, first id, second id (of members). */
export interface AlertScope {
  scope: string
  kind: string
  id: string
  member: string | null
}

/** Who an alert is about, for people. Fields that do not apply are missing. */
export interface AlertOwner {
  key_alias?: string | null
  user_id?: string | null
  user_email?: string | null
  team_id?: string | null
  team_alias?: string | null
  organization_id?: string | null
}

/** A scope that spent so much that somebody is to be told. Money is nano-dollars. */
export interface Alarming {
  scope: string
  spent: number
  hard: number | null
  soft: number | null
  /** When its window closes. */
  resetAt: Date | null
  owner: AlertOwner
}

/** Of these scopes those that reached their soft budget or four fifths of their budget. */
export function findAlarming(db: Database, scopes: readonly AlertScope[]): Promise<Alarming[]> {
  return db.query<Alarming>(
    `select a.scope, least(s.spent_nano, 9007199254740991)::bigint as spent, l.hard, l.soft, s.reset_at as "resetAt",
       jsonb_strip_nulls(l.owner) as owner
     from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as a(scope, kind, id, member)
     join spend s on s.scope = a.scope
     cross join lateral (
       select coalesce(k.max_budget_nano, b.max_budget_nano) as hard, coalesce(k.soft_budget_nano, b.soft_budget_nano) as soft,
         jsonb_build_object('key_alias', k.key_alias, 'user_id', k.user_id, 'team_id', k.team_id, 'organization_id', k.organization_id) as owner
       from keys k left join budgets b on b.budget_id = k.budget_id where a.kind = 'key' and k.token = a.id
       union all select u.max_budget_nano, null, jsonb_build_object('user_id', u.user_id, 'user_email', u.user_email)
       from users u where a.kind = 'user' and u.user_id = a.id
       union all select t.max_budget_nano, t.soft_budget_nano,
         jsonb_build_object('team_id', t.team_id, 'team_alias', t.team_alias, 'organization_id', t.organization_id)
       from teams t where a.kind = 'team' and t.team_id = a.id
       union all select b.max_budget_nano, b.soft_budget_nano,
         jsonb_build_object('team_id', t.team_id, 'team_alias', t.team_alias, 'user_id', a.member)
       from teams t left join team_members m on m.team_id = t.team_id and m.user_id = a.member
       join budgets b on b.budget_id = coalesce(m.budget_id, t.team_member_budget_id) where a.kind = 'team_member' and t.team_id = a.id
       union all select b.max_budget_nano, b.soft_budget_nano, jsonb_build_object('organization_id', o.organization_id)
       from organizations o join budgets b on b.budget_id = o.budget_id where a.kind = 'organization' and o.organization_id = a.id
       union all select b.max_budget_nano, b.soft_budget_nano, jsonb_build_object('team_id', p.team_id)
       from projects p join budgets b on b.budget_id = p.budget_id where a.kind = 'project' and p.project_id = a.id
       union all select b.max_budget_nano, b.soft_budget_nano, '{}'::jsonb
       from customers c join budgets b on b.budget_id = c.budget_id where a.kind = 'customer' and c.user_id = a.id
       union all select b.max_budget_nano, b.soft_budget_nano, '{}'::jsonb
       from tags g join budgets b on b.budget_id = g.budget_id where a.kind = 'tag' and g.tag_name = a.id) l
     where s.spent_nano >= least(case when l.soft > 0 then l.soft end, case when l.hard > 0 then l.hard / 5 * 4 end)`,
    [
      scopes.map(({ scope }) => scope),
      scopes.map(({ kind }) => kind),
      scopes.map(({ id }) => id),
      scopes.map(({ member }) => member),
    ],
    'alerts_find',
  )
}

/** `soft`, or percent of the budget. */
export type Threshold = 'soft' | '80' | '100'

/** An alert as it is stored. Money is nano-dollars. */
export interface Alert {
  scope: string
  threshold: Threshold
  /** What was crossed: the soft budget or the budget. */
  limit: number
  spent: number
  hard: number | null
  soft: number | null
  resetAt: Date | null
  owner: AlertOwner
}

/** Keeps alerts and says which are new: once per window, threshold and limit. */
export async function insertAlerts(db: Database, alerts: readonly Alert[]): Promise<Pick<Alert, 'scope' | 'threshold'>[]> {
  return db.query<Pick<Alert, 'scope' | 'threshold'>>(
    `insert into budget_alerts (scope, threshold, limit_nano, window_end, spent_nano, budget_nano, soft_nano, owner)
     select scope, threshold, crossed, coalesce(reset_at, 'infinity'), spent, hard, soft, owner
     from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::jsonb[])
       as a(scope, threshold, crossed, reset_at, spent, hard, soft, owner)
     on conflict do nothing returning scope, threshold`,
    [
      alerts.map(({ scope }) => scope),
      alerts.map(({ threshold }) => threshold),
      alerts.map(({ limit }) => limit),
      alerts.map(({ resetAt }) => resetAt),
      alerts.map(({ spent }) => spent),
      alerts.map(({ hard }) => hard),
      alerts.map(({ soft }) => soft),
      alerts.map(({ owner }) => JSON.stringify(owner)),
    ],
    'alerts_insert',
  )
}

/** Alerts of the last hour that the webhook has not taken in five tries, oldest first. */
export function findUnsentAlerts(db: Database, most: number): Promise<Alert[]> {
  return db.query<Alert>(
    `select scope, threshold, limit_nano as limit, spent_nano as spent, budget_nano as hard, soft_nano as soft,
       case when window_end = 'infinity' then null else window_end end as "resetAt", owner
     from budget_alerts where sent_at is null and attempts < 5 and created_at > now() - interval '1 hour' order by created_at limit $1`,
    [most],
    'alerts_unsent',
  )
}

/** Notes a try to send an alert. */
export async function markAlert(db: Database, alert: Alert, sent: boolean): Promise<void> {
  await db.query(
    `update budget_alerts set attempts = attempts + 1, sent_at = case when $5 then now() end
     where (scope, threshold, limit_nano, window_end) = ($1, $2, $3, coalesce($4::timestamptz, 'infinity'))`,
    [alert.scope, alert.threshold, alert.limit, alert.resetAt, sent],
    'alerts_mark',
  )
}
