import type { Clock } from '../shared/clock.ts'
import { SseSplitter } from '../shared/http/sse.ts'
import { Durations, type Summary } from './measure.ts'

export interface LoadResult {
  calls: number
  /** Failed calls by reason: `status 503`, `ECONNRESET`, `cut short` … Not in the latencies. */
  errors: Record<string, number>
  /** Wall time of the measured part. */
  seconds: number
  perSecond: number
  bytes: number
  latency: Summary
  /** Streams only. `first`: to the first text; `gap`: between arrivals; `delay`: from the provider's write to here, when chunks are stamped. */
  first?: Summary
  gap?: Summary
  delay?: Summary
  /** Text chunks that arrived while it was measured, whether or not their stream ended then. */
  chunks?: number
  /** Open loop only: how late the client itself was in starting calls, and how many it could not start at all. */
  late?: Summary
  unstarted?: number
}

export interface LoadOptions {
  origin: string
  /** The call, made by `callBytes`; or what makes each, where they differ. */
  call: Buffer | (() => Buffer)
  /** Milliseconds of measuring, after `warmup` milliseconds that do not count (default 0). */
  duration: number
  warmup?: number
  /** Stop after so many measured calls, if that comes first. */
  calls?: number
  stream?: StreamOptions
  clock?: Clock
  /** Called when the warm-up is over: the moment to read CPU counters. */
  onMeasure?: () => void
}

export interface StreamOptions {
  /** Leave after so many chunks. Such calls count as calls. */
  abortAfter?: number
  /** Read at most so many bytes per second. */
  readRate?: number
}

export interface Timing {
  good: boolean
  total: number
  first: number
}

const CONTENT = Buffer.from('"content":"')
const TEXT_DELTA = Buffer.from('"text_delta"')
const TEXT = Buffer.from('"text":"')
const DONE = Buffer.from('data: [DONE]')
const STOP = Buffer.from('message_stop')
/** Digits of a time stamp in a chunk (`text=stamp`): nanoseconds of the machine's monotonic clock, the same in every process. */
const STAMP = 16

/** Counts the text chunks of a stream as they arrive, and reads the time stamps in them. */
export class ChunkCounter {
  readonly #splitter = new SseSplitter()
  text = 0
  done = false

  take(bytes: Buffer, tally: Tally): void {
    for (const frame of this.#splitter.push(bytes)) {
      const view = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
      const content = view.indexOf(CONTENT)
      // The opening chunk has an empty content: `"content":""`.
      if (content >= 0 && view[content + CONTENT.length] !== 34) {
        this.#seen(view, content + CONTENT.length, tally)
      } else if (view.includes(TEXT_DELTA)) this.#seen(view, view.indexOf(TEXT) + TEXT.length, tally)
      else if (view.includes(DONE) || view.includes(STOP)) this.done = true
    }
  }

  #seen(view: Buffer, at: number, tally: Tally): void {
    this.text += 1
    tally.chunk()
    const digits = Number(view.toString('latin1', at, at + STAMP))
    if (digits > 0) tally.delay(machineTime() - digits / 1e6)
  }
}

/** Milliseconds of the machine's monotonic clock, comparable between processes of one machine. */
function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Counts of one load. Nothing counts before the warm-up is over. */
export class Tally {
  readonly #clock: Clock
  readonly #options: LoadOptions
  readonly #from: number
  readonly #until: number
  readonly #latency = new Durations()
  readonly #first = new Durations()
  readonly #gap = new Durations()
  readonly #delay = new Durations()
  readonly #late = new Durations()
  readonly #errors: Record<string, number> = {}
  #started = false
  #calls = 0
  #bytes = 0
  #chunks = 0
  #last: number

  constructor(clock: Clock, options: LoadOptions) {
    this.#clock = clock
    this.#options = options
    this.#from = clock.monotonic() + (options.warmup ?? 0)
    this.#until = this.#from + options.duration
    this.#last = this.#from
  }

  measuring(): boolean {
    if (this.#started) return true
    if (this.#clock.monotonic() < this.#from) return false
    this.#started = true
    this.#options.onMeasure?.()
    return true
  }

  over(): boolean {
    return this.#calls >= (this.#options.calls ?? Number.POSITIVE_INFINITY) || this.#clock.monotonic() >= this.#until
  }

  good(timing: Timing): void {
    if (!this.measuring()) return
    this.#calls += 1
    this.#last = this.#clock.monotonic()
    this.#latency.add(timing.total)
  }

  /** A text chunk has arrived. */
  chunk(): void {
    if (!this.measuring()) return
    this.#chunks += 1
    this.#last = this.#clock.monotonic()
  }

  /** The first of a stream has arrived, so many milliseconds after the call was due. */
  first(milliseconds: number): void {
    if (this.#started) this.#first.add(milliseconds)
  }

  bad(reason: string): void {
    if (!this.measuring()) return
    this.#last = this.#clock.monotonic()
    this.#errors[reason] = (this.#errors[reason] ?? 0) + 1
  }

  bytes(count: number): void {
    if (this.measuring()) this.#bytes += count
  }

  gap(milliseconds: number): void {
    if (this.#started) this.#gap.add(milliseconds)
  }

  delay(milliseconds: number): void {
    if (this.#started) this.#delay.add(milliseconds)
  }

  late(milliseconds: number): void {
    if (this.measuring()) this.#late.add(milliseconds)
  }

  result(unstarted = 0): LoadResult {
    const seconds = Math.max(0, this.#last - this.#from) / 1_000
    const result: LoadResult = {
      calls: this.#calls,
      // A copy: calls that were left give up much later.
      errors: { ...this.#errors },
      seconds,
      perSecond: seconds === 0 ? 0 : this.#calls / seconds,
      bytes: this.#bytes,
      latency: this.#latency.summary(),
    }
    if (this.#options.stream !== undefined) {
      Object.assign(result, { first: this.#first.summary(), gap: this.#gap.summary(), chunks: this.#chunks })
      if (this.#delay.count > 0) result.delay = this.#delay.summary()
    }
    if (this.#late.count > 0) Object.assign(result, { late: this.#late.summary(), unstarted })
    return result
  }
}
