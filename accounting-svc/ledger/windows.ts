import type { Transaction } from '../../shared/db/db.ts'
import { clearWindow, upsertWindow } from '../sql/spend.ts'
import { nextReset } from './budgets.ts'

/**
 * Schedules when the spend of a scope (proto/limits.ts) goes back to 0, in the transaction that gives its owner a `budget_duration`.
 * A window that runs with the same duration goes on; null takes the window away and keeps what was spent. `now` is Unix
 * milliseconds, `zone` an IANA name. Throws GatewayError `bad_request` for what is not a duration.
 */
export async function setWindow(
  tx: Transaction,
  scope: string,
  duration: string | null,
  now: number,
  zone: string,
): Promise<void> {
  if (duration === null) await clearWindow(tx, scope)
  else await upsertWindow(tx, scope, duration, nextReset(now, duration, zone))
}
