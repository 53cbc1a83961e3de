import type { Database } from '../../shared/db/db.ts'
import { dollars } from '../dollars.ts'
import { tokenOf } from '../identity/keys.ts'
import type { ReportFilter } from '../sql/report-filter.ts'
import { countRefusals, sumCacheHits } from '../sql/reports.ts'
import { type SpendSum, sumSpend } from '../sql/spend-sums.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { dates, daysOf, format, listOf, reachOf, spanOf } from './report-input.ts'
import { type Route, type RouteCall, route, z } from './route.ts'

/** Series shown of a report by model or provider, those with most requests first. */
const MOST_SERIES = 100

const series = z.looseObject({ daily_data: z.array(z.looseObject({ date: z.string(), day: z.string() })) })

/** /global/activity…: how much is called per day, by model, by provider; refusals and cache hits. */
export function globalActivityRoutes(db: Database): Route[] {
  type Dated = Pick<RouteCall<unknown>, 'identity'> & {
    input: { start_date?: string | undefined; end_date?: string | undefined }
  }
  const filterOf = async (call: Dated): Promise<ReportFilter> => ({
    ...spanOf(daysOf(call.input)),
    reach: await reachOf(db, call.identity),
  })

  return [
    route({
      method: 'GET',
      path: '/global/activity',
      tag: 'spend',
      summary: 'Requests, tokens and spend per day',
      access: 'key',
      input: z.object({ ...dates, ...format }),
      output: series,
      async handle(call) {
        const rows = await sumSpend(db, ['day'], await filterOf(call))
        return wantsCsv(call) ? csvStream(rows, columnsOf(), 'activity') : seriesOf(rows)
      },
    }),
    seriesRoute('model', 'model_group'),
    seriesRoute('provider', 'provider'),
    route({
      method: 'GET',
      path: '/global/activity/exceptions',
      tag: 'spend',
      summary: 'Calls of a model group that providers or limits refused for going too fast, per day',
      access: 'admin',
      input: z.object({ ...dates, ...format, model_group: z.string() }),
      output: series,
      async handle(call) {
        const rows = await countRefusals(db, { ...(await filterOf(call)), modelGroup: [call.input.model_group] }, 'model_group')
        return wantsCsv(call) ? csvStream(rows, REFUSAL_COLUMNS, 'exceptions') : refusals(rows)
      },
    }),
    route({
      method: 'GET',
      path: '/global/activity/exceptions/deployment',
      tag: 'spend',
      summary: 'The same by the address of the deployment',
      access: 'admin',
      input: z.object({ ...dates, ...format, model_group: z.string() }),
      output: z.array(series),
      async handle(call) {
        const rows = await countRefusals(db, { ...(await filterOf(call)), modelGroup: [call.input.model_group] }, 'api_base')
        if (wantsCsv(call)) return csvStream(rows, REFUSAL_COLUMNS, 'exceptions')
        return [...Map.groupBy(rows, (row) => row.name)].map(([name, ofName]) => ({ api_base: name, ...refusals(ofName) }))
      },
    }),
    route({
      method: 'GET',
      path: '/global/activity/cache_hits',
      tag: 'spend',
      summary: 'Calls and answers from the cache, by key, call type and model',
      access: 'key',
      input: z.object({ ...dates, ...format, api_keys: z.string().optional(), models: z.string().optional() }),
      output: z.array(z.looseObject({})),
      async handle(call) {
        const filter = await filterOf(call)
        const keys = listOf(call.input.api_keys)
        if (keys !== undefined) filter.keyHash = keys.map(tokenOf)
        const models = listOf(call.input.models)
        if (models !== undefined) filter.model = models
        const shown = await cacheHits(db, filter)
        return wantsCsv(call) ? csvStream(shown, CACHE_COLUMNS, 'cache-hits') : shown
      },
    }),
  ]

  function seriesRoute(name: 'model' | 'provider', column: 'model_group' | 'provider'): Route {
    return route({
      method: 'GET',
      path: `/global/activity/${name}`,
      tag: 'spend',
      summary: `Requests, tokens and spend per day of each ${name}`,
      access: 'key',
      input: z.object({ ...dates, ...format }),
      output: z.array(series),
      async handle(call) {
        const rows = await sumSpend(db, ['day', column], await filterOf(call))
        if (wantsCsv(call)) return csvStream(rows, columnsOf(name, column), `activity-by-${name}`)
        return [...Map.groupBy(rows, (row) => row[column] ?? '')]
          .filter(([value]) => value !== '')
          .map(([value, ofValue]) => ({ [name]: value, ...seriesOf(ofValue) }))
          .toSorted((a, b) => b.sum_api_requests - a.sum_api_requests)
          .slice(0, MOST_SERIES)
      },
    })
  }
}

