import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `teams`. Money is nano-dollars. */
export interface TeamRow {
  team_id: string
  team_alias: string | null
  organization_id: string | null
  metadata: Record<string, unknown>
  max_budget_nano: number | null
  soft_budget_nano: number | null
  budget_duration: string | null
  budget_limits: unknown
  models: string[]
  model_aliases: Record<string, unknown>
  model_max_budget: Record<string, unknown>
  max_parallel_requests: number | null
  tpm_limit: number | null
  rpm_limit: number | null
  blocked: boolean
  team_member_budget_id: string | null
  team_member_permissions: string[] | null
  default_team_member_models: string[]
  router_settings: unknown
  policies: string[]
  access_group_ids: string[]
  object_permission: unknown
  default_estimated_output_tokens: number | null
  default_estimated_output_tokens_per_model: unknown
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** Every column by name: some of the table are on their way out. */
const COLUMNS = [
  'team_id',
  'team_alias',
  'organization_id',
  'metadata',
  'max_budget_nano',
  'soft_budget_nano',
  'budget_duration',
  'budget_limits',
  'models',
  'model_aliases',
  'model_max_budget',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'blocked',
  'team_member_budget_id',
  'team_member_permissions',
  'default_team_member_models',
  'router_settings',
  'policies',
  'access_group_ids',
  'object_permission',
  'default_estimated_output_tokens',
  'default_estimated_output_tokens_per_model',
  'created_at',
  'created_by',
  'updated_at',
  'updated_by',
] as const satisfies readonly (keyof TeamRow)[]

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof TeamRow>([
  'metadata',
  'budget_limits',
  'model_aliases',
  'model_max_budget',
  'router_settings',
  'object_permission',
  'default_estimated_output_tokens_per_model',
])

/** A team with its members, and what was spent in the present window. */
export interface TeamView extends TeamRow {
  spend_nano: number
  reset_at: Date | null
  members: { user_id: string; user_email: string | null; role: string }[]
}

const VIEW = `select ${COLUMNS.map((name) => `t.${name}`).join(', ')}, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at,
    coalesce((select jsonb_agg(jsonb_build_object('user_id', m.user_id, 'user_email', u.user_email, 'role', m.role)
      order by m.created_at, m.user_id) from team_members m left join users u on u.user_id = m.user_id where m.team_id = t.team_id), '[]')
      as members
  from teams t left join spend s on s.scope = scope_of('team', t.team_id)`

/** Adds a team. Columns that are not given take their defaults. Fails on an id that exists (see sql-state.ts). */
export async function insertTeam(tx: Transaction, row: Partial<TeamRow> & Pick<TeamRow, 'team_id'>): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into teams (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

export async function updateTeam(tx: Transaction, teamId: string, changes: Partial<TeamRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update teams set ${assignments(names, 2)} where team_id = $1`, [teamId, ...values])
}

/** Holds off others who would change the team or its members, until the transaction ends. */
export async function lockTeam(tx: Transaction, teamId: string): Promise<void> {
  await tx.query('select 1 from teams where team_id = $1 for update', [teamId])
}

export async function findTeamView(db: Transaction, teamId: string): Promise<TeamView | undefined> {
  const rows = await db.query<TeamView>(`${VIEW} where t.team_id = $1`, [teamId])
  return rows[0]
}

export function findTeamViews(db: Transaction, teamIds: readonly string[]): Promise<TeamView[]> {
  return db.query<TeamView>(`${VIEW} where t.team_id = any($1) order by t.created_at, t.team_id`, [teamIds])
}

/** Columns the list may be sorted by, as clients name them. */
export const TEAM_SORTS = {
  team_id: 't.team_id',
  team_alias: 't.team_alias',
  created_at: 't.created_at',
  updated_at: 't.updated_at',
  max_budget: 't.max_budget_nano',
  spend: 'spend_nano',
} as const
export type TeamSort = keyof typeof TEAM_SORTS

export interface TeamFilter {
  teamId?: string | undefined
  /** Teams this user is a member of. */
  userId?: string | undefined
  organizationId?: string | undefined
  /** Part of the alias, whatever its case. */
  alias?: string | undefined
  /** Part of the alias, or the id. */
  search?: string | undefined
  /** Only these, and those of these organizations, whatever else the filter says. */
  visible?: { teamIds: readonly string[]; organizationIds: readonly string[] } | undefined
}

/** One page of teams, and how many there are in all. `limit` null = every one. */
export async function listTeams(
  db: Transaction,
  filter: TeamFilter,
  page: { limit: number | null; offset: number; sort: TeamSort; descending: boolean },
): Promise<{ rows: TeamView[]; total: number }> {
  const { visible } = filter
  const conditions: string[] = []
  const values: unknown[] = []
  const where = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(condition(`$${values.length}`))
  }
  where(filter.teamId, (id) => `t.team_id = ${id}`)
  where(filter.userId, (id) => `exists (select from team_members m where m.team_id = t.team_id and m.user_id = ${id})`)
  where(filter.organizationId, (id) => `t.organization_id = ${id}`)
  where(filter.alias, (part) => `position(lower(${part}) in lower(t.team_alias)) > 0`)
  where(filter.search, (part) => `(t.team_id = ${part} or position(lower(${part}) in lower(t.team_alias)) > 0)`)
  if (visible !== undefined) {
    values.push(visible.teamIds, visible.organizationIds)
    conditions.push(`(t.team_id = any($${values.length - 1}) or t.organization_id = any($${values.length}))`)
  }
  const condition = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const order = `${TEAM_SORTS[page.sort]} ${page.descending ? 'desc nulls last' : 'asc nulls first'}, t.team_id`
  const [count] = await db.query<{ total: number }>(`select count(*) as total from teams t ${condition}`, values)
  const rows = await db.query<TeamView>(
    `${VIEW} ${condition} order by ${order} limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

/** Teams that were deleted, newest first, as they were. */
export async function listDeletedTeams(
  db: Transaction,
  page: { limit: number; offset: number },
): Promise<{ rows: Record<string, unknown>[]; total: number }> {
  const [count] = await db.query<{ total: number }>(`select count(*) as total from archive where table_name = 'teams'`)
  const rows = await db.query<{ row: Record<string, unknown>; deleted_at: Date; deleted_by: string | null }>(
    `select row, deleted_at, deleted_by from archive where table_name = 'teams' order by deleted_at desc, id desc limit $1 offset $2`,
    [page.limit, page.offset],
  )
  return { rows: rows.map(({ row, deleted_at, deleted_by }) => ({ ...row, deleted_at, deleted_by })), total: count?.total ?? 0 }
}

/** Deletes teams with their members and projects. Their keys are deleted before. */
export async function deleteTeams(tx: Transaction, teamIds: readonly string[]): Promise<void> {
  await tx.query('delete from team_members where team_id = any($1)', [teamIds])
  await tx.query('delete from teams where team_id = any($1)', [teamIds])
}

/** Hashes of the keys of these teams; of one user in them where `userId` is given. */
export async function keysOfTeams(tx: Transaction, teamIds: readonly string[], userId?: string): Promise<string[]> {
  const rows = await tx.query<{ token: string }>(
    'select token from keys where team_id = any($1) and ($2::text is null or user_id = $2) order by created_at, token',
    [teamIds, userId ?? null],
  )
  return rows.map((row) => row.token)
}

/** Keys that were in the team's organization go with it to another. */
export async function moveKeys(tx: Transaction, teamId: string, from: string | null, to: string | null): Promise<void> {
  await tx.query('update keys set organization_id = $3 where team_id = $1 and organization_id is not distinct from $2', [
    teamId,
    from,
    to,
  ])
}

/** What teams of an organization are guaranteed per minute together, one of them left out. */
export async function guaranteedThroughput(
  tx: Transaction,
  organizationId: string,
  exceptTeamId: string,
): Promise<{ tpm_limit: number; rpm_limit: number }> {
  const rows = await tx.query<{ tpm_limit: number; rpm_limit: number }>(
    `select coalesce(sum(tpm_limit) filter (where metadata ->> 'tpm_limit_type' = 'guaranteed_throughput'), 0)::bigint as tpm_limit,
       coalesce(sum(rpm_limit) filter (where metadata ->> 'rpm_limit_type' = 'guaranteed_throughput'), 0)::bigint as rpm_limit
     from teams where organization_id = $1 and team_id <> $2`,
    [organizationId, exceptTeamId],
  )
  return rows[0] ?? { tpm_limit: 0, rpm_limit: 0 }
}
