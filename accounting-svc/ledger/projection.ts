import type { Clock, Timer } from '../../shared/clock.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import type { Log } from '../../shared/log.ts'

/** Milliseconds that booking waits for the counters, and between tries while they are away. */
const WAIT = 2_000
const RETRY = 1_000
/** Leases and scopes kept for counters that are away. What is dropped past that is found again by the sweep of settled leases. */
const MOST_LEASES = 200_000
const MOST_SCOPES = 100_000

/** Tells the counters what the ledger has booked. */
export interface Projection {
  /**
   * Drops these leases and sets what scopes have spent, in one step. Resolves when the counters know, or when they took too long: then
   * they are told later. Never rejects, never waits longer than WAIT.
   */
  book(leases: readonly string[], spent: readonly Spent[]): Promise<void>
  /** Leases that the counters are still to be told of. */
  readonly pending: number
  /** Tells what is pending once more, and gives up. */
  stop(): Promise<void>
}

/**
 * One telling is under way at a time and what comes meanwhile goes together in the next, newest number per scope: so a lease is never
 * told later than a number that holds its cost, which would count it twice for a moment.
 *
 *   well   booking waits for its telling
 *   away   the last telling failed or takes long; nobody waits, it is tried again every RETRY
 */
export function createProjection(deps: { counters: Counters; clock: Clock; log: Log }): Projection {
  const { counters, clock, log } = deps
  let leases = new Set<string>()
  let spents = new Map<string, Spent>()
  /** Resolves when what is pending now was told or failed to be. */
  let next = deferred()
  let telling: Promise<void> | null = null
  let away = false
  let retry: Timer | null = null
  let stopped = false

  function add(newLeases: Iterable<string>, newSpents: Iterable<Spent>): void {
    for (const lease of newLeases) leases.add(lease)
    for (const spent of newSpents) {
      const known = spents.get(spent.scope)
      if (known === undefined || known.revision < spent.revision) spents.set(spent.scope, spent)
    }
    const dropped = trim(leases, MOST_LEASES) + trim(spents, MOST_SCOPES)
    if (dropped > 0) log.warn({ dropped }, 'the counters are away for long: the oldest bookings will be told by the sweep')
  }

  async function tellAll(): Promise<void> {
    while (leases.size + spents.size > 0) {
      const [toldLeases, toldSpents, told] = [leases, spents, next]
      leases = new Set()
      spents = new Map()
      next = deferred()
      try {
        await counters.book([...toldLeases], [...toldSpents.values()])
        if (away) log.info({}, 'the counters follow the ledger again')
        away = false
      } catch (error) {
        if (!away) log.warn({ err: error }, 'the counters could not be told what was booked; it is tried again')
        away = true
        const [newLeases, newSpents] = [leases, spents]
        leases = toldLeases
        spents = toldSpents
        add(newLeases, newSpents.values())
        next.resolve()
        next = deferred()
        return
      } finally {
        told.resolve()
      }
    }
  }

  function tell(): void {
    if (telling !== null || retry !== null) return
    telling = tellAll().finally(() => {
      telling = null
      if (!away || stopped) return
      retry = clock.after(RETRY, () => {
        retry = null
        tell()
      })
    })
  }

  return {
    async book(newLeases, newSpents) {
      if (newLeases.length + newSpents.length === 0) return
      add(newLeases, newSpents)
      const told = next.promise
      tell()
      if (away) return
      const late = await outlasts(clock, told, WAIT)
      if (!late || away) return
      away = true
      log.warn({}, 'the counters take long; bookings are told later')
    },
    get pending() {
      return leases.size
    },
    async stop() {
      stopped = true
      retry?.cancel()
      retry = null
      tell()
      if (telling !== null) await outlasts(clock, telling, WAIT)
    },
  }
}

/** Whether work is still under way after `limit` milliseconds. */
async function outlasts(clock: Clock, work: Promise<void>, limit: number): Promise<boolean> {
  let timer: Timer | null = null
  const over = new Promise<true>((resolve) => {
    timer = clock.after(limit, () => resolve(true))
  })
  const late = await Promise.race([work.then(() => false), over])
  ;(timer as Timer | null)?.cancel()
  return late
}

/** Drops the oldest until `most` are left; how many. */
function trim(kept: Set<string> | Map<string, unknown>, most: number): number {
  let dropped = 0
  for (const key of kept.keys()) {
    if (kept.size <= most) break
    kept.delete(key)
    dropped += 1
  }
  return dropped
}

function deferred(): { promise: Promise<void>; resolve(): void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
