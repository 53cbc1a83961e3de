import { amountOf, type CsvColumns, createCollector, dayOfSeconds, misfit, type ReadExport } from './cost-export.ts'

/** Names that columns usually have, best first; compared without case. */
const USUAL: Readonly<Record<keyof CsvColumns, readonly string[]>> = {
  date: ['date', 'day', 'usage_date', 'usage_date_utc', 'start_time', 'start_time_iso'],
  model: ['model', 'model_version', 'line_item'],
  cost: ['cost', 'cost_usd', 'amount', 'amount_value', 'spend', 'total_cost'],
  key: ['api_key_id', 'key', 'api_key', 'api_key_name'],
  currency: ['currency', 'amount_currency'],
}

/** A CSV file with a header line: one charge a line. Empty lines are passed over. */
export const readCsvCosts: ReadExport = (data, { columns }) => {
  if (typeof data !== 'string') throw misfit('data', 'expected the text of a CSV file')
  const [header, ...records] = parseCsv(data)
  if (header === undefined) throw misfit('data', 'the file is empty')
  const place = {
    date: columnOf(header.fields, 'date', columns, true),
    model: columnOf(header.fields, 'model', columns, false),
    cost: columnOf(header.fields, 'cost', columns, true),
    key: columnOf(header.fields, 'key', columns, false),
    currency: columnOf(header.fields, 'currency', columns, false),
  }
  const collected = createCollector()
  for (const { fields, line } of records) {
    const field = (index: number): string => fields[index]?.trim() ?? ''
    if (fields.length !== header.fields.length) {
      throw misfit(`data line ${line}`, `expected ${header.fields.length} fields as in the header, found ${fields.length}`)
    }
    collected.add(
      {
        date: dateOf(field(place.date), `data line ${line}, ${header.fields[place.date]}`),
        model: field(place.model).split(', ')[0] ?? '',
        key: field(place.key),
        measure: 'cost',
        amount: amountOf(plainNumber(field(place.cost)), `data line ${line}, ${header.fields[place.cost]}`),
      },
      field(place.currency),
    )
  }
  return collected
}

/** Where a column stands; −1 where an optional one is missing. */
function columnOf(header: readonly string[], kind: keyof CsvColumns, columns: CsvColumns, needed: boolean): number {
  const names = header.map((name) => name.trim().toLowerCase())
  const given = columns[kind]
  const index =
    given === undefined
      ? USUAL[kind].map((name) => names.indexOf(name)).find((found) => found >= 0)
      : names.indexOf(given.trim().toLowerCase())
  if (index !== undefined && index >= 0) return index
  if (given !== undefined) throw misfit(`columns.${kind}`, 'the header has no column of that name')
  if (needed)
    throw misfit(`columns.${kind}`, `the header has no column ${USUAL[kind].slice(0, 3).join(', ')} …: say which one it is`)
  return -1
}

/** `$1,234.50` as `1234.50`: the sign of dollars and commas between groups of three are for people. */
function plainNumber(text: string): string {
  const bare = text.replace(/^([+-]?)\$/, '$1')
  return /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(bare) ? bare.replaceAll(',', '') : bare
}

/** `2026-01-31`, with or without a time, or Unix seconds. 1/2/2026 is January or February: refused. */
function dateOf(text: string, place: string): string {
  if (/^\d{9,11}$/.test(text)) return dayOfSeconds(text, place)
  const day = /^(\d{4}-\d{2}-\d{2})([ T]|$)/.exec(text)?.[1]
  const time = day === undefined ? Number.NaN : Date.parse(`${day}T00:00:00Z`)
  if (day === undefined || Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== day)
    throw misfit(place, 'expected YYYY-MM-DD')
  return day
}

/** The records of a CSV text (RFC 4180; LF will do, and a byte order mark) with the line each begins in. Throws for a quote that never ends. */
export function parseCsv(text: string): { fields: string[]; line: number }[] {
  const records: { fields: string[]; line: number }[] = []
  let line = 1
  let begin = 1
  let fields: string[] = []
  // One field and what ends it: quoted with "" inside, or plain up to the next comma or line end.
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y
  field.lastIndex = text.startsWith('\uFEFF') ? 1 : 0
  while (field.lastIndex < text.length || fields.length > 0) {
    const match = field.exec(text)
    if (match === null) throw misfit(`data line ${line}`, 'a quote is out of place')
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    line += match[1]?.match(/\r\n|\n|\r/g)?.length ?? 0
    if (match[3] === ',') continue
    if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: begin })
    fields = []
    line += 1
    begin = line
    if (match[3] === '') break
  }
  return records
}
