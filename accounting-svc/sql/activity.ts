import type { Transaction } from '../../shared/db/db.ts'
import { modelSums, openDays, ownerSums } from './condensed.ts'
import { conditionsOf, narrowedBy, type ReportFilter, where } from './report-filter.ts'

/** Whose activity: an owner that is part of the daily sums, or one of the labels that have sums of their own. */
export type ActivityOwner = 'user' | 'team' | 'organization' | 'tag' | 'customer'

/** The zone days are counted in: UTC, minutes that local time is behind UTC (`Date.getTimezoneOffset`), or an IANA name. */
export type Zone = 'UTC' | { behind: number } | { name: string }

/** What one owner used of one model through one key on one day. Names that are unknown are ''. */
export interface ActivityRow {
  day: string
  entity: string
  key_hash: string
  model_group: string
  model: string
  provider: string
  endpoint: string
  /** Nano-dollars; a sum over many rows may pass what a number counts exactly, so it is a decimal text. */
  cost_nano: string
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
  calls: number
  successful_calls: number
  failed_calls: number
  /** Of all pages; only there for days of another zone than UTC, where counting apart would read the ledger twice. */
  total?: number
}

export interface ActivityQuery {
  owner: ActivityOwner
  filter: ReportFilter
  /** Only these owners; empty list = those that are not unknown; absent = all. */
  entities?: readonly string[]
  withoutEntities?: readonly string[]
  zone: Zone
  /** Local days, `YYYY-MM-DD`, both included. */
  firstDay: string
  lastDay: string
}

const SUMS = [
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'calls',
  'successful_calls',
  'failed_calls',
]
const NAMES = ['model_group', 'model', 'provider', 'endpoint']
const COLUMNS: Partial<Record<ActivityOwner, string>> = { user: 'user_id', team: 'team_id', organization: 'organization_id' }

const summed = [`sum(cost_nano)::text as cost_nano`, ...SUMS.map((column) => `sum(${column})::bigint as ${column}`)].join(', ')

/**
 * The source of activity: `from` is a table or a subquery with `day`, `entity`, the names and the sums. UTC days are read from the
 * daily sums. Days of another zone begin in the middle of those, so they are added up from the ledger itself.
 */
function sourceOf(query: ActivityQuery, values: unknown[]): { from: string; order: string } {
  const { owner, filter, zone } = query
  const column = COLUMNS[owner]
  const bind = (value: unknown): string => `$${values.push(value)}`
  const narrowed = (entity: string, shown = entity): string[] => {
    const { entities, withoutEntities = [] } = query
    const conditions: string[] = []
    if (entities?.length === 0) conditions.push(`${entity} <> ''`)
    // One value lets the index of the owner give the rows in order of days; a list would have them sorted.
    else if (entities?.length === 1) conditions.push(`${entity} = ${bind(entities[0])}`)
    else if (entities !== undefined) conditions.push(`${entity} = any(${bind(entities)}::text[])`)
    if (withoutEntities.length > 0) conditions.push(`not ${shown} = any(${bind(withoutEntities)}::text[])`)
    return conditions
  }
  if (zone !== 'UTC')
    return {
      from: localDays(query, values, bind, narrowed),
      order: 'day desc, entity, key_hash, model_group, model, provider, endpoint',
    }
  const days = [`day >= ${bind(query.firstDay)}::date`, `day <= ${bind(query.lastDay)}::date`]
  if (column === undefined) {
    const conditions = [`kind = ${bind(owner)}`, ...days, ...narrowed('label'), ...conditionsOf('label', filter, values)]
    return {
      from: `(select *, label as entity from daily_label_spend ${where(conditions)}) a`,
      order:
        'kind desc, day desc, label desc, key_hash desc, team_id desc, model_group desc, model desc, provider desc, endpoint desc',
    }
  }
  const conditions = [...days, ...narrowed(column), ...conditionsOf('daily', filter, values)]
  return {
    from: `(select *, ${column} as entity from daily_spend ${where(conditions)}) a`,
    order: `day desc, key_hash desc, user_id desc, team_id desc, organization_id desc, model_group desc, model desc, provider desc, endpoint desc`,
  }
}

