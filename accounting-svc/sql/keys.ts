import type { Transaction } from '../../shared/db/db.ts'
import { entryOf } from '../../shared/entry.ts'
import type { BudgetRow } from './budgets.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `keys`. Money is nano-dollars; jsonb columns hold what was stored. What was spent is in `spend`. */
export interface KeyRow {
  token: string
  key_name: string
  key_alias: string | null
  max_budget_nano: number | null
  soft_budget_nano: number | null
  expires: Date | null
  models: string[]
  aliases: Record<string, unknown>
  config: Record<string, unknown>
  permissions: Record<string, unknown>
  metadata: Record<string, unknown>
  user_id: string | null
  team_id: string | null
  organization_id: string | null
  project_id: string | null
  agent_id: string | null
  budget_id: string | null
  budget_duration: string | null
  budget_limits: unknown
  model_max_budget: Record<string, unknown>
  budget_fallbacks: Record<string, unknown>
  max_parallel_requests: number | null
  tpm_limit: number | null
  rpm_limit: number | null
  blocked: boolean | null
  allowed_cache_controls: string[]
  allowed_routes: string[]
  policies: string[]
  access_group_ids: string[]
  router_settings: unknown
  object_permission: unknown
  throttle_on_budget_exceeded: boolean
  default_estimated_output_tokens: number | null
  default_estimated_output_tokens_per_model: unknown
  soft_budget_cooldown: boolean
  auto_rotate: boolean
  rotation_interval: string | null
  rotation_count: number
  last_rotation_at: Date | null
  key_rotation_at: Date | null
  last_active: Date | null
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** A key with what other tables say of it. */
export interface KeyView extends KeyRow {
  spend_nano: number
  budget_reset_at: Date | null
  /** The linked row; its times are ISO 8601 text. */
  budget: BudgetRow | null
  /** Of the key, else of its team. */
  owner_organization_id: string | null
}

const COLUMNS = [
  'token',
  'key_name',
  'key_alias',
  'max_budget_nano',
  'soft_budget_nano',
  'expires',
  'models',
  'aliases',
  'config',
  'permissions',
  'metadata',
  'user_id',
  'team_id',
  'organization_id',
  'project_id',
  'agent_id',
  'budget_id',
  'budget_duration',
  'budget_limits',
  'model_max_budget',
  'budget_fallbacks',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'blocked',
  'allowed_cache_controls',
  'allowed_routes',
  'policies',
  'access_group_ids',
  'router_settings',
  'object_permission',
  'throttle_on_budget_exceeded',
  'default_estimated_output_tokens',
  'default_estimated_output_tokens_per_model',
  'soft_budget_cooldown',
  'auto_rotate',
  'rotation_interval',
  'rotation_count',
  'last_rotation_at',
  'key_rotation_at',
  'last_active',
  'created_at',
  'created_by',
  'updated_at',
  'updated_by',
] as const satisfies readonly (keyof KeyRow)[]

/** The columns of `keys k`. */
export const KEY_COLUMNS = COLUMNS.map((name) => `k.${name}`).join(', ')

const VIEW = `select ${KEY_COLUMNS}, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at as budget_reset_at,
    case when b.budget_id is null then null else to_jsonb(b) end as budget,
    coalesce(k.organization_id, t.organization_id) as owner_organization_id`
const FROM = `from keys k
  left join spend s on s.scope = 'key|' || k.token
  left join budgets b on b.budget_id = k.budget_id
  left join teams t on t.team_id = k.team_id`

/** Columns stored as JSON. */
const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof KeyRow>([
  'aliases',
  'config',
  'permissions',
  'metadata',
  'budget_limits',
  'model_max_budget',
  'budget_fallbacks',
  'router_settings',
  'object_permission',
  'default_estimated_output_tokens_per_model',
])

/** Adds a key. Columns that are not given take their defaults. Fails on a hash or an alias that exists (see sql-state.ts). */
export async function insertKey(tx: Transaction, row: Partial<KeyRow> & Pick<KeyRow, 'token' | 'key_name'>): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into keys (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

/** Changes a key; `changes.token` gives it another hash. Fails on an alias that exists (see sql-state.ts). */
export async function updateKey(tx: Transaction, token: string, changes: Partial<KeyRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update keys set ${assignments(names, 2)} where token = $1`, [token, ...values])
}

/** The key, locked until the transaction ends where `lock`. */
export async function findKey(db: Transaction, token: string, lock = false): Promise<KeyView | undefined> {
  const rows = await db.query<KeyView>(`${VIEW} ${FROM} where k.token = $1${lock ? ' for update of k' : ''}`, [token])
  return rows[0]
}

/** The keys with one of these hashes or aliases, locked until the transaction ends where `lock`. */
export function findKeys(
  db: Transaction,
  tokens: readonly string[],
  aliases: readonly string[],
  lock = false,
): Promise<KeyView[]> {
  return db.query<KeyView>(
    `${VIEW} ${FROM} where k.token = any($1) or k.key_alias = any($2) order by k.token${lock ? ' for update of k' : ''}`,
    [tokens, aliases],
  )
}

/** Deletes keys and what stands for them: hashes in grace and claims of tokens. */
export async function deleteKeys(tx: Transaction, tokens: readonly string[]): Promise<void> {
  await tx.query('delete from keys where token = any($1)', [tokens])
  await tx.query('delete from deprecated_keys where active_token = any($1)', [tokens])
  await tx.query('delete from jwt_key_mappings where token = any($1)', [tokens])
}

/** Hashes of the keys of a team. */
export async function tokensOfTeam(db: Transaction, teamId: string): Promise<string[]> {
  const rows = await db.query<{ token: string }>('select token from keys where team_id = $1 order by token', [teamId])
  return rows.map((row) => row.token)
}

/** The hash that stands for a key until `revokeAt` (a past one only says where its spend went), and those that stood for it before. */
export async function deprecateKey(tx: Transaction, old: string, active: string, revokeAt: Date): Promise<void> {
  await tx.query('update deprecated_keys set active_token = $2 where active_token = $1', [old, active])
  await tx.query('update jwt_key_mappings set token = $2 where token = $1', [old, active])
  await tx.query(
    `insert into deprecated_keys (token, active_token, revoke_at) values ($1, $2, $3)
     on conflict (token) do update set active_token = excluded.active_token, revoke_at = excluded.revoke_at`,
    [old, active, revokeAt],
  )
}

/** Hashes of keys whose rotation is due at `now`, the longest overdue first. */
export async function dueForRotation(db: Transaction, now: Date, most: number): Promise<string[]> {
  const rows = await db.query<{ token: string }>(
    `select token from keys where auto_rotate and rotation_interval is not null and key_rotation_at <= $1
     order by key_rotation_at limit $2`,
    [now, most],
  )
  return rows.map((row) => row.token)
}

export interface KeyFilter {
  userId?: string
  teamId?: string
  organizationId?: string
  projectId?: string
  agentId?: string
  accessGroupId?: string
  token?: string
  alias?: string
  /** `never`, or a time up to which keys expire. */
  expires?: Date | 'never'
  /** Aliases and user ids may hold the text instead of being equal to it. */
  substring?: boolean
  /** Only keys that one of these names; absent = all. */
  among?: KeyVisibility
  /** Only keys the caller may see; absent = all. */
  visible?: KeyVisibility
}

/** Whose keys somebody may list. */
export interface KeyVisibility {
  userId: string | null
  token: string
  /** Made by them. */
  createdBy: string | null
  /** All keys of these. */
  teams: readonly string[]
  organizations: readonly string[]
  /** Keys of programs of these. */
  memberTeams: readonly string[]
}

/** Columns the list may be sorted by. */
const SORTS: Readonly<Record<string, string>> = {
  spend: 'coalesce(s.spent_nano, 0)',
  max_budget: 'k.max_budget_nano',
  created_at: 'k.created_at',
  updated_at: 'k.updated_at',
  key_name: 'k.key_name',
  key_alias: 'k.key_alias',
  user_id: 'k.user_id',
  team_id: 'k.team_id',
  expires: 'k.expires',
  last_active: 'k.last_active',
}

export interface KeyPage {
  limit: number
  offset: number
  /** A name of SORTS; else `created_at`. */
  sort: string
  descending: boolean
}

/** One page of keys, and how many there are in all. */
export async function listKeys(db: Transaction, filter: KeyFilter, page: KeyPage): Promise<{ rows: KeyView[]; total: number }> {
  const { where, values } = conditions(filter)
  const column = entryOf(SORTS, page.sort) ?? 'k.created_at'
  const order = `${column} ${page.descending ? 'desc nulls last' : 'asc nulls first'}, k.token`
  const [count] = await db.query<{ total: number }>(`select count(*) as total ${FROM} where ${where}`, values)
  const rows = await db.query<KeyView>(
    `${VIEW} ${FROM} where ${where} order by ${order} limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

/** One page of aliases in their order, and how many there are in all. */
export async function listAliases(
  db: Transaction,
  filter: KeyFilter,
  page: Pick<KeyPage, 'limit' | 'offset'>,
): Promise<{ aliases: string[]; total: number }> {
  const { where, values } = conditions(filter)
  const named = `${where} and k.key_alias is not null`
  const [count] = await db.query<{ total: number }>(`select count(*) as total ${FROM} where ${named}`, values)
  const rows = await db.query<{ key_alias: string }>(
    `select k.key_alias ${FROM} where ${named} order by k.key_alias limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { aliases: rows.map((row) => row.key_alias), total: count?.total ?? 0 }
}

/** One page of deleted keys as they were, the last deleted first. */
export async function listDeletedKeys(
  db: Transaction,
  filter: Pick<KeyFilter, 'userId' | 'teamId' | 'organizationId' | 'alias' | 'token'>,
  page: Pick<KeyPage, 'limit' | 'offset'>,
): Promise<{ rows: DeletedKey[]; total: number }> {
  const names = {
    user_id: filter.userId,
    team_id: filter.teamId,
    organization_id: filter.organizationId,
    key_alias: filter.alias,
  }
  const asked = Object.entries(names).filter(([, value]) => value !== undefined)
  const values: unknown[] = [filter.token ?? null, ...asked.map(([, value]) => value)]
  const where = [
    `a.table_name = 'keys' and ($1::text is null or a.object_id = $1)`,
    ...asked.map(([name], index) => `a.row ->> '${name}' = $${index + 2}`),
  ].join(' and ')
  const [count] = await db.query<{ total: number }>(`select count(*) as total from archive a where ${where}`, values)
  const rows = await db.query<DeletedKey>(
    `select a.object_id as token, a.row, a.deleted_at, a.deleted_by from archive a where ${where}
     order by a.id desc limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

export interface DeletedKey {
  token: string
  row: Record<string, unknown>
  deleted_at: Date
  deleted_by: string | null
}

/** Keys of the dashboard's sessions: nobody made them, nobody lists them. */
const SESSIONS = `coalesce(k.team_id, '') <> 'litellm-dashboard'`

function conditions(filter: KeyFilter): { where: string; values: unknown[] } {
  const parts: string[] = [SESSIONS]
  const values: unknown[] = []
  const add = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return
    values.push(value)
    parts.push(condition(`$${values.length}`))
  }
  const equal = (column: string, value: string | undefined): void => add(value, (place) => `${column} = ${place}`)
  const similar = (column: string, value: string | undefined): void => {
    if (filter.substring === true) add(value, (place) => `position(lower(${place}) in lower(${column})) > 0`)
    else equal(column, value)
  }
  similar('k.user_id', filter.userId)
  similar('k.key_alias', filter.alias)
  equal('k.team_id', filter.teamId)
  equal('coalesce(k.organization_id, t.organization_id)', filter.organizationId)
  equal('k.project_id', filter.projectId)
  equal('k.agent_id', filter.agentId)
  equal('k.token', filter.token)
  add(filter.accessGroupId, (place) => `${place} = any(k.access_group_ids)`)
  if (filter.expires === 'never') parts.push('k.expires is null')
  else add(filter.expires, (place) => `k.expires <= ${place}`)
  for (const whose of [filter.among, filter.visible]) {
    if (whose === undefined) continue
    const end = values.push(whose.userId, whose.token, whose.createdBy, whose.teams, whose.organizations, whose.memberTeams)
    const [user, token, maker, teams, organizations, memberTeams] = Array.from({ length: 6 }, (_, index) => `$${end - 5 + index}`)
    parts.push(`(k.user_id = ${user} or k.token = ${token} or k.created_by = ${maker} or k.team_id = any(${teams})
      or coalesce(k.organization_id, t.organization_id) = any(${organizations})
      or (k.user_id is null and k.team_id = any(${memberTeams})))`)
  }
  return { where: parts.join(' and '), values }
}

/** What of a team concerns its keys; locked until the transaction ends, so that sums over its keys hold. */
export interface TeamOfKeys {
  team_id: string
  organization_id: string | null
  tpm_limit: number | null
  rpm_limit: number | null
  metadata: Record<string, unknown>
}

export async function lockTeam(tx: Transaction, teamId: string): Promise<TeamOfKeys | undefined> {
  const rows = await tx.query<TeamOfKeys>(
    'select team_id, organization_id, tpm_limit, rpm_limit, metadata from teams where team_id = $1 for update',
    [teamId],
  )
  return rows[0]
}

/** Limits of an organization, from its budget row; locked as a team is. */
export async function lockOrganization(
  tx: Transaction,
  organizationId: string,
): Promise<{ tpm_limit: number | null; rpm_limit: number | null; metadata: Record<string, unknown> } | undefined> {
  const rows = await tx.query<{ tpm_limit: number | null; rpm_limit: number | null; metadata: Record<string, unknown> }>(
    `select b.tpm_limit, b.rpm_limit, o.metadata from organizations o left join budgets b on b.budget_id = o.budget_id
     where o.organization_id = $1 for update of o`,
    [organizationId],
  )
  return rows[0]
}

/** Limits of the keys of a team, or of an organization, whose throughput is guaranteed, without one key. */
export function guaranteedKeys(
  tx: Transaction,
  owner: { teamId: string } | { organizationId: string },
  without: string,
): Promise<Pick<KeyRow, 'tpm_limit' | 'rpm_limit' | 'metadata'>[]> {
  const [column, id] = 'teamId' in owner ? ['team_id', owner.teamId] : ['organization_id', owner.organizationId]
  return tx.query(
    `select tpm_limit, rpm_limit, metadata from keys where ${column} = $1 and token <> $2
       and 'guaranteed_throughput' in (metadata ->> 'tpm_limit_type', metadata ->> 'rpm_limit_type')`,
    [id, without],
  )
}

/** Names of users, for lists that show them beside their keys. */
export function namesOfUsers(
  db: Transaction,
  ids: readonly string[],
): Promise<{ user_id: string; user_email: string | null; user_alias: string | null; user_role: string | null }[]> {
  return db.query('select user_id, user_email, user_alias, user_role from users where user_id = any($1)', [ids])
}

/** The team of a project; undefined when there is no such project. */
export async function teamOfProject(tx: Transaction, projectId: string): Promise<string | undefined> {
  const rows = await tx.query<{ team_id: string }>('select team_id from projects where project_id = $1', [projectId])
  return rows[0]?.team_id
}
