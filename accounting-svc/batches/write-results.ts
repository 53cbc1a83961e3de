import type { Clock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import { deleteLines, type EndedLine, endBatch, listLines, type OwnBatchRow } from '../sql/own-batches.ts'
import { listBatch } from './own-batches.ts'
import { fileWriter } from './own-files.ts'

/** Lines read at once, and bytes of results: all of them are in memory. */
const READ_AT_ONCE = 100
const READ_BYTES = 4 * 1024 * 1024

/** What lines are told that never ran, by what became of the batch. */
const UNFINISHED: Readonly<Record<string, readonly [code: string, message: string]>> = {
  expired: ['batch_expired', 'This request could not be executed before the completion window expired.'],
  cancelled: ['batch_cancelled', 'This request was not executed: the batch was cancelled.'],
  failed: ['batch_failed', 'This request was not executed: the batch failed.'],
}

/**
 * Ends a batch whose lines do not run any more: results become files, lines go. In one transaction: files are there whole, once, or the batch has
 * not ended yet.
 */
export async function writeResults(deps: { db: Database; clock: Clock; lifetime: number }, batch: OwnBatchRow): Promise<void> {
  const { db, clock } = deps
  const ending = batch.ending ?? 'completed'
  await db.transaction(async (tx) => {
    const now = clock.now()
    const created = { maker: batch.maker, createdAt: now, expiresAt: now + (batch.lifetime ?? deps.lifetime) }
    const name = batch.id.replace(/^batch_/, '')
    const output = fileWriter(tx, { ...created, id: `file-${name}-output`, filename: `${batch.id}_output.jsonl` })
    const errors = fileWriter(tx, { ...created, id: `file-${name}-error`, filename: `${batch.id}_error.jsonl` })
    let completed = 0
    let failed = 0
    let after = 0
    for (;;) {
      const lines = await listLines(tx, batch.id, after, READ_AT_ONCE, READ_BYTES)
      if (lines.length === 0) break
      for (const line of lines) {
        after = line.line
        if (line.state === 'answered') {
          completed += 1
          await output.write(`${line.result}\n`)
        } else {
          failed += 1
          await errors.write(`${line.result ?? unfinished(batch, line, ending)}\n`)
        }
      }
    }
    const files = { outputFileId: await output.end(), errorFileId: await errors.end() }
    const ended = await endBatch(tx, batch.id, { ...files, completed, failed, state: ending, now })
    // Another process was faster: nothing of this one stays.
    if (ended === undefined) throw new Error(`batch ${batch.id} has ended already`)
    await deleteLines(tx, batch.id)
    await listBatch(tx, ended, 'seen', now)
  })
}

function unfinished({ id }: OwnBatchRow, { line, customId }: EndedLine, ending: string): string {
  const [code, message] = UNFINISHED[ending] ?? ['batch_failed', 'This request was not executed.']
  return JSON.stringify({ id: resultId(id, line), custom_id: customId, response: null, error: { code, message } })
}

/** Id of a line's result. */
export function resultId(batchId: string, line: number): string {
  return `${batchId.replace(/^batch_/, 'batch_req_')}_${line}`
}
