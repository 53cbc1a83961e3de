import type { Database } from '../../shared/db/db.ts'
import { condenseDay, daysToCondense } from '../sql/condensed.ts'
import type { Job } from './schedule.ts'

/** Milliseconds between looks. */
const INTERVAL = 10 * 60 * 1000
/** Days of one run: longer histories that were imported are worked off run by run. */
const MOST = 1000

/** Condenses the daily sums of days that are over, for reports over everybody. */
export function condenseDays(deps: { db: Database }): Job {
  return {
    name: 'condense-days',
    every: INTERVAL,
    async run() {
      for (const day of await daysToCondense(deps.db, MOST)) await condenseDay(deps.db, day)
    },
  }
}