function seriesOf(rows: readonly SpendSum[]) {
  const tokens = (row: SpendSum): number => row.input_tokens + row.output_tokens
  return {
    daily_data: rows.map((row) => ({
      date: shortDate(row.day),
      day: row.day,
      api_requests: row.calls,
      total_tokens: tokens(row),
      spend: dollars(BigInt(row.cost_nano)),
    })),
    sum_api_requests: rows.reduce((sum, row) => sum + row.calls, 0),
    sum_total_tokens: rows.reduce((sum, row) => sum + tokens(row), 0),
    sum_spend: dollars(rows.reduce((sum, row) => sum + BigInt(row.cost_nano), 0n)),
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** `2026-01-22` as LiteLLM labels its charts: `Jan 22`. */
function shortDate(day = ''): string {
  return `${MONTHS[Number(day.slice(5, 7)) - 1]} ${day.slice(8, 10)}`
}

function refusals(rows: readonly { day: string; count: number }[]): Record<string, unknown> {
  return {
    daily_data: rows.map((row) => ({ date: shortDate(row.day), day: row.day, num_rate_limit_exceptions: row.count })),
    sum_num_rate_limit_exceptions: rows.reduce((sum, row) => sum + row.count, 0),
  }
}

/** All calls come from the daily sums; only those the cache answered are looked up in the ledger. */
async function cacheHits(db: Database, filter: ReportFilter) {
  const [all, hits] = await Promise.all([sumSpend(db, ['key_hash', 'endpoint', 'model'], filter), sumCacheHits(db, filter)])
  const hitOf = new Map(hits.map((row) => [`${row.key_hash}\0${row.endpoint}\0${row.model}`, row]))
  return all.map((row) => {
    const hit = hitOf.get(`${row.key_hash}\0${row.endpoint}\0${row.model}`)
    const cached = hit?.output_tokens ?? 0
    return {
      api_key: row.key_hash,
      call_type: row.endpoint,
      model: row.model,
      total_rows: row.calls,
      cache_hit_true_rows: hit?.calls ?? 0,
      generated_completion_tokens: row.output_tokens - cached,
      cached_completion_tokens: cached,
    }
  })
}

function columnsOf(name?: string, column?: 'model_group' | 'provider'): Columns<SpendSum> {
  return {
    date: (row) => row.day,
    ...(name === undefined || column === undefined ? {} : { [name]: (row: SpendSum) => row[column] }),
    api_requests: (row) => row.calls,
    total_tokens: (row) => row.input_tokens + row.output_tokens,
    spend: (row) => dollars(BigInt(row.cost_nano)),
  }
}

const REFUSAL_COLUMNS: Columns<{ day: string; name: string; count: number }> = {
  date: (row) => row.day,
  name: (row) => row.name,
  num_rate_limit_exceptions: (row) => row.count,
}

const CACHE_COLUMNS: Columns<Awaited<ReturnType<typeof cacheHits>>[number]> = {
  api_key: (row) => row.api_key,
  call_type: (row) => row.call_type,
  model: (row) => row.model,
  total_rows: (row) => row.total_rows,
  cache_hit_true_rows: (row) => row.cache_hit_true_rows,
  generated_completion_tokens: (row) => row.generated_completion_tokens,
  cached_completion_tokens: (row) => row.cached_completion_tokens,
}
