import type { Clock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { dropLedgerPartition, ensureLedgerPartition, findLedgerPartitions } from '../sql/partitions.ts'
import type { Job } from './schedule.ts'

/** Months made ahead of the present one. */
const AHEAD = 2
/** Milliseconds between looks. */
const INTERVAL = 60 * 60 * 1000

/** Makes the monthly partitions of the present and the next months. */
export async function makePartitions(db: Database, clock: Clock): Promise<void> {
  const now = new Date(clock.now())
  for (let month = 0; month <= AHEAD; month++) {
    await ensureLedgerPartition(db, Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + month, 1))
  }
}

/**
 * Makes the ledger's monthly partitions ahead of time and drops those whose last day is older than `retention` says (`90d`, `12mo`;
 * null = never): whole months, never rows. An entry whose month has no partition goes to the default one and is moved later.
 */
export function keepPartitions(deps: { db: Database; clock: Clock; log: Log; retention: () => string | null }): Job {
  const { db, clock, log, retention } = deps
  return {
    name: 'partitions',
    every: INTERVAL,
    async run() {
      await makePartitions(db, clock)
      const period = retention()
      if (period === null) return
      const oldest = before(clock.now(), period)
      for (const name of await findLedgerPartitions(db)) {
        if (endOf(name) > oldest) break
        await dropLedgerPartition(db, name)
        log.info({ partition: name, retention: period }, 'ledger entries past their retention were dropped')
      }
    },
  }
}

/** First moment after the month of a partition, Unix milliseconds. */
function endOf(name: string): number {
  return Date.UTC(Number(name.slice(7, 11)), Number(name.slice(12, 14)), 1)
}

/** A time as long before `now` as a duration says. */
function before(now: number, duration: string): number {
  const match = /^\s*(\d{1,9})(mo|[smhdw])/.exec(duration)
  const amount = Number(match?.[1])
  if (match?.[2] === 'mo') {
    const date = new Date(now)
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - amount, date.getUTCDate())
  }
  const length = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }[match?.[2] ?? '']
  // What cannot be read drops nothing.
  return length === undefined ? Number.NEGATIVE_INFINITY : now - amount * length
}
