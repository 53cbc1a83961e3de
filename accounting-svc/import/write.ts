import type { Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { extraWindows } from '../identity/limits.ts'
import { nextReset } from '../ledger/budgets.ts'
import { rollUp, sumEntries } from '../ledger/rollup.ts'
import { findBudgets } from '../sql/budgets.ts'
import { auditRows, insertRows, openWindows } from '../sql/import-target.ts'
import { type EntryRow, insertEntries, lockLedger } from '../sql/ledger.ts'
import { lockWindows } from '../sql/reprice.ts'
import { findSpent } from '../sql/spend.ts'
import type { Owner } from './candidate.ts'
import type { Planned } from './plan.ts'

/** Rows written at once. */
const PAGE = 500

/** Writes what is new, and an audit entry for each. */
export async function writeRows(tx: Transaction, planned: readonly Planned[], runId: string): Promise<void> {
  const written = planned.filter(({ verdict, opens }) => verdict === 'new' || opens)
  for (const [table, plans] of Map.groupBy(written, ({ candidate }) => candidate.table)) {
    const rows = plans.filter(({ verdict }) => verdict === 'new').map(({ candidate }) => candidate.row)
    for (const page of pages(rows)) await insertRows(tx, table, page)
    const ids = plans.map(({ candidate }) => candidate.id)
    for (const page of pages(ids)) await auditRows(tx, table, page, runId)
  }
}

/**
 * Books opening entries: ledger, daily sums and spend in step, as for calls; `earlier` is what such entries say so far. Throws GatewayError `internal` where a scope has not risen by
 * what was to be booked, which undoes everything.
 */
export async function bookOpenings(
  tx: Transaction,
  owners: readonly Owner[],
  entries: readonly EntryRow[],
  earlier: ReadonlyMap<string, bigint>,
): Promise<void> {
  const sums = sumEntries(entries)
  // Whoever books calls takes these rows in this order too.
  const touched = [...new Set([...sums.scopes, ...owners.map(({ scope }) => scope)])].sort()
  await lockLedger(tx, false)
  await lockWindows(tx, touched)
  for (const page of pages(entries.toSorted((a, b) => (a.callId < b.callId ? -1 : 1)))) await insertEntries(tx, page)
  const before = new Map((await findSpent(tx, sums.scopes)).map(({ scope, spent }) => [scope, spent]))
  const after = new Map<string, number>()
  for (const daily of pages(sums.daily)) await rollUp(tx, { daily, labels: [], scopes: [], amounts: [] })
  for (const labels of pages(sums.labels)) await rollUp(tx, { daily: [], labels, scopes: [], amounts: [] })
  for (const [index, scopes] of pages(sums.scopes).entries()) {
    const amounts = sums.amounts.slice(index * PAGE, (index + 1) * PAGE)
    for (const { scope, spent } of await rollUp(tx, { daily: [], labels: [], scopes, amounts })) after.set(scope, spent)
  }
  for (const { scope, spend } of owners) {
    if (spend === null) continue
    const risen = (after.get(scope) ?? 0) - (after.has(scope) ? (before.get(scope) ?? 0) : 0)
    const due = spend - Number(earlier.get(scope) ?? 0n)
    if (risen !== due)
      throw new GatewayError('internal', `${scope} would have spent ${risen} nano-dollars more, not ${due}. Nothing was written.`)
  }
}

/** Schedules when what owners have spent goes back to 0, at the time LiteLLM would. `now` is Unix milliseconds, `zone` an IANA name. */
export async function scheduleOwners(tx: Transaction, owners: readonly Owner[], now: number, zone: string): Promise<void> {
  const ids = [...new Set(owners.flatMap(({ window }) => window.budgetId ?? []))]
  const budgets = new Map((await findBudgets(tx, ids)).map((row) => [row.budget_id, row]))
  const resets = new Map<string, number | null>()
  const reset = (duration: string): number | null => {
    if (!resets.has(duration)) resets.set(duration, resetOf(now, duration, zone))
    return resets.get(duration) ?? null
  }
  const windows: { scope: string; duration: string; resetAt: number }[] = []
  const add = (scope: string, duration: string | null, resetAt: number | null): void => {
    if (duration === null) return
    const at = resetAt ?? reset(duration)
    if (at !== null) windows.push({ scope, duration, resetAt: at })
  }
  for (const { scope, window } of owners) {
    const budget = window.budgetId === null ? null : (budgets.get(window.budgetId) ?? null)
    add(scope, window.duration ?? budget?.budget_duration ?? null, window.resetAt)
    const own = { model_max_budget: window.models }
    for (const extra of extraWindows({ scope, own, budget, windows: window.windows })) add(extra.scope, extra.duration, null)
  }
  for (const page of pages(windows.sort((a, b) => (a.scope < b.scope ? -1 : 1)))) await openWindows(tx, page)
}

/** Null for a duration that ends past all dates. */
function resetOf(now: number, duration: string, zone: string): number | null {
  try {
    return nextReset(now, duration, zone)
  } catch {
    return null
  }
}

function pages<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / PAGE) }, (_, page) => items.slice(page * PAGE, (page + 1) * PAGE))
}
