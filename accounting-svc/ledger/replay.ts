import type { Database } from '../../shared/db/db.ts'
import { deleteRejected, findRejected, type RejectedRow } from '../sql/rejected.ts'
import type { Ledger } from './book.ts'

/** Events read at once. */
const PAGE = 200

export interface Replayed {
  /** Digests of the events that are in the ledger now. */
  booked: string[]
  /** Still parked: what is wrong with them has not changed. */
  rejected: number
}

/**
 * Books parked events again, once whatever cause they were parked for is gone: a newer program, a corrected row. Those of `digests`,
 * null = all. Replaying twice, or dying in between, books nothing twice.
 */
export async function replayRejected(
  deps: { db: Database; ledger: Ledger },
  digests: readonly string[] | null,
): Promise<Replayed> {
  const { db, ledger } = deps
  const replayed: Replayed = { booked: [], rejected: 0 }
  let after = ''
  for (;;) {
    const page = await findRejected(db, digests, after, PAGE)
    const booked: string[] = []
    for (const row of page) if (await isBooked(ledger, row)) booked.push(row.digest)
    if (booked.length > 0) await deleteRejected(db, booked)
    replayed.booked.push(...booked)
    replayed.rejected += page.length - booked.length
    after = page.at(-1)?.digest ?? after
    if (page.length < PAGE) return replayed
  }
}

/** Alone, so that one that is wrong keeps back no other. */
async function isBooked(ledger: Ledger, row: RejectedRow): Promise<boolean> {
  let event: unknown
  try {
    event = JSON.parse(row.event)
  } catch {
    return false
  }
  return (await ledger.book([event])).rejected === 0
}
