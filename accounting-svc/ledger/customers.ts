import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { insertCustomers } from '../sql/customers-seen.ts'

/** Names remembered: about 2 MB. */
const MOST = 20_000

/**
 * Makes a row for every customer that a call names, so that it can be blocked and given a budget. Asks the database only about names
 * not seen lately. A failure is logged; the next call of such a customer tries again.
 */
export function createCustomerNames(deps: { db: Database; log: Log }): { seen(names: readonly string[]): Promise<void> } {
  const { db, log } = deps
  // Two generations instead of an order of use: names of the older one are forgotten when the newer one is full.
  let newer = new Set<string>()
  let older = new Set<string>()
  const known = (name: string): boolean => newer.has(name) || older.has(name)

  return {
    async seen(names) {
      const unknown = names.filter((name) => !known(name)).sort()
      if (unknown.length === 0) return
      try {
        await insertCustomers(db, unknown)
      } catch (error) {
        log.warn({ err: error }, 'customers named by calls could not be written down')
        return
      }
      for (const name of unknown) newer.add(name)
      if (newer.size < MOST / 2) return
      older = newer
      newer = new Set()
    },
  }
}
