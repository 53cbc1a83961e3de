import { scopes } from '../../proto/limits.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { ClientKey } from './load.ts'

const NANO = 1_000_000_000

/** What the ledger has of one call of ours; reversals are taken off. */
export interface Booked {
  marker: string
  /** Entries that cost something. */
  entries: number
  /** The most entries of one attempt of one take: 1 when well. */
  most: number
}

export interface Served {
  begun: number
  completed: number
}

/** What everybody who keeps numbers says of one key. Nano-dollars. */
export interface KeyBooks {
  kind: string
  ledger: number
  spend: number
  counted: number
  held: number
  parallel: number
  /** Null = none. */
  budget: number | null
}

export interface Books {
  /** Requests the provider began to serve, by marker, and those of them that it answered to the end. */
  served: ReadonlyMap<string, Served>
  booked: readonly Booked[]
  keys: readonly KeyBooks[]
}

/** What is wrong with the books; all 0 and empty when well. */
export interface Audit {
  served: number
  /** Of these, beyond the first of each call. */
  again: number
  entries: number
  /** Requests the provider served and nobody booked; of these, what it answered to the end. */
  lost: string[]
  lostWhole: string[]
  /** Attempts that are booked more than once. */
  twice: string[]
  /** Entries beyond what the provider served: notes of routers that died before they asked it. */
  presumed: number
  /** Differences between ledger, spend, counters and holds, and budgets that were passed; one sentence each. */
  differences: string[]
}

export function audit({ served, booked, keys }: Books): Audit {
  const entries = new Map(booked.map((one) => [one.marker, one.entries]))
  const lost: string[] = []
  const lostWhole: string[] = []
  let presumed = 0
  for (const marker of new Set([...served.keys(), ...entries.keys()])) {
    const { begun, completed } = served.get(marker) ?? { begun: 0, completed: 0 }
    const found = entries.get(marker) ?? 0
    presumed += Math.max(0, found - begun)
    for (let missing = begun - found; missing > 0; missing -= 1) lost.push(marker)
    for (let missing = completed - found; missing > 0; missing -= 1) lostWhole.push(marker)
  }
  const begun = [...served.values()].map((one) => one.begun)
  return {
    served: sum(begun),
    again: sum(begun.map((count) => Math.max(0, count - 1))),
    entries: sum(booked.map((one) => one.entries)),
    ...{ lost, lostWhole, presumed },
    twice: booked.filter(({ most }) => most > 1).map(({ marker }) => marker),
    differences: keys.flatMap(differencesOf),
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

function differencesOf({ kind, ledger, spend, counted, held, parallel, budget }: KeyBooks): string[] {
  const wrong: string[] = []
  if (spend !== ledger) wrong.push(`spend of the ${kind} key is ${spend}, its entries are ${ledger}`)
  // Without limits nobody counts.
  if (budget !== null && counted !== ledger)
    wrong.push(`the counters say ${counted} of the ${kind} key, its entries are ${ledger}`)
  if (held !== 0) wrong.push(`${held} are held of the ${kind} key`)
  if (parallel !== 0) wrong.push(`${parallel} calls of the ${kind} key are said to run`)
  if (budget !== null && ledger > budget) wrong.push(`the ${kind} key spent ${ledger} of ${budget}`)
  return wrong
}

/** Whether nothing more can be expected to come. */
export function isClosed({ lost, lostWhole, differences }: Audit, unheard: boolean): boolean {
  return (unheard ? lostWhole : lost).length === 0 && differences.length === 0
}

/** Reads all of it. Rejects while the database or the counters are away. */
export async function readBooks(
  { db, counters }: { db: Database; counters: Counters },
  keys: readonly ClientKey[],
  served: ReadonlyMap<string, Served>,
): Promise<Books> {
  const hashes = keys.map(({ hash }) => hash)
  const names = hashes.map((hash) => scopes.key(hash))
  const [booked, sums, spends, states] = await Promise.all([
    db.query<Booked>(
      `select marker, sum(entries)::int as entries, max(entries)::int as most from (
         select metadata ->> 'marker' as marker, call_id, take, attempt, sum(case when entry = 'reversal' then -1 else 1 end) as entries
         from ledger where key_hash = any($1) and cost_nano <> 0 group by 1, 2, 3, 4
       ) attempts where marker is not null group by 1`,
      [hashes],
    ),
    db.query<{ hash: string; sum: number }>(
      'select key_hash as hash, sum(cost_nano)::bigint as sum from ledger where key_hash = any($1) group by 1',
      [hashes],
    ),
    db.query<{ scope: string; spent: number }>('select scope, spent_nano as spent from spend where scope = any($1)', [names]),
    counters.peek(names),
  ])
  return {
    served,
    booked,
    keys: keys.map(({ kind, hash, budget }, index) => ({
      kind,
      ledger: sums.find((row) => row.hash === hash)?.sum ?? 0,
      spend: spends.find((row) => row.scope === names[index])?.spent ?? 0,
      counted: states[index]?.spent ?? 0,
      held: states[index]?.held ?? 0,
      parallel: states[index]?.parallel ?? 0,
      budget: budget === null ? null : Math.round(budget * NANO),
    })),
  }
}
