import type { Clock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Job } from '../jobs/schedule.ts'
import { forgetBatches } from '../sql/own-batches.ts'
import type { OwnFiles } from './own-files.ts'

/** Milliseconds an ended batch can be asked for. */
const KEPT = 90 * 86_400_000

/** Deletes files whose time is over, and batches nobody asks for any more. */
export function sweepBatches(deps: { db: Database; clock: Clock; files: Pick<OwnFiles, 'sweep'> }): Job {
  return {
    name: 'sweep files and batches',
    every: 60_000,
    async run() {
      await deps.files.sweep()
      await forgetBatches(deps.db, deps.clock.now() - KEPT)
    },
  }
}
