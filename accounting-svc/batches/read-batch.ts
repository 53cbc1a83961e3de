import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import {
  type BatchChange,
  type BatchError,
  changeBatch,
  deleteLines,
  endBatch,
  insertLines,
  type NewLine,
  type OwnBatchRow,
  setTotal,
} from '../sql/own-batches.ts'
import { findOwnFile, readOwnPart } from '../sql/own-files.ts'
import { listBatch } from './own-batches.ts'
import { createInputReader } from './read-input.ts'

/** Lines written at once, and characters of them. */
const WRITTEN_AT_ONCE = 500
const WRITTEN_SIZE = 4 * 1024 * 1024

/**
 * Makes lines of a batch's input: it goes on to run, or fails with what is wrong. All in one transaction: a process that dies here leaves nothing
 * behind.
 */
export async function readBatch({ db, clock }: { db: Database; clock: Clock }, batch: OwnBatchRow): Promise<void> {
  await db.transaction(async (tx) => {
    await deleteLines(tx, batch.id)
    const errors = await readLines(tx, batch)
    const now = clock.now()
    const change: BatchChange =
      errors.length === 0
        ? { state: 'in_progress', moment: 'in_progress_at', now }
        : { state: 'failed', moment: 'failed_at', now, errors }
    let changed = await changeBatch(tx, batch.id, ['validating'], change)
    if (errors.length > 0 && changed !== undefined) {
      // What was read before the first problem.
      await deleteLines(tx, batch.id)
      await setTotal(tx, batch.id, 0)
      const nothing = { outputFileId: null, errorFileId: null, completed: 0, failed: 0 }
      changed = await endBatch(tx, batch.id, { ...nothing, state: 'failed', now })
    }
    if (changed !== undefined) await listBatch(tx, changed, 'seen', now)
  })
}

/** What is wrong with the input; nothing = its lines are written. */
async function readLines(tx: Transaction, batch: OwnBatchRow): Promise<readonly BatchError[]> {
  const file = await findOwnFile(tx, batch.inputFileId)
  if (file === undefined)
    return [{ code: 'invalid_input_file', message: 'The input file is gone.', param: 'input_file_id', line: null }]
  const reader = createInputReader(batch.endpoint)
  let lines: NewLine[] = []
  let size = 0
  const take = async (some: readonly NewLine[]): Promise<void> => {
    for (const line of some) {
      lines.push(line)
      size += line.request.length
      if (lines.length >= WRITTEN_AT_ONCE || size >= WRITTEN_SIZE) await write()
    }
  }
  const write = async (): Promise<void> => {
    if (lines.length > 0) await insertLines(tx, batch.id, lines)
    lines = []
    size = 0
  }
  for (let part = 0; ; part += 1) {
    const content = await readOwnPart(tx, file.id, part)
    if (content === null) break
    await take(reader.push(content))
  }
  await take(reader.end())
  await write()
  await setTotal(tx, batch.id, reader.total)
  return reader.errors
}
