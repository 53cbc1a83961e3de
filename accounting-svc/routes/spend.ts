import type { Identity } from '../../proto/identity.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { dollars } from '../dollars.ts'
import { readsAll } from '../identity/access.ts'
import { tokenOf } from '../identity/keys.ts'
import {
  type LedgerPosition,
  type LedgerRow,
  type ReportRow,
  readLedger,
  reportDays,
  reportEndUsers,
  type SpendFilter,
  sumDays,
} from '../sql/reports.ts'
import { type Route, route, z } from './route.ts'
import { jsonStream } from './stream.ts'

const DAY = 86_400_000
/** Ledger rows read at once while a long answer streams. */
const PAGE = 1000

const date = () => z.string().regex(/^\d{4}-\d{2}-\d{2}/, 'expected YYYY-MM-DD')

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

/** /spend/… and /global/spend/…: what was used and what it cost, in LiteLLM's shapes. */
export function spendRoutes(db: Database): Route[] {
  return [
    route({
      method: 'GET',
      path: '/spend/logs',
      tag: 'spend',
      summary: 'Calls and what they cost: sums per day, or with summarize=false the rows of the ledger',
      access: 'key',
      input: z.object({
        start_date: date().optional(),
        end_date: date().optional(),
        api_key: z.string().optional().describe('The key or its SHA-256'),
        user_id: z.string().optional(),
        request_id: z.string().optional().describe('Id of a call, or the x-litellm-call-id its client sent'),
        summarize: z.stringbool().default(true),
      }),
      output: z.array(z.union([logRow, daySum])),
      handle({ input, identity, signal }) {
        const range = rangeOf(input.start_date, input.end_date)
        const filter = narrowed({ ...range }, identity)
        if (filter === null) return []
        if (!narrowTo(filter, 'keyHash', input.api_key === undefined ? undefined : tokenOf(input.api_key))) return []
        if (!narrowTo(filter, 'userId', input.user_id)) return []
        if (input.request_id !== undefined) filter.callId = input.request_id
        const sums = input.summarize && range.from !== undefined && input.request_id === undefined
        return sums ? summary(db, filter) : jsonStream(ledgerRows(db, filter, signal), spendLog)
      },
    }),
    route({
      method: 'GET',
      path: '/global/spend/report',
      tag: 'spend',
      summary: 'Spend per day by team, customer or key',
      access: 'admin',
      input: z.object({
        start_date: date().optional(),
        end_date: date().optional(),
        group_by: z.enum(['team', 'customer', 'api_key']).default('team'),
        api_key: z.string().optional(),
        internal_user_id: z.string().optional(),
        team_id: z.string().optional(),
        customer_id: z.string().optional(),
      }),
      output: z.array(z.looseObject({})),
      async handle({ input }) {
        const range = rangeOf(input.start_date, input.end_date)
        if (range.from === undefined || range.to === undefined) {
          throw new GatewayError('bad_request', 'start_date and end_date are both needed, as YYYY-MM-DD.', {
            type: 'bad_request_error',
          })
        }
        const filter: SpendFilter = { ...range }
        if (input.api_key !== undefined) filter.keyHash = tokenOf(input.api_key)
        if (input.internal_user_id !== undefined) filter.userId = input.internal_user_id
        if (input.team_id !== undefined) filter.teamId = input.team_id
        if (input.customer_id !== undefined) filter.endUser = input.customer_id
        if (input.group_by === 'api_key' || input.api_key !== undefined) return byKey(await reportDays(db, 'key', filter))
        if (input.group_by === 'customer' || input.customer_id !== undefined) {
          return byDay(await reportEndUsers(db, filter), 'customers', 'customer')
        }
        return byDay(await reportDays(db, 'team', filter), 'teams', 'team_name')
      },
    }),
  ]
}

/** Whole UTC days, both included. */
function rangeOf(start: string | undefined, end: string | undefined): { from?: number; to?: number } {
  const from = dayOf(start, 'start_date')
  const to = dayOf(end, 'end_date')
  return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to: to + DAY }) }
}

function dayOf(text: string | undefined, field: string): number | undefined {
  if (text === undefined) return undefined
  const time = Date.parse(`${text.slice(0, 10)}T00:00:00Z`)
  if (Number.isNaN(time))
    throw new GatewayError('bad_request', `${field} is not a date.`, { type: 'bad_request_error', param: field })
  return time
}

