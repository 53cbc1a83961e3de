import type { Transaction } from '../../shared/db/db.ts'

/** A usage event that could not be booked. */
export interface RejectedRow {
  digest: string
  /** JSON, unless it could not even be written as that. */
  event: string
  reason: string
  rejected_at: Date
}

/** Parked events by digest, after `after` (a digest; '' = from the start); `digests` null = any. */
export function findRejected(
  db: Transaction,
  digests: readonly string[] | null,
  after: string,
  most: number,
): Promise<RejectedRow[]> {
  return db.query<RejectedRow>(
    `select digest, event, reason, rejected_at from ledger_rejected
     where digest > $2 and ($1::text[] is null or digest = any($1)) order by digest limit $3`,
    [digests, after, most],
  )
}

export async function countRejected(db: Transaction): Promise<number> {
  const [row] = await db.query<{ count: number }>('select count(*)::int as count from ledger_rejected')
  return row?.count ?? 0
}

/** Forgets parked events: they are booked. */
export async function deleteRejected(db: Transaction, digests: readonly string[]): Promise<void> {
  await db.query('delete from ledger_rejected where digest = any($1)', [digests])
}
