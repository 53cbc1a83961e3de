import { createHash } from 'node:crypto'
import type { Attempt, TokenUsage } from '../../proto/usage.ts'
import { leaseId, type Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { refusedValue } from '../../shared/db/sql-state.ts'
import type { Log } from '../../shared/log.ts'
import {
  type BookedEntry,
  type EntryRow,
  hasUnsettled,
  insertEntries,
  insertRejected,
  insertUnsettledEntries,
  lockLedger,
  reverseUnsettled,
  type SummedEntry,
} from '../sql/ledger.ts'
import { findSpent } from '../sql/spend.ts'
import { cleanJson, entriesOf, type Priced } from './entries.ts'
import { checkUsageEvent } from './event.ts'
import { keepObjects } from './objects.ts'
import { rollUp, sumEntries } from './rollup.ts'
import { scopesOf } from './scopes.ts'

export interface Ledger {
  /**
   * Books usage events, each once however often it is handed in, in one transaction, and tells `onBooked`. Resolves when they are in
   * the database and that is done; rejects when nothing of them is, and then the same events may be handed in again.
   */
  book(events: readonly unknown[]): Promise<Booked>
}

export interface Booked {
  /** Entries added now; the rest had been booked before. */
  added: number
  rejected: number
}

/** What a transaction booked, for those who follow the ledger. */
export interface Booking {
  /** Of every event handed in, those booked before and those parked too: their calls are over. */
  leases: string[]
  /** Every scope these calls count in, with what it has spent now. */
  spent: Spent[]
  /** Customers the events name. */
  customers: string[]
}

export interface LedgerDeps {
  db: Database
  price: (attempt: Attempt, usage: TokenUsage) => Priced
  log: Log
  /** Runs after every commit and before the events are acknowledged. Must not reject: the events are booked. */
  onBooked?: (booking: Booking) => Promise<void>
}

interface Rejected {
  event: unknown
  reason: string
}

/**
 * The ledger.
 *
 * Why a call is never charged twice, even when its router was taken for dead:
 *   report, delivered again      the unique key of its entries refuses the second copy
 *   unsettled, then the report   both are kept, and a reversal takes the unsettled entry back: the sum is the report
 *   report, then unsettled       the unsettled entry is not added
 *   both at once                 the transactions wait for each other (lockLedger), so it is one of the two above
 */
export function createLedger(deps: LedgerDeps): Ledger {
  const { db, price, log, onBooked } = deps

  function prepare(events: readonly unknown[]): { entries: EntryRow[]; rejected: Rejected[] } {
    const entries: EntryRow[] = []
    const rejected: Rejected[] = []
    for (const value of events) {
      const checked = checkUsageEvent(value)
      if ('reason' in checked) rejected.push({ event: value, reason: checked.reason })
      else entries.push(...entriesOf(checked.event, price))
    }
    return { entries: entries.sort(byKey), rejected }
  }

  async function bookAll(events: readonly unknown[]): Promise<Booked> {
    const { entries, rejected } = prepare(events)
    const { added, spent } = await db.transaction(async (tx) => {
      for (const { event, reason } of rejected) await park(tx, event, reason)
      await keepObjects(tx, events)
      return entries.length === 0 ? NOTHING : addEntries(tx, entries)
    })
    if (rejected.length > 0) log.warn({ rejected: rejected.length, first: rejected[0]?.reason }, 'usage events were parked')
    await onBooked?.({ leases: leasesOf(events), spent, customers: customersOf(entries) })
    return { added, rejected: rejected.length }
  }

  /** One event alone, when the database refused a batch: the one it refuses again is parked. */
  async function bookOne(event: unknown): Promise<Booked> {
    try {
      return await bookAll([event])
    } catch (error) {
      if (!refusedValue(error)) throw error
      const reason = error instanceof Error ? error.message : 'refused by the database'
      await db.transaction((tx) => park(tx, event, reason))
      log.warn({ reason }, 'a usage event was parked')
      await onBooked?.({ leases: leasesOf([event]), spent: [], customers: [] })
      return { added: 0, rejected: 1 }
    }
  }

  return {
    async book(events) {
      try {
        return await bookAll(events)
      } catch (error) {
        if (!refusedValue(error)) throw error
      }
      // Events booked by an earlier turn of this loop stay booked when a later one fails: they fall on their unique key next time.
      const sum: Booked = { added: 0, rejected: 0 }
      for (const event of events) {
        const one = await bookOne(event)
        sum.added += one.added
        sum.rejected += one.rejected
      }
      return sum
    },
  }
}

const NOTHING = { added: 0, spent: [] as Spent[] }

async function addEntries(tx: Transaction, entries: readonly EntryRow[]): Promise<{ added: number; spent: Spent[] }> {
  const settled = firsts(entries.filter((entry) => entry.entry === 'settled'))
  const unsettled = firsts(entries.filter((entry) => entry.entry === 'unsettled'))
  await lockLedger(tx, unsettled.length > 0)
  const addedSettled = settled.length === 0 ? [] : await insertEntries(tx, settled)
  // Only what was added now: a report delivered again has taken the unsettled entry back before.
  const reversals = await reverse(tx, addedSettled)
  const addedUnsettled = unsettled.length === 0 ? [] : await insertUnsettledEntries(tx, unsettled)
  const added = [...(addedSettled === settled ? settled : pick(settled, addedSettled)), ...pick(unsettled, addedUnsettled)]
  const spent = await rollUp(tx, sumEntries([...added, ...reversals]))
  if (added.length < entries.length) spent.push(...(await spentBefore(tx, entries, spent)))
  return { added: added.length, spent }
}

/**
 * What the scopes of calls have spent that were booked before. Whoever did that may have died before it told the counters, which would
 * drop the hold of such a call and not know its cost.
 */
async function spentBefore(tx: Transaction, entries: readonly EntryRow[], known: readonly Spent[]): Promise<Spent[]> {
  const names = new Set(entries.flatMap(scopesOf))
  for (const { scope } of known) names.delete(scope)
  return names.size === 0 ? [] : findSpent(tx, [...names])
}

/** Names of the leases of events, of unreadable ones too as far as they can be told. */
function leasesOf(events: readonly unknown[]): string[] {
  const leases: string[] = []
  for (const event of events) {
    if (typeof event !== 'object' || event === null) continue
    const { callId, take } = event as { callId?: unknown; take?: unknown }
    if (typeof callId === 'string' && Number.isInteger(take)) leases.push(leaseId(callId, take as number))
  }
  return leases
}

function customersOf(entries: readonly EntryRow[]): string[] {
  const names = new Set<string>()
  for (const { endUser } of entries) if (endUser !== null && endUser !== '') names.add(endUser)
  return [...names]
}

async function reverse(tx: Transaction, added: readonly BookedEntry[]): Promise<SummedEntry[]> {
  if (added.length === 0) return []
  let from = Number.POSITIVE_INFINITY
  let to = 0
  for (const { startedAt } of added) {
    from = Math.min(from, startedAt)
    to = Math.max(to, startedAt)
  }
  return (await hasUnsettled(tx, from, to)) ? reverseUnsettled(tx, added) : []
}

/**
 * Of entries with one key the first. The database takes one of them too, but whichever its plan comes to first, and the sums would be those of
 * another: an edge and the next process of a router estimate the same call differently.
 */
function firsts(entries: readonly EntryRow[]): readonly EntryRow[] {
  const byId = new Map<string, EntryRow>()
  for (const entry of entries) {
    const id = idOf(entry)
    if (!byId.has(id)) byId.set(id, entry)
  }
  return byId.size === entries.length ? entries : [...byId.values()]
}

/** The entries that the database says it added. */
function pick(entries: readonly EntryRow[], added: readonly BookedEntry[]): EntryRow[] {
  const byId = new Map(entries.map((entry) => [idOf(entry), entry]))
  return added.flatMap((row) => byId.get(idOf(row)) ?? [])
}

function idOf(entry: BookedEntry): string {
  return `${entry.take} ${entry.attempt} ${entry.startedAt} ${entry.callId}`
}

function byKey(a: EntryRow, b: EntryRow): number {
  if (a.callId !== b.callId) return a.callId < b.callId ? -1 : 1
  return a.take - b.take || a.attempt - b.attempt
}

async function park(tx: Transaction, event: unknown, reason: string): Promise<void> {
  const text = textOf(event)
  await insertRejected(tx, createHash('sha256').update(text).digest('hex'), text, cleanJson(reason).slice(1, -1))
}

/** An event as text a person can read, whatever it is. */
function textOf(event: unknown): string {
  try {
    return cleanJson(event)
  } catch {
    return `not readable: ${Object.prototype.toString.call(event)}`
  }
}
