import type { Identity } from '../../proto/identity.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { nanoOf } from '../../shared/money.ts'
import { dollars } from '../dollars.ts'
import { tokenOf } from '../identity/keys.ts'
import { narrowedBy, type ReportFilter } from '../sql/report-filter.ts'
import { keysOfAlias } from '../sql/report-names.ts'
import {
  countLedger,
  type LedgerPosition,
  type LedgerRow,
  LOG_SORTS,
  type LogFilter,
  type LogSort,
  ledgerPage,
  readLedger,
} from '../sql/reports.ts'
import { type SpendSum, sumLabels, sumSpend, totalSpend } from '../sql/spend-sums.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { spansOf } from './day-spans.ts'
import { bad, DAY, dates, dayOf, format, listOf, momentOf, reachOf, spanOf } from './report-input.ts'
import { type Route, route, z } from './route.ts'
import { jsonStream } from './stream.ts'

/** Ledger rows read at once while a long answer streams. */
const BATCH = 1000
/** Entries counted for the total of a page. Beyond, the total is what the daily sums say, else this number. */
export const MOST_COUNTED = 10_000

const logRow = z.object({
  request_id: z.string(),
  call_type: z.string(),
  api_key: z.string().describe('SHA-256 of the key'),
  spend: z.number().describe('Dollars'),
  total_tokens: z.number(),
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  startTime: z.iso.datetime(),
  endTime: z.iso.datetime(),
  completionStartTime: z.iso.datetime().nullable(),
  request_duration_ms: z.number(),
  model: z.string(),
  model_id: z.string(),
  model_group: z.string(),
  custom_llm_provider: z.string(),
  api_base: z.string(),
  user: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  cache_hit: z.string(),
  cache_key: z.string(),
  request_tags: z.array(z.string()),
  team_id: z.string().nullable(),
  organization_id: z.string().nullable(),
  end_user: z.string(),
  requester_ip_address: z.string().nullable(),
  session_id: z.string(),
  status: z.enum(['success', 'failure']),
})

const daySum = z.looseObject({
  startTime: z.string(),
  spend: z.number(),
  users: z.record(z.string(), z.number()),
  models: z.record(z.string(), z.number()),
})

const logPage = z.object({
  data: z.array(logRow),
  total: z.number(),
  page: z.number(),
  page_size: z.number(),
  total_pages: z.number(),
  total_is_exact: z
    .boolean()
    .describe('False beyond 10,000 entries: then it comes from the daily sums, or is as many as are known to be there'),
})

const paging = {
  page: z.coerce.number().int().min(1).default(1),
  page_size: z.coerce.number().int().min(1).max(1000).default(50),
}

/** Names of dollars are checked here, so that the error names the field. */
const amount = () => z.string().optional().describe('Dollars')

const pageInput = z.object({
  ...format,
  ...paging,
  start_date: z.string().optional().describe('YYYY-MM-DD HH:MM:SS in UTC, or a day'),
  end_date: z.string().optional().describe('The same, included'),
  api_key: z.string().optional().describe('The key or its SHA-256'),
  user_id: z.string().optional(),
  team_id: z.string().optional(),
  organization_id: z.string().optional(),
  end_user: z.string().optional(),
  request_id: z.string().optional(),
  session_id: z.string().optional(),
  min_spend: amount(),
  max_spend: amount(),
  status_filter: z.enum(['success', 'failure', '']).optional(),
  model: z.string().optional(),
  model_id: z.string().optional().describe('Id of a deployment'),
  model_group: z.string().optional(),
  key_alias: z.string().optional().describe('Alias of a key, or else part of one'),
  error_code: z.string().optional().describe('HTTP status, or an error code'),
  error_message: z.string().optional().describe('Part of the message'),
  tag: z.string().optional(),
  sort_by: z.enum(Object.keys(LOG_SORTS) as [LogSort, ...LogSort[]]).default('startTime'),
  sort_order: z.enum(['asc', 'desc']).default('desc'),
})

