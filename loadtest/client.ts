import { type Clock, systemClock } from '../shared/clock.ts'
import { Connection } from './connection.ts'
import { Durations, differences, type Summary } from './measure.ts'
import { ChunkCounter, type LoadOptions, type LoadResult, Tally, type Timing } from './tally.ts'

/**
 * The load client. Closed loop: so many connections, each with the next call as soon as the last has ended; for throughput and CPU per
 * call. Open loop: so many calls per second whatever the answers do, latency from when a call *should* have started, so that a stall
 * is felt by every call that would have come meanwhile (no coordinated omission). Streams: first token, gaps, delay per chunk.
 */

/** A call that has not answered for so long, in milliseconds, is an error; the load must end even when the gateway does not. */
const GIVE_UP = 30_000
/** Groups in which connections begin over a ramp. */
const RAMP_STEPS = 64

/**
 * `connections` clients, each calling as soon as its last call has ended. They begin one after another over `ramp` milliseconds (default
 * 0: all at once). `cut`: calls under way at the end are left instead of waited for, and count neither as calls nor as failures.
 */
export function closedLoop(
  options: LoadOptions & { connections: number; ramp?: number; cut?: boolean },
): Promise<LoadResult & { unfinished: number }> {
  const clock = options.clock ?? systemClock
  const tally = new Tally(clock, options)
  const open = new Set<Connection>()
  return new Promise((resolve) => {
    let running = options.connections
    const leave = (connection: Connection): void => {
      connection.abort()
      open.delete(connection)
      running -= 1
      if (running === 0) resolve({ ...tally.result(), unfinished: 0 })
    }
    let left = false
    if (options.cut === true) {
      clock.after((options.warmup ?? 0) + options.duration, () => {
        left = true
        if (running === 0) return
        for (const connection of open) connection.abort()
        resolve({ ...tally.result(), unfinished: open.size })
      })
    }
    const worker = (): void => {
      if (left) return
      const connection = new Connection(options.origin)
      open.add(connection)
      const next = (): void => {
        if (left) return
        if (tally.over()) {
          leave(connection)
          return
        }
        // After a failure a moment's rest: refused connections fail faster than anything else and would drown the machine.
        runCall(connection, options, clock, tally, clock.monotonic(), (timing) => {
          if (timing.good) next()
          else clock.after(10, next)
        })
      }
      next()
    }
    const { ramp = 0, connections } = options
    const group = Math.ceil(connections / RAMP_STEPS)
    for (let index = 0; index < connections; index += 1) {
      const wait = ramp * (Math.floor(index / group) / RAMP_STEPS)
      if (wait === 0) worker()
      else clock.after(wait, worker)
    }
  })
}

/**
 * `rate` calls per second, due at whole milliseconds. A call that finds all `connections` busy waits, and its wait counts. The
 * client's own lateness (timers, its own work) is in `late`, so that it is not taken for the gateway's.
 */
export function openLoop(options: LoadOptions & { rate: number; connections: number }): Promise<LoadResult> {
  const clock = options.clock ?? systemClock
  const tally = new Tally(clock, options)
  const free: Connection[] = []
  const queue: number[] = []
  const start = clock.monotonic()
  const end = (options.warmup ?? 0) + options.duration
  let opened = 0
  let due = 0
  let running = 0
  return new Promise((resolve) => {
    const finish = (): void => {
      if (due < end || running > 0) return
      timer.cancel()
      for (const connection of free) connection.abort()
      resolve(tally.result(queue.length))
    }
    const begin = (connection: Connection, at: number): void => {
      running += 1
      runCall(connection, options, clock, tally, at, () => {
        running -= 1
        const waiting = queue.shift()
        if (waiting !== undefined) begin(connection, waiting)
        else free.push(connection)
        finish()
      })
    }
    const tick = (): void => {
      const now = clock.monotonic()
      // Every call due by now, also those a late timer has missed: their latency counts from when they were due.
      while (due < end && start + due <= now) {
        const at = start + Math.floor(due)
        tally.late(now - at)
        due += 1_000 / options.rate
        const idle = free.pop()
        if (idle !== undefined) begin(idle, at)
        else if (opened < options.connections) {
          opened += 1
          begin(new Connection(options.origin), at)
        } else queue.push(at)
      }
      finish()
    }
    const timer = clock.every(1, tick)
  })
}

/**
 * Alternates calls between a direct way and one through the gateway, one at a time, and takes the difference of each pair: what drifts
 * on the machine drifts for both.
 */
