import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import type { ConsumeOptions } from './bus.ts'

/** Milliseconds before events whose handling failed are delivered again. */
export const REDELIVERY_PAUSE = 1_000
/** Milliseconds between signs that a long batch is still being worked on; less than half the server's patience. */
const ALIVE_INTERVAL = 10_000
/** Deliveries that make a batch full however few events they hold: the server hands out a limited number without acknowledgement. */
const MOST_DELIVERIES = 64

/** Events that arrived together, and what can be said about them. */
export interface Delivery {
  events: unknown[]
  done(): void
  /** Deliver them again after `pause` milliseconds. */
  again(pause: number): void
  alive(): void
}

/** Gathers deliveries into batches and hands them over one after the other, or a few at once while they are full. */
export class Batches {
  readonly #clock: Clock
  readonly #log: Log
  readonly #options: ConsumeOptions
  readonly #handle: (events: unknown[]) => Promise<void>
  #waiting: Delivery[] = []
  #count = 0
  #timer: Timer | null = null
  #begunAt = Number.NEGATIVE_INFINITY
  readonly #running = new Set<Promise<void>>()
  #stopped = false

  constructor(clock: Clock, log: Log, options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>) {
    this.#clock = clock
    this.#log = log
    this.#options = options
    this.#handle = handle
  }

  add(delivery: Delivery): void {
    if (this.#stopped) {
      delivery.again(0)
      return
    }
    this.#waiting.push(delivery)
    this.#count += delivery.events.length
    this.#offer()
  }

  /** Takes nothing more, gives back what waits, lets the batch under way end. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    for (const delivery of this.#waiting.splice(0)) delivery.again(0)
    this.#count = 0
    await Promise.all(this.#running)
  }

  #offer(): void {
    if (this.#stopped || this.#waiting.length === 0) return
    if (this.#count >= this.#options.batch || this.#waiting.length >= MOST_DELIVERIES) {
      if (this.#running.size < (this.#options.lanes ?? 1)) this.#start()
      return
    }
    if (this.#running.size > 0) return
    const rested = this.#begunAt + (this.#options.rest ?? 0) - this.#clock.monotonic()
    this.#timer ??= this.#clock.after(Math.max(this.#options.wait, rested), () => {
      this.#timer = null
      if (this.#running.size === 0) this.#start()
    })
  }

  #start(): void {
    if (this.#stopped || this.#waiting.length === 0) return
    this.#timer?.cancel()
    this.#timer = null
    this.#begunAt = this.#clock.monotonic()
    const work = this.#work(this.#take()).finally(() => {
      this.#running.delete(work)
      this.#offer()
    })
    this.#running.add(work)
    // Another may be full already.
    this.#offer()
  }

  /** Whole deliveries up to the batch size; one larger than that goes alone. */
  #take(): Delivery[] {
    let size = 0
    let taken = 0
    for (const { events } of this.#waiting) {
      if (taken > 0 && size + events.length > this.#options.batch) break
      size += events.length
      taken += 1
    }
    this.#count -= size
    return this.#waiting.splice(0, taken)
  }

  async #work(batch: readonly Delivery[]): Promise<void> {
    const alive = this.#clock.every(ALIVE_INTERVAL, () => {
      for (const delivery of batch) delivery.alive()
    })
    try {
      const events = batch.flatMap((delivery) => delivery.events)
      for (let at = 0; at < events.length; at += this.#options.batch)
        await this.#handle(events.slice(at, at + this.#options.batch))
      for (const delivery of batch) delivery.done()
    } catch (thrown) {
      this.#log.warn({ err: thrown, deliveries: batch.length }, 'Events were not handled; they will be delivered again.')
      for (const delivery of batch) delivery.again(REDELIVERY_PAUSE)
    } finally {
      alive.cancel()
    }
  }
}
