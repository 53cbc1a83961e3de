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
  readonly #slots = new Map<number, Set<Deadline>>()
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
    const deadline: Deadline = { run }
    let entries = this.#slots.get(slot)
    if (entries === undefined) {
      entries = new Set()
      this.#slots.set(slot, entries)
    }
    entries.add(deadline)
    if (this.#timer === null) {
      this.#current = this.#slot(this.#clock.monotonic())
      this.#timer = this.#clock.every(this.#tick, () => this.#turn())
    }
    const home = entries
    return {
      cancel: () => {
        home.delete(deadline)
        if (home.size === 0) this.#slots.delete(slot)
        this.#rest()
      },
    }
  }

  /** Deadlines not yet run. */
  get pending(): number {
    let count = 0
    for (const entries of this.#slots.values()) count += entries.size
    return count
  }

  #slot(time: number): number {
    return Math.floor(time / this.#tick)
  }

  #turn(): void {
    const now = this.#slot(this.#clock.monotonic())
    while (this.#current < now) {
      this.#current += 1
      const entries = this.#slots.get(this.#current)
      if (entries === undefined) continue
      this.#slots.delete(this.#current)
      for (const deadline of entries) deadline.run()
    }
    this.#rest()
  }

  #rest(): void {
    if (this.#slots.size > 0 || this.#timer === null) return
    this.#timer.cancel()
    this.#timer = null
  }
}

interface Deadline {
  run: () => void
}