/** /spend/logs…: the ledger, entry by entry, in LiteLLM's shapes. */
export function spendLogRoutes(db: Database): Route[] {
  /** `filter` held to what `identity` may see. */
  const seen = async <Filter extends ReportFilter>(filter: Filter, identity: Identity): Promise<Filter> => {
    filter.reach = await reachOf(db, identity)
    return filter
  }

  return [
    route({
      method: 'GET',
      path: '/spend/logs',
      tag: 'spend',
      summary: 'Calls and what they cost: sums per day, or with summarize=false the rows of the ledger',
      access: 'key',
      input: z.object({
        ...dates,
        ...format,
        api_key: z.string().optional().describe('The key or its SHA-256'),
        user_id: z.string().optional(),
        request_id: z.string().optional().describe('Id of a call, or the x-litellm-call-id its client sent'),
        summarize: z.stringbool().default(true),
      }),
      output: z.array(z.union([logRow, daySum])),
      async handle(call) {
        const { input, identity, signal } = call
        const filter = await seen<LogFilter>({}, identity)
        if (input.start_date !== undefined)
          filter.from = spanOf({ first: dayOf(input.start_date, 'start_date'), last: '1970-01-01' }).from
        if (input.end_date !== undefined) filter.to = spanOf({ first: '1970-01-01', last: dayOf(input.end_date, 'end_date') }).to
        if (filter.from !== undefined && filter.to !== undefined && filter.to <= filter.from)
          throw bad('end_date', 'end_date lies before start_date.')
        if (input.api_key !== undefined) filter.keyHash = [tokenOf(input.api_key)]
        if (input.user_id !== undefined) filter.userId = [input.user_id]
        if (input.request_id !== undefined) filter.callId = input.request_id
        if (input.summarize && filter.from !== undefined && input.request_id === undefined) {
          if (wantsCsv(call)) return csvStream(flat(rowsByDay(db, filter, signal)), SUM_COLUMNS, 'spend')
          return jsonStream(sumsByDay(db, filter, signal), showDay)
        }
        const rows = ledgerRows(db, filter, signal)
        return wantsCsv(call) ? csvStream(rows, LOG_COLUMNS, 'spend-logs') : jsonStream(rows, spendLog)
      },
    }),
    route({
      method: 'GET',
      path: '/spend/logs/v2',
      aliases: ['/spend/logs/ui'],
      tag: 'spend',
      summary: 'The rows of the ledger, filtered, sorted, a page at a time',
      access: 'key',
      input: pageInput,
      output: logPage,
      async handle(call) {
        const { input } = call
        const filter = await seen(logFilterOf(input), call.identity)
        if (input.key_alias) await narrowToAlias(db, filter, input.key_alias)
        if (wantsCsv(call)) return csvStream(ledgerRows(db, filter, call.signal), LOG_COLUMNS, 'spend-logs')
        const sort = { by: input.sort_by, descending: input.sort_order === 'desc' }
        return pageOf(db, filter, sort, input)
      },
    }),
    route({
      method: 'GET',
      path: '/spend/logs/session/ui',
      aliases: ['/spend/logs/session'],
      tag: 'spend',
      summary: 'The calls of one session, in the order they began',
      access: 'key',
      input: z.object({ session_id: z.string().min(1), ...paging }),
      output: logPage,
      async handle({ input, identity }) {
        const filter = await seen<LogFilter>({ sessionId: input.session_id }, identity)
        return pageOf(db, filter, { by: 'startTime', descending: false }, input)
      },
    }),
    route({
      method: 'GET',
      path: '/spend/logs/ui/{request_id}',
      tag: 'spend',
      summary: 'One call, with what was stored of its request and its answer',
      access: 'key',
      input: z.object({ request_id: z.string(), start_date: z.string().optional(), end_date: z.string().optional() }),
      output: logRow,
      async handle({ input, identity }) {
        const filter = await seen<LogFilter>({ callId: input.request_id }, identity)
        const rows = await readLedger(db, filter, 100, null)
        // The entry that stands for the call; the others are attempts that were billed too.
        const row = rows.find((entry) => entry.calls === 1) ?? rows[0]
        if (row === undefined) throw new GatewayError('not_found', `There is no call ${input.request_id.slice(0, 128)}.`)
        return spendLog(row)
      },
    }),
  ]
}

