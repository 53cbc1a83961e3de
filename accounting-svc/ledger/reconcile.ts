/** Decimal places that amounts of money are compared with: providers send fractions far below a nano-dollar. */
export const PLACES = 18
/** Amounts of money in one nano-dollar. */
export const PER_NANO = 10n ** 9n

/** What is compared: money, or a kind of tokens. */
export type Measure = 'cost' | 'uncached_input_tokens' | 'cache_read_tokens' | 'cache_write_tokens' | 'output_tokens'

/** An amount that one side has for a day, a model and a key; '' where a side does not know or they are not told apart. */
export interface Line {
  /** `YYYY-MM-DD` */
  date: string
  model: string
  key: string
  measure: Measure
  /** Tokens, or dollars × 10^PLACES. */
  amount: bigint
}

/** How far apart two amounts may be and still match: whichever allows more. Never negative. */
export interface Tolerance {
  /** Dollars × 10^PLACES; for money only. */
  absolute: bigint
  /** Of their amount, in millionths. */
  relative: bigint
}

export type Status = 'match' | 'differs' | 'only_ours' | 'only_theirs'

export interface Difference extends Omit<Line, 'amount'> {
  ours: bigint
  theirs: bigint
  status: Status
}

/** Sums of one measure. */
export interface Total {
  measure: Measure
  ours: bigint
  theirs: bigint
  counts: Record<Status, number>
}

export interface Comparison {
  /** One for each day × model × key × measure of either side, in that order. */
  rows: Difference[]
  totals: Total[]
}

/**
 * Compares what we booked with what a provider says. Lines of the same day, model, key and measure are added up first, so neither the
 * order of lines nor how a side cuts them matters. A row that one side has and the other does not, or has as 0, is `only_…` unless the
 * tolerance covers it. Pure.
 */
export function compareLines(ours: readonly Line[], theirs: readonly Line[], tolerance: Tolerance): Comparison {
  const rows = new Map<string, Difference>()
  const rowOf = ({ date, model, key, measure }: Line): Difference => {
    const name = JSON.stringify([date, model, key, measure])
    const row = rows.get(name) ?? { date, model, key, measure, ours: 0n, theirs: 0n, status: 'match' }
    rows.set(name, row)
    return row
  }
  for (const line of ours) rowOf(line).ours += line.amount
  for (const line of theirs) rowOf(line).theirs += line.amount
  const totals = new Map<Measure, Total>()
  for (const row of rows.values()) {
    row.status = statusOf(row, tolerance)
    const total = totals.get(row.measure) ?? { measure: row.measure, ours: 0n, theirs: 0n, counts: noCounts() }
    totals.set(row.measure, total)
    total.ours += row.ours
    total.theirs += row.theirs
    total.counts[row.status] += 1
  }
  return { rows: [...rows.values()].sort(byName), totals: [...totals.values()].sort((a, b) => compareText(a.measure, b.measure)) }
}

function statusOf({ ours, theirs, measure }: Difference, tolerance: Tolerance): Status {
  const apart = size(ours - theirs)
  if (measure === 'cost' && apart <= tolerance.absolute) return 'match'
  if (apart * 1_000_000n <= size(theirs) * tolerance.relative) return 'match'
  if (theirs === 0n) return 'only_ours'
  return ours === 0n ? 'only_theirs' : 'differs'
}

/** (ours − theirs) / theirs in millionths, rounded towards zero; null where there is nothing to compare with. */
export function relativeDifference({ ours, theirs }: { ours: bigint; theirs: bigint }): bigint | null {
  return theirs === 0n ? null : ((ours - theirs) * 1_000_000n) / size(theirs)
}

/** A version at the end of a model's name: `-2024-08-06` or `-20250514`. */
const VERSION = /-(\d{4}-\d{2}-\d{2}|\d{8})$/

/**
 * Renames lines of one side so that models meet: a provider bills `gpt-4o-2024-08-06` where we only know `gpt-4o`, or the other way
 * round. A versioned name that the other side lacks becomes the plain one if the other side has that. Pure.
 */
export function alignModels(lines: readonly Line[], others: readonly Line[]): Line[] {
  const known = new Set(others.map((line) => line.model))
  return lines.map((line) => {
    const plain = line.model.replace(VERSION, '')
    return !known.has(line.model) && known.has(plain) ? { ...line, model: plain } : line
  })
}

function noCounts(): Record<Status, number> {
  return { match: 0, differs: 0, only_ours: 0, only_theirs: 0 }
}

function size(amount: bigint): bigint {
  return amount < 0n ? -amount : amount
}

function byName(a: Difference, b: Difference): number {
  return (
    compareText(a.date, b.date) || compareText(a.model, b.model) || compareText(a.key, b.key) || compareText(a.measure, b.measure)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
