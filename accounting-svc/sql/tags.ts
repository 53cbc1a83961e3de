import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `tags`. */
export interface TagRow {
  tag_name: string
  description: string | null
  models: string[]
  model_info: unknown
  budget_id: string | null
  created_at: Date
  created_by: string | null
  updated_at: Date
}

/** With what was spent in the present window, nano-dollars, and when that closes. */
export interface TagView extends TagRow {
  spend_nano: number
  reset_at: Date | null
}

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof TagRow>(['model_info'])

const VIEW = `select t.*, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
  from tags t left join spend s on s.scope = scope_of('tag', t.tag_name)`

/** Adds a tag. Fails on one that exists (see sql-state.ts). */
export async function insertTag(tx: Transaction, row: Partial<TagRow> & { tag_name: string }): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into tags (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

export async function updateTag(tx: Transaction, name: string, changes: Partial<TagRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update tags set ${assignments(names, 2)} where tag_name = $1`, [name, ...values])
}

/** Those of the names that are there; locked until the transaction ends where `lock`. */
export function findTags(tx: Transaction, names: readonly string[], lock = false): Promise<TagView[]> {
  return tx.query<TagView>(`${VIEW} where t.tag_name = any($1) order by t.tag_name${lock ? ' for update of t' : ''}`, [names])
}

export function listTags(tx: Transaction): Promise<TagView[]> {
  return tx.query<TagView>(`${VIEW} order by t.created_at desc, t.tag_name`)
}

export async function deleteTag(tx: Transaction, name: string): Promise<void> {
  await tx.query('delete from tags where tag_name = $1', [name])
}

/** Names of tags that calls carried, in order, at most `most`: each is looked up from the one before, however many rows a tag has. */
export async function distinctTags(tx: Transaction, most: number): Promise<string[]> {
  const rows = await tx.query<{ label: string }>(
    `with recursive names as (
       (select label from daily_label_spend where kind = 'tag' order by label limit 1)
       union all
       select (select d.label from daily_label_spend d where d.kind = 'tag' and d.label > n.label order by d.label limit 1)
       from names n where n.label is not null)
     select label from names where label is not null limit $1`,
    [most],
  )
  return rows.map((row) => row.label)
}

/** What calls with a tag were, over some days. Money is nano-dollars. */
export interface TagSummary {
  tag: string
  unique_users: number
  total_requests: number
  successful_requests: number
  failed_requests: number
  total_tokens: number
  spend_nano: number
}

/**
 * Per tag, the dearest first, at most `most`. `from` and `to` are days (YYYY-MM-DD), both included. A key without a user counts as one.
 */
export function summarizeTags(
  tx: Transaction,
  filter: { from: string | null; to: string | null; tags: readonly string[] | null },
  most: number,
): Promise<TagSummary[]> {
  return tx.query<TagSummary>(
    `select d.label as tag, count(distinct coalesce('u' || k.user_id, 'k' || d.key_hash)) as unique_users,
       sum(d.calls)::bigint as total_requests, sum(d.successful_calls)::bigint as successful_requests,
       sum(d.failed_calls)::bigint as failed_requests, sum(d.input_tokens + d.output_tokens)::bigint as total_tokens,
       sum(d.cost_nano)::bigint as spend_nano
     from daily_label_spend d left join keys k on k.token = d.key_hash
     where d.kind = 'tag' and d.day >= coalesce($1::date, '-infinity') and d.day <= coalesce($2::date, 'infinity')
       and ($3::text[] is null or d.label = any($3))
     group by d.label order by spend_nano desc, d.label limit $4`,
    [filter.from, filter.to, filter.tags, most],
  )
}

/** How many used a tag in one period; `from` and `to` are its days, both included. */
export interface ActiveUsers {
  tag: string
  active_users: number
  from: string
  to: string
}

/** Per tag and period, the latest period first: `periods` periods of `days` days each, of which the last ends on `today` (YYYY-MM-DD). */
export function activeUsers(
  tx: Transaction,
  asked: { today: string; days: number; periods: number; tags: readonly string[] | null },
  most: number,
): Promise<ActiveUsers[]> {
  return tx.query<ActiveUsers>(
    `select d.label as tag, count(distinct coalesce('u' || k.user_id, 'k' || d.key_hash)) as active_users,
       to_char(p.first, 'YYYY-MM-DD') as "from", to_char(p.last, 'YYYY-MM-DD') as "to"
     from (select $1::date - n * $2::int as last, $1::date - n * $2::int - ($2::int - 1) as first from generate_series(0, $3::int - 1) n) p
     join daily_label_spend d on d.kind = 'tag' and d.day between p.first and p.last and ($4::text[] is null or d.label = any($4))
     left join keys k on k.token = d.key_hash
     group by d.label, p.first, p.last order by p.last desc, active_users desc, d.label limit $5`,
    [asked.today, asked.days, asked.periods, asked.tags, most],
  )
}

/** What one user's calls with a tag were. Money is nano-dollars. */
export interface TagUse {
  user_id: string
  user_email: string | null
  tag: string
  successful_requests: number
  failed_requests: number
  total_requests: number
  total_tokens: number
  spend_nano: number
}

/** Per user and tag since `from` (YYYY-MM-DD), the dearest first: one page, and how many there are in all. */
export async function tagUse(
  tx: Transaction,
  filter: { from: string; tags: readonly string[] | null },
  page: { limit: number; offset: number },
): Promise<{ rows: TagUse[]; total: number }> {
  const rows = await tx.query<TagUse & { total: number }>(
    `select k.user_id, u.user_email, d.label as tag, sum(d.successful_calls)::bigint as successful_requests,
       sum(d.failed_calls)::bigint as failed_requests, sum(d.calls)::bigint as total_requests,
       sum(d.input_tokens + d.output_tokens)::bigint as total_tokens, sum(d.cost_nano)::bigint as spend_nano, count(*) over () as total
     from daily_label_spend d join keys k on k.token = d.key_hash left join users u on u.user_id = k.user_id
     where d.kind = 'tag' and d.day >= $1::date and ($2::text[] is null or d.label = any($2)) and k.user_id is not null
     group by k.user_id, u.user_email, d.label order by spend_nano desc, k.user_id, d.label limit $3 offset $4`,
    [filter.from, filter.tags, page.limit, page.offset],
  )
  return { rows: rows.map(({ total: _, ...row }) => row), total: rows[0]?.total ?? 0 }
}
