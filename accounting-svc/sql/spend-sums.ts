import type { Transaction } from '../../shared/db/db.ts'
import { modelSums, type OwnerKind, openDays, ownerSums } from './condensed.ts'
import { conditionsOf, type FilterColumn, narrowedBy, type ReportFilter, where } from './report-filter.ts'

/** Columns of the daily sums that spend is grouped by. */
export type SpendColumn =
  | 'day'
  | 'key_hash'
  | 'user_id'
  | 'team_id'
  | 'organization_id'
  | 'model_group'
  | 'model'
  | 'provider'
  | 'endpoint'

/** Sums of a group. Columns it is not grouped by are missing. */
export interface SpendSum extends Partial<Record<SpendColumn, string>> {
  /** Nano-dollars as decimal text: a sum of years may pass what a number counts exactly. */
  cost_nano: string
  input_tokens: number
  output_tokens: number
  calls: number
}

const SUMS = `coalesce(sum(cost_nano), 0)::text as cost_nano, coalesce(sum(input_tokens), 0)::bigint as input_tokens,
  coalesce(sum(output_tokens), 0)::bigint as output_tokens, coalesce(sum(calls), 0)::bigint as calls`

/** Columns of the sums by owner, with the filter that names the same owner. */
const OWNERS: Partial<Record<SpendColumn, { kind: OwnerKind; field: FilterColumn }>> = {
  key_hash: { kind: 'key', field: 'keyHash' },
  user_id: { kind: 'user', field: 'userId' },
  team_id: { kind: 'team', field: 'teamId' },
  organization_id: { kind: 'organization', field: 'organizationId' },
}
const MODEL_COLUMNS: readonly SpendColumn[] = ['model_group', 'model', 'provider', 'endpoint']
const MODEL_FIELDS: readonly FilterColumn[] = ['model', 'modelGroup', 'provider']

/**
 * What to add up from: condensed sums where neither the columns nor the filter need more than models or one kind of owner, else the full
 * daily sums. `$values` gain what it binds.
 */
async function spendSource(
  db: Transaction,
  by: readonly SpendColumn[],
  filter: ReportFilter,
  values: unknown[],
): Promise<string> {
  if (filter.reach !== undefined && filter.reach !== 'all') return 'daily_spend'
  const narrowed = narrowedBy(filter)
  const columns = by.filter((column) => column !== 'day')
  const open = (): Promise<string[]> => openDays(db, dayOf(filter.from), dayOf(filter.to))
  if (columns.every((column) => MODEL_COLUMNS.includes(column)) && narrowed.every((field) => MODEL_FIELDS.includes(field))) {
    return `${modelSums('user', await open(), values)} sums`
  }
  const [column] = columns
  const owner = column === undefined || columns.length > 1 ? undefined : OWNERS[column]
  if (column === undefined || owner === undefined || narrowed.some((field) => field !== owner.field)) return 'daily_spend'
  return `${ownerSums(owner.kind, column, await open(), values)} sums`
}

/** A day that lies too far is as good as none: sums end with the last call. */
function dayOf(time: number | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString().slice(0, 10)
}

/** Daily sums added up by columns: in the order of the columns, or the `top` most expensive. */
export async function sumSpend(
  db: Transaction,
  by: readonly SpendColumn[],
  filter: ReportFilter,
  top?: number,
): Promise<SpendSum[]> {
  const values: unknown[] = []
  const source = await spendSource(db, by, filter, values)
  const conditions = conditionsOf('daily', filter, values)
  const columns = by.join(', ')
  const order = top === undefined ? columns : `sum(cost_nano) desc, ${columns} limit $${values.push(top)}`
  return db.query<SpendSum>(
    `select ${columns}, ${SUMS} from ${source} ${where(conditions)} group by ${columns} order by ${order}`,
    values,
  )
}

/** Everything in one sum. */
export async function totalSpend(db: Transaction, filter: ReportFilter): Promise<SpendSum> {
  const values: unknown[] = []
  const source = await spendSource(db, [], filter, values)
  const conditions = conditionsOf('daily', filter, values)
  const rows = await db.query<SpendSum>(`select ${SUMS} from ${source} ${where(conditions)}`, values)
  return rows[0] ?? { cost_nano: '0', input_tokens: 0, output_tokens: 0, calls: 0 }
}

export type LabelKind = 'tag' | 'customer'
export type LabelColumn = 'day' | 'label' | 'key_hash' | 'model'
export interface LabelSum
  extends Partial<Record<LabelColumn, string>>,
    Pick<SpendSum, 'cost_nano' | 'input_tokens' | 'output_tokens' | 'calls'> {}