/** `filter` held to what `identity` may see: everything, or what its user or its key used. */
function narrowed(filter: SpendFilter, identity: Identity): SpendFilter | null {
  if (readsAll(identity)) return filter
  return identity.userId === null ? { ...filter, keyHash: identity.keyHash } : { ...filter, userId: identity.userId }
}

/** Sets one more condition; false when it contradicts one that is there, so that nothing can be found. */
function narrowTo(filter: SpendFilter, field: 'keyHash' | 'userId', value: string | undefined): boolean {
  if (value === undefined) return true
  if (filter[field] !== undefined && filter[field] !== value) return false
  filter[field] = value
  return true
}

async function summary(db: Database, filter: SpendFilter): Promise<unknown[]> {
  const days = new Map<
    string,
    { keys: Map<string, number>; users: Map<string, number>; models: Map<string, number>; spend: number }
  >()
  for (const row of await sumDays(db, filter)) {
    const day = days.get(row.day) ?? { keys: new Map(), users: new Map(), models: new Map(), spend: 0 }
    days.set(row.day, day)
    day.spend += row.cost_nano
    add(day.keys, row.key_hash, row.cost_nano)
    add(day.users, row.user_id, row.cost_nano)
    add(day.models, row.model, row.cost_nano)
  }
  return [...days].map(([day, sums]) => ({
    ...inDollars(sums.keys),
    startTime: day,
    spend: dollars(sums.spend),
    users: inDollars(sums.users),
    models: inDollars(sums.models),
  }))
}

function add(sums: Map<string, number>, name: string, nano: number): void {
  sums.set(name, (sums.get(name) ?? 0) + nano)
}

function inDollars(sums: Map<string, number>): Record<string, unknown> {
  return Object.fromEntries([...sums].map(([name, nano]) => [name, dollars(nano)]))
}

/** All rows of a filter, a page at a time, so that a year of calls costs no more memory than a page. */
async function* ledgerRows(db: Database, filter: SpendFilter, signal: AbortSignal): AsyncGenerator<LedgerRow> {
  let after: LedgerPosition | null = null
  while (!signal.aborted) {
    const page: LedgerRow[] = await readLedger(db, filter, PAGE, after)
    yield* page
    after = page.at(-1) ?? null
    if (page.length < PAGE) return
  }
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
    cache_key: '',
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

function byDay(rows: readonly ReportRow[], listName: string, ownerName: string): unknown[] {
  return groups(rows, (row) => row.day).map(([day, ofDay]) => ({
    group_by_day: day,
    [listName]: groups(ofDay, (row) => row.owner).map(([owner, ofOwner]) => ({
      [ownerName]: ofOwner[0]?.owner_name ?? owner,
      total_spend: dollars(total(ofOwner, 'cost_nano')),
      metadata: ofOwner.map((row) => ({
        model: row.model,
        spend: dollars(row.cost_nano),
        total_tokens: row.input_tokens + row.output_tokens,
        api_key: row.key_hash,
      })),
    })),
  }))
}

function byKey(rows: readonly ReportRow[]): unknown[] {
  return groups(rows, (row) => row.owner).map(([key, ofKey]) => ({
    api_key: key,
    ...totals(ofKey),
    model_details: groups(ofKey, (row) => row.model).map(([model, ofModel]) => ({ model, ...totals(ofModel) })),
  }))
}

function totals(rows: readonly ReportRow[]): Record<string, unknown> {
  return {
    total_cost: dollars(total(rows, 'cost_nano')),
    total_input_tokens: total(rows, 'input_tokens'),
    total_output_tokens: total(rows, 'output_tokens'),
  }
}

function total(rows: readonly ReportRow[], field: 'cost_nano' | 'input_tokens' | 'output_tokens'): number {
  return rows.reduce((sum, row) => sum + row[field], 0)
}

function groups<Row>(rows: readonly Row[], nameOf: (row: Row) => string): [string, Row[]][] {
  const found = new Map<string, Row[]>()
  for (const row of rows) {
    const group = found.get(nameOf(row))
    if (group === undefined) found.set(nameOf(row), [row])
    else group.push(row)
  }
  return [...found]
}