function logFilterOf(input: z.output<typeof pageInput>): LogFilter {
  const filter: LogFilter = {}
  const from = momentOf(input.start_date, 'start_date', false)
  const to = momentOf(input.end_date, 'end_date', true)
  if (from !== undefined) filter.from = from
  if (to !== undefined) filter.to = to
  if (from !== undefined && to !== undefined && to <= from) throw bad('end_date', 'end_date lies before start_date.')
  if (input.api_key) filter.keyHash = [tokenOf(input.api_key)]
  const lists = {
    userId: input.user_id,
    teamId: input.team_id,
    organizationId: input.organization_id,
    endUser: input.end_user,
    model: input.model,
    modelGroup: input.model_group,
  }
  for (const [name, text] of Object.entries(lists) as [keyof typeof lists, string | undefined][]) {
    const list = listOf(text)
    if (list !== undefined) filter[name] = list
  }
  if (input.request_id) filter.callId = input.request_id
  if (input.session_id) filter.sessionId = input.session_id
  if (input.model_id) filter.deploymentId = input.model_id
  if (input.error_code) filter.errorCode = input.error_code
  if (input.error_message) filter.errorMessage = input.error_message
  if (input.tag) filter.tag = input.tag
  if (input.status_filter) filter.succeeded = input.status_filter === 'success'
  if (input.min_spend) filter.minCost = nano(input.min_spend, 'min_spend')
  if (input.max_spend) filter.maxCost = nano(input.max_spend, 'max_spend')
  return filter
}

/** Most keys that an alias may stand for. */
const MOST_KEYS = 1000

async function narrowToAlias(db: Database, filter: LogFilter, alias: string): Promise<void> {
  const keys = await keysOfAlias(db, alias, MOST_KEYS + 1)
  if (keys.length > MOST_KEYS)
    throw bad('key_alias', `key_alias is part of the alias of more than ${MOST_KEYS} keys: say more of it.`)
  filter.keyHash = filter.keyHash === undefined ? keys : keys.filter((key) => filter.keyHash?.includes(key))
}

function nano(text: string, field: string): number {
  try {
    return nanoOf(text)
  } catch {
    throw bad(field, `${field} is not an amount of dollars.`)
  }
}

async function pageOf(
  db: Database,
  filter: LogFilter,
  sort: { by: LogSort; descending: boolean },
  { page, page_size }: { page: number; page_size: number },
): Promise<unknown> {
  const offset = (page - 1) * page_size
  const [rows, counted] = await Promise.all([ledgerPage(db, filter, { sort, limit: page_size, offset }), totalOf(db, filter)])
  // Where nobody could count: what is known to be there, and a page more while pages are full.
  const seen = offset + rows.length + (rows.length === page_size ? page_size : 0)
  const total = counted.total ?? seen
  return {
    data: rows.map(spendLog),
    total,
    page,
    page_size,
    total_pages: Math.ceil(total / page_size),
    total_is_exact: counted.exact,
  }
}

/** What only entries know, so that the daily sums cannot count it. */
const BEYOND_SUMS = [
  'endUser',
  'callId',
  'sessionId',
  'deploymentId',
  'minCost',
  'maxCost',
  'succeeded',
  'errorCode',
  'errorMessage',
] as const satisfies (keyof LogFilter)[]

/**
 * How many entries there are: exactly up to MOST_COUNTED. Beyond, what the daily sums say: they count whole days, and calls, of which some
 * have more than one entry. Null where neither knows.
 */
