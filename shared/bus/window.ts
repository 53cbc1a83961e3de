import { CREDIT_FLOOR, CREDIT_MAX, CREDIT_POOL, CREDIT_START } from '../../proto/frames.ts'
import type { Clock } from '../clock.ts'

/** A half window read within this many milliseconds is a fast reader's: 32 KB in 50 ms is 640 KB/s. */
const FAST = 50

/** What all windows of one opening process share: their sum stays under `limit` bytes. */
export class WindowPool {
  readonly #limit: number
  #streams = 0
  #used = 0

  constructor(limit: number = CREDIT_POOL) {
    this.#limit = limit
  }

  /** Bytes granted to servers and not yet consumed, over all streams. */
  get used(): number {
    return this.#used
  }

  /** Largest window one stream may have now. */
  get share(): number {
    const share = Math.floor(this.#limit / Math.max(1, this.#streams))
    return Math.min(CREDIT_MAX, Math.max(CREDIT_FLOOR, share))
  }

  enter(): void {
    this.#streams += 1
  }

  leave(outstanding: number): void {
    this.#streams -= 1
    this.#used -= outstanding
  }

  /**
   * Takes up to `want` bytes for a stream that has `outstanding` ones. A stream is never left below the floor: with nothing
   * outstanding it would wait for ever.
   */
  take(want: number, outstanding: number): number {
    const free = Math.max(this.#limit - this.#used, CREDIT_FLOOR - outstanding)
    const granted = Math.max(0, Math.min(want, free))
    this.#used += granted
    return granted
  }

  give(bytes: number): void {
    this.#used -= bytes
  }
}

/** The credit of one stream as its opener grants it. Outstanding = granted − consumed, the most a stalled reader can cost. */
export class Window {
  readonly #pool: WindowPool
  readonly #clock: Clock
  readonly initial: number
  #target: number
  #outstanding: number
  #grantedAt: number

  constructor(pool: WindowPool, clock: Clock, now: number) {
    this.#pool = pool
    this.#clock = clock
    pool.enter()
    this.#target = Math.min(CREDIT_START, pool.share)
    this.initial = pool.take(this.#target, 0)
    this.#outstanding = this.initial
    this.#grantedAt = now
  }

  /** Books `bytes` that left towards the client; returns the credit to send now, 0 when it is not worth a message yet. */
  consume(bytes: number): number {
    const done = Math.min(bytes, this.#outstanding)
    this.#outstanding -= done
    this.#pool.give(done)
    const share = this.#pool.share
    if (this.#target > share) this.#target = share
    if (this.#outstanding > this.#target / 2) return 0
    const now = this.#clock.monotonic()
    if (now - this.#grantedAt < FAST) this.#target = Math.min(share, this.#target * 2)
    this.#grantedAt = now
    const granted = this.#pool.take(this.#target - this.#outstanding, this.#outstanding)
    this.#outstanding += granted
    return granted
  }

  close(): void {
    this.#pool.leave(this.#outstanding)
    this.#outstanding = 0
  }
}
