import type { Transaction } from '../../shared/db/db.ts'
import type { EntryOwners } from '../ledger/scopes.ts'
import { plainArray, textArray } from './array-literals.ts'

/** One ledger entry as it is stored. Times are Unix milliseconds, money nano-dollars, `otherUsage` and `metadata` JSON text. */
export interface EntryRow {
  callId: string
  take: number
  attempt: number
  entry: 'settled' | 'unsettled' | 'reversal' | 'opening' | `adjustment:${string}`
  startedAt: number
  calls: number
  keyHash: string
  keyAlias: string | null
  userId: string | null
  teamId: string | null
  organizationId: string | null
  projectId: string | null
  endUser: string | null
  tags: readonly string[]
  /** Scopes the cost counts in beside those of the owners above (scopes.ts). Null = none. */
  extraScopes: readonly string[] | null
  endpoint: string
  requestedModel: string
  modelGroup: string
  model: string | null
  provider: string | null
  deploymentId: string | null
  apiBase: string | null
  reportedModel: string | null
  serviceTier: string | null
  outcome: string
  status: number
  errorCode: string | null
  errorMessage: string | null
  attemptStartedAt: number
  firstTokenAt: number | null
  endedAt: number
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  cacheWriteTokens: number
  reasoningTokens: number
  otherUsage: string | null
  estimated: boolean
  cost: number
  rateVersion: string | null
  stream: boolean
  cacheHit: boolean
  cacheKey: string | null
  sessionId: string | null
  clientIp: string | null
  routerId: string
  metadata: string
}

type ColumnType = 'text' | 'smallint' | 'bigint' | 'boolean' | 'jsonb' | 'time' | 'texts'

/** Field of EntryRow, its column, and the type it crosses as. The one list behind insert, reversal and roll-up. */
const COLUMNS: readonly (readonly [keyof EntryRow, string, ColumnType])[] = [
  ['callId', 'call_id', 'text'],
  ['take', 'take', 'smallint'],
  ['attempt', 'attempt', 'smallint'],
  ['entry', 'entry', 'text'],
  ['startedAt', 'started_at', 'time'],
  ['calls', 'calls', 'smallint'],
  ['keyHash', 'key_hash', 'text'],
  ['keyAlias', 'key_alias', 'text'],
  ['userId', 'user_id', 'text'],
  ['teamId', 'team_id', 'text'],
  ['organizationId', 'organization_id', 'text'],
  ['projectId', 'project_id', 'text'],
  ['endUser', 'end_user', 'text'],
  ['tags', 'tags', 'jsonb'],
  ['extraScopes', 'extra_scopes', 'texts'],
  ['endpoint', 'endpoint', 'text'],
  ['requestedModel', 'requested_model', 'text'],
  ['modelGroup', 'model_group', 'text'],
  ['model', 'model', 'text'],
  ['provider', 'provider', 'text'],
  ['deploymentId', 'deployment_id', 'text'],
  ['apiBase', 'api_base', 'text'],
  ['reportedModel', 'reported_model', 'text'],
  ['serviceTier', 'service_tier', 'text'],
  ['outcome', 'outcome', 'text'],
  ['status', 'status', 'smallint'],
  ['errorCode', 'error_code', 'text'],
  ['errorMessage', 'error_message', 'text'],
  ['attemptStartedAt', 'attempt_started_at', 'time'],
  ['firstTokenAt', 'first_token_at', 'time'],
  ['endedAt', 'ended_at', 'time'],
  ['inputTokens', 'input_tokens', 'bigint'],
  ['outputTokens', 'output_tokens', 'bigint'],
  ['cacheReadTokens', 'cache_read_tokens', 'bigint'],
  ['cacheWriteTokens', 'cache_write_tokens', 'bigint'],
  ['reasoningTokens', 'reasoning_tokens', 'bigint'],
  ['otherUsage', 'other_usage', 'jsonb'],
  ['estimated', 'estimated', 'boolean'],
  ['cost', 'cost_nano', 'bigint'],
  ['rateVersion', 'rate_version', 'text'],
  ['stream', 'stream', 'boolean'],
  ['cacheHit', 'cache_hit', 'boolean'],
  ['cacheKey', 'cache_key', 'text'],
  ['sessionId', 'session_id', 'text'],
  ['clientIp', 'client_ip', 'text'],
  ['routerId', 'router_id', 'text'],
  ['metadata', 'metadata', 'jsonb'],
]

