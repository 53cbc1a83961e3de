/** What a caller may see at most: everything, or what its key, its user, its teams and its organizations used. */
export type Reach =
  | 'all'
  | { keyHash: string; userId: string | null; teamIds: readonly string[]; organizationIds: readonly string[] }

/** Columns that a list of values narrows or leaves out. */
export type FilterColumn = 'keyHash' | 'userId' | 'teamId' | 'organizationId' | 'endUser' | 'model' | 'modelGroup' | 'provider'

/** What a report is about. Several conditions hold together; a list holds for any of its values. */
export interface ReportFilter extends Partial<Record<FilterColumn, readonly string[]>> {
  /** Unix milliseconds, `to` excluded. Daily sums are read by the UTC days these begin. */
  from?: number
  to?: number
  without?: Partial<Record<FilterColumn, readonly string[]>>
  /** Left out = everything. */
  reach?: Reach
}

/** `daily` is `daily_spend`, `label` is `daily_label_spend`. */
export type ReportTable = 'ledger' | 'daily' | 'label'

const COLUMNS: Readonly<Record<FilterColumn, string>> = {
  keyHash: 'key_hash',
  userId: 'user_id',
  teamId: 'team_id',
  organizationId: 'organization_id',
  endUser: 'end_user',
  model: 'model',
  modelGroup: 'model_group',
  provider: 'provider',
}
const NAMES = Object.keys(COLUMNS) as FilterColumn[]

/** Daily sums by label carry neither user nor organization: both are known of the key and the team. */
const LABEL_OWNERS: Partial<Record<FilterColumn, (list: string) => string>> = {
  userId: (list) => `key_hash in (select token from keys where user_id = any(${list}))`,
  organizationId: (list) =>
    `(team_id in (select team_id from teams where organization_id = any(${list}))
      or key_hash in (select token from keys where organization_id = any(${list})))`,
  endUser: (list) => `(kind = 'customer' and label = any(${list}))`,
}

/** The columns that a filter narrows or leaves values out of. */
export function narrowedBy(filter: ReportFilter): FilterColumn[] {
  return NAMES.filter((name) => filter[name] !== undefined || (filter.without?.[name]?.length ?? 0) > 0)
}

/** The conditions of a filter on a table; their values are added to `values`. */
export function conditionsOf(table: ReportTable, filter: ReportFilter, values: unknown[]): string[] {
  const bind = (value: unknown): string => `$${values.push(value)}`
  const conditions: string[] = []
  if (filter.from !== undefined) conditions.push(timeCondition(table, '>=', filter.from, bind))
  if (filter.to !== undefined) conditions.push(timeCondition(table, '<', filter.to, bind))
  for (const name of NAMES) {
    const wanted = filter[name]
    if (wanted !== undefined) conditions.push(among(table, name, wanted, bind))
    const unwanted = filter.without?.[name]
    if (unwanted !== undefined && unwanted.length > 0)
      conditions.push(`not coalesce(${among(table, name, unwanted, bind)}, false)`)
  }
  if (filter.reach !== undefined && filter.reach !== 'all') conditions.push(reachCondition(table, filter.reach, bind))
  return conditions
}

type Bind = (value: unknown) => string

function timeCondition(table: ReportTable, comparison: string, time: number, bind: Bind): string {
  const moment = new Date(time).toISOString()
  return table === 'ledger'
    ? `started_at ${comparison} ${bind(moment)}::timestamptz`
    : `day ${comparison} ${bind(moment.slice(0, 10))}::date`
}

function among(table: ReportTable, name: FilterColumn, list: readonly string[], bind: Bind): string {
  const owner = table === 'label' ? LABEL_OWNERS[name] : undefined
  if (owner !== undefined) return owner(`${bind(list)}::text[]`)
  // One value gives the planner its frequency; a list only its length.
  return list.length === 1 ? `${COLUMNS[name]} = ${bind(list[0])}` : `${COLUMNS[name]} = any(${bind(list)}::text[])`
}

function reachCondition(table: ReportTable, reach: Exclude<Reach, 'all'>, bind: Bind): string {
  const parts = [
    reach.userId === null ? among(table, 'keyHash', [reach.keyHash], bind) : among(table, 'userId', [reach.userId], bind),
  ]
  if (reach.teamIds.length > 0) parts.push(among(table, 'teamId', reach.teamIds, bind))
  if (reach.organizationIds.length > 0) parts.push(among(table, 'organizationId', reach.organizationIds, bind))
  return `(${parts.join(' or ')})`
}

export function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
}
