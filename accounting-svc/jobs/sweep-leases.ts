import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import type { Projection } from '../ledger/projection.ts'
import { scopesOf } from '../ledger/scopes.ts'
import { type CallName, findBookedCalls } from '../sql/ledger.ts'
import { findSpent } from '../sql/spend.ts'
import type { Job } from './schedule.ts'

const INTERVAL = 1_000
const BATCH = 1_000
/** Settled leases looked at in a run; those of calls that are not booked yet stay, so it must be many. */
const MOST_SETTLED = 20_000
/** Milliseconds after which a settled call should long be booked. */
const SETTLED_AGE = 60_000

/**
 * Ends what would stay in the counters for ever: held leases of dead routers, and settled ones whose booking the counters were not
 * told of.
 */
export function sweepLeases(deps: { counters: Counters; projection: Projection; db: Database; log: Log }): Job {
  const { counters, projection, db, log } = deps
  /** Released, and the ledger not yet asked about. */
  let released: string[] = []

  /**
   * A lease may expire though its call ended well: its router could not settle it while the counters were away, and whoever booked it died
   * before it could tell them.
   */
  async function expired(): Promise<void> {
    for (;;) {
      const leases = await counters.sweep(BATCH)
      if (leases.length > 0)
        log.warn({ leases: leases.length, first: leases[0] }, 'holds of calls whose router is gone were released')
      released.push(...leases)
      if (released.length > 0) await tellBooked(released)
      released = []
      if (leases.length < BATCH) return
    }
  }

  async function settled(): Promise<void> {
    const leases = await counters.settledBefore(SETTLED_AGE, MOST_SETTLED)
    for (let at = 0; at < leases.length; at += BATCH) await tellBooked(leases.slice(at, at + BATCH))
  }

  async function tellBooked(leases: readonly string[]): Promise<void> {
    const names = leases.flatMap(callsOf)
    const booked = await findBookedCalls(db, names)
    if (booked.length === 0) return
    const there = new Set(booked.map(({ callId, take }) => `${take} ${callId}`))
    const over = names.filter(({ callId, take }) => there.has(`${take} ${callId}`)).map(({ lease }) => lease)
    const scopes = new Set(booked.flatMap(scopesOf))
    await projection.book([...new Set(over)], await findSpent(db, [...scopes]))
    log.warn({ leases: over.length }, 'the counters were told of bookings they had missed')
  }

  return {
    name: 'sweep-leases',
    every: INTERVAL,
    // Counters in memory are each process's own.
    everywhere: true,
    async run() {
      if (!(await counters.rebuilt())) return
      await expired()
      await settled()
    },
  }
}

/** The calls a lease may be of: a client may have given its call an id that ends like a take. */
function callsOf(lease: string): (CallName & { lease: string })[] {
  const match = /^(.+)~(\d{1,5})$/s.exec(lease)
  const first = { lease, callId: lease, take: 1 }
  return match === null ? [first] : [first, { lease, callId: match[1] as string, take: Number(match[2]) }]
}
