import type { Clock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { ensureLedgerPartition } from '../sql/partitions.ts'

/** Months made ahead of the present one. */
const AHEAD = 2
/** Milliseconds between looks. */
const INTERVAL = 6 * 60 * 60 * 1000

/**
 * Makes the ledger's monthly partitions ahead of time, now and every six hours. An entry whose month has none goes to the
 * default partition and is moved later, so a failure here is only logged.
 */
export async function keepPartitions(deps: { db: Database; clock: Clock; log: Log }): Promise<{ stop(): void }> {
  const { db, clock, log } = deps
  const look = async (): Promise<void> => {
    const now = new Date(clock.now())
    for (let month = 0; month <= AHEAD; month++) {
      await ensureLedgerPartition(db, Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + month, 1))
    }
  }
  await look()
  const timer = clock.every(INTERVAL, () => {
    look().catch((error) => log.error({ err: error }, 'ledger partitions could not be made'))
  })
  return { stop: () => timer.cancel() }
}