export async function paired(
  direct: LoadOptions,
  through: LoadOptions,
  pairs: number,
  clock: Clock = systemClock,
): Promise<{ direct: LoadResult; through: LoadResult; added: Summary; addedFirst: Summary }> {
  const sides = [direct, through].map((options) => ({
    options,
    tally: new Tally(clock, options),
    connection: new Connection(options.origin),
  }))
  const added: number[] = []
  const addedFirst: number[] = []
  for (let index = 0; index < pairs && !sides.some(({ tally }) => tally.over()); index += 1) {
    const pair: Timing[] = []
    // Who goes first alternates too: the first call of a pair finds colder caches.
    for (const side of index % 2 === 0 ? [0, 1] : [1, 0]) {
      const { options, tally, connection } = sides[side] as (typeof sides)[number]
      pair[side] = await new Promise((done) => runCall(connection, options, clock, tally, clock.monotonic(), done))
    }
    const [one, two] = pair as [Timing, Timing]
    if (!one.good || !two.good || !sides.every(({ tally }) => tally.measuring())) continue
    added.push(two.total - one.total)
    addedFirst.push(two.first - one.first)
  }
  for (const { connection } of sides) connection.abort()
  const [one, two] = sides.map(({ tally }) => tally.result()) as [LoadResult, LoadResult]
  return { direct: one, through: two, added: differences(added), addedFirst: differences(addedFirst) }
}

export interface HeldStreams {
  /** Streams that have shown their first chunk and are open. */
  open: number
  failed: Record<string, number>
  first: Summary
  /** Leaves all of them. */
  release(): void
}

/** Opens `count` streams, `rate` per second, and keeps them. Resolves when each has shown a chunk, or failed, or `limit` ms have passed. */
export function holdStreams(options: {
  origin: string
  call: LoadOptions['call']
  count: number
  rate: number
  limit: number
  clock?: Clock
}): Promise<HeldStreams> {
  const clock = options.clock ?? systemClock
  const connections: Connection[] = []
  const failed: Record<string, number> = {}
  const first = new Durations()
  let open = 0
  let failures = 0
  return new Promise((resolve) => {
    const settle = (): void => {
      if (open + failures < options.count) return
      done()
    }
    const done = (): void => {
      timer.cancel()
      limit.cancel()
      const release = (): void => {
        for (const connection of connections) connection.abort()
      }
      resolve({ open, failed, first: first.summary(), release })
    }
    const fail = (reason: string, shown: boolean): void => {
      failed[reason] = (failed[reason] ?? 0) + 1
      if (shown) open -= 1
      failures += 1
      settle()
    }
    const add = (): void => {
      const connection = new Connection(options.origin)
      const started = clock.monotonic()
      let shown = false
      let status = 0
      connections.push(connection)
      connection.call(bytesOf(options.call), {
        onHead: (head) => {
          status = head.status
        },
        onData: () => {
          if (shown || status !== 200) return
          shown = true
          first.add(clock.monotonic() - started)
          open += 1
          settle()
        },
        onEnd: () => fail(status === 200 ? 'ended' : `status ${status}`, shown),
        onError: (error) => fail(reasonOf(error), shown),
      })
    }
    const timer = clock.every(10, () => {
      for (let index = 0; index < options.rate / 100 && connections.length < options.count; index += 1) add()
    })
    const limit = clock.after(options.limit, done)
  })
}

/** One call: sends, times, judges; `done` once it has ended in whatever way. `due`: monotonic milliseconds, when it should have started. */
function runCall(
  connection: Connection,
  options: LoadOptions,
  clock: Clock,
  tally: Tally,
  due: number,
  done: (timing: Timing) => void,
): void {
  let status = 0
  let first = 0
  let before = 0
  let readAt = 0
  let paused: { cancel(): void } | null = null
  const { stream } = options
  const chunks = stream === undefined ? null : new ChunkCounter()
  const finish = (reason: string | null): void => {
    watch.cancel()
    paused?.cancel()
    const now = clock.monotonic()
    const timing = { good: reason === null, total: now - due, first: first === 0 ? 0 : first - due }
    if (reason === null) tally.good(timing)
    else tally.bad(reason)
    done(timing)
  }
  const watch = clock.after(GIVE_UP, () => {
    connection.abort()
    finish('no end')
  })
  connection.call(bytesOf(options.call), {
    onHead: (head) => {
      status = head.status
    },
    onData: (bytes) => {
      tally.bytes(bytes.length)
      if (chunks === null || status !== 200) return
      const now = clock.monotonic()
      const seen = chunks.text
      chunks.take(bytes, tally)
      if (chunks.text === seen) return
      if (first === 0) {
        first = now
        tally.first(now - due)
      } else tally.gap(now - before)
      before = now
      if (stream?.abortAfter !== undefined && chunks.text >= stream.abortAfter) {
        connection.abort()
        finish(null)
      } else if (stream?.readRate !== undefined) {
        // Pieces of one read come one after another; each adds to the pause.
        readAt = Math.max(readAt, now) + (bytes.length / stream.readRate) * 1_000
        paused?.cancel()
        connection.pause()
        paused = clock.after(readAt - now, () => connection.resume())
      }
    },
    onEnd: () => finish(status === 200 ? (chunks !== null && !chunks.done ? 'cut short' : null) : `status ${status}`),
    onError: (error) => finish(reasonOf(error)),
  })
}

function bytesOf(call: LoadOptions['call']): Buffer {
  return typeof call === 'function' ? call() : call
}

function reasonOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}
