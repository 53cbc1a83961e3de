import type { Clock, Timer } from '../../shared/clock.ts'
import type { Log } from '../../shared/log.ts'
import type { Cache } from './cache.ts'
import type { CacheCounts } from './cache-counts.ts'

/** Milliseconds a call waits for a store; a provider is hardly slower. */
export const READ_LIMIT = 250
/** Milliseconds a store may take to keep an answer, which nobody waits for. */
const WRITE_LIMIT = 10_000
const LOG_INTERVAL = 10_000
/** Failures in a row after which a store is left alone, and milliseconds for how long: or every call would wait for it in vain. */
const FAILURES = 3
const REST = 1_000
/** Writes under way at once; a slow store must not pile up answers. */
const WRITES_MAX = 256

export interface GuardDeps {
  clock: Clock
  log: Log
  counts: Pick<CacheCounts, 'trouble'>
}

/** What `get` and `set` of a store become: they never reject, and never take long. */
export type GuardedCache = Pick<Cache, 'get' | 'set'>

/** Runs work on something that may be away. */
export interface Guard {
  /** The result, or `otherwise` when there is none within `limit` milliseconds. Never rejects. */
  run<T>(operation: string, limit: number, otherwise: T, work: () => Promise<T>): Promise<T>
}

/** States: well → resting (after FAILURES in a row, for REST; nothing is asked) → well. */
export function createGuard({ clock, log, counts }: GuardDeps): Guard {
  let failures = 0
  let restUntil = 0
  let mayLogAt = 0
  let unsaid = 0

  function trouble(operation: string, reason: string): void {
    counts.trouble(operation)
    failures += 1
    const now = clock.monotonic()
    if (failures >= FAILURES) restUntil = now + REST
    if (now < mayLogAt) {
      unsaid += 1
      return
    }
    mayLogAt = now + LOG_INTERVAL
    log.warn({ operation, reason, unsaid }, 'the cache does not answer; calls go on without it')
    unsaid = 0
  }

  return {
    run(operation, limit, otherwise, work) {
      if (clock.monotonic() < restUntil) return Promise.resolve(otherwise)
      return new Promise((resolve) => {
        let timer: Timer | null = clock.after(limit, () => {
          timer = null
          trouble(operation, `no answer within ${limit} ms`)
          resolve(otherwise)
        })
        const settle = (end: () => void): void => {
          if (timer === null) return
          timer.cancel()
          timer = null
          end()
        }
        work().then(
          (result) =>
            settle(() => {
              failures = 0
              resolve(result)
            }),
          (thrown) =>
            settle(() => {
              trouble(operation, thrown instanceof Error ? thrown.message : String(thrown))
              resolve(otherwise)
            }),
        )
      })
    },
  }
}

/** A store that calls may ask without care. */
export function guardCache(cache: Cache, guard: Guard): GuardedCache {
  let writes = 0
  return {
    get: (key) => guard.run('get', READ_LIMIT, null, () => cache.get(key)),
    async set(key, answer, ttl) {
      if (writes >= WRITES_MAX) return
      writes += 1
      await guard.run('set', WRITE_LIMIT, undefined, () => cache.set(key, answer, ttl))
      writes -= 1
    },
  }
}
