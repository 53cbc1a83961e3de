import type { Prices } from '../../proto/deployment.ts'
import type { Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import type { SummedEntry } from '../sql/ledger.ts'
import {
  type Adjustment,
  entriesToReprice,
  insertAdjustments,
  lockRepricing,
  lockWindows,
  type PricedEntry,
  type RepriceCursor,
  type RepriceFilter,
} from '../sql/reprice.ts'
import { nextReset } from './budgets.ts'
import { pricedBy } from './price.ts'
import { rollUp, sumEntries } from './rollup.ts'
import { scopesOf } from './scopes.ts'
import { usageOfEntry } from './usage.ts'

export interface RepriceRequest {
  /** Names the repricing: run again under one id, it adds what is missing and nothing twice. */
  id: string
  filter: RepriceFilter
  /** The prices that are to hold; null leaves an entry as it is. */
  prices(attempt: { deploymentId: string; provider: string; model: string; startedAt: number }): Prices | null
  /** Only say what would change. */
  dryRun: boolean
  after: RepriceCursor | null
  /** Entries looked at before it stops and says where to go on. */
  most: number
  /** Aborted when the client leaves; what is booked by then stays. */
  signal?: AbortSignal
}

/** Sums of one day, upstream model and key, nano-dollars. */
export interface RepriceRow {
  day: string
  model: string
  keyHash: string
  entries: number
  old: bigint
  new: bigint
}

export interface RepriceReport {
  rows: RepriceRow[]
  entries: number
  /** Entries whose cost changes. */
  changed: number
  /** Adjustments booked now. */
  booked: number
  /** Changed, but adjusted under this id before. */
  skipped: number
  /** No price is known for them. */
  unpriced: number
  /** Null when every entry was looked at. */
  next: RepriceCursor | null
}

/** Entries of one transaction: about 100 ms. */
const PAGE = 1000

/**
 * Prices a period again and books the differences: for every entry one adjustment, which counts in the daily sums of the day of the call,
 * and in what a scope has spent where the call lies in the window that is open now. A window that closed took its spending with it.
 *
 * What an entry costs so far is its own cost and all adjustments before, so one repricing after another ends at the latest prices.
 * Each page is a transaction of its own.
 */
export async function reprice(
  deps: { db: Database; zone: string; onSpent?: ((spent: readonly Spent[]) => Promise<void> | void) | undefined },
  request: RepriceRequest,
): Promise<RepriceReport> {
  const entry = `adjustment:${request.id}`
  const rows = new Map<string, RepriceRow>()
  const report: RepriceReport = { rows: [], entries: 0, changed: 0, booked: 0, skipped: 0, unpriced: 0, next: request.after }
  for (;;) {
    const limit = Math.min(PAGE, request.most - report.entries)
    if (limit <= 0 || request.signal?.aborted === true) break
    const { page, spent } = await deps.db.transaction(async (tx) => {
      if (!request.dryRun) await lockRepricing(tx)
      const found = await entriesToReprice(tx, entry, request.filter, report.next, limit)
      const changes = changesOf(found, request, rows, report)
      const added = request.dryRun ? [] : await bookChanges(tx, entry, changes, deps.zone, report)
      return { page: found, spent: added }
    })
    if (spent.length > 0) await deps.onSpent?.(spent)
    report.entries += page.length
    const last = page.at(-1)
    report.next = page.length < limit || last === undefined ? null : cursorOf(last)
    if (report.next === null) break
  }
  report.rows = [...rows.values()].sort(byDay)
  return report
}

interface Change {
  entry: PricedEntry
  adjustment: Adjustment
}

/** What changes on a page; adds it to the report. */
function changesOf(
  page: readonly PricedEntry[],
  request: RepriceRequest,
  rows: Map<string, RepriceRow>,
  report: RepriceReport,
): Change[] {
  const changes: Change[] = []
  for (const entry of page) {
    const old = entry.cost + entry.adjusted
    const priced = priceAgain(entry, request)
    if (priced === null) report.unpriced += 1
    const cost = priced?.cost ?? old
    addTo(rows, entry, old, cost)
    if (cost === old) continue
    report.changed += 1
    if (entry.done) report.skipped += 1
    else
      changes.push({
        entry,
        adjustment: { ...cursorOf(entry), difference: cost - old, rateVersion: priced?.rateVersion ?? null },
      })
  }
  return changes
}

function priceAgain(entry: PricedEntry, request: RepriceRequest): { cost: number; rateVersion: string } | null {
  const { deploymentId, provider, model, attemptStartedAt, endedAt, serviceTier } = entry
  const prices = request.prices({
    deploymentId: deploymentId ?? '',
    provider: provider ?? '',
    model: model ?? '',
    startedAt: attemptStartedAt,
  })
  return prices === null ? null : pricedBy(prices, { startedAt: attemptStartedAt, endedAt, serviceTier }, usageOfEntry(entry))
}

async function bookChanges(
  tx: Transaction,
  name: string,
  changes: readonly Change[],
  zone: string,
  report: RepriceReport,
): Promise<Spent[]> {
  if (changes.length === 0) return []
  const added = new Set(
    (
      await insertAdjustments(
        tx,
        name,
        changes.map(({ adjustment }) => adjustment),
      )
    ).map(keyOf),
  )
  const booked = changes.filter(({ adjustment }) => added.has(keyOf(adjustment)))
  report.booked += booked.length
  const costs = booked.map(({ entry, adjustment }) => ({
    ...entry,
    calls: 0,
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cost: adjustment.difference,
  }))
  const sums = sumEntries(costs)
  const open = await openSince(tx, [...new Set(costs.flatMap(scopesOf))], zone)
  return rollUp(tx, { ...sums, ...spendOf(costs, open) })
}

/** What the scopes of adjusted entries spend more or less, where `open` says that it counts. Sorted, as `rollUp` wants it. */
function spendOf(
  costs: readonly SummedEntry[],
  open: (scope: string, startedAt: number) => boolean,
): { scopes: string[]; amounts: bigint[] } {
  const spend = new Map<string, bigint>()
  for (const entry of costs) {
    for (const scope of scopesOf(entry)) {
      if (open(scope, entry.startedAt)) spend.set(scope, (spend.get(scope) ?? 0n) + BigInt(entry.cost))
    }
  }
  const changed = [...spend].filter(([, amount]) => amount !== 0n).sort(([a], [b]) => compare(a, b))
  return { scopes: changed.map(([scope]) => scope), amounts: changed.map(([, amount]) => amount) }
}

/** Tells whether a call that started then lies in the window of a scope that is open now. A window that never closes holds every call. */
async function openSince(
  tx: Transaction,
  scopes: readonly string[],
  zone: string,
): Promise<(scope: string, startedAt: number) => boolean> {
  const windows = new Map((await lockWindows(tx, scopes)).map((row) => [row.scope, row]))
  return (scope, startedAt) => {
    const window = windows.get(scope)
    if (window?.duration == null || window.resetAt === null) return true
    return nextReset(startedAt, window.duration, zone) >= window.resetAt.getTime()
  }
}

function addTo(rows: Map<string, RepriceRow>, entry: PricedEntry, old: number, cost: number): void {
  const day = new Date(entry.startedAt).toISOString().slice(0, 10)
  const model = entry.model ?? ''
  const key = `${day}\0${model}\0${entry.keyHash}`
  let row = rows.get(key)
  if (row === undefined) {
    row = { day, model, keyHash: entry.keyHash, entries: 0, old: 0n, new: 0n }
    rows.set(key, row)
  }
  row.entries += 1
  row.old += BigInt(old)
  row.new += BigInt(cost)
}

function cursorOf({ startedAt, callId, take, attempt }: RepriceCursor): RepriceCursor {
  return { startedAt, callId, take, attempt }
}

function keyOf({ startedAt, callId, take, attempt }: RepriceCursor): string {
  return `${take} ${attempt} ${startedAt} ${callId}`
}

function byDay(a: RepriceRow, b: RepriceRow): number {
  return compare(a.day, b.day) || compare(a.model, b.model) || compare(a.keyHash, b.keyHash)
}

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
