import type { Bus } from '../../shared/bus/bus.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Job } from '../jobs/schedule.ts'
import { countImports } from '../sql/import-target.ts'

/** Milliseconds between looks. */
const INTERVAL = 2_000

/**
 * Tells every process when an import has written: the command that does is not on the bus, and what edges and routers know of keys,
 * customers and tags may be of before.
 */
export function watchImports({ db, bus }: { db: Database; bus: Bus }): Job {
  let known: number | null = null
  return {
    name: 'watch-imports',
    every: INTERVAL,
    // What one process has seen another has not.
    everywhere: true,
    async run() {
      const count = await countImports(db)
      if (known !== null && count !== known) {
        bus.announce('identity', {})
        bus.announce('budget', {})
      }
      known = count
    },
  }
}
