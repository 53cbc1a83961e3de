import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `users` without the hash of its password, which only `passwordOf` reads. Money is nano-dollars. */
export interface UserRow {
  user_id: string
  user_alias: string | null
  user_email: string | null
  user_role: string | null
  sso_user_id: string | null
  organization_id: string | null
  models: string[]
  metadata: Record<string, unknown>
  max_budget_nano: number | null
  budget_duration: string | null
  budget_limits: unknown
  model_max_budget: Record<string, unknown>
  max_parallel_requests: number | null
  tpm_limit: number | null
  rpm_limit: number | null
  allowed_cache_controls: string[]
  policies: string[]
  object_permission: unknown
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** A user with what other tables say of it. */
export interface UserView extends UserRow {
  spend_nano: number
  reset_at: Date | null
  teams: string[]
  organization_memberships: OrganizationMembership[]
  key_count: number
}

/** Times are ISO 8601 text. */
export interface OrganizationMembership {
  user_id: string
  organization_id: string
  user_role: string
  budget_id: string | null
  created_at: string
  updated_at: string
}

/** What may be written; `password` is a hash. */
export type UserChanges = Partial<UserRow> & { password?: string | null }

const COLUMNS = `u.user_id, u.user_alias, u.user_email, u.user_role, u.sso_user_id, u.organization_id, u.models, u.metadata,
  u.max_budget_nano, u.budget_duration, u.budget_limits, u.model_max_budget, u.max_parallel_requests, u.tpm_limit, u.rpm_limit,
  u.allowed_cache_controls, u.policies, u.object_permission, u.created_at, u.created_by, u.updated_at, u.updated_by`

/** Spend is that of the present window (table `spend`), teams and organizations are the memberships. */
const VIEW = `select ${COLUMNS}, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at,
    array(select m.team_id from team_members m where m.user_id = u.user_id order by m.created_at, m.team_id) as teams,
    coalesce((select jsonb_agg(to_jsonb(o) order by o.organization_id) from organization_members o where o.user_id = u.user_id), '[]')
      as organization_memberships,
    (select count(*) from keys k where k.user_id = u.user_id) as key_count
  from users u left join spend s on s.scope = scope_of('user', u.user_id)`

/** Columns stored as JSON: the driver would write a list as a PostgreSQL array and a text as it is. */
const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof UserRow>([
  'metadata',
  'budget_limits',
  'model_max_budget',
  'object_permission',
])

/** Adds a user. Columns that are not given take their defaults. Fails on a `user_id` or `sso_user_id` that exists (sql-state.ts). */
export async function insertUser(tx: Transaction, row: UserChanges & { user_id: string }): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into users (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

/** Changes a user; false when there is none. Fails on an `sso_user_id` that exists (sql-state.ts). */
export async function updateUser(tx: Transaction, userId: string, changes: UserChanges): Promise<boolean> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  const rows = await tx.query(`update users set ${assignments(names, 2)} where user_id = $1 returning user_id`, [
    userId,
    ...values,
  ])
  return rows.length > 0
}

export async function findUser(tx: Transaction, userId: string): Promise<UserView | undefined> {
  const rows = await tx.query<UserView>(`${VIEW} where u.user_id = $1`, [userId])
  return rows[0]
}

/** Users in no particular order; ids nobody has are left out. */
export function findUsers(tx: Transaction, userIds: readonly string[]): Promise<UserView[]> {
  return tx.query<UserView>(`${VIEW} where u.user_id = any($1)`, [userIds])
}

/** Ids of the users with this address, whatever its case. */
export async function userIdsByEmail(tx: Transaction, email: string): Promise<string[]> {
  const rows = await tx.query<{ user_id: string }>('select user_id from users where lower(user_email) = lower($1)', [email])
  return rows.map((row) => row.user_id)
}

/** Holds off others who would give a user this address, until the transaction ends: the column has no unique index. */
export async function lockEmail(tx: Transaction, email: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended('user_email ' || lower($1), 0))", [email])
}

