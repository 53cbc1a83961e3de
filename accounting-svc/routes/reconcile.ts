import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { divideHalfEven } from '../../shared/money.ts'
import { dollars } from '../dollars.ts'
import { tokenOf } from '../identity/keys.ts'
import {
  alignModels,
  compareLines,
  type Difference,
  type Line,
  type Measure,
  PER_NANO,
  relativeDifference,
  type Total,
} from '../ledger/reconcile.ts'
import { amountOf, type CostExport } from '../reconcile/cost-export.ts'
import { EXPORTS, type ExportFormat } from '../reconcile/index.ts'
import { type BookedSum, sumBooked } from '../sql/reconcile.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { bad, dayOf } from './report-input.ts'
import { type Route, route, z } from './route.ts'

const decimal = () => z.union([z.number(), z.string()])
const target = z.object({
  deployment_id: z.union([z.string(), z.array(z.string())]).optional(),
  api_key: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('A key of ours or its SHA-256'),
})

const input = z.object({
  provider: z.string().min(1).describe('The provider as the ledger names it'),
  format: z.enum(Object.keys(EXPORTS) as [ExportFormat, ...ExportFormat[]]),
  data: z.unknown().describe('A page, a list of pages, or a text: of JSON, which keeps every digit, or of a CSV file'),
  columns: z
    .object({
      date: z.string().optional(),
      model: z.string().optional(),
      cost: z.string().optional(),
      key: z.string().optional(),
      currency: z.string().optional(),
    })
    .default({})
    .describe('Names of the columns of a CSV file'),
  keys: z.record(z.string(), target).optional().describe('The provider’s key id → the deployments or keys of ours behind it'),
  models: z.record(z.string(), z.string()).default({}).describe('The provider’s name of a model → ours'),
  deployment_ids: z.array(z.string()).optional().describe('Compare with the bookings of these deployments only'),
  start_date: z.string().optional().describe('First day; default the first of the export'),
  end_date: z.string().optional().describe('Last day; default the last of the export'),
  tolerance: z
    .object({
      absolute: decimal().default('0.01').describe('Dollars'),
      relative: decimal().default(0).describe('0.01 is one percent'),
    })
    .default({ absolute: '0.01', relative: 0 }),
  only_differences: z.boolean().default(false),
})

const total = z.looseObject({ ours: z.number(), theirs: z.number(), difference: z.number(), relative: z.number().nullable() })

/** POST /spend/reconcile: what we booked against what a provider says, day by day. */
export function reconcileRoutes(db: Database): Route[] {
  return [
    route({
      method: 'POST',
      path: '/spend/reconcile',
      tag: 'spend',
      summary: 'Compares the ledger with the cost export of a provider per day, model and key',
      access: 'read',
      input,
      output: z.looseObject({ rows: z.array(z.looseObject({})), totals: z.array(total) }),
      async handle(call) {
        const report = await reconcile(db, call.input)
        if (wantsCsv({ input: {}, header: call.header })) return csvStream(report.rows, COLUMNS, 'reconciliation')
        return report
      },
    }),
  ]
}

async function reconcile(db: Database, request: z.output<typeof input>) {
  const theirs = renamed(
    EXPORTS[request.format](parsed(request.data, request.format), { columns: request.columns }),
    request.models,
  )
  const days = daysOf(request, theirs.lines)
  const within = theirs.lines.filter(({ date }) => date >= days.first && date <= days.last)
  // What a side does not tell apart is compared in sum.
  const byModel = within.some((line) => line.model !== '')
  const byKey = request.keys !== undefined && within.some((line) => line.key !== '')
  const fold = (line: Line): Line => ({ ...line, model: byModel ? line.model : '', key: byKey ? line.key : '' })
  const booked = await sumBooked(db, {
    provider: request.provider,
    ...days,
    deploymentIds: request.deployment_ids,
    ...keyPairs(request.keys),
  })
  const ours = booked.flatMap((row) => linesOf(row, request.format)).map(fold)
  const shown = within.map(fold)
  const compared = compareLines(alignModels(ours, shown), alignModels(shown, ours), {
    absolute: positive(request.tolerance.absolute, 'tolerance.absolute'),
    // In millionths: the last 12 of the 18 places are cut off.
    relative: positive(request.tolerance.relative, 'tolerance.relative') / 10n ** 12n,
  })
  const rows = compared.rows.filter((row) => !request.only_differences || row.status !== 'match')
  return {
    provider: request.provider,
    start_date: days.first,
    end_date: days.last,
    compared_by: ['date', ...(byModel ? ['model'] : []), ...(byKey ? ['key'] : [])],
    totals: compared.totals.map(showTotal),
    other_currencies: Object.fromEntries(
      [...theirs.otherCurrencies].map(([currency, amount]) => [currency, shownAmount('cost', amount)]),
    ),
    rows: rows.map(showRow),
  }
}

