import type { Database } from '../../shared/db/db.ts'
import type { ProvenEntry } from '../prove/compare.ts'

/** Every entry of a key that began at or after `from` (Unix milliseconds). A price was known wherever something was used. */
export function findProvenEntries(db: Database, keyHash: string, from: number): Promise<ProvenEntry[]> {
  return db.query<ProvenEntry>(
    `select call_id as "callId", take, attempt, entry, outcome, cost_nano as cost, (rate_version is not null or cost_nano <> 0) as billed,
       estimated, calls, input_tokens as "inputTokens", output_tokens as "outputTokens"
     from ledger where key_hash = $1 and started_at >= to_timestamp($2::double precision / 1000)`,
    [keyHash, from],
  )
}

/** How many calls of a key, begun at or after `from`, are in the ledger. */
export async function countProvenCalls(db: Database, keyHash: string, from: number): Promise<number> {
  const rows = await db.query<{ calls: number }>(
    `select count(distinct call_id) as calls from ledger where key_hash = $1 and started_at >= to_timestamp($2::double precision / 1000)`,
    [keyHash, from],
  )
  return rows[0]?.calls ?? 0
}

/** Sums of a key in a table of roll-ups. */
export interface KeyRollUp {
  cost: number
  calls: number
  input: number
  output: number
}

const SUMS = `coalesce(sum(cost_nano), 0)::bigint as cost, coalesce(sum(calls), 0)::bigint as calls,
  coalesce(sum(input_tokens), 0)::bigint as input, coalesce(sum(output_tokens), 0)::bigint as output`

export function sumDailySpend(db: Database, keyHash: string): Promise<KeyRollUp[]> {
  return db.query<KeyRollUp>(`select ${SUMS} from daily_spend where key_hash = $1`, [keyHash])
}

export function sumTagSpend(db: Database, keyHash: string, tag: string): Promise<KeyRollUp[]> {
  return db.query<KeyRollUp>(`select ${SUMS} from daily_label_spend where kind = 'tag' and label = $2 and key_hash = $1`, [
    keyHash,
    tag,
  ])
}