const NAMES = COLUMNS.map(([, column]) => column).join(', ')
/**
 * Milliseconds cross as bigint: the driver would format a Date in the local zone, and at ten times the cost. Lists cross as the text of
 * an array, because `unnest` would flatten an array of arrays.
 */
const CROSSES_AS: Readonly<Partial<Record<ColumnType, string>>> = { time: 'bigint', texts: 'text' }
const ARRAYS = COLUMNS.map(([, , type], index) => `$${index + 1}::${CROSSES_AS[type] ?? type}[]`).join(', ')
const VALUES = COLUMNS.map(([, column, type]) => {
  if (type === 'time') return moment(`e.${column}`)
  return type === 'texts' ? `e.${column}::text[]` : `e.${column}`
}).join(', ')
/** Negative in a reversal. */
const NEGATED = new Set([
  'calls',
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'reasoning_tokens',
  'cost_nano',
])
const REVERSED = COLUMNS.map(([, column]) => {
  if (column === 'entry') return `'reversal'`
  return NEGATED.has(column) ? `-l.${column}` : `l.${column}`
}).join(', ')

function moment(milliseconds: string): string {
  return `timestamptz 'epoch' + ${milliseconds} * interval '1 millisecond'`
}

/** What identifies an entry, and what the roll-up adds. */
export interface BookedEntry {
  callId: string
  take: number
  attempt: number
  startedAt: number
}

const BOOKED = `call_id as "callId", take, attempt, (extract(epoch from started_at) * 1000)::bigint as "startedAt"`

/**
 * Entries of dead routers wait for each other: a batch that holds one takes the lock alone, all others share it. So of an
 * unsettled entry and the report of the same call, the later transaction always sees the earlier.
 */
export async function lockLedger(tx: Transaction, alone: boolean): Promise<void> {
  // Key: "ledg" in bytes. Released with the transaction.
  if (alone) await tx.query('select pg_advisory_xact_lock(1818584167)', [], 'ledger_lock_alone')
  else await tx.query('select pg_advisory_xact_lock_shared(1818584167)', [], 'ledger_lock_shared')
}

/** Adds the entries that are not there yet and says which those were. Sorted by the unique key, so that two writers never deadlock. */
export async function insertEntries(tx: Transaction, entries: readonly EntryRow[]): Promise<readonly BookedEntry[]> {
  const [added] = await tx.query<{ count: number }>(
    `with added as (
       insert into ledger (${NAMES}) select ${VALUES} from unnest(${ARRAYS}) as e(${NAMES})
       on conflict do nothing returning 1)
     select count(*)::int as count from added`,
    columnsOf(entries),
    'ledger_insert',
  )
  if (added?.count === entries.length) return entries
  // Some were there already. Which ones this transaction added stands in the rows themselves; asking costs only now.
  return tx.query<BookedEntry>(
    `select ${BOOKED} from ledger
     where call_id = any($1::text[]) and entry = 'settled' and xmin = pg_current_xact_id()::xid`,
    [textArray(entries, (entry) => entry.callId)],
    'ledger_added',
  )
}

/** Whether any entry of a dead router lies in this span of call starts. Almost never, and then no batch need look for its own calls. */
export async function hasUnsettled(tx: Transaction, from: number, to: number): Promise<boolean> {
  const rows = await tx.query(
    `select from ledger where entry = 'unsettled' and started_at between ${moment('$1::bigint')} and ${moment('$2::bigint')} limit 1`,
    [from, to],
    'ledger_has_unsettled',
  )
  return rows.length > 0
}

