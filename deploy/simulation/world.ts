import type { Clock, Timer } from '../../shared/clock.ts'
import { hashText } from './random.ts'

/**
 * Virtual time and the processes that live in it. Everything that happens is an event at a time; one event runs at a time, to its end:
 * all microtasks, all immediates and all real I/O it began are over before the next. So a run depends on its seed alone.
 */
export interface World {
  /** Milliseconds since the start, fractional. */
  readonly now: number
  /** Events run so far. */
  readonly steps: number
  /** Of all that happened, in order: equal for equal runs. */
  readonly hash: string
  /** A clock that belongs to no process. */
  readonly clock: Clock
  /** Something to do after `delay` milliseconds. With a process: not once it is dead, and later while it is frozen. */
  after(delay: number, process: SimulatedProcess | null, what: string, run: () => void): Timer
  spawn(name: string): SimulatedProcess
  /** Processes alive. */
  readonly processes: readonly SimulatedProcess[]
  /** Adds a line to the hash, and to the trace when there is one. */
  note(text: string): void
  /** Real work that belongs to the event that runs: time stands still until it is done. */
  hold<Result>(work: Promise<Result>): Promise<Result>
  /** Runs what is due until `until` says so; false = nothing more to do or `limit` virtual milliseconds reached. */
  run(until: () => boolean, limit: number): Promise<boolean>
  /** What was thrown where nobody caught it. */
  readonly crashes: readonly string[]
}

export interface SimulatedProcess {
  readonly name: string
  readonly clock: Clock
  readonly dead: boolean
  readonly frozen: boolean
  /** Timers set and neither run nor cancelled. */
  readonly timers: number
  /** SIGKILL. */
  kill(): void
  /** SIGSTOP: what is due waits. */
  freeze(): void
  /** SIGCONT. */
  thaw(): void
  /** Runs once before the next thing it put off to the end of its turn: what it was about to write may be lost. */
  beforeImmediate: (() => void) | null
  /** Runs once when it is killed, after it is dead. */
  onKill(run: () => void): void
}

export interface WorldOptions {
  /** Unix milliseconds at the start. */
  start: number
  trace?: (line: string) => void
}

interface Event {
  at: number
  order: number
  what: string
  process: Life | null
  run: () => void
  every: number | null
  cancelled: boolean
  isTimer: boolean
}

/** A process as the world sees it. */
interface Life extends SimulatedProcess {
  timers: number
  held: Event[]
}

/** Most events of one moment: more means that two parties feed each other without time passing. */
const MOMENT_MAX = 100_000
/** The real one: what runs here has its own. */
const realImmediate = globalThis.setImmediate

