import { CREDIT_FLOOR, CREDIT_MAX, CREDIT_POOL, CREDIT_START } from '../../proto/frames.ts'
import type { Clock } from '../clock.ts'

/** A half window read within this many milliseconds is a fast reader's: 32 KB in 50 ms is 640 KB/s. */
const FAST = 50

/** Part of the pool kept for streams to come: credit once granted cannot be called back. 5/8 of 32 MB is the floor of 10,240. */
const RESERVED = 5 / 8
/** A new stream takes at most this part of the room beyond the floors, so that a burst of them is served alike. */
const INITIAL_PART = 1 / 64

/**
 * What all windows of one opening process share: their sum stays under `limit` bytes. Every stream is charged the floor, which it
 * may always have, and what it has beyond.
 */
export class WindowPool {
  readonly #limit: number
  #streams = 0
  #extra = 0

  constructor(limit: number = CREDIT_POOL) {
    this.#limit = limit
  }

  /** Bytes charged: at least what servers may still send or readers have not consumed, over all streams. */
  get used(): number {
    return this.#streams * CREDIT_FLOOR + this.#extra
  }

  /** Largest window one stream may have now. */
  get share(): number {
    const share = Math.floor(this.#limit / Math.max(1, this.#streams))
    return Math.min(CREDIT_MAX, Math.max(CREDIT_FLOOR, share))
  }

  /** Admits a stream; returns the window to begin with. */
  enter(): number {
    this.#streams += 1
    return Math.min(CREDIT_START, this.share, CREDIT_FLOOR + Math.floor(this.#room * INITIAL_PART))
  }

  leave(outstanding: number): void {
    this.#streams -= 1
    this.#extra -= beyondFloor(outstanding)
  }

  /** Grants up to `want` bytes to a stream with `outstanding` ones. Up to the floor it gets them in any case, or it would starve. */
  take(want: number, outstanding: number): number {
    const toFloor = Math.min(want, Math.max(0, CREDIT_FLOOR - outstanding))
    const beyond = Math.min(want - toFloor, this.#room)
    this.#extra += beyond
    return toFloor + beyond
  }

  give(bytes: number, outstanding: number): void {
    this.#extra -= beyondFloor(outstanding) - beyondFloor(outstanding - bytes)
  }

  get #room(): number {
    const floors = Math.max(this.#streams * CREDIT_FLOOR, this.#limit * RESERVED)
    return Math.max(0, Math.floor(this.#limit - floors - this.#extra))
  }
}

function beyondFloor(outstanding: number): number {
  return Math.max(0, outstanding - CREDIT_FLOOR)
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
    this.#target = pool.enter()
    this.initial = pool.take(this.#target, 0)
    this.#outstanding = this.initial
    this.#grantedAt = now
  }

  /** Books `bytes` that left towards the client; returns the credit to send now, 0 when it is not worth a message yet. */
  consume(bytes: number): number {
    const done = Math.min(bytes, this.#outstanding)
    this.#pool.give(done, this.#outstanding)
    this.#outstanding -= done
    const share = this.#pool.share
    if (this.#target > share) this.#target = share
    if (this.#outstanding > this.#target / 2) return 0
    return this.#grant(share)
  }

  close(): void {
    this.#pool.leave(this.#outstanding)
    this.#outstanding = 0
  }

  #grant(share: number): number {
    const now = this.#clock.monotonic()
    const wanted = now - this.#grantedAt < FAST ? this.#target * 2 : Math.max(this.#target, CREDIT_START)
    this.#grantedAt = now
    const granted = this.#pool.take(Math.min(share, wanted) - this.#outstanding, this.#outstanding)
    this.#outstanding += granted
    // What the pool could not give is not waited for: the next grant comes after half of what there is.
    this.#target = Math.max(CREDIT_FLOOR, this.#outstanding)
    return granted
  }
}