/** The same for unsettled entries, except those whose call has been reported by its router. */
export function insertUnsettledEntries(tx: Transaction, entries: readonly EntryRow[]): Promise<BookedEntry[]> {
  return tx.query<BookedEntry>(
    `insert into ledger (${NAMES}) select ${VALUES} from unnest(${ARRAYS}) as e(${NAMES})
     where not exists (
       select from ledger l where l.call_id = e.call_id and l.take = e.take and l.entry = 'settled' and l.started_at = ${moment('e.started_at')})
     on conflict do nothing returning ${BOOKED}`,
    columnsOf(entries),
    'ledger_insert_unsettled',
  )
}

/** What the roll-ups add of an entry; a reversal takes it back with negative numbers. */
export type SummedEntry = Pick<
  EntryRow,
  | 'startedAt'
  | 'calls'
  | 'keyHash'
  | 'userId'
  | 'teamId'
  | 'organizationId'
  | 'projectId'
  | 'endUser'
  | 'tags'
  | 'extraScopes'
  | 'modelGroup'
  | 'model'
  | 'provider'
  | 'endpoint'
  | 'outcome'
  | 'cost'
  | 'inputTokens'
  | 'outputTokens'
  | 'cacheReadTokens'
  | 'cacheWriteTokens'
>

/** Books the negative of every unsettled entry of these calls (same call id, take and start), once. */
export function reverseUnsettled(tx: Transaction, calls: readonly BookedEntry[]): Promise<SummedEntry[]> {
  return tx.query<SummedEntry>(
    `insert into ledger (${NAMES})
     select ${REVERSED} from ledger l
     where l.entry = 'unsettled' and l.call_id = any($1::text[])
       and exists (
         select from unnest($1::text[], $2::smallint[], $3::bigint[]) as c(call_id, take, started_at)
         where c.call_id = l.call_id and c.take = l.take and ${moment('c.started_at')} = l.started_at)
     order by l.call_id, l.take, l.attempt
     on conflict do nothing
     returning (extract(epoch from started_at) * 1000)::bigint as "startedAt", calls, key_hash as "keyHash", user_id as "userId",
       team_id as "teamId", organization_id as "organizationId", project_id as "projectId", end_user as "endUser", tags,
       extra_scopes as "extraScopes", model_group as "modelGroup", model, provider, endpoint, outcome,
       cost_nano as cost, input_tokens as "inputTokens", output_tokens as "outputTokens", cache_read_tokens as "cacheReadTokens",
       cache_write_tokens as "cacheWriteTokens"`,
    [calls.map((call) => call.callId), calls.map((call) => call.take), calls.map((call) => call.startedAt)],
    'ledger_reverse',
  )
}

export interface CallName {
  callId: string
  take: number
}

/** Which of these calls, begun in the last days, are booked, and whose money each entry is. */
export function findBookedCalls(db: Transaction, calls: readonly CallName[]): Promise<(CallName & EntryOwners)[]> {
  return db.query<CallName & EntryOwners>(
    `select l.call_id as "callId", l.take, l.key_hash as "keyHash", l.user_id as "userId", l.team_id as "teamId",
       l.organization_id as "organizationId", l.project_id as "projectId", l.end_user as "endUser", l.tags, l.extra_scopes as "extraScopes"
     from ledger l
     where l.call_id = any($1::text[]) and l.started_at > now() - interval '8 days'
       and exists (select from unnest($1::text[], $2::int[]) as c(call_id, take) where c.call_id = l.call_id and c.take = l.take)`,
    [calls.map((call) => call.callId), calls.map((call) => call.take)],
    'ledger_booked',
  )
}

/** Sums of a row of roll-ups. */
interface RollUpSums {
  /** A sum of many costs may pass what a double counts exactly. */
  cost: bigint
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  cacheWriteTokens: number
  calls: number
  successfulCalls: number
  failedCalls: number
}

/** Sums to add to one row of `daily_spend`. */
export interface DailyRow extends RollUpSums {
  day: string
  keyHash: string
  userId: string
  teamId: string
  organizationId: string
  modelGroup: string
  model: string
  provider: string
  endpoint: string
}

/** Sums to add to one row of `daily_label_spend`. */
export interface LabelRow extends RollUpSums {
  day: string
  kind: 'tag' | 'customer'
  label: string
  keyHash: string
  teamId: string
  modelGroup: string
  model: string
  provider: string
  endpoint: string
}

type RollUpColumns<Row> = readonly (readonly [keyof Row & string, string, string])[]

