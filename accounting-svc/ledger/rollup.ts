import type { Transaction } from '../../shared/db/db.ts'
import { addDailySpend, addSpend, type DailyRow, type ReversedEntry, type Spender } from '../sql/ledger.ts'

/** Milliseconds of a UTC day. */
const DAY = 86_400_000

/** Daily sums and the spend of each owner that booked entries add up to. Pure. */
export interface Sums {
  daily: DailyRow[]
  spend: Record<Spender, Map<string, bigint>>
}

/** Adds up entries (or reversals: their numbers are negative). Everything comes out sorted, so that writers lock in one order. */
export function sumEntries(entries: readonly ReversedEntry[]): Sums {
  const daily = new Map<string, DailyRow>()
  const spend: Sums['spend'] = { keys: new Map(), users: new Map(), teams: new Map(), organizations: new Map() }
  const dayOf = dayNames()
  for (const entry of entries) {
    addToDay(daily, entry, dayOf(entry.startedAt))
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

function addToDay(daily: Map<string, DailyRow>, entry: ReversedEntry, day: string): void {
  const userId = entry.userId ?? ''
  const teamId = entry.teamId ?? ''
  const organizationId = entry.organizationId ?? ''
  const model = entry.model ?? ''
  const provider = entry.provider ?? ''
  const key = `${day}\0${entry.keyHash}\0${userId}\0${teamId}\0${organizationId}\0${entry.modelGroup}\0${model}\0${provider}\0${entry.endpoint}`
  let row = daily.get(key)
  if (row === undefined) {
    row = {
      day,
      keyHash: entry.keyHash,
      userId,
      teamId,
      organizationId,
      modelGroup: entry.modelGroup,
      model,
      provider,
      endpoint: entry.endpoint,
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

function addTo(sums: Map<string, bigint>, id: string | null, cost: number): void {
  if (id === null || cost === 0) return
  sums.set(id, (sums.get(id) ?? 0n) + BigInt(cost))
}
