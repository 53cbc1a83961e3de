import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Log } from '../../shared/log.ts'
import type { Ledger } from './book.ts'

/** Most events in one transaction, and the longest wait for that many, milliseconds. */
const BATCH = 1_000
const WAIT = 50
/**
 * Least milliseconds between two transactions that are not full. One costs 2 ms of this process and as much of PostgreSQL however few calls it
 * books, so at 500 calls per second 50 ms made a call twice as dear as 200 ms do.
 */
const REST = 200
/** Full transactions under way at once: while one waits for the disk the next is prepared. Measured: 1 → 9,400 entries/s, 2 → 12,900. */
const LANES = 2

/**
 * Books what the routers report. A batch is acknowledged once its transaction is committed. When it fails (the database is away)
 * nothing of it is acknowledged and the bus delivers it again; what was committed before a lost acknowledgement falls on the
 * ledger's unique key.
 */
export function consumeUsage(deps: { bus: Bus; ledger: Ledger; log: Log }): Service {
  const { bus, ledger, log } = deps
  const running = new Set<Promise<void>>()

  async function book(events: unknown[]): Promise<void> {
    try {
      await ledger.book(events)
    } catch (error) {
      log.error({ err: error, events: events.length }, 'a batch of usage events could not be booked; it will be delivered again')
      throw error
    }
  }

  const consumer = bus.consume('ledger', { batch: BATCH, wait: WAIT, rest: REST, lanes: LANES }, (events) => {
    const work = book(events)
    running.add(work)
    const done = (): unknown => running.delete(work)
    work.then(done, done)
    return work
  })
  return {
    async stop() {
      await consumer.stop()
      // The database may be closed right after this.
      await Promise.allSettled(running)
    },
  }
}