/** Deletes users and what makes them members of anything. Their rows in `spend` stay: revisions there never go back. */
export async function deleteUsers(tx: Transaction, userIds: readonly string[]): Promise<void> {
  await tx.query('delete from team_members where user_id = any($1)', [userIds])
  await tx.query('delete from organization_members where user_id = any($1)', [userIds])
  await tx.query('delete from invitations where user_id = any($1)', [userIds])
  await tx.query('delete from users where user_id = any($1)', [userIds])
}

/** Hashes of the keys of these users. */
export async function keysOfUsers(tx: Transaction, userIds: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ token: string }>('select token from keys where user_id = any($1)', [userIds])
  return rows.map((row) => row.token)
}

/** All user ids after `after`, in order, `limit` at a time. */
export async function userIdsAfter(tx: Transaction, after: string, limit: number): Promise<string[]> {
  const rows = await tx.query<{ user_id: string }>('select user_id from users where user_id > $1 order by user_id limit $2', [
    after,
    limit,
  ])
  return rows.map((row) => row.user_id)
}

/** Columns the list may be sorted by, as clients name them. */
export const USER_SORTS = {
  user_id: 'u.user_id',
  user_email: 'u.user_email',
  user_alias: 'u.user_alias',
  user_role: 'u.user_role',
  created_at: 'u.created_at',
  updated_at: 'u.updated_at',
  max_budget: 'u.max_budget_nano',
  spend: 'spend_nano',
  key_count: 'key_count',
} as const
export type UserSort = keyof typeof USER_SORTS

export interface UserFilter {
  userIds?: readonly string[]
  ssoUserIds?: readonly string[]
  role?: string
  /** Part of the address, whatever its case. */
  email?: string
  /** Part of the id, whatever its case. */
  userIdPart?: string
  team?: string
  organizationIds?: readonly string[]
  /** Only this user and those it shares a team or an organization with. */
  near?: string
}

/** One page of users, and how many there are in all. */
export async function listUsers(
  tx: Transaction,
  filter: UserFilter,
  page: { limit: number; offset: number; sort: UserSort; descending: boolean },
): Promise<{ rows: UserView[]; total: number }> {
  const conditions: string[] = []
  const values: unknown[] = []
  const where = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(condition(`$${values.length}`))
  }
  where(filter.userIds, (ids) => `u.user_id = any(${ids})`)
  where(filter.ssoUserIds, (ids) => `u.sso_user_id = any(${ids})`)
  where(filter.role, (role) => `u.user_role = ${role}`)
  where(filter.email, (part) => `position(lower(${part}) in lower(u.user_email)) > 0`)
  where(filter.userIdPart, (part) => `position(lower(${part}) in lower(u.user_id)) > 0`)
  where(filter.team, (team) => `exists (select from team_members m where m.user_id = u.user_id and m.team_id = ${team})`)
  where(
    filter.organizationIds,
    (ids) => `exists (select from organization_members o where o.user_id = u.user_id and o.organization_id = any(${ids}))`,
  )
  where(
    filter.near,
    (me) => `(u.user_id = ${me}
      or u.user_id in (select b.user_id from team_members a join team_members b on b.team_id = a.team_id where a.user_id = ${me})
      or u.user_id in (select b.user_id from organization_members a
        join organization_members b on b.organization_id = a.organization_id where a.user_id = ${me}))`,
  )
  const condition = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const order = `${USER_SORTS[page.sort]} ${page.descending ? 'desc nulls last' : 'asc nulls first'}, u.user_id`
  const [count] = await tx.query<{ total: number }>(`select count(*) as total from users u ${condition}`, values)
  const rows = await tx.query<UserView>(
    `${VIEW} ${condition} order by ${order} limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

export async function countUsers(tx: Transaction): Promise<number> {
  const [row] = await tx.query<{ total: number }>('select count(*) as total from users')
  return row?.total ?? 0
}
