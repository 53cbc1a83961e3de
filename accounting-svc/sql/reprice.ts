import type { TokenUsage } from '../../proto/usage.ts'
import type { Transaction } from '../../shared/db/db.ts'
import type { SummedEntry } from './ledger.ts'

/** Which entries are priced again. Times are Unix milliseconds, `to` excluded; what is absent does not matter. */
export interface RepriceFilter {
  from: number
  to: number
  model?: string
  modelGroup?: string
  provider?: string
  deploymentId?: string
  keyHash?: string
  userId?: string
  teamId?: string
  organizationId?: string
}

/** An entry as it is needed to be priced again, and what it came to cost. */
export interface PricedEntry extends SummedEntry {
  callId: string
  take: number
  attempt: number
  deploymentId: string | null
  serviceTier: string | null
  attemptStartedAt: number
  endedAt: number
  reasoningTokens: number
  otherUsage: Partial<TokenUsage> | null
  estimated: boolean
  rateVersion: string | null
  /** Sum of the adjustments booked so far, nano-dollars. */
  adjusted: number
  /** One of them is of this repricing. */
  done: boolean
}

/** Where a page ended. */
export type RepriceCursor = Pick<PricedEntry, 'startedAt' | 'callId' | 'take' | 'attempt'>

const COLUMNS: readonly (readonly [Exclude<keyof RepriceFilter, 'from' | 'to'>, string])[] = [
  ['model', 'model'],
  ['modelGroup', 'model_group'],
  ['provider', 'provider'],
  ['deploymentId', 'deployment_id'],
  ['keyHash', 'key_hash'],
  ['userId', 'user_id'],
  ['teamId', 'team_id'],
  ['organizationId', 'organization_id'],
]

const MILLISECONDS = (column: string): string => `(extract(epoch from ${column}) * 1000)::bigint`
const MOMENT = (value: string): string => `timestamptz 'epoch' + ${value} * interval '1 millisecond'`

/** One repricing at a time adds to the ledger: two would each take the difference to the same old cost. Released with the transaction. */
export async function lockRepricing(tx: Transaction): Promise<void> {
  // Key: "repr" in bytes.
  await tx.query('select pg_advisory_xact_lock(1919250546)', [], 'reprice_lock')
}

/**
 * Settled entries after a cursor, oldest first, at most `limit`. Not among them: answers from the cache and calls that no provider billed,
 * which cost nothing at any price, and entries of dead routers, which their report may still take back.
 */
export function entriesToReprice(
  tx: Transaction,
  entry: string,
  filter: RepriceFilter,
  after: RepriceCursor | null,
  limit: number,
): Promise<PricedEntry[]> {
  const values: unknown[] = [entry, filter.from, filter.to, limit]
  const bind = (value: unknown): string => `$${values.push(value)}`
  const conditions = COLUMNS.flatMap(([field, column]) =>
    filter[field] === undefined ? [] : [`l.${column} = ${bind(filter[field])}`],
  )
  if (after !== null) {
    const start = MOMENT(`${bind(after.startedAt)}::bigint`)
    conditions.push(`l.started_at >= ${start}`)
    conditions.push(
      `(l.started_at, l.call_id, l.take, l.attempt) > (${start}, ${bind(after.callId)}, ${bind(after.take)}::smallint, ${bind(after.attempt)}::smallint)`,
    )
  }
  return tx.query<PricedEntry>(
    `select l.call_id as "callId", l.take, l.attempt, ${MILLISECONDS('l.started_at')} as "startedAt", l.calls, l.key_hash as "keyHash",
       l.user_id as "userId", l.team_id as "teamId", l.organization_id as "organizationId", l.project_id as "projectId",
       l.end_user as "endUser", l.tags, l.extra_scopes as "extraScopes", l.model_group as "modelGroup", l.model, l.provider, l.endpoint,
       l.outcome, l.cost_nano as cost, l.input_tokens as "inputTokens", l.output_tokens as "outputTokens",
       l.cache_read_tokens as "cacheReadTokens", l.cache_write_tokens as "cacheWriteTokens", l.deployment_id as "deploymentId",
       l.service_tier as "serviceTier", ${MILLISECONDS('l.attempt_started_at')} as "attemptStartedAt",
       ${MILLISECONDS('l.ended_at')} as "endedAt", l.reasoning_tokens as "reasoningTokens", l.other_usage as "otherUsage", l.estimated,
       l.rate_version as "rateVersion", coalesce(a.adjusted, 0)::bigint as adjusted, coalesce(a.done, false) as done
     from ledger l
     left join lateral (
       select sum(b.cost_nano) as adjusted, bool_or(b.entry = $1) as done from ledger b
       where b.call_id = l.call_id and b.take = l.take and b.attempt = l.attempt and b.started_at = l.started_at
         and b.entry like 'adjustment:%') a on true
     where l.entry = 'settled' and not l.cache_hit
       and l.started_at >= ${MOMENT('$2::bigint')} and l.started_at < ${MOMENT('$3::bigint')}
       and (l.rate_version is not null or l.input_tokens > 0 or l.output_tokens > 0 or l.other_usage is not null)
       ${conditions.map((condition) => `and ${condition}`).join(' ')}
     order by l.started_at, l.call_id, l.take, l.attempt limit $4`,
    values,
  )
}