/** The same by tag or by customer. `labels` narrows to some. */
export async function sumLabels(
  db: Transaction,
  kind: LabelKind,
  by: readonly LabelColumn[],
  filter: ReportFilter,
  options: { labels?: readonly string[] | undefined; top?: number } = {},
): Promise<LabelSum[]> {
  const values: unknown[] = []
  const all = narrowedBy(filter).length === 0 && (filter.reach === undefined || filter.reach === 'all')
  const condensed = all && by.every((column) => column === 'day' || column === 'label')
  const source = condensed
    ? `${ownerSums(kind, 'label', await openDays(db, dayOf(filter.from), dayOf(filter.to)), values)} sums`
    : `daily_label_spend`
  const conditions = conditionsOf('label', filter, values)
  if (!condensed) conditions.push(`kind = $${values.push(kind)}`)
  if (options.labels !== undefined) conditions.push(`label = any($${values.push(options.labels)}::text[])`)
  const columns = by.join(', ')
  const order = options.top === undefined ? columns : `sum(cost_nano) desc, ${columns} limit $${values.push(options.top)}`
  return db.query<LabelSum>(
    `select ${columns}, ${SUMS} from ${source} ${where(conditions)} group by ${columns} order by ${order}`,
    values,
  )
}

/** Every tag that was ever used or made, in order. Jumps from one to the next in the index: tags are few, their rows many. */
export async function tagNames(db: Transaction): Promise<string[]> {
  const rows = await db.query<{ name: string }>(
    `with recursive used (name) as (
       (select label from daily_label_spend where kind = 'tag' order by label limit 1)
       union all
       select (select label from daily_label_spend where kind = 'tag' and label > name order by label limit 1) from used where name is not null)
     select name from used where name is not null union select tag_name from tags order by name`,
  )
  return rows.map((row) => row.name)
}

/** Customers in order of their ids, after `after`. */
export async function customerNames(db: Transaction, limit: number, after = ''): Promise<string[]> {
  const rows = await db.query<{ user_id: string }>('select user_id from customers where user_id > $2 order by user_id limit $1', [
    limit,
    after,
  ])
  return rows.map((row) => row.user_id)
}

/** A key or a user with what it spent in its present window. */
export type OwnerSpend = Record<string, unknown> & { spent_nano: number; max_budget_nano: number | null }

/** Keys, the most expensive first. `reach` null = all. */
export function keysBySpend(
  db: Transaction,
  reach: { keyHash: string; userId: string | null; teamIds: readonly string[] } | null,
  limit: number,
  offset: number,
): Promise<OwnerSpend[]> {
  const values: unknown[] = [limit, offset]
  const conditions: string[] = []
  if (reach !== null) {
    values.push(reach.keyHash, reach.userId, reach.teamIds)
    conditions.push('(k.token = $3 or k.user_id = $4 or k.team_id = any($5::text[]))')
  }
  return db.query<OwnerSpend>(
    `select k.token, k.key_name, k.key_alias, k.user_id, k.team_id, k.organization_id, k.models, k.metadata, k.max_budget_nano, k.tpm_limit,
       k.rpm_limit, k.max_parallel_requests, k.expires, k.blocked, k.budget_duration, k.created_at, k.updated_at,
       coalesce(s.spent_nano, 0) as spent_nano, s.reset_at as budget_reset_at
     from keys k left join spend s on s.scope = 'key|' || k.token ${where(conditions)}
     order by coalesce(s.spent_nano, 0) desc, k.token limit $1 offset $2`,
    values,
  )
}

/** Users, the most expensive first; `userIds` null = all. */
export function usersBySpend(
  db: Transaction,
  userIds: readonly string[] | null,
  limit: number,
  offset: number,
): Promise<OwnerSpend[]> {
  return db.query<OwnerSpend>(
    `select u.user_id, u.user_alias, u.user_email, u.user_role, u.organization_id, u.models, u.metadata, u.max_budget_nano, u.tpm_limit,
       u.rpm_limit, u.budget_duration, u.created_at, u.updated_at, coalesce(s.spent_nano, 0) as spent_nano, s.reset_at as budget_reset_at
     from users u left join spend s on s.scope = scope_of('user', u.user_id)
     where $3::text[] is null or u.user_id = any($3)
     order by coalesce(s.spent_nano, 0) desc, u.user_id limit $1 offset $2`,
    [limit, offset, userIds],
  )
}

/** What is left of windows by the names of their scopes. */
export function spendOf(
  db: Transaction,
  names: readonly string[],
): Promise<{ scope: string; spent_nano: number; reset_at: Date | null }[]> {
  return db.query('select scope, spent_nano, reset_at from spend where scope = any($1)', [names])
}

/**
 * Sets what was spent in every present window to nothing and says of which. The ledger and its sums stay as they are. The lock keeps
 * bookings out for that moment, and cannot deadlock with them: they hold a weaker one on the table before they lock a row.
 */
export async function zeroSpend(tx: Transaction): Promise<{ scope: string; spent: number; revision: number }[]> {
  await tx.query('lock table spend in exclusive mode')
  return tx.query(
    `update spend set spent_nano = 0, revision = revision + 1, updated_at = now() where spent_nano <> 0
     returning scope, spent_nano as spent, revision`,
  )
}
