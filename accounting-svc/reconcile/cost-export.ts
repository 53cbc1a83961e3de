import { GatewayError } from '../../shared/errors.ts'
import { scaleDecimal } from '../../shared/money.ts'
import { type Line, PLACES } from '../ledger/reconcile.ts'

/** How the columns of a CSV file are called; each has usual names. */
export interface CsvColumns {
  date?: string | undefined
  model?: string | undefined
  cost?: string | undefined
  key?: string | undefined
  currency?: string | undefined
}

/** What a provider says it charged, or counted. */
export interface CostExport {
  lines: Line[]
  /** Sums in currencies other than dollars, which nothing of ours can be compared with. */
  otherCurrencies: Map<string, bigint>
}

/**
 * A format of cost exports: reads pages (or one text) into lines. Numbers may be numbers or texts of digits. Throws GatewayError
 * `bad_request` that says where something does not fit. Pure.
 */
export type ReadExport = (data: unknown, options: { columns: CsvColumns }) => CostExport

/** Collects lines and keeps money of other currencies apart. */
export function createCollector() {
  const lines: Line[] = []
  const otherCurrencies = new Map<string, bigint>()
  return {
    lines,
    otherCurrencies,
    add(line: Line, currency: unknown): void {
      const name = typeof currency === 'string' && currency !== '' ? currency.toUpperCase() : 'USD'
      if (name === 'USD') lines.push(line)
      else otherCurrencies.set(name, (otherCurrencies.get(name) ?? 0n) + line.amount)
    },
  }
}

/** An amount of dollars (or of its hundredth, `unit` −2), exact through its digits. Throws `bad_request` naming `place`. */
export function amountOf(value: unknown, place: string, unit = 0): bigint {
  if (typeof value === 'string' || typeof value === 'number') {
    try {
      return scaleDecimal(value, PLACES + unit)
    } catch {
      // Said below.
    }
  }
  throw misfit(place, 'expected a decimal number')
}

/** A count of tokens; absent is none. */
export function countOf(value: unknown, place: string): bigint {
  if (value === undefined || value === null) return 0n
  if ((typeof value === 'string' || typeof value === 'number') && /^\d{1,18}$/.test(String(value))) return BigInt(value)
  throw misfit(place, 'expected a count')
}

export function objectOf(value: unknown, place: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw misfit(place, 'expected an object')
}

export function arrayOf(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value
  throw misfit(place, 'expected a list')
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The buckets of one page or a list of pages, each with where it stands. */
export function bucketsOf(data: unknown): { bucket: Record<string, unknown>; place: string }[] {
  const pages = Array.isArray(data) ? data : [data]
  return pages.flatMap((page, index) => {
    const place = Array.isArray(data) ? `data[${index}]` : 'data'
    return arrayOf(objectOf(page, place)['data'], `${place}.data`).map((bucket, position) => ({
      bucket: objectOf(bucket, `${place}.data[${position}]`),
      place: `${place}.data[${position}]`,
    }))
  })
}

/** The day of an RFC 3339 time in UTC. */
export function dayOfTime(value: unknown, place: string): string {
  const time = typeof value === 'string' && /^\d{4}-\d{2}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN
  if (Number.isNaN(time)) throw misfit(place, 'expected a time such as 2026-01-31T00:00:00Z')
  return new Date(time).toISOString().slice(0, 10)
}

/** The day of Unix seconds in UTC. */
export function dayOfSeconds(value: unknown, place: string): string {
  const seconds = Number(value)
  // To the year 9999: beyond, Date has no four digits for it.
  if (!Number.isInteger(seconds) || seconds <= 0 || seconds > 253_402_300_799) throw misfit(place, 'expected Unix seconds')
  return new Date(seconds * 1000).toISOString().slice(0, 10)
}

export function misfit(place: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `${place}: ${problem}.`, {
    type: 'bad_request_error',
    param: place.split(/[.[\s]/)[0] ?? place,
  })
}
