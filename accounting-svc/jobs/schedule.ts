import type { Clock, Timer } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { claimLeadership, leaveLeadership } from '../sql/leader.ts'

/** Work that comes back. One accounting process of a cluster does it for all. */
export interface Job {
  /** In logs. */
  name: string
  /** Milliseconds between the end of one run and the start of the next. */
  every: number
  /** Every process runs it, for what is its own. */
  everywhere?: boolean
  run(): Promise<void>
}

export interface Schedule {
  /** Whether this process is the one that works. */
  readonly leader: boolean
  /** Starts no more work, waits for what runs, and lets another process take over at once. */
  stop(): Promise<void>
}

/** Milliseconds between looks at the leadership and at what is due. */
const TICK = 1_000
/** Milliseconds a leader is believed alive after its last look: so long after its death another takes over. */
const LEADER_TTL = 5_000
/** Failures in a row between two lines in the log. */
const LOG_EVERY = 60

/**
 * Runs jobs on one process of the cluster at a time, each job once at a time.
 *
 *   following   asks for the leadership every TICK
 *   leading     keeps it with every TICK and runs what is due; back to following when it could not be kept in time
 *
 * A process that was frozen may for a moment work beside its successor, so a job must be right even when two run at once.
 */
export function createSchedule(deps: { db: Database; clock: Clock; log: Log; id: string; jobs: readonly Job[] }): Schedule {
  const { db, clock, log, id } = deps
  const jobs = deps.jobs.map((job) => ({ job, dueAt: 0, running: null as Promise<void> | null, failures: 0 }))
  let heldUntil = Number.NEGATIVE_INFINITY
  let claiming: Promise<void> | null = null
  let wasLeader = false
  let stopped = false
  const leads = (): boolean => clock.monotonic() < heldUntil

  async function claim(): Promise<void> {
    const asked = clock.monotonic()
    try {
      if (await claimLeadership(db, 'jobs', id, LEADER_TTL)) heldUntil = asked + LEADER_TTL
    } catch {
      // The database is away, which everything else says too. What is held is held until its time.
    }
    if (stopped) return
    if (leads() !== wasLeader) {
      wasLeader = leads()
      log.info({ leader: wasLeader }, wasLeader ? 'this process runs the jobs of the cluster' : 'another process runs the jobs')
    }
    for (const entry of jobs) if (leads() || entry.job.everywhere === true) start(entry)
  }

  function start(entry: (typeof jobs)[number]): void {
    if (entry.running !== null || clock.monotonic() < entry.dueAt) return
    entry.running = run(entry).finally(() => {
      entry.running = null
      entry.dueAt = clock.monotonic() + entry.job.every
    })
  }

  async function run(entry: (typeof jobs)[number]): Promise<void> {
    try {
      await entry.job.run()
      entry.failures = 0
    } catch (error) {
      if (entry.failures % LOG_EVERY === 0) log.warn({ err: error, job: entry.job.name }, 'a job failed; it runs again')
      entry.failures += 1
    }
  }

  function tick(): void {
    if (claiming !== null) return
    claiming = claim().finally(() => {
      claiming = null
    })
  }

  const timer: Timer = clock.every(TICK, tick)
  tick()
  return {
    get leader() {
      return leads()
    },
    async stop() {
      stopped = true
      timer.cancel()
      await claiming
      const led = leads()
      heldUntil = Number.NEGATIVE_INFINITY
      await Promise.all(jobs.map(({ running }) => running))
      if (led) await leaveLeadership(db, 'jobs', id).catch(() => undefined)
    },
  }
}
