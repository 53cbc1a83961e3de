import type { Database } from '../../shared/db/db.ts'
import type { ReportFilter } from '../sql/report-filter.ts'
import { sumSpend } from '../sql/spend-sums.ts'
import { DAY } from './report-input.ts'

/**
 * The days of a filter that have any spend, `most` at a time and in order, each time as a filter for just these: a year of every key is never
 * held whole, and a span of a thousand years costs no more than the days in it that have calls.
 */
export async function* spansOf(
  db: Database,
  filter: ReportFilter,
  most: number,
  signal: AbortSignal,
): AsyncGenerator<ReportFilter> {
  const days = (await sumSpend(db, ['day'], filter)).map((row) => Date.parse(`${row.day}T00:00:00Z`))
  for (let start = 0; start < days.length && !signal.aborted; start += most) {
    const [from = 0, to = from] = [days[start], days[Math.min(start + most, days.length) - 1]]
    yield { ...filter, from, to: to + DAY }
  }
}