const SUMS: RollUpColumns<RollUpSums> = [
  ['cost', 'cost_nano', 'bigint'],
  ['inputTokens', 'input_tokens', 'bigint'],
  ['outputTokens', 'output_tokens', 'bigint'],
  ['cacheReadTokens', 'cache_read_tokens', 'bigint'],
  ['cacheWriteTokens', 'cache_write_tokens', 'bigint'],
  ['calls', 'calls', 'bigint'],
  ['successfulCalls', 'successful_calls', 'bigint'],
  ['failedCalls', 'failed_calls', 'bigint'],
]

const addDaily = rollUpInto<DailyRow>('daily_spend', [
  ['day', 'day', 'date'],
  ['keyHash', 'key_hash', 'text'],
  ['userId', 'user_id', 'text'],
  ['teamId', 'team_id', 'text'],
  ['organizationId', 'organization_id', 'text'],
  ['modelGroup', 'model_group', 'text'],
  ['model', 'model', 'text'],
  ['provider', 'provider', 'text'],
  ['endpoint', 'endpoint', 'text'],
])

const addLabels = rollUpInto<LabelRow>('daily_label_spend', [
  ['day', 'day', 'date'],
  ['kind', 'kind', 'text'],
  ['label', 'label', 'text'],
  ['keyHash', 'key_hash', 'text'],
  ['teamId', 'team_id', 'text'],
  ['modelGroup', 'model_group', 'text'],
  ['model', 'model', 'text'],
  ['provider', 'provider', 'text'],
  ['endpoint', 'endpoint', 'text'],
])

/** The statement that adds sums to a table of roll-ups, whose key is `key`. */
function rollUpInto<Row extends RollUpSums>(
  table: string,
  key: RollUpColumns<Row>,
): (tx: Transaction, rows: readonly Row[]) => Promise<void> {
  const columns = [...key, ...(SUMS as RollUpColumns<Row>)]
  const text = `insert into ${table} (${columns.map(([, column]) => column).join(', ')})
     select * from unnest(${columns.map(([, , type], index) => `$${index + 1}::${type}[]`).join(', ')})
     on conflict (${key.map(([, column]) => column).join(', ')}) do update set
     ${SUMS.map(([, column]) => `${column} = ${table}.${column} + excluded.${column}`).join(', ')}`
  return async (tx, rows) => {
    const values = columns.map(([field, , type]) =>
      type === 'text' ? textArray(rows, (row) => row[field] as string) : plainArray(rows, field),
    )
    await tx.query(text, values, `ledger_${table}`)
  }
}

/** Adds to the daily sums. `rows` hold each key once, in one order everywhere, so that two writers never deadlock. */
export async function addDailySpend(tx: Transaction, rows: readonly DailyRow[]): Promise<void> {
  await addDaily(tx, rows)
}

/** Adds to the daily sums by tag and customer. `rows` as in `addDailySpend`. */
export async function addLabelSpend(tx: Transaction, rows: readonly LabelRow[]): Promise<void> {
  await addLabels(tx, rows)
}

/** Keeps an event that cannot be booked. Kept once however often it is delivered. */
export async function insertRejected(tx: Transaction, digest: string, event: string, reason: string): Promise<void> {
  await tx.query(
    'insert into ledger_rejected (digest, event, reason) values ($1, $2, $3) on conflict do nothing',
    [digest, event, reason],
    'ledger_reject',
  )
}

function columnsOf(entries: readonly EntryRow[]): string[] {
  return COLUMNS.map(([field, , type]) => {
    if (field === 'tags') return textArray(entries, tagsJson)
    if (type === 'texts') return textArray(entries, (entry) => listLiteral(entry[field] as readonly string[] | null))
    return type === 'text' || type === 'jsonb'
      ? textArray(entries, (entry) => entry[field] as string | null)
      : plainArray(entries, field)
  })
}

function tagsJson({ tags }: EntryRow): string {
  return tags.length === 0 ? '[]' : JSON.stringify(tags)
}

function listLiteral(list: readonly string[] | null): string | null {
  return list === null ? null : textArray(list, (text) => text)
}