function localDays(
  query: ActivityQuery,
  values: unknown[],
  bind: (value: unknown) => string,
  narrowed: (entity: string, shown: string) => string[],
): string {
  const { owner, filter, zone } = query
  const at =
    zone === 'UTC' ? `'UTC'` : 'name' in zone ? `${bind(zone.name)}::text` : `make_interval(mins => ${bind(-zone.behind)}::int)`
  const midnight = (day: string, days: number): string => `((${bind(day)}::date + ${days})::timestamp at time zone ${at})`
  const column = COLUMNS[owner]
  const entity = column ?? (owner === 'tag' ? 'tag' : 'end_user')
  const conditions = [
    `started_at >= ${midnight(query.firstDay, 0)}`,
    `started_at < ${midnight(query.lastDay, 1)}`,
    ...(column === undefined ? [`${entity} is not null`] : []),
    ...narrowed(entity, `coalesce(${entity}, '')`),
    ...conditionsOf('ledger', filter, values),
  ]
  return `(select (started_at at time zone ${at})::date as day, coalesce(${entity}, '') as entity, key_hash,
      ${NAMES.map((name) => `coalesce(${name}, '') as ${name}`).join(', ')}, sum(cost_nano) as cost_nano,
      ${SUMS.slice(0, 5)
        .map((sum) => `sum(${sum}) as ${sum}`)
        .join(', ')},
      sum(calls) filter (where outcome = 'success') as successful_calls, sum(calls) filter (where outcome <> 'success') as failed_calls
    from ledger ${owner === 'tag' ? `cross join lateral (select distinct tag from jsonb_array_elements_text(tags) as tag) as each` : ''} ${where(conditions)}
    group by 1, 2, 3, 4, 5, 6, 7) a`
}

const ROW = `day, entity, key_hash, ${NAMES.join(', ')}`
const PLAIN = [`cost_nano::text as cost_nano`, ...SUMS.map((sum) => `coalesce(${sum}, 0)::bigint as ${sum}`)].join(', ')

/** A page of activity, latest day first. */
export function activityPage(db: Transaction, query: ActivityQuery, limit: number, offset: number): Promise<ActivityRow[]> {
  const values: unknown[] = []
  const { from, order } = sourceOf(query, values)
  return db.query<ActivityRow>(
    `select ${ROW}, ${PLAIN} ${query.zone === 'UTC' ? '' : ', (count(*) over ())::int as total'} from ${from} order by ${order} limit $${values.push(limit)} offset $${values.push(offset)}`,
    values,
  )
}

/** How many rows a page is cut from, counted up to `most`. */
export async function countActivity(db: Transaction, query: ActivityQuery, most: number): Promise<number> {
  const values: unknown[] = []
  const { from } = sourceOf(query, values)
  const rows = await db.query<{ count: number }>(
    `select count(*)::int as count from (select 1 from ${from} limit $${values.push(most)}) counted`,
    values,
  )
  return rows[0]?.count ?? 0
}

/** Columns activity is grouped by. */
export type ActivityColumn = 'day' | 'entity' | 'key_hash' | 'model_group' | 'model' | 'provider' | 'endpoint'

/** What to add up from: condensed sums where they know all that is asked for, else what pages are cut from. */
async function sumSource(
  db: Transaction,
  query: ActivityQuery,
  by: readonly ActivityColumn[],
  values: unknown[],
): Promise<string> {
  const { owner, entities, filter } = query
  const everything = narrowedBy(filter).length === 0 && (filter.reach === undefined || filter.reach === 'all')
  const columns = by.filter((column) => column !== 'day')
  const ofModels = columns.every((column) => NAMES.includes(column)) && (entities === undefined || entities.length === 0)
  const ofEntities = columns.every((column) => column === 'entity')
  const ofKeys = columns.every((column) => column === 'key_hash') && owner === 'user' && entities === undefined
  const left = (query.withoutEntities ?? []).length > 0
  if (query.zone !== 'UTC' || !everything || left || !(ofModels || ofEntities || ofKeys)) return sourceOf(query, values).from
  const open = await openDays(db, query.firstDay, query.lastDay)
  const source = ofModels
    ? modelSums(owner, open, values)
    : ofEntities
      ? ownerSums(owner, 'entity', open, values)
      : ownerSums('key', 'key_hash', open, values)
  const conditions = [`day >= $${values.push(query.firstDay)}::date`, `day <= $${values.push(query.lastDay)}::date`]
  if (!ofModels && entities !== undefined) {
    conditions.push(entities.length === 0 ? `entity <> ''` : `entity = any($${values.push(entities)}::text[])`)
  }
  return `(select * from ${source} sums ${where(conditions)}) a`
}

/** Activity added up over everything but these columns; those it is not grouped by are ''. */
export async function sumActivity(
  db: Transaction,
  query: ActivityQuery,
  by: readonly ActivityColumn[],
  most?: { orderBy: 'cost_nano' | 'calls'; limit: number },
): Promise<ActivityRow[]> {
  const values: unknown[] = []
  const from = await sumSource(db, query, by, values)
  const names = ['day', 'entity', 'key_hash', ...NAMES]
    .map((name) => ((by as readonly string[]).includes(name) ? name : `${name === 'day' ? 'null::date' : `''`} as ${name}`))
    .join(', ')
  const order =
    most === undefined
      ? by.includes('day')
        ? 'order by day desc'
        : ''
      : `order by sum(${most.orderBy}) desc, ${by.join(', ')} limit ${most.limit}`
  return db.query<ActivityRow>(
    `select ${names}, ${summed} from ${from} ${by.length === 0 ? '' : `group by ${by.join(', ')}`} ${order}`,
    values,
  )
}
