/** The only clock. Tests pass one they move (`testClock`); nothing else calls `Date.now` or `setTimeout`. */
export interface Clock {
  /** Unix milliseconds, for records. Never for durations: it may be stepped. */
  now(): number
  /** Milliseconds from an arbitrary start, never stepped, fractional. For durations. */
  monotonic(): number
  /** Runs once after `delay` milliseconds. Does not keep the process alive. */
  after(delay: number, run: () => void): Timer
  /** Runs every `interval` milliseconds until cancelled. Does not keep the process alive. */
  every(interval: number, run: () => void): Timer
}

export interface Timer {
  cancel(): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delay, run) {
    const timer = setTimeout(run, delay)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  every(interval, run) {
    const timer = setInterval(run, interval)
    timer.unref()
    return { cancel: () => clearInterval(timer) }
  },
}

export interface TestClock extends Clock {
  /** Moves time on, running what falls due in order; timers set meanwhile run too when they fall inside. */
  advance(milliseconds: number): void
  /** Timers not yet run or cancelled. */
  readonly pending: number
}

/** A clock that stands still until moved. */
export function testClock(start = 1_700_000_000_000): TestClock {
  let elapsed = 0
  let sequence = 0
  const timers = new Map<number, { at: number; run: () => void; every: number | null }>()
  const add = (delay: number, run: () => void, every: number | null): Timer => {
    const id = sequence++
    timers.set(id, { at: elapsed + Math.max(0, delay), run, every })
    return { cancel: () => void timers.delete(id) }
  }
  return {
    now: () => start + Math.floor(elapsed),
    monotonic: () => elapsed,
    after: (delay, run) => add(delay, run, null),
    every: (interval, run) => add(interval, run, Math.max(1, interval)),
    get pending() {
      return timers.size
    },
    advance(milliseconds) {
      const end = elapsed + milliseconds
      for (;;) {
        let next: [number, { at: number; run: () => void; every: number | null }] | undefined
        for (const entry of timers) {
          if (entry[1].at <= end && (next === undefined || entry[1].at < next[1].at)) next = entry
        }
        if (next === undefined) break
        const [id, timer] = next
        elapsed = Math.max(elapsed, timer.at)
        if (timer.every === null) timers.delete(id)
        else timer.at += timer.every
        timer.run()
      }
      elapsed = end
    },
  }
}

/**
 * A coarse deadline wheel: many deadlines, one timer. Deadlines run up to two ticks late, never early, so ten thousand open
 * streams cost one timer instead of ten thousand (undici does the same for its socket timeouts). Ticks of 25 ms leave half of the 100 ms
 * that a call may take beyond its deadline to the rest of the way.
 */
export class DeadlineWheel {
  readonly #clock: Clock
  readonly #tick: number
  readonly #slots = new Map<number, Slot>()
  #timer: Timer | null = null
  #current: number

  constructor(clock: Clock, tick = 25) {
    this.#clock = clock
    this.#tick = tick
    this.#current = this.#slot(clock.monotonic())
  }

  /** Runs `run` once, `delay` milliseconds from now (up to two ticks later). */
  set(delay: number, run: () => void): Timer {
    const slot = this.#slot(this.#clock.monotonic() + Math.max(0, delay)) + 1
    let deadlines = this.#slots.get(slot)
    if (deadlines === undefined) {
      deadlines = new Slot()
      this.#slots.set(slot, deadlines)
    }
    const deadline = new Deadline(this, slot, run)
    deadlines.add(deadline)
    if (this.#timer === null) {
      this.#current = this.#slot(this.#clock.monotonic())
      this.#timer = this.#clock.every(this.#tick, () => this.#turn())
    }
    return deadline
  }

  /** Called by a deadline that is cancelled before it ran. */
  drop(deadline: Deadline, slot: number): void {
    const deadlines = this.#slots.get(slot)
    if (deadlines === undefined) return
    deadlines.remove(deadline)
    if (deadlines.count === 0) this.#slots.delete(slot)
    this.#rest()
  }

  /** Deadlines not yet run. */
  get pending(): number {
    let count = 0
    for (const deadlines of this.#slots.values()) count += deadlines.count
    return count
  }

  #slot(time: number): number {
    return Math.floor(time / this.#tick)
  }

  #turn(): void {
    const now = this.#slot(this.#clock.monotonic())
    while (this.#current < now) {
      this.#current += 1
      const deadlines = this.#slots.get(this.#current)
      if (deadlines === undefined) continue
      for (let next = deadlines.first; next !== null; next = deadlines.first) {
        deadlines.remove(next)
        next.fall()
      }
      this.#slots.delete(this.#current)
    }
    this.#rest()
  }

  #rest(): void {
    if (this.#slots.size > 0 || this.#timer === null) return
    this.#timer.cancel()
    this.#timer = null
  }
}

/**
 * One deadline. What is over lets go of everything: garbage that has grown old would keep what is young alive (a set's outgrown table did, and
 * with it whole calls), and each collection would copy it.
 */
class Deadline implements Timer {
  before: Deadline | null = null
  after: Deadline | null = null
  #wheel: DeadlineWheel | null
  #run: (() => void) | null
  readonly #slot: number

  constructor(wheel: DeadlineWheel, slot: number, run: () => void) {
    this.#wheel = wheel
    this.#slot = slot
    this.#run = run
  }

  cancel(): void {
    const wheel = this.#wheel
    this.#wheel = null
    this.#run = null
    wheel?.drop(this, this.#slot)
  }

  /** Its time has come. */
  fall(): void {
    const run = this.#run
    this.#wheel = null
    this.#run = null
    run?.()
  }
}

/** The deadlines of one tick, in the order they were set. */
class Slot {
  first: Deadline | null = null
  #last: Deadline | null = null
  count = 0

  add(deadline: Deadline): void {
    deadline.before = this.#last
    if (this.#last === null) this.first = deadline
    else this.#last.after = deadline
    this.#last = deadline
    this.count += 1
  }

  remove(deadline: Deadline): void {
    const { before, after } = deadline
    if (before === null) this.first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    deadline.before = null
    deadline.after = null
    this.count -= 1
  }
}
