import type { Database } from '../../shared/db/db.ts'
import { dollars } from '../dollars.ts'
import { tokenOf } from '../identity/keys.ts'
import type { ReportFilter } from '../sql/report-filter.ts'
import { entityNames } from '../sql/report-names.ts'
import { sumLabels, sumSpend } from '../sql/spend-sums.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { spansOf } from './day-spans.ts'
import { dates, daysOf, format, spanOf } from './report-input.ts'
import { type Route, route, z } from './route.ts'
import { jsonStream } from './stream.ts'

type Owner = 'team' | 'customer' | 'tag' | 'api_key'

/** One line: what an owner used of a model through a key on a day. */
interface Line {
  day: string
  owner: string
  name: string
  model: string
  key_hash: string
  cost: bigint
  input_tokens: number
  output_tokens: number
}

/** Names of the list of a day and of the owner in it (surface reference §1.9). */
const SHAPES = {
  team: { list: 'teams', owner: 'team_name' },
  customer: { list: 'customers', owner: 'customer' },
  tag: { list: 'tags', owner: 'tag' },
} as const

/** /global/spend/report: spend per day and owner, with what each model and key contributed. */
export function globalReportRoutes(db: Database): Route[] {
  return [
    route({
      method: 'GET',
      path: '/global/spend/report',
      tag: 'spend',
      summary: 'Spend per day by team, customer or tag, or in sum by key',
      access: 'admin',
      input: z.object({
        ...dates,
        ...format,
        group_by: z.enum(['team', 'customer', 'api_key', 'tag']).default('team'),
        api_key: z.string().optional(),
        internal_user_id: z.string().optional(),
        team_id: z.string().optional(),
        customer_id: z.string().optional(),
      }),
      output: z.array(z.looseObject({})),
      async handle(call) {
        const { input, signal } = call
        const filter: ReportFilter = spanOf(daysOf(input))
        if (input.api_key) filter.keyHash = [tokenOf(input.api_key)]
        if (input.internal_user_id) filter.userId = [input.internal_user_id]
        if (input.team_id) filter.teamId = [input.team_id]
        const owner: Owner = input.api_key ? 'api_key' : input.customer_id ? 'customer' : input.group_by
        const labels = input.customer_id ? [input.customer_id] : undefined
        if (wantsCsv(call))
          return csvStream(flat(linesByDay(db, owner, filter, labels, signal)), columnsOf(owner), 'spend-report')
        if (owner === 'api_key') return byKey(db, filter)
        return jsonStream(linesByDay(db, owner, filter, labels, signal), ([day, lines]) => showDay(owner, day, lines))
      },
    }),
  ]
}

/** Days read at once; all where the filter leaves little of each. */
const DAYS_AT_ONCE = 1

/** The lines of each day that has any, in order of days. */
async function* linesByDay(
  db: Database,
  owner: Owner,
  filter: ReportFilter,
  labels: readonly string[] | undefined,
  signal: AbortSignal,
): AsyncGenerator<[string, Line[]]> {
  const little = filter.keyHash ?? filter.userId ?? filter.teamId ?? labels
  for await (const span of spansOf(db, filter, little === undefined ? DAYS_AT_ONCE : 10_000, signal)) {
    yield* groups(await linesOf(db, owner, span, labels), (line) => line.day)
  }
}

async function linesOf(db: Database, owner: Owner, filter: ReportFilter, labels: readonly string[] | undefined): Promise<Line[]> {
  if (owner === 'customer' || owner === 'tag') {
    const rows = await sumLabels(db, owner, ['day', 'label', 'model', 'key_hash'], filter, { labels })
    return rows.map(({ label = '', ...row }) => lineOf(row, label, label))
  }
  if (owner === 'api_key') {
    const rows = await sumSpend(db, ['day', 'key_hash', 'model'], filter)
    return rows.map((row) => lineOf(row, row.key_hash ?? '', row.key_hash ?? ''))
  }
  const rows = await sumSpend(db, ['day', 'team_id', 'model', 'key_hash'], filter)
  const aliases = await entityNames(db, 'team', [...new Set(rows.map((row) => row.team_id ?? ''))])
  return rows.map(({ team_id = '', ...row }) => lineOf(row, team_id, aliases.get(team_id) ?? team_id))
}

type Sum = { day?: string; model?: string; key_hash?: string; cost_nano: string; input_tokens: number; output_tokens: number }

function lineOf(row: Sum, owner: string, name: string): Line {
  const { day = '', model = '', key_hash = '', input_tokens, output_tokens } = row
  return { day, owner, name, model, key_hash, cost: BigInt(row.cost_nano), input_tokens, output_tokens }
}

function showDay(owner: Exclude<Owner, 'api_key'>, day: string, lines: readonly Line[]): Record<string, unknown> {
  const shape = SHAPES[owner]
  return {
    group_by_day: day,
    [shape.list]: groups(lines, (line) => line.owner).map(([, ofOwner]) => ({
      [shape.owner]: ofOwner[0]?.name,
      total_spend: dollars(ofOwner.reduce((sum, line) => sum + line.cost, 0n)),
      metadata: ofOwner.map((line) => ({
        model: line.model,
        spend: dollars(line.cost),
        total_tokens: line.input_tokens + line.output_tokens,
        api_key: line.key_hash,
      })),
    })),
  }
}

async function byKey(db: Database, filter: ReportFilter): Promise<unknown[]> {
  const rows = await sumSpend(db, ['key_hash', 'model'], filter)
  const totals = (lines: readonly Line[]): Record<string, unknown> => ({
    total_cost: dollars(lines.reduce((sum, line) => sum + line.cost, 0n)),
    total_input_tokens: lines.reduce((sum, line) => sum + line.input_tokens, 0),
    total_output_tokens: lines.reduce((sum, line) => sum + line.output_tokens, 0),
  })
  return groups(
    rows.map((row) => lineOf(row, '', '')),
    (line) => line.key_hash,
  ).map(([key, ofKey]) => ({
    api_key: key,
    ...totals(ofKey),
    model_details: ofKey.map((line) => ({ model: line.model, ...totals([line]) })),
  }))
}

async function* flat(days: AsyncGenerator<[string, Line[]]>): AsyncGenerator<Line> {
  for await (const [, lines] of days) yield* lines
}

function columnsOf(owner: Owner): Columns<Line> {
  return {
    date: (line) => line.day,
    ...(owner === 'api_key' ? {} : { [owner === 'team' ? 'team_id' : owner]: (line: Line) => line.owner }),
    ...(owner === 'team' ? { team_name: (line: Line) => line.name } : {}),
    model: (line) => line.model,
    api_key: (line) => line.key_hash,
    spend: (line) => dollars(line.cost),
    prompt_tokens: (line) => line.input_tokens,
    completion_tokens: (line) => line.output_tokens,
  }
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
