import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Log } from '../../shared/log.ts'
import type { Ledger } from './book.ts'

/** Most events in one transaction, and the longest wait for that many, milliseconds. */
const BATCH = 500
const WAIT = 50

/**
 * Books what the routers report. A batch is acknowledged once its transaction is committed. When it fails (the database is away)
 * nothing of it is acknowledged and the bus delivers it again; what was committed before a lost acknowledgement falls on the
 * ledger's unique key.
 */
export function consumeUsage(deps: { bus: Bus; ledger: Ledger; log: Log }): Service {
  const { bus, ledger, log } = deps
  return bus.consume('ledger', { batch: BATCH, wait: WAIT }, async (events) => {
    try {
      await ledger.book(events)
    } catch (error) {
      log.error({ error, events: events.length }, 'a batch of usage events could not be booked; it will be delivered again')
      throw error
    }
  })
}
