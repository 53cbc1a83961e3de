import { ownersOf } from '../../proto/objects.ts'
import { BATCH_ENDPOINTS, OWN, type OwnBatchesAsk } from '../../proto/own-batches.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { smallFacts } from '../../shared/object-facts.ts'
import { cleanJson } from '../ledger/entries.ts'
import { writeObject } from '../sql/objects.ts'
import { changeBatch, countLines, findBatch, insertBatch, type OwnBatchRow } from '../sql/own-batches.ts'
import { readyFile } from './own-files.ts'

type Facts = Record<string, unknown>

/**
 * Batches that the gateway runs itself. Each state is in the database, so that any process goes on where another ended.
 *
 *   validating    made; its input is read into lines (read-batch.ts) → in_progress | failed | cancelling | finalizing to expire
 *   in_progress   its lines are called (run-lines.ts) → finalizing to complete, to fail or to expire | cancelling
 *   cancelling    no line is begun any more; those under way end → cancelled
 *   finalizing    the same, and what it comes to is `ending` → completed | failed | expired
 *   completed, failed, cancelled, expired   over; what results there are is in files
 *
 * A line:
 *
 *   waiting → running    a process holds it for a lease and has opened its call
 *   running → waiting    worth another try, or its process died
 *   running → answered | refused
 */
export interface OwnBatches {
  create(asked: OwnBatchesAsk & { ask: 'create batch' }): Promise<Facts>
  read(id: string): Promise<Facts>
  /** One that has ended stays as it is. */
  cancel(id: string): Promise<Facts>
}

/** Pairs of metadata, and characters of names and values, as OpenAI allows. */
const METADATA_MAX = 16
const NAME_MAX = 64
const VALUE_MAX = 512
/** Milliseconds a batch may take. */
const WINDOW_MAX = 14 * 86_400_000
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Methods reject with GatewayError `bad_request` or `not_found`. `changed` is called when there is something to do. */
export function createOwnBatches(deps: { db: Database; clock: Clock; changed(): void }): OwnBatches {
  const { db, clock, changed } = deps
  return {
    async create({ owner: maker, fileId, endpoint, window, metadata, lifetime }) {
      if (!BATCH_ENDPOINTS.includes(endpoint)) {
        throw refused(`The endpoint of a batch must be one of ${BATCH_ENDPOINTS.join(', ')}, not ${endpoint}.`, 'endpoint')
      }
      const length = windowOf(window)
      checkMetadata(metadata)
      const now = clock.now()
      const [owner = ''] = ownersOf(maker)
      const id = `batch_${rowId().replaceAll('-', '')}`
      const batch = await db.transaction(async (tx) => {
        const file = await readyFile(tx, fileId)
        if (file.purpose !== 'batch') throw refused(`The file must have the purpose batch, not ${file.purpose}.`, 'input_file_id')
        const row = {
          id,
          owner,
          maker,
          endpoint,
          window,
          metadata,
          inputFileId: fileId,
          lifetime,
          createdAt: now,
          expiresAt: now + length,
        }
        const made = await insertBatch(tx, row)
        await listBatch(tx, made, 'created', now)
        return made
      })
      changed()
      return batchFacts(batch)
    },
    async read(id) {
      const batch = await findBatch(db, id)
      if (batch === undefined) throw new GatewayError('not_found', `No such batch: ${id}.`)
      if (batch.state !== 'in_progress' && batch.state !== 'cancelling' && batch.state !== 'finalizing') return batchFacts(batch)
      const { answered, refused: failed } = await countLines(db, id)
      return batchFacts({ ...batch, completed: answered, failed })
    },
    async cancel(id) {
      const now = clock.now()
      await db.transaction(async (tx) => {
        const change = { state: 'cancelling', ending: 'cancelled', moment: 'cancelling_at', now } as const
        const batch = await changeBatch(tx, id, ['validating', 'in_progress'], change)
        if (batch !== undefined) await listBatch(tx, batch, 'seen', now)
      })
      changed()
      return this.read(id)
    },
  }
}

/** Has lists show it as it is now. What it costs is booked with each line: there is nothing to settle. `at`: Unix milliseconds. */
export async function listBatch(tx: Transaction, batch: OwnBatchRow, what: 'created' | 'seen', at: number): Promise<void> {
  const [ownerName = ''] = ownersOf(batch.maker)
  const facts = cleanJson(smallFacts(batchFacts(batch)))
  const object = { ...batch.maker, kind: 'batch' as const, deploymentId: OWN, id: batch.id, provider: OWN, ownerName, facts, at }
  if (what === 'created') await writeObject(tx, { ...object, what })
  await writeObject(tx, { ...object, what: 'settled' })
}

const MOMENTS = [
  'in_progress_at',
  'finalizing_at',
  'completed_at',
  'failed_at',
  'expired_at',
  'cancelling_at',
  'cancelled_at',
] as const

/** In OpenAI's form, ids bare. */
export function batchFacts(batch: OwnBatchRow): Facts {
  const { id, endpoint, errors, moments, total, completed, failed } = batch
  return {
    id,
    object: 'batch',
    endpoint,
    errors: errors === null ? null : { object: 'list', data: errors },
    input_file_id: batch.inputFileId,
    completion_window: batch.window,
    status: batch.state,
    output_file_id: batch.outputFileId,
    error_file_id: batch.errorFileId,
    created_at: Math.floor(batch.createdAt / 1000),
    expires_at: Math.floor(batch.expiresAt / 1000),
    ...Object.fromEntries(MOMENTS.map((name) => [name, moments[name] ?? null])),
    request_counts: { total, completed, failed },
    metadata: batch.metadata,
  }
}

/** `24h` in milliseconds. */
function windowOf(window: string): number {
  const [, count = '', unit = ''] = /^(\d{1,7})([smhd])$/.exec(window) ?? []
  const length = Number(count) * (UNITS[unit] ?? 0)
  if (length > 0 && length <= WINDOW_MAX) return length
  throw refused(
    `completion_window must be a time like 24h, at most ${WINDOW_MAX / 86_400_000}d, not ${window}.`,
    'completion_window',
  )
}

function checkMetadata(metadata: Facts | null): void {
  const pairs = Object.entries(metadata ?? {})
  const good = pairs.every(([name, value]) => name.length <= NAME_MAX && typeof value === 'string' && value.length <= VALUE_MAX)
  if (good && pairs.length <= METADATA_MAX && !JSON.stringify(pairs).includes('\\u0000')) return
  throw refused(
    `metadata may have ${METADATA_MAX} pairs of texts, names of ${NAME_MAX} and values of ${VALUE_MAX} characters at most.`,
    'metadata',
  )
}

function refused(text: string, param: string): GatewayError {
  return new GatewayError('bad_request', text, { param })
}
