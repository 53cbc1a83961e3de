import type { Clock } from '../clock.ts'
import { GatewayError } from '../errors.ts'
import type { Log } from '../log.ts'
import { REDELIVERY_PAUSE } from './batches.ts'
import type { ConsumeOptions, Service } from './bus.ts'

/** Events held at most; past that `append` rejects and the caller's spool keeps them. */
const CAPACITY = 50_000

/** One call of `append`: settled when all its events were handled. */
interface Receipt {
  left: number
  resolve(): void
  reject(error: GatewayError): void
}

interface Entry {
  event: unknown
  receipt: Receipt
}

interface Consumer {
  options: ConsumeOptions
  handle: (events: unknown[]) => Promise<void>
  /** Batches being handled. */
  busy: number
  begunAt: number
  /** One was not handled; none is handed over until the wait is over. */
  failed: boolean
  /** Set while events wait for a fuller batch, or after a failure. */
  wait: { cancel(): void } | null
  stopped: boolean
}

/**
 * Durable events without a disk: `append` resolves when a consumer has handled its events, so whoever appended still holds them
 * until then. Consumers share the events.
 */
export class MemoryQueue {
  readonly #clock: Clock
  readonly #log: Log
  readonly #entries: Entry[] = []
  readonly #consumers = new Set<Consumer>()
  /** Events a consumer holds and has not handled. */
  #handedOut = 0
  #closed = false

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** Rejects with GatewayError `overloaded` when the queue is full, `draining` when it closes first. */
  append(events: readonly unknown[]): Promise<void> {
    if (this.#closed) return Promise.reject(new GatewayError('draining'))
    if (events.length === 0) return Promise.resolve()
    if (this.#entries.length + this.#handedOut + events.length > CAPACITY) return Promise.reject(new GatewayError('overloaded'))
    return new Promise((resolve, reject) => {
      const receipt = { left: events.length, resolve, reject }
      for (const event of events) this.#entries.push({ event, receipt })
      this.#wake()
    })
  }

  consume(options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>): Service {
    const consumer: Consumer = {
      options,
      handle,
      busy: 0,
      begunAt: Number.NEGATIVE_INFINITY,
      failed: false,
      wait: null,
      stopped: false,
    }
    this.#consumers.add(consumer)
    this.#offer(consumer)
    return {
      stop: async () => {
        consumer.stopped = true
        consumer.wait?.cancel()
        this.#consumers.delete(consumer)
        this.#wake()
      },
    }
  }

  /** Nothing waits and nothing is being handled. */
  get empty(): boolean {
    return this.#entries.length === 0 && this.#handedOut === 0
  }

  close(): void {
    this.#closed = true
    for (const consumer of this.#consumers) consumer.wait?.cancel()
    this.#consumers.clear()
    this.#reject(this.#entries.splice(0))
  }

  #wake(): void {
    for (const consumer of this.#consumers) this.#offer(consumer)
  }

  /** Hands events over when the batch is full, else when the wait for it is over. */
  #offer(consumer: Consumer): void {
    const { batch, wait, rest = 0, lanes = 1 } = consumer.options
    if (consumer.stopped || this.#entries.length === 0) return
    if (this.#entries.length >= batch) {
      if (consumer.busy >= lanes || consumer.failed) return
      consumer.wait?.cancel()
      consumer.wait = null
      this.#hand(consumer)
      // Another may be full already.
      this.#offer(consumer)
      return
    }
    if (consumer.busy > 0 || consumer.wait !== null) return
    const delay = Math.max(wait, consumer.begunAt + rest - this.#clock.monotonic())
    if (delay <= 0) {
      this.#hand(consumer)
      return
    }
    consumer.wait = this.#clock.after(delay, () => {
      consumer.wait = null
      if (consumer.busy === 0) this.#hand(consumer)
    })
  }

  #hand(consumer: Consumer): void {
    if (consumer.stopped || this.#entries.length === 0) return
    const batch = this.#entries.splice(0, consumer.options.batch)
    consumer.busy += 1
    consumer.begunAt = this.#clock.monotonic()
    this.#handedOut += batch.length
    const settle = (run: () => void) => {
      this.#handedOut -= batch.length
      run()
    }
    Promise.resolve()
      .then(() => consumer.handle(batch.map((entry) => entry.event)))
      .then(
        () => settle(() => this.#done(consumer, batch)),
        (thrown) => settle(() => this.#failed(consumer, batch, thrown)),
      )
  }

  #done(consumer: Consumer, batch: readonly Entry[]): void {
    for (const { receipt } of batch) {
      receipt.left -= 1
      if (receipt.left === 0) receipt.resolve()
    }
    consumer.busy -= 1
    this.#offer(consumer)
  }

  #failed(consumer: Consumer, batch: Entry[], thrown: unknown): void {
    if (this.#closed) {
      this.#reject(batch)
      return
    }
    this.#log.warn({ err: thrown, events: batch.length }, 'Events were not handled; they will be delivered again.')
    this.#entries.unshift(...batch)
    consumer.busy -= 1
    if (!consumer.stopped) {
      consumer.wait?.cancel()
      consumer.failed = true
      consumer.wait = this.#clock.after(REDELIVERY_PAUSE, () => {
        consumer.wait = null
        consumer.failed = false
        this.#offer(consumer)
      })
    }
    // A sibling may do better at once.
    for (const other of this.#consumers) if (other !== consumer) this.#offer(other)
  }

  #reject(entries: readonly Entry[]): void {
    for (const { receipt } of entries) receipt.reject(new GatewayError('draining'))
  }
}