export function createWorld({ start, trace }: WorldOptions): World {
  const queue = new Heap()
  const processes: Life[] = []
  const crashes: string[] = []
  let now = 0
  let order = 0
  let steps = 0
  let hash = 0x811c9dc5
  let second = 0x2545f491
  let io = 0
  let wakeIo: (() => void) | null = null
  let current: Life | null = null
  let immediates: { process: Life | null; run: () => void }[] = []

  const note = (text: string): void => {
    hash = hashText(text, hash)
    second = hashText(text, (second + hash) >>> 0)
    trace?.(`${now.toFixed(2)} ${text}`)
  }

  const add = (delay: number, process: Life | null, what: string, run: () => void, every: number | null, isTimer: boolean) => {
    const event: Event = { at: now + Math.max(0, delay), order: order++, what, process, run, every, cancelled: false, isTimer }
    if (process?.dead === true) return { event, cancel: () => undefined }
    if (isTimer && process !== null) process.timers += 1
    queue.push(event)
    return {
      event,
      cancel: () => {
        if (event.cancelled) return
        event.cancelled = true
        if (isTimer && process !== null) process.timers -= 1
      },
    }
  }

  const clockOf = (process: Life | null): Clock => ({
    now: () => start + Math.floor(now),
    monotonic: () => now,
    after: (delay, run) => add(delay, process, 'timer', run, null, true),
    every: (interval, run) => add(interval, process, 'interval', run, Math.max(1, interval), true),
  })

  class Living implements Life {
    readonly name: string
    readonly clock: Clock
    dead = false
    frozen = false
    timers = 0
    beforeImmediate: (() => void) | null = null
    held: Event[] = []
    readonly #ends: (() => void)[] = []

    constructor(name: string) {
      this.name = name
      this.clock = clockOf(this)
    }

    kill(): void {
      if (this.dead) return
      note(`kill ${this.name}`)
      this.dead = true
      this.timers = 0
      this.held = []
      processes.splice(processes.indexOf(this), 1)
      for (const run of this.#ends) run()
    }

    freeze(): void {
      if (this.dead || this.frozen) return
      note(`freeze ${this.name}`)
      this.frozen = true
    }

    thaw(): void {
      if (this.dead || !this.frozen) return
      note(`thaw ${this.name}`)
      this.frozen = false
      const held = this.held
      this.held = []
      // Each runs by itself, in the order they fell due.
      for (const event of held) {
        if (event.cancelled) continue
        event.at = now
        event.order = order++
        queue.push(event)
      }
    }

    onKill(run: () => void): void {
      this.#ends.push(run)
    }
  }

  function guarded(run: () => void): void {
    try {
      run()
    } catch (thrown) {
      crashes.push(`${current?.name ?? 'world'}: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`)
    }
  }

  async function settle(): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => realImmediate(resolve))
      if (immediates.length > 0) {
        const due = immediates
        immediates = []
        for (const { process, run } of due) {
          const first = process?.beforeImmediate
          if (process !== null && first != null) {
            process.beforeImmediate = null
            first()
          }
          if (process?.dead === true) continue
          guarded(run)
          // Node empties the microtask queue between two immediates.
          await new Promise<void>((resolve) => realImmediate(resolve))
        }
      } else if (io > 0) {
        await new Promise<void>((resolve) => {
          wakeIo = resolve
        })
      } else return
    }
  }

  async function step(event: Event): Promise<void> {
    now = Math.max(now, event.at)
    steps += 1
    current = event.process
    if (event.every === null) {
      event.cancelled = true
      if (event.isTimer && event.process !== null) event.process.timers -= 1
    }
    note(event.process === null ? event.what : `${event.process.name} ${event.what}`)
    guarded(event.run)
    await settle()
    current = null
    if (event.every === null || event.cancelled || event.process?.dead === true) return
    event.at = now + event.every
    event.order = order++
    queue.push(event)
  }

  return {
    get now() {
      return now
    },
    get steps() {
      return steps
    },
    get hash() {
      return hash.toString(16).padStart(8, '0') + second.toString(16).padStart(8, '0')
    },
    clock: clockOf(null),
    processes,
    crashes,
    note,
    after: (delay, process, what, run) => add(delay, process as Life | null, what, run, null, false),
    spawn(name) {
      const process = new Living(name)
      processes.push(process)
      return process
    },
    async hold(work) {
      io += 1
      try {
        return await work
      } finally {
        io -= 1
        if (io === 0) {
          wakeIo?.()
          wakeIo = null
        }
      }
    },
    async run(until, limit) {
      const restore = own((run) => void immediates.push({ process: current, run }))
      let moment = 0
      try {
        await settle()
        while (!until()) {
          const event = queue.pop()
          if (event === undefined) return false
          if (event.cancelled || event.process?.dead === true) continue
          if (event.process?.frozen === true) {
            event.process.held.push(event)
            continue
          }
          if (event.at > limit) {
            queue.push(event)
            return false
          }
          moment = event.at > now ? 0 : moment + 1
          if (moment > MOMENT_MAX) throw new Error(`time stands still at ${now} ms, at ${event.what}`)
          await step(event)
        }
        return true
      } finally {
        restore()
      }
    },
  }
}

/** Services that wait for the end of their turn (`setImmediate`) wait for the end of an event here. */
function own(take: (run: () => void) => void): () => void {
  const before = globalThis.setImmediate
  const mine = (run: (...args: unknown[]) => void, ...args: unknown[]): object => {
    take(() => run(...args))
    return {}
  }
  globalThis.setImmediate = mine as unknown as typeof setImmediate
  return () => {
    globalThis.setImmediate = before
  }
}

/** Events by time, and by the order they were added where that is equal. */
class Heap {
  readonly #items: Event[] = []

  push(event: Event): void {
    const items = this.#items
    let at = items.length
    items.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(event, items[parent] as Event)) break
      items[at] = items[parent] as Event
      at = parent
    }
    items[at] = event
  }

  pop(): Event | undefined {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (first === undefined || last === undefined || items.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && before(items[child + 1] as Event, items[child] as Event)) child += 1
      if (!before(items[child] as Event, last)) break
      items[at] = items[child] as Event
      at = child
    }
    items[at] = last
    return first
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
