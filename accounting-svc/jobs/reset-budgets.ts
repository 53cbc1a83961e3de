import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { announceScopes } from '../ledger/announce-scopes.ts'
import { nextReset } from '../ledger/budgets.ts'
import type { Projection } from '../ledger/projection.ts'
import { type DueWindow, findDueWindows, lockDueWindow, lockDueWindows, resetSpent } from '../sql/spend.ts'
import type { Job } from './schedule.ts'

const INTERVAL = 1_000
/** Windows closed in one transaction. */
const BATCH = 500

/**
 * Closes budget windows: what was spent goes back to 0 and the next window ends at the next turn of the calendar, however many passed
 * while nobody ran. `zone` is an IANA name.
 */
export function resetBudgets(deps: {
  db: Database
  bus: Bus
  projection: Projection
  clock: Clock
  zone: () => string
  log: Log
}): Job {
  const { db, bus, projection, clock, zone, log } = deps

  /** Opens the next windows of rows that this transaction has locked. */
  async function reopen(tx: Transaction, due: readonly DueWindow[], now: number): Promise<Spent[]> {
    const closing = new Map<string, number | null>()
    const resetAt = due.map(({ scope, duration }) => {
      const key = duration ?? ''
      if (!closing.has(key)) closing.set(key, duration === null ? null : nextOrNever(now, duration, scope))
      return closing.get(key) ?? null
    })
    return due.length === 0
      ? []
      : resetSpent(
          tx,
          due.map(({ scope }) => scope),
          resetAt,
        )
  }

  function nextOrNever(now: number, duration: string, scope: string): number | null {
    try {
      return nextReset(now, duration, zone())
    } catch (error) {
      log.error({ err: error, scope, duration }, 'the duration of a budget cannot be read: its window is never closed again')
      return null
    }
  }

  async function tell(spent: readonly Spent[]): Promise<void> {
    if (spent.length === 0) return
    await projection.book([], spent)
    announceScopes(
      bus,
      spent.map(({ scope }) => scope),
    )
    log.info({ scopes: spent.length, first: spent[0]?.scope }, 'budget windows were closed')
  }

  return {
    name: 'reset-budgets',
    every: INTERVAL,
    async run() {
      const now = clock.now()
      for (;;) {
        const spent = await db.transaction(async (tx) => reopen(tx, await lockDueWindows(tx, now, BATCH), now))
        await tell(spent)
        if (spent.length < BATCH) break
      }
      // Rows of busy scopes, which a booking nearly always holds: one at a time, waiting.
      for (const scope of await findDueWindows(db, now, BATCH)) {
        await tell(await db.transaction(async (tx) => reopen(tx, await lockDueWindow(tx, now, scope), now)))
      }
    },
  }
}