/** The difference to book for one entry, nano-dollars, and the prices that say so. */
export interface Adjustment extends RepriceCursor {
  difference: number
  rateVersion: string | null
}

/** What an adjustment has of its own; the rest is the entry's. */
const OWN: Readonly<Record<string, string>> = {
  entry: '$1',
  calls: '0',
  input_tokens: '0',
  output_tokens: '0',
  cache_read_tokens: '0',
  cache_write_tokens: '0',
  reasoning_tokens: '0',
  other_usage: 'null',
  cost_nano: 'a.difference',
  rate_version: 'a.rate_version',
}
const COPIED =
  `call_id take attempt started_at key_hash key_alias user_id team_id organization_id project_id end_user tags extra_scopes
  endpoint requested_model model_group model provider deployment_id api_base reported_model service_tier outcome status
  attempt_started_at first_token_at ended_at estimated stream cache_hit session_id client_ip router_id metadata`.split(/\s+/)
const NAMES = [...COPIED, ...Object.keys(OWN)]
const VALUES = [...COPIED.map((column) => `l.${column}`), ...Object.values(OWN)]

/** Adds an adjustment beside each entry, once per repricing, and says which were added. */
export function insertAdjustments(tx: Transaction, entry: string, adjustments: readonly Adjustment[]): Promise<RepriceCursor[]> {
  return tx.query<RepriceCursor>(
    `insert into ledger (${NAMES.join(', ')})
     select ${VALUES.join(', ')}
     from unnest($2::text[], $3::smallint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::text[])
       as a(call_id, take, attempt, started_at, difference, rate_version)
     join ledger l on l.call_id = a.call_id and l.take = a.take and l.attempt = a.attempt
       and l.started_at = ${MOMENT('a.started_at')} and l.entry = 'settled'
     on conflict do nothing
     returning call_id as "callId", take, attempt, ${MILLISECONDS('started_at')} as "startedAt"`,
    [
      entry,
      adjustments.map(({ callId }) => callId),
      adjustments.map(({ take }) => take),
      adjustments.map(({ attempt }) => attempt),
      adjustments.map(({ startedAt }) => startedAt),
      adjustments.map(({ difference }) => difference),
      adjustments.map(({ rateVersion }) => rateVersion),
    ],
    'reprice_insert',
  )
}

/** Windows of these scopes, locked in one order until the transaction ends; scopes without a row are missing. */
export function lockWindows(
  tx: Transaction,
  scopes: readonly string[],
): Promise<{ scope: string; duration: string | null; resetAt: Date | null }[]> {
  return tx.query(
    `select scope, budget_duration as duration, reset_at as "resetAt" from spend where scope = any($1::text[]) order by scope for update`,
    [scopes],
    'reprice_windows',
  )
}