async function totalOf(db: Database, filter: LogFilter): Promise<{ total: number | null; exact: boolean }> {
  const known =
    BEYOND_SUMS.every((field) => filter[field] === undefined) && (filter.tag === undefined || narrowedBy(filter).length === 0)
  const whole = (filter.from ?? 0) % DAY === 0 && (filter.to ?? 0) % DAY === 0
  // Asked first where it is sure to be right: counting that far costs more.
  const summed = known && whole ? await callsOf(db, filter) : 0
  if (summed > MOST_COUNTED) return { total: summed, exact: false }
  const counted = await countLedger(db, filter, MOST_COUNTED + 1)
  if (counted !== null && counted <= MOST_COUNTED) return { total: counted, exact: true }
  if (!known) return { total: counted === null ? null : MOST_COUNTED, exact: false }
  const days = filter.to === undefined ? filter : { ...filter, to: Math.ceil(filter.to / DAY) * DAY }
  return { total: Math.max(counted === null ? 0 : MOST_COUNTED, await callsOf(db, days)), exact: false }
}

/** How many calls the daily sums hold. */
async function callsOf(db: Database, filter: LogFilter): Promise<number> {
  if (filter.tag === undefined) return (await totalSpend(db, filter)).calls
  const [sum] = await sumLabels(db, 'tag', ['label'], filter, { labels: [filter.tag] })
  return sum?.calls ?? 0
}

/** Days whose sums are read at once. */
const DAYS_AT_ONCE = 2

type DaySums = Record<'keys' | 'users' | 'models', SpendSum[]> & { day: string }

/** Each day with its sums by key, user and model. */
async function* sumsByDay(db: Database, filter: ReportFilter, signal: AbortSignal): AsyncGenerator<DaySums> {
  for await (const span of spansOf(db, filter, DAYS_AT_ONCE, signal)) {
    const read = async (column: 'key_hash' | 'user_id' | 'model') =>
      Map.groupBy(await sumSpend(db, ['day', column], span), (row) => row.day ?? '')
    const [keys, users, models] = await Promise.all([read('key_hash'), read('user_id'), read('model')])
    for (const [day, ofKeys] of keys) yield { day, keys: ofKeys, users: users.get(day) ?? [], models: models.get(day) ?? [] }
  }
}

async function* rowsByDay(db: Database, filter: ReportFilter, signal: AbortSignal): AsyncGenerator<SpendSum[]> {
  for await (const span of spansOf(db, filter, DAYS_AT_ONCE, signal))
    yield await sumSpend(db, ['day', 'key_hash', 'user_id', 'model'], span)
}

async function* flat<Row>(groups: AsyncGenerator<Row[]>): AsyncGenerator<Row> {
  for await (const rows of groups) yield* rows
}

function showDay({ day, keys, users, models }: DaySums): Record<string, unknown> {
  return {
    ...inDollars(keys, 'key_hash'),
    startTime: day,
    spend: dollars(keys.reduce((sum, row) => sum + BigInt(row.cost_nano), 0n)),
    users: inDollars(users, 'user_id'),
    models: inDollars(models, 'model'),
  }
}

function inDollars(rows: readonly SpendSum[], column: 'key_hash' | 'user_id' | 'model'): Record<string, unknown> {
  return Object.fromEntries(rows.map((row) => [row[column] ?? '', dollars(BigInt(row.cost_nano))]))
}

/** All rows of a filter, newest first, a batch at a time, so that a year of calls costs no more memory than a batch. */
async function* ledgerRows(db: Database, filter: LogFilter, signal: AbortSignal): AsyncGenerator<LedgerRow> {
  let after: LedgerPosition | null = null
  while (!signal.aborted) {
    const rows: LedgerRow[] = await readLedger(db, filter, BATCH, after)
    yield* rows
    after = rows.at(-1) ?? null
    if (rows.length < BATCH) return
  }
}

