import type { Spent } from '../../shared/counters/counters.ts'
import type { Transaction } from '../../shared/db/db.ts'
import { addDailySpend, addLabelSpend, type DailyRow, type LabelRow, type SummedEntry } from '../sql/ledger.ts'
import { addSpent } from '../sql/spend.ts'
import { scopesOf } from './scopes.ts'

/** Milliseconds of a UTC day. */
const DAY = 86_400_000

/** What booked entries add to the daily sums, to those by tag and customer, and to the spend of each scope. Pure. */
export interface Sums {
  daily: DailyRow[]
  labels: LabelRow[]
  /** Scopes and what each spent, nano-dollars; those whose sum is 0 are left out. */
  scopes: string[]
  amounts: bigint[]
}

/**
 * Adds up entries (or reversals: their numbers are negative). Everything comes out sorted, so that writers lock in one order. `counts`
 * says whether an entry adds to the spend of a scope; every one by default.
 */
export function sumEntries(entries: readonly SummedEntry[], counts?: (scope: string, startedAt: number) => boolean): Sums {
  const daily = new Map<string, DailyRow>()
  const labels = new Map<string, LabelRow>()
  const spend = new Map<string, bigint>()
  const dayOf = dayNames()
  for (const entry of entries) {
    const day = dayOf(entry.startedAt)
    addToDay(daily, entry, day)
    if (entry.endUser !== null) addToLabel(labels, entry, day, 'customer', entry.endUser)
    if (entry.tags.length > 0) for (const tag of new Set(entry.tags)) addToLabel(labels, entry, day, 'tag', tag)
    if (entry.cost === 0) continue
    const cost = BigInt(entry.cost)
    for (const scope of scopesOf(entry)) {
      if (counts !== undefined && !counts(scope, entry.startedAt)) continue
      spend.set(scope, (spend.get(scope) ?? 0n) + cost)
    }
  }
  const spent = [...spend].filter(([, amount]) => amount !== 0n).sort(byName)
  return {
    daily: sorted(daily),
    labels: sorted(labels),
    scopes: spent.map(([scope]) => scope),
    amounts: spent.map(([, amount]) => amount),
  }
}

/**
 * Writes the sums, in the transaction that added the entries, and says what the scopes have spent now. The rows of `spend` are the ones
 * that many calls share, so they come last: they are locked until the commit.
 */
export async function rollUp(tx: Transaction, sums: Sums): Promise<Spent[]> {
  if (sums.daily.length > 0) await addDailySpend(tx, sums.daily)
  if (sums.labels.length > 0) await addLabelSpend(tx, sums.labels)
  return sums.scopes.length === 0 ? [] : addSpent(tx, sums.scopes, sums.amounts)
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1
}

function sorted<Row>(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows].sort(byName).map(([, row]) => row)
}

function addToDay(daily: Map<string, DailyRow>, entry: SummedEntry, day: string): void {
  const userId = entry.userId ?? ''
  const teamId = entry.teamId ?? ''
  const organizationId = entry.organizationId ?? ''
  const model = entry.model ?? ''
  const provider = entry.provider ?? ''
  const key = `${day}\0${entry.keyHash}\0${userId}\0${teamId}\0${organizationId}\0${entry.modelGroup}\0${model}\0${provider}\0${entry.endpoint}`
  let row = daily.get(key)
  if (row === undefined) {
    const { keyHash, modelGroup, endpoint } = entry
    row = { day, keyHash, userId, teamId, organizationId, modelGroup, model, provider, endpoint, ...nothing() }
    daily.set(key, row)
  }
  add(row, entry)
}

function addToLabel(labels: Map<string, LabelRow>, entry: SummedEntry, day: string, kind: LabelRow['kind'], label: string): void {
  const teamId = entry.teamId ?? ''
  const model = entry.model ?? ''
  const provider = entry.provider ?? ''
  const key = `${kind}\0${day}\0${label}\0${entry.keyHash}\0${teamId}\0${entry.modelGroup}\0${model}\0${provider}\0${entry.endpoint}`
  let row = labels.get(key)
  if (row === undefined) {
    const { keyHash, modelGroup, endpoint } = entry
    row = { day, kind, label, keyHash, teamId, modelGroup, model, provider, endpoint, ...nothing() }
    labels.set(key, row)
  }
  add(row, entry)
}

type RowSums = Pick<
  DailyRow,
  'cost' | 'inputTokens' | 'outputTokens' | 'cacheReadTokens' | 'cacheWriteTokens' | 'calls' | 'successfulCalls' | 'failedCalls'
>

function nothing(): RowSums {
  return {
    cost: 0n,
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    calls: 0,
    successfulCalls: 0,
    failedCalls: 0,
  }
}

function add(row: RowSums, entry: SummedEntry): void {
  row.cost += BigInt(entry.cost)
  row.inputTokens += entry.inputTokens
  row.outputTokens += entry.outputTokens
  row.cacheReadTokens += entry.cacheReadTokens
  row.cacheWriteTokens += entry.cacheWriteTokens
  row.calls += entry.calls
  if (entry.outcome === 'success') row.successfulCalls += entry.calls
  else row.failedCalls += entry.calls
}

/** Names UTC days, `YYYY-MM-DD`. The calls of a batch nearly all began on one day, and its name is made once. */
function dayNames(): (time: number) => string {
  let begin = Number.NaN
  let name = ''
  return (time) => {
    if (time >= begin && time < begin + DAY) return name
    begin = Math.floor(time / DAY) * DAY
    name = new Date(begin).toISOString().slice(0, 10)
    return name
  }
}
