import type { Database, Transaction } from '../../shared/db/db.ts'
import { sqlState } from '../../shared/db/sql-state.ts'
import { conditionsOf, type ReportFilter, where } from './report-filter.ts'

/** Which entries of the ledger: who and when as in every report, and what only entries know. */
export interface LogFilter extends ReportFilter {
  /** The gateway's id of the call, or the one its client gave it. */
  callId?: string
  sessionId?: string
  deploymentId?: string
  /** Nano-dollars, both included. */
  minCost?: number
  maxCost?: number
  succeeded?: boolean
  /** A code of the closed list, or an HTTP status. */
  errorCode?: string
  /** Part of the message, in any case. */
  errorMessage?: string
  tag?: string
  endpoint?: string
  cacheHit?: boolean
}

/** A ledger row as reports read it. */
export interface LedgerRow {
  call_id: string
  take: number
  attempt: number
  entry: string
  calls: number
  started_at: Date
  key_hash: string
  key_alias: string | null
  user_id: string | null
  team_id: string | null
  organization_id: string | null
  end_user: string | null
  tags: string[]
  endpoint: string
  requested_model: string
  model_group: string
  model: string | null
  provider: string | null
  deployment_id: string | null
  api_base: string | null
  outcome: string
  status: number
  error_code: string | null
  error_message: string | null
  attempt_started_at: Date
  first_token_at: Date | null
  ended_at: Date
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
  reasoning_tokens: number
  estimated: boolean
  cost_nano: number
  rate_version: string | null
  cache_hit: boolean
  cache_key: string | null
  session_id: string | null
  client_ip: string | null
  metadata: Record<string, unknown>
}

/** Where a page of the ledger ended. */
export type LedgerPosition = Pick<LedgerRow, 'started_at' | 'call_id' | 'take' | 'attempt' | 'entry'>

/** The next rows of the ledger, newest first, after `after`. */
export function readLedger(
  db: Transaction,
  filter: LogFilter,
  limit: number,
  after: LedgerPosition | null,
): Promise<LedgerRow[]> {
  const values: unknown[] = []
  const conditions = logConditions(filter, values)
  if (after !== null) {
    const start = values.length
    values.push(after.started_at, after.call_id, after.take, after.attempt, after.entry)
    conditions.push(
      `(started_at, call_id, take, attempt, entry) < ($${start + 1}::timestamptz, $${start + 2}, $${start + 3}::smallint, $${start + 4}::smallint, $${start + 5})`,
    )
  }
  return db.query<LedgerRow>(
    `select * from ${entries(filter, conditions)}
     order by started_at desc, call_id desc, take desc, attempt desc, entry desc limit $${values.push(limit)}`,
    values,
  )
}

/** What a page of the ledger may be sorted by. */
export const LOG_SORTS = {
  startTime: 'started_at',
  endTime: 'ended_at',
  spend: 'cost_nano',
  total_tokens: 'input_tokens + output_tokens',
  prompt_tokens: 'input_tokens',
  completion_tokens: 'output_tokens',
  request_duration_ms: 'ended_at - started_at',
  model: 'model',
  model_group: 'model_group',
} as const
export type LogSort = keyof typeof LOG_SORTS

export interface PageQuery {
  sort: { by: LogSort; descending: boolean }
  limit: number
  offset: number
}

/** Nano-dollars above which calls have an index of their own. */
const DEAR = 50_000_000

/** A page of the ledger by number. */
export async function ledgerPage(db: Transaction, filter: LogFilter, query: PageQuery): Promise<LedgerRow[]> {
  const { sort, limit } = query
  if (sort.by === 'spend' && sort.descending && (filter.minCost ?? 0) < DEAR) {
    // A page filled by the dear calls is the page: no other call comes before them.
    const rows = await readPage(db, { ...filter, minCost: DEAR }, query)
    if (rows.length === limit) return rows
  }
  return readPage(db, filter, query)
}

function readPage(db: Transaction, filter: LogFilter, { sort, limit, offset }: PageQuery): Promise<LedgerRow[]> {
  const values: unknown[] = []
  const conditions = logConditions(filter, values)
  const direction = sort.descending ? 'desc' : 'asc'
  const first = `${LOG_SORTS[sort.by]} ${direction}${sort.by === 'model' ? ' nulls last' : ''}`
  // What follows the first makes pages disjoint.
  const order = `${first}, ${sort.by === 'startTime' ? '' : 'started_at desc, '}call_id ${direction}, take, attempt, entry`
  return db.query<LedgerRow>(
    `select * from ${entries(filter, conditions)} order by ${order} limit $${values.push(limit)} offset $${values.push(offset)}`,
    values,
  )
}