/** JSON text with its numbers as texts of their digits: a double would round those beyond its seventeenth. */
function parsed(data: unknown, format: ExportFormat): unknown {
  if (typeof data !== 'string' || format === 'csv') return data
  try {
    // The third argument is ECMAScript 2026; the compiler's library does not know it yet.
    const parse = JSON.parse as (
      text: string,
      reviver: (key: string, value: unknown, context: { source: string }) => unknown,
    ) => unknown
    return parse(data, (_, value, { source }) => (typeof value === 'number' ? source : value))
  } catch {
    throw bad('data', 'data is not valid JSON.')
  }
}

function renamed(theirs: CostExport, models: Readonly<Record<string, string>>): CostExport {
  return { ...theirs, lines: theirs.lines.map((line) => ({ ...line, model: models[line.model] ?? line.model })) }
}

function daysOf(
  request: { start_date?: string | undefined; end_date?: string | undefined },
  lines: readonly Line[],
): { first: string; last: string } {
  const dates = lines.map((line) => line.date).sort()
  const first = request.start_date === undefined ? dates[0] : dayOf(request.start_date, 'start_date')
  const last = request.end_date === undefined ? dates.at(-1) : dayOf(request.end_date, 'end_date')
  if (first === undefined || last === undefined)
    throw bad('data', 'data holds no charges: say start_date and end_date to see what is only ours.')
  if (last < first) throw bad('end_date', 'end_date lies before start_date.')
  return { first, last }
}

/** Our ids with the provider's key behind each. Throws `bad_request` for one that is behind two. */
function keyPairs(keys: z.output<typeof input>['keys'] = {}) {
  const pairsOf = (field: 'deployment_id' | 'api_key', idOf: (id: string) => string): [string, string][] => {
    const pairs = new Map<string, string>()
    for (const [theirs, ours] of Object.entries(keys)) {
      for (const id of [ours[field] ?? []].flat().map(idOf)) {
        if (pairs.has(id)) throw bad('keys', `keys names one ${field} for two keys of the provider.`)
        pairs.set(id, theirs)
      }
    }
    return [...pairs]
  }
  return { deploymentKeys: pairsOf('deployment_id', (id) => id), ourKeys: pairsOf('api_key', tokenOf) }
}

function linesOf(row: BookedSum, format: ExportFormat): Line[] {
  const owner = { date: row.day, model: row.model, key: row.key }
  if (format !== 'anthropic_usage') return [{ ...owner, measure: 'cost', amount: BigInt(row.cost_nano) * PER_NANO }]
  const { input_tokens: all, cache_read_tokens: read, cache_write_tokens: written, output_tokens: output } = row
  return [
    { ...owner, measure: 'uncached_input_tokens', amount: BigInt(all - read - written) },
    { ...owner, measure: 'cache_read_tokens', amount: BigInt(read) },
    { ...owner, measure: 'cache_write_tokens', amount: BigInt(written) },
    { ...owner, measure: 'output_tokens', amount: BigInt(output) },
  ]
}

function positive(value: string | number, field: string): bigint {
  const amount = amountOf(value, field)
  if (amount < 0n) throw new GatewayError('bad_request', `${field} is negative.`, { type: 'bad_request_error', param: field })
  return amount
}

function showRow(row: Difference) {
  return {
    date: row.date,
    model: row.model,
    key: row.key,
    measure: row.measure,
    ours: shownAmount(row.measure, row.ours),
    theirs: shownAmount(row.measure, row.theirs),
    difference: shownAmount(row.measure, row.ours - row.theirs),
    relative: millionths(relativeDifference(row)),
    status: row.status,
  }
}

function showTotal(sum: Total) {
  return {
    measure: sum.measure,
    ours: shownAmount(sum.measure, sum.ours),
    theirs: shownAmount(sum.measure, sum.theirs),
    difference: shownAmount(sum.measure, sum.ours - sum.theirs),
    relative: millionths(relativeDifference(sum)),
    ...sum.counts,
  }
}

/** Dollars to the nano-dollar, or tokens. */
function shownAmount(measure: Measure, amount: bigint): unknown {
  if (measure !== 'cost') return Number(amount)
  const nano = divideHalfEven(amount < 0n ? -amount : amount, PER_NANO)
  return dollars(amount < 0n ? -nano : nano)
}

function millionths(value: bigint | null): number | null {
  return value === null ? null : Number(value) / 1_000_000
}

const COLUMNS: Columns<ReturnType<typeof showRow>> = {
  date: (row) => row.date,
  model: (row) => row.model,
  key: (row) => row.key,
  measure: (row) => row.measure,
  ours: (row) => row.ours,
  theirs: (row) => row.theirs,
  difference: (row) => row.difference,
  relative: (row) => row.relative,
  status: (row) => row.status,
}
