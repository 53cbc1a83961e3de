import { LAST_PRIORITY } from '../../proto/call.ts'
import type { Clock, Timer } from '../../shared/clock.ts'
import type { Call } from '../call.ts'

/**
 * The waiting room: calls that find every deployment of their group at its limit of calls at once (or, where they have a priority, cooled
 * down) wait here instead of failing, by priority and then by age (surface reference §5.3, §5.8).
 *
 * One at a time is told to go, the first of its group: when a call of the group ends here (`wake`), and every POLL milliseconds, because
 * slots are freed by other routers too. Who went and found nothing waits again, in the same place.
 */
export interface WaitingRoom {
  /** `until`: monotonic milliseconds. `full`: too many wait already. Uses `call.stop` while it waits. */
  wait(call: Call, group: string, until: number): Promise<'go' | 'timeout' | 'cancelled' | 'full'>
  /** Something of `group` was freed: its first waiter tries. */
  wake(group: string): void
  /** How many wait for `group`. While some do, a new call belongs behind them. */
  queued(group: string): number
  /** How many wait; 0 nearly always, so that asking first costs nothing. */
  readonly size: number
  /** Everybody goes, to find out for themselves; nobody waits any more (`full`). */
  stop(): void
}

/** LiteLLM polls every 30 ms; ours wake each other here, so this is for slots freed elsewhere. */
const POLL = 40
/** Calls waiting in one router: past that a refusal at once is the better answer. */
const WAITING_MAX = 5_000

interface Waiter {
  priority: number
  /** When the call came, monotonic: it keeps its place when it went in vain. */
  arrival: number
  go(how: 'go' | 'timeout' | 'cancelled'): void
}

export function createWaitingRoom({ clock, limit = WAITING_MAX }: { clock: Clock; limit?: number }): WaitingRoom {
  const groups = new Map<string, Waiter[]>()
  let size = 0
  let poll: Timer | null = null
  let stopped = false

  function remove(group: string, waiter: Waiter): void {
    const queue = groups.get(group)
    const index = queue?.indexOf(waiter) ?? -1
    if (queue === undefined || index < 0) return
    queue.splice(index, 1)
    if (queue.length === 0) groups.delete(group)
    size -= 1
    if (size > 0 || poll === null) return
    poll.cancel()
    poll = null
  }

  function wake(group: string): void {
    groups.get(group)?.[0]?.go('go')
  }

  function wait(call: Call, group: string, until: number): Promise<'go' | 'timeout' | 'cancelled' | 'full'> {
    if (call.cancelled !== null) return Promise.resolve('cancelled')
    const left = until - clock.monotonic()
    if (left <= 0) return Promise.resolve('timeout')
    if (stopped || size >= limit) return Promise.resolve('full')
    return new Promise((resolve) => {
      const waiter: Waiter = {
        priority: rankOf(priorityOf(call)),
        arrival: call.startedMonotonic,
        go(how) {
          timer.cancel()
          call.stop = null
          remove(group, waiter)
          resolve(how)
        },
      }
      const timer = clock.after(left, () => waiter.go('timeout'))
      call.stop = () => waiter.go('cancelled')
      let queue = groups.get(group)
      if (queue === undefined) {
        queue = []
        groups.set(group, queue)
      }
      queue.splice(placeOf(queue, waiter), 0, waiter)
      size += 1
      poll ??= clock.every(POLL, () => {
        for (const name of [...groups.keys()]) wake(name)
      })
    })
  }

  return {
    wait,
    wake,
    queued: (group) => groups.get(group)?.length ?? 0,
    get size() {
      return size
    },
    stop() {
      stopped = true
      for (const queue of [...groups.values()]) for (const waiter of [...queue]) waiter.go('go')
    },
  }
}

/** 0 goes first; calls without a priority go last. */
export function priorityOf(call: Call): number {
  return call.options.priority ?? call.routing.defaultPriority ?? Number.POSITIVE_INFINITY
}

/** Whoever says the last place there is stands behind those who say none. */
function rankOf(priority: number): number {
  if (priority === LAST_PRIORITY) return Number.POSITIVE_INFINITY
  return Math.min(priority, LAST_PRIORITY - 1)
}

/** Where a waiter belongs, by halving: behind everybody of its priority who came before. */
function placeOf(queue: readonly Waiter[], { priority, arrival }: Waiter): number {
  let from = 0
  let to = queue.length
  while (from < to) {
    const middle = (from + to) >> 1
    const other = queue[middle] as Waiter
    if (other.priority < priority || (other.priority === priority && other.arrival <= arrival)) from = middle + 1
    else to = middle
  }
  return from
}