/** Milliseconds after which counting is given up. */
const COUNT_LIMIT = 150

/**
 * How many entries there are, counted up to `most`; null where that takes too long, as for conditions that few of many entries meet and no
 * index knows.
 */
export async function countLedger(db: Database, filter: LogFilter, most: number): Promise<number | null> {
  const values: unknown[] = []
  const conditions = logConditions(filter, values)
  try {
    return await db.transaction(async (tx) => {
      await tx.query(`set local statement_timeout = ${COUNT_LIMIT}`)
      const rows = await tx.query<{ count: number }>(
        `select count(*)::int as count from (select 1 from ledger ${where(conditions)} limit $${values.push(most)}) counted`,
        values,
      )
      return rows[0]?.count ?? 0
    })
  } catch (error) {
    if (sqlState(error) === CANCELED) return null
    throw error
  }
}

/** SQLSTATE `query_canceled`: the statement ran into its limit. */
const CANCELED = '57014'

/**
 * The entries that fit. Those of one call or one session are few, but the planner would rather walk all entries in order of time until a page is
 * full than look them up: `offset 0` keeps it from seeing the order.
 */
function entries(filter: LogFilter, conditions: readonly string[]): string {
  const few = filter.callId !== undefined || filter.sessionId !== undefined
  return few ? `(select * from ledger ${where(conditions)} offset 0) ledger` : `ledger ${where(conditions)}`
}

function logConditions(filter: LogFilter, values: unknown[]): string[] {
  const conditions = conditionsOf('ledger', filter, values)
  const add = (value: unknown, condition: (bound: string) => string): void => {
    if (value !== undefined) conditions.push(condition(`$${values.push(value)}`))
  }
  add(filter.callId, (id) => `(call_id = ${id} or left(metadata ->> 'litellm_call_id', 128) = ${id})`)
  add(
    filter.sessionId,
    (id) => `((left(session_id, 128) = left(${id}, 128) and session_id = ${id}) or (session_id is null and call_id = ${id}))`,
  )
  add(filter.deploymentId, (id) => `deployment_id = ${id}`)
  add(filter.minCost, (nano) => `cost_nano >= ${nano}::bigint`)
  add(filter.maxCost, (nano) => `cost_nano <= ${nano}::bigint`)
  add(filter.endpoint, (name) => `endpoint = ${name}`)
  add(filter.tag, (tag) => `tags ? ${tag}`)
  // Whatever names an error means a failure; saying so lets those use the index of failures.
  if (filter.succeeded !== undefined) conditions.push(filter.succeeded ? `outcome = 'success'` : `outcome <> 'success'`)
  if (filter.errorCode !== undefined) {
    const status = /^\d{3}$/.test(filter.errorCode)
    add(filter.errorCode, (code) => `outcome <> 'success' and ${status ? `status = ${code}::smallint` : `error_code = ${code}`}`)
  }
  add(filter.errorMessage, (text) => `outcome <> 'success' and strpos(lower(error_message), lower(${text})) > 0`)
  if (filter.cacheHit !== undefined) conditions.push(filter.cacheHit ? 'cache_hit' : 'not cache_hit')
  return conditions
}

/** Calls refused for going too fast, per day and per `by`. */
export function countRefusals(
  db: Transaction,
  filter: ReportFilter,
  by: 'model_group' | 'api_base',
): Promise<{ day: string; name: string; count: number }[]> {
  const values: unknown[] = []
  const conditions = conditionsOf('ledger', filter, values)
  return db.query(
    `select (started_at at time zone 'UTC')::date as day, coalesce(${by}, '') as name, sum(calls)::bigint as count from ledger
     ${where([...conditions, `outcome <> 'success'`, 'status = 429'])} group by 1, 2 order by 1, 2`,
    values,
  )
}

/** Calls answered from the cache. */
export interface CacheHits {
  key_hash: string
  endpoint: string
  model: string
  calls: number
  output_tokens: number
}

export function sumCacheHits(db: Transaction, filter: ReportFilter): Promise<CacheHits[]> {
  const values: unknown[] = []
  const conditions = conditionsOf('ledger', filter, values)
  return db.query<CacheHits>(
    `select key_hash, endpoint, coalesce(model, '') as model, sum(calls)::bigint as calls, sum(output_tokens)::bigint as output_tokens
     from ledger ${where([...conditions, 'cache_hit'])} group by 1, 2, 3`,
    values,
  )
}
