import type { Transaction } from '../../shared/db/db.ts'

/** A row of `keys`. Money is nano-dollars; jsonb columns hold what was stored. */
export interface KeyRow {
  token: string
  key_name: string
  key_alias: string | null
  spend_nano: number
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
  budget_reset_at: Date | null
  budget_limits: unknown
  model_spend: Record<string, unknown>
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
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** Columns stored as JSON: the driver would write a list as a PostgreSQL array and a text as it is. */
const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof KeyRow>([
  'aliases',
  'config',
  'permissions',
  'metadata',
  'budget_limits',
  'model_spend',
  'model_max_budget',
  'budget_fallbacks',
  'router_settings',
  'object_permission',
  'default_estimated_output_tokens_per_model',
])

/** Columns the list may be sorted by. */
export const KEY_SORTS = [
  'spend_nano',
  'max_budget_nano',
  'created_at',
  'updated_at',
  'key_name',
  'key_alias',
  'user_id',
  'team_id',
  'expires',
] as const
export type KeySort = (typeof KEY_SORTS)[number]

/** Adds a key. Columns that are not given take their defaults. Fails on an alias that exists (see sql-state.ts). */
export async function insertKey(db: Transaction, row: Partial<KeyRow> & Pick<KeyRow, 'token' | 'key_name'>): Promise<KeyRow> {
  const { names, values } = parts(row)
  const rows = await db.query<KeyRow>(
    `insert into keys (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning *`,
    values,
  )
  return one(rows)
}

/** Changes a key; undefined when there is none. */
export async function updateKey(db: Transaction, token: string, changes: Partial<KeyRow>): Promise<KeyRow | undefined> {
  const { names, values } = parts(changes)
  const set = names.map((name, index) => `${name} = $${index + 2}`).join(', ')
  const rows = await db.query<KeyRow>(`update keys set ${set} where token = $1 returning *`, [token, ...values])
  return rows[0]
}

export async function findKey(db: Transaction, token: string): Promise<KeyRow | undefined> {
  const rows = await db.query<KeyRow>('select * from keys where token = $1', [token], 'key_find')
  return rows[0]
}

/** The keys with one of these hashes or aliases. */
export function findKeys(db: Transaction, tokens: readonly string[], aliases: readonly string[]): Promise<KeyRow[]> {
  return db.query<KeyRow>('select * from keys where token = any($1) or key_alias = any($2)', [tokens, aliases])
}

export async function deleteKeys(db: Transaction, tokens: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ token: string }>('delete from keys where token = any($1) returning token', [tokens])
  return rows.map((row) => row.token)
}

export interface KeyFilter {
  userId?: string
  teamId?: string
  organizationId?: string
  token?: string
  alias?: string
  createdBy?: string
  /** Aliases and user ids may hold the text instead of being equal to it. */
  substring?: boolean
  /** Only keys of this user, in whatever else the filter says. */
  ownedBy?: string
}

/** One page of keys, and how many there are in all. */
export async function listKeys(
  db: Transaction,
  filter: KeyFilter,
  page: { limit: number; offset: number; sort: KeySort; descending: boolean },
): Promise<{ rows: KeyRow[]; total: number }> {
  const conditions: string[] = []
  const values: unknown[] = []
  const equal = (column: string, value: string | undefined): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(`${column} = $${values.length}`)
  }
  const similar = (column: string, value: string | undefined): void => {
    if (filter.substring !== true) equal(column, value)
    else if (value !== undefined) {
      values.push(value)
      conditions.push(`position(lower($${values.length}) in lower(${column})) > 0`)
    }
  }
  similar('user_id', filter.userId)
  similar('key_alias', filter.alias)
  equal('team_id', filter.teamId)
  equal('organization_id', filter.organizationId)
  equal('token', filter.token)
  equal('created_by', filter.createdBy)
  equal('user_id', filter.ownedBy)
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const order = `${page.sort} ${page.descending ? 'desc nulls last' : 'asc nulls first'}, token`
  const [count] = await db.query<{ total: number }>(`select count(*) as total from keys ${where}`, values)
  const rows = await db.query<KeyRow>(
    `select * from keys ${where} order by ${order} limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

/** Whether a team of this id exists, and its organization. */
export async function findTeam(db: Transaction, teamId: string): Promise<{ organization_id: string | null } | undefined> {
  const rows = await db.query<{ organization_id: string | null }>('select organization_id from teams where team_id = $1', [
    teamId,
  ])
  return rows[0]
}

function parts(row: Partial<KeyRow>): { names: string[]; values: unknown[] } {
  const entries = Object.entries(row).filter(([, value]) => value !== undefined)
  return {
    names: entries.map(([name]) => name),
    values: entries.map(([name, value]) => (JSON_COLUMNS.has(name) && value !== null ? JSON.stringify(value) : value)),
  }
}

function one<Row>(rows: Row[]): Row {
  const row = rows[0]
  if (row === undefined) throw new Error('the statement returned no row')
  return row
}
