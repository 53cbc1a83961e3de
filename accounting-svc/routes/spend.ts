import { type Identity, MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { nanoOf } from '../../shared/money.ts'
import { dollars } from '../dollars.ts'
import { adminOnly, readsAll } from '../identity/access.ts'
import { auditEntry, CHANGED_BY } from '../identity/audit.ts'
import { tokenOf } from '../identity/keys.ts'
import { tellSpent } from '../identity/spend-changes.ts'
import { audit } from '../sql/audit.ts'
import type { ReportFilter } from '../sql/report-filter.ts'
import { entityNames, keyNames } from '../sql/report-names.ts'
import {
  customerNames,
  keysBySpend,
  type OwnerSpend,
  type SpendSum,
  spendOf,
  sumLabels,
  sumSpend,
  tagNames,
  totalSpend,
  usersBySpend,
  zeroSpend,
} from '../sql/spend-sums.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { dates, daysOf, daysOrMonth, format, listOf, momentOf, reachOf, spanOf } from './report-input.ts'
import { type Route, type RouteCall, route, z } from './route.ts'

export interface SpendDeps {
  db: Database
  clock: Clock
  config: () => Config
  bus: Bus
  counters: Counters
  log: Log
}

const limit = (most: number, usual: number) => z.coerce.number().int().min(1).max(most).default(usual)
const rows = z.array(z.looseObject({}))

/** One column of a CSV file for each of these fields of a row that is shown in JSON. */
function fields<Name extends string>(...names: Name[]): Columns<Record<Name, unknown>> {
  return Object.fromEntries(names.map((name) => [name, (row: Record<Name, unknown>) => row[name]]))
}

/** /spend/keys, /spend/users, /spend/tags, /global/spend…, /provider/budgets: sums over owners, models and days, in LiteLLM's shapes. */
export function spendRoutes(deps: SpendDeps): Route[] {
  const { db, clock } = deps

  /** The filter of days (the last 30 unless they are given), held to what the caller may see. */
  const filterOf = async (
    call: Pick<RouteCall<unknown>, 'identity'> & { input: { start_date?: string | undefined; end_date?: string | undefined } },
    needed = false,
  ): Promise<ReportFilter> => ({
    ...spanOf(needed ? daysOf(call.input) : daysOrMonth(call.input, clock.now())),
    reach: await reachOf(db, call.identity),
  })

  return [
    route({
      method: 'GET',
      path: '/spend/keys',
      tag: 'spend',
      summary: 'Keys and what they spent in their present window, the most expensive first',
      access: 'key',
      input: z.object({ ...format, limit: limit(10_000, 1000), page: limit(1_000_000, 1) }),
      output: rows,
      async handle(call) {
        const { input, identity } = call
        const reach = await reachOf(db, identity)
        const found = await keysBySpend(db, reach === 'all' ? null : reach, input.limit, (input.page - 1) * input.limit)
        const shown = found.map(showOwner)
        return wantsCsv(call) ? csvStream(shown, KEY_COLUMNS, 'keys') : shown
      },
    }),
    route({
      method: 'GET',
      path: '/spend/users',
      tag: 'spend',
      summary: 'Users and what they spent in their present window, the most expensive first',
      access: 'key',
      input: z.object({ ...format, user_id: z.string().optional(), limit: limit(10_000, 1000), page: limit(1_000_000, 1) }),
      output: rows,
      async handle(call) {
        const { input, identity } = call
        const asked = input.user_id === undefined ? null : [input.user_id]
        const mine = identity.userId === null ? [] : [identity.userId]
        const ids = readsAll(identity) ? asked : mine.filter((id) => asked === null || asked.includes(id))
        const found = await usersBySpend(db, ids, input.limit, (input.page - 1) * input.limit)
        const shown = found.map(showOwner)
        return wantsCsv(call) ? csvStream(shown, USER_COLUMNS, 'users') : shown
      },
    }),
    route({
      method: 'GET',
      path: '/spend/tags',
      tag: 'spend',
      summary: 'Spend by tag',
      access: 'key',
      input: z.object({ ...dates, ...format }),
      output: rows,
      async handle(call) {
        const { start_date, end_date } = call.input
        // Without any date: since the beginning.
        const filter: ReportFilter =
          start_date === undefined && end_date === undefined ? { reach: await reachOf(db, call.identity) } : await filterOf(call)
        const shown = (await sumLabels(db, 'tag', ['label'], filter, { top: 10_000 })).map((row) => ({
          individual_request_tag: row.label,
          log_count: row.calls,
          total_spend: dollars(BigInt(row.cost_nano)),
        }))
        return wantsCsv(call) ? csvStream(shown, fields('individual_request_tag', 'log_count', 'total_spend'), 'tags') : shown
      },
    }),
    route({
      method: 'GET',
      path: '/global/spend',
      tag: 'spend',
      summary: 'Spend of everything: in the present window of the gateway’s budget, or in the last 30 days where it has none',
      access: 'admin',
      input: z.object({}),
      output: z.object({ spend: z.number(), max_budget: z.number().nullable() }),
      async handle() {
        const budget = deps.config().litellm_settings.max_budget
        const [window] = budget == null ? [] : await spendOf(db, [scopes.proxy])
        const spent =
          budget == null
            ? BigInt((await totalSpend(db, spanOf(daysOrMonth({}, clock.now())))).cost_nano)
            : BigInt(window?.spent_nano ?? 0)
        return { spend: dollars(spent), max_budget: budget == null ? null : dollars(nanoOf(budget)) }
      },
    }),
    route({
      method: 'GET',
      path: '/global/spend/logs',
      tag: 'spend',
      summary: 'Spend per day',
      access: 'key',
      input: z.object({ ...dates, ...format, api_key: z.string().optional() }),
      output: rows,
      async handle(call) {
        const filter = await filterOf(call)
        if (call.input.api_key) filter.keyHash = [tokenOf(call.input.api_key)]
        const shown = (await sumSpend(db, ['day'], filter)).map((row) => ({ date: row.day, spend: cost(row) }))
        return wantsCsv(call) ? csvStream(shown, fields('date', 'spend'), 'spend-by-day') : shown
      },
    }),
    topRoute('keys', 'Keys by spend', 'key_hash', async (sums) => {
      const names = await keyNames(
        db,
        sums.map((row) => row.key_hash ?? ''),
      )
      return sums.map((row) => {
        const name = names.get(row.key_hash ?? '')
        return {
          api_key: row.key_hash,
          key_alias: name?.key_alias ?? null,
          key_name: name?.key_name ?? null,
          total_spend: cost(row),
        }
      })
    }),
    topRoute('models', 'Models by spend', 'model', async (sums) =>
      sums.map((row) => ({ model: row.model, total_spend: cost(row) })),
    ),
    topRoute('provider', 'Providers by spend', 'provider', async (sums) =>
      sums.map((row) => ({ provider: row.provider === '' ? 'Unknown' : row.provider, spend: cost(row) })),
    ),
    route({
      method: 'GET',
      path: '/global/spend/teams',
      tag: 'spend',
      summary: 'Spend per day and team',
      access: 'key',
      input: z.object({ ...dates, ...format }),
      output: z.looseObject({}),
      async handle(call) {
        const sums = await sumSpend(db, ['day', 'team_id'], await filterOf(call))
        const ids = [...new Set(sums.map((row) => row.team_id ?? ''))]
        const aliases = await entityNames(db, 'team', ids)
        const nameOf = (id = ''): string => (id === '' ? 'Unassigned' : (aliases.get(id) ?? id))
        if (wantsCsv(call)) {
          const columns: Columns<SpendSum> = {
            date: (row) => row.day,
            team_id: (row) => row.team_id,
            team: (row) => nameOf(row.team_id),
            spend: cost,
          }
          return csvStream(sums, columns, 'spend-by-team')
        }
        return teamSeries(sums, nameOf)
      },
    }),
    route({
      method: 'GET',
      path: '/global/spend/tags',
      tag: 'spend',
      summary: 'Spend by tag',
      access: 'key',
      input: z.object({ ...dates, ...format, tags: z.string().optional().describe('Only these, separated by commas') }),
      output: z.looseObject({}),
      async handle(call) {
        const labels = listOf(call.input.tags)
        const sums = await sumLabels(db, 'tag', ['label'], await filterOf(call), {
          labels: labels?.includes('all-tags') ? undefined : labels,
          top: 10_000,
        })
        const shown = sums.map((row) => ({ name: row.label, spend: dollars(BigInt(row.cost_nano)), log_count: row.calls }))
        return wantsCsv(call) ? csvStream(shown, fields('name', 'spend', 'log_count'), 'spend-by-tag') : { spend_per_tag: shown }
      },
    }),
    route({
      method: 'GET',
      path: '/global/spend/all_tag_names',
      tag: 'spend',
      summary: 'Every tag that was ever used or made',
      access: 'admin',
      input: z.object({}),
      output: z.object({ tag_names: z.array(z.string()) }),
      handle: async () => ({ tag_names: await tagNames(db) }),
    }),
    route({
      method: 'POST',
      path: '/global/spend/end_users',
      tag: 'spend',
      summary: 'Customers by spend',
      access: 'key',
      input: z.object({
        ...format,
        api_key: z.string().nullish(),
        startTime: z.string().nullish().describe('A moment; its whole day counts'),
        endTime: z.string().nullish(),
        limit: limit(10_000, 100),
      }),
      output: rows,
      async handle(call) {
        const { input } = call
        const day = (text: string | null | undefined, field: string): string | undefined => {
          const time = momentOf(text ?? undefined, field, false)
          return time === undefined ? undefined : new Date(time).toISOString().slice(0, 10)
        }
        const days = { start_date: day(input.startTime, 'startTime'), end_date: day(input.endTime, 'endTime') }
        const filter = await filterOf({ identity: call.identity, input: days })
        if (input.api_key) filter.keyHash = [tokenOf(input.api_key)]
        const shown = (await sumLabels(db, 'customer', ['label'], filter, { top: input.limit })).map((row) => ({
          end_user: row.label,
          total_count: row.calls,
          total_spend: dollars(BigInt(row.cost_nano)),
        }))
        return wantsCsv(call) ? csvStream(shown, fields('end_user', 'total_count', 'total_spend'), 'customers') : shown
      },
    }),
    route({
      method: 'GET',
      path: '/global/all_end_users',
      tag: 'spend',
      summary: 'Ids of customers, in order',
      access: 'admin',
      input: z.object({
        limit: limit(100_000, 100_000),
        after: z.string().optional().describe('The last one of the page before'),
      }),
      output: z.object({ end_users: z.array(z.string()) }),
      handle: async ({ input }) => ({ end_users: await customerNames(db, input.limit, input.after) }),
    }),
    route({
      method: 'POST',
      path: '/global/spend/reset',
      tag: 'spend',
      summary: 'Sets the spend of every present window to 0; the ledger and its reports stay as they are',
      access: 'admin',
      input: z.looseObject({}),
      output: z.object({ message: z.string(), status: z.string() }),
      async handle({ identity, header }) {
        if (identity.keyHash !== MASTER_KEY_ALIAS) throw adminOnly(identity, '/global/spend/reset')
        await resetSpend(deps, identity, header(CHANGED_BY))
        return { message: 'Spend for all API Keys and Teams reset successfully', status: 'success' }
      },
    }),
    route({
      method: 'POST',
      path: '/global/spend/refresh',
      tag: 'spend',
      summary: 'Nothing to do: sums are kept up to date with every booking',
      access: 'admin',
      input: z.looseObject({}),
      output: z.object({ message: z.string(), status: z.string() }),
      handle: () => ({ message: 'Sums are kept up to date with every booking.', status: 'success' }),
    }),
    route({
      method: 'GET',
      path: '/provider/budgets',
      tag: 'spend',
      summary: 'Budgets of providers and what is spent of them',
      access: 'admin',
      input: z.object({}),
      output: z.object({ providers: z.record(z.string(), z.looseObject({})) }),
      async handle() {
        const budgets = Object.entries(deps.config().router_settings.provider_budget_config ?? {})
        const windows = await spendOf(
          db,
          budgets.map(([name]) => scopes.provider(name)),
        )
        const states = new Map(windows.map((row) => [row.scope, row]))
        const shown = budgets.map(([name, entry]) => {
          const amount = entry.budget_limit ?? entry.max_budget
          const state = states.get(scopes.provider(name))
          return [
            name,
            {
              budget_limit: amount == null ? null : dollars(nanoOf(amount)),
              time_period: entry.time_period ?? entry.budget_duration ?? null,
              spend: dollars(state?.spent_nano ?? 0),
              budget_reset_at: state?.reset_at ?? null,
            },
          ]
        })
        return { providers: Object.fromEntries(shown) }
      },
    }),
  ]

  /** A report of the most expensive values of one column. */
  function topRoute(
    name: string,
    summary: string,
    column: 'key_hash' | 'model' | 'provider',
    show: (sums: SpendSum[]) => Promise<Record<string, unknown>[]>,
  ): Route {
    return route({
      method: 'GET',
      path: `/global/spend/${name}`,
      tag: 'spend',
      summary,
      access: 'key',
      input: z.object({ ...dates, ...format, limit: limit(10_000, 100) }),
      output: rows,
      async handle(call) {
        const sums = await sumSpend(db, [column], await filterOf(call), call.input.limit)
        const shown = await show(sums.filter((row) => column !== 'model' || row.model !== ''))
        if (!wantsCsv(call)) return shown
        const names = {
          key_hash: ['api_key', 'key_alias', 'key_name', 'total_spend'],
          model: ['model', 'total_spend'],
          provider: ['provider', 'spend'],
        }
        return csvStream(shown, fields(...names[column]), `spend-by-${name}`)
      },
    })
  }
}

function cost(row: SpendSum): unknown {
  return dollars(BigInt(row.cost_nano))
}

function showOwner({ spent_nano, max_budget_nano, ...row }: OwnerSpend): Record<string, unknown> {
  return { ...row, spend: dollars(spent_nano), max_budget: max_budget_nano === null ? null : dollars(max_budget_nano) }
}

const KEY_COLUMNS = fields(
  'token',
  'key_name',
  'key_alias',
  'user_id',
  'team_id',
  'organization_id',
  'spend',
  'max_budget',
  'budget_duration',
  'budget_reset_at',
  'expires',
  'blocked',
)
const USER_COLUMNS = fields(
  'user_id',
  'user_alias',
  'user_email',
  'user_role',
  'organization_id',
  'spend',
  'max_budget',
  'budget_duration',
  'budget_reset_at',
)

/** Days with a field for each team, as the dashboard draws them. */
function teamSeries(sums: readonly SpendSum[], nameOf: (id: string | undefined) => string): Record<string, unknown> {
  const days = new Map<string, Map<string, bigint>>()
  const totals = new Map<string, bigint>()
  for (const row of sums) {
    const name = nameOf(row.team_id)
    const day = days.get(row.day ?? '') ?? new Map<string, bigint>()
    days.set(row.day ?? '', day)
    day.set(name, (day.get(name) ?? 0n) + BigInt(row.cost_nano))
    totals.set(name, (totals.get(name) ?? 0n) + BigInt(row.cost_nano))
  }
  const sorted = [...totals].toSorted(([, a], [, b]) => (a < b ? 1 : a > b ? -1 : 0))
  return {
    daily_spend: [...days].map(([date, teams]) => ({
      date,
      ...Object.fromEntries([...teams].map(([name, nano]) => [name, dollars(nano)])),
    })),
    teams: sorted.map(([name]) => name),
    total_spend_per_team: sorted.map(([name, nano]) => ({ team_id: name, total_spend: dollars(nano) })),
  }
}

/** Scopes the counters are told of at once. */
const TOLD_AT_ONCE = 1000

/**
 * Zeroes every window, then tells the counters and the edges. Should it die in between, the next booking in a scope brings its counter up to
 * date: its revision is newer.
 */
async function resetSpend(deps: SpendDeps, identity: Identity, changedBy: string | undefined): Promise<void> {
  const zeroed = await deps.db.transaction(async (tx) => {
    const zeroedScopes = await zeroSpend(tx)
    await audit(tx, auditEntry(identity, changedBy, 'updated', 'spend', '*', null, { spend: 0, scopes: zeroedScopes.length }))
    return zeroedScopes
  })
  for (let start = 0; start < zeroed.length; start += TOLD_AT_ONCE) {
    await tellSpent(deps, zeroed.slice(start, start + TOLD_AT_ONCE))
  }
  deps.bus.announce('identity', {})
  deps.bus.announce('budget', {})
}
