import type { Transaction } from '../../shared/db/db.ts'
import { addDailySpend, addSpend, type DailyRow, type ReversedEntry, type Spender } from '../sql/ledger.ts'

/** Daily sums and the spend of each owner that booked entries add up to. Pure. */
export interface Sums {
  daily: DailyRow[]
  spend: Record<Spender, Map<string, bigint>>
}

/** Adds up entries (or reversals: their numbers are negative). Everything comes out sorted, so that writers lock in one order. */
export function sumEntries(entries: readonly ReversedEntry[]): Sums {
  const daily = new Map<string, DailyRow>()
  const spend: Sums['spend'] = { keys: new Map(), users: new Map(), teams: new Map(), organizations: new Map() }
  for (const entry of entries) {
    addToDay(daily, entry)
    addTo(spend.keys, entry.keyHash, entry.cost)
    addTo(spend.users, entry.userId, entry.cost)
    addTo(spend.teams, entry.teamId, entry.cost)
    addTo(spend.organizations, entry.organizationId, entry.cost)
  }
  return { daily: [...daily].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row), spend }
}

/** Writes the sums, in the transaction that added the entries. */
export async function rollUp(tx: Transaction, sums: Sums): Promise<void> {
  if (sums.daily.length > 0) await addDailySpend(tx, sums.daily)
  for (const table of ['keys', 'users', 'teams', 'organizations'] as const) {
    if (sums.spend[table].size > 0) await addSpend(tx, table, sums.spend[table])
  }
}

function addToDay(daily: Map<string, DailyRow>, entry: ReversedEntry): void {
  const day = new Date(entry.startedAt).toISOString().slice(0, 10)
  const place = {
    day,
    keyHash: entry.keyHash,
    userId: entry.userId ?? '',
    teamId: entry.teamId ?? '',
    organizationId: entry.organizationId ?? '',
    modelGroup: entry.modelGroup,
    model: entry.model ?? '',
    provider: entry.provider ?? '',
    endpoint: entry.endpoint,
  }
  const key = Object.values(place).join('\0')
  let row = daily.get(key)
  if (row === undefined) {
    row = {
      ...place,
      cost: 0n,
      inputTokens: 0,
      outputTokens: 0,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      calls: 0,
      successfulCalls: 0,
      failedCalls: 0,
    }
    daily.set(key, row)
  }
  row.cost += BigInt(entry.cost)
  row.inputTokens += entry.inputTokens
  row.outputTokens += entry.outputTokens
  row.cacheReadTokens += entry.cacheReadTokens
  row.cacheWriteTokens += entry.cacheWriteTokens
  row.calls += entry.calls
  if (entry.outcome === 'success') row.successfulCalls += entry.calls
  else row.failedCalls += entry.calls
}

function addTo(sums: Map<string, bigint>, id: string | null, cost: number): void {
  if (id === null || cost === 0) return
  sums.set(id, (sums.get(id) ?? 0n) + BigInt(cost))
}