const SUM_COLUMNS: Columns<SpendSum> = {
  date: (row) => row.day,
  api_key: (row) => row.key_hash,
  user: (row) => row.user_id,
  model: (row) => row.model,
  spend: (row) => dollars(BigInt(row.cost_nano)),
  prompt_tokens: (row) => row.input_tokens,
  completion_tokens: (row) => row.output_tokens,
  api_requests: (row) => row.calls,
}

const LOG_COLUMNS: Columns<LedgerRow> = {
  request_id: (row) => row.call_id,
  call_type: (row) => row.endpoint,
  api_key: (row) => row.key_hash,
  key_alias: (row) => row.key_alias,
  user: (row) => row.user_id,
  team_id: (row) => row.team_id,
  organization_id: (row) => row.organization_id,
  end_user: (row) => row.end_user,
  session_id: (row) => row.session_id,
  startTime: (row) => row.started_at,
  endTime: (row) => row.ended_at,
  model: (row) => row.model ?? row.requested_model,
  model_group: (row) => row.model_group,
  model_id: (row) => row.deployment_id,
  custom_llm_provider: (row) => row.provider,
  spend: (row) => dollars(row.cost_nano),
  prompt_tokens: (row) => row.input_tokens,
  completion_tokens: (row) => row.output_tokens,
  cache_read_tokens: (row) => row.cache_read_tokens,
  cache_write_tokens: (row) => row.cache_write_tokens,
  status: (row) => row.outcome,
  error_code: (row) => row.error_code,
  error_message: (row) => row.error_message,
  cache_hit: (row) => row.cache_hit,
  request_tags: (row) => row.tags.join(' '),
  entry: (row) => row.entry,
  attempt: (row) => row.attempt,
  rate_version: (row) => row.rate_version,
  cache_key: (row) => row.cache_key,
}

/** A ledger row as a row of LiteLLM's SpendLogs table. */
export function spendLog(row: LedgerRow): Record<string, unknown> {
  return {
    request_id: row.call_id,
    call_type: row.endpoint,
    api_key: row.key_hash,
    spend: dollars(row.cost_nano),
    total_tokens: row.input_tokens + row.output_tokens,
    prompt_tokens: row.input_tokens,
    completion_tokens: row.output_tokens,
    startTime: row.started_at,
    endTime: row.ended_at,
    completionStartTime: row.first_token_at,
    request_duration_ms: row.ended_at.getTime() - row.started_at.getTime(),
    model: row.model ?? row.requested_model,
    model_id: row.deployment_id ?? '',
    model_group: row.model_group,
    custom_llm_provider: row.provider ?? '',
    api_base: row.api_base ?? '',
    user: row.user_id ?? '',
    metadata: {
      ...row.metadata,
      user_api_key: row.key_hash,
      user_api_key_alias: row.key_alias,
      user_api_key_team_id: row.team_id,
      user_api_key_user_id: row.user_id,
      status: row.outcome === 'success' ? 'success' : 'failure',
      ...(row.error_code === null
        ? {}
        : {
            error_information: { error_code: String(row.status), error_class: row.error_code, error_message: row.error_message },
          }),
      turnpike: {
        entry: row.entry,
        outcome: row.outcome,
        take: row.take,
        attempt: row.attempt,
        rate_version: row.rate_version,
        estimated: row.estimated,
        cache_read_tokens: row.cache_read_tokens,
        cache_write_tokens: row.cache_write_tokens,
        reasoning_tokens: row.reasoning_tokens,
      },
    },
    cache_hit: row.cache_hit ? 'True' : 'False',
    cache_key: row.cache_key ?? '',
    request_tags: row.tags,
    team_id: row.team_id,
    organization_id: row.organization_id,
    end_user: row.end_user ?? '',
    requester_ip_address: row.client_ip,
    messages: {},
    response: {},
    proxy_server_request: {},
    session_id: row.session_id ?? row.call_id,
    status: row.outcome === 'success' ? 'success' : 'failure',
    agent_id: null,
  }
}
