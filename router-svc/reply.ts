import type { StartHead } from '../proto/call.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import { type GatewayError, toWire } from '../shared/errors.ts'
import type { Call } from './call.ts'
import type { Recording } from './idempotency.ts'

/**
 * The answer of one call, as far as it got.
 *
 * States: silent (nothing sent; anything may still be answered) → open (head sent, bytes follow) → over.
 */
export class Reply {
  /** Gets a copy of the answer, and ends before the client sees the end: a repeat sent at once finds it. */
  recording: Recording | null = null
  readonly #call: Call
  #open = false
  #over = false

  constructor(call: Call) {
    this.#call = call
  }

  /** Sends the head of a stream. */
  start(headers: Record<string, string>, booking?: Uint8Array, status = 200): void {
    if (this.#over) return
    this.#open = true
    this.recording?.start(status, headers)
    const head: StartHead = { v: WIRE_VERSION, status, headers }
    if (booking !== undefined) head.booking = booking
    if (!this.#call.incoming.closed) this.#call.incoming.start(head)
  }

  /** False = the client is behind: stop reading the upstream until `onWritable`. */
  write(bytes: Uint8Array): boolean {
    if (this.#over) return true
    this.recording?.add(bytes)
    return this.#call.incoming.closed || this.#call.incoming.data(bytes)
  }

  /** A whole answer at once. */
  whole(status: number, headers: Record<string, string>, body: Uint8Array, refusedFor = 0): void {
    if (this.#over) return
    this.#open = true
    const good = status < 300
    if (good) {
      this.recording?.start(status, headers)
      this.recording?.add(body)
    }
    const head: StartHead = { v: WIRE_VERSION, status, headers }
    if (refusedFor > 0) head.refusedFor = refusedFor
    this.#finish(good, () => this.#call.incoming.whole(head, body))
  }

  /** The proper end of a stream. */
  end(last?: string): void {
    this.#close(last, true)
  }

  /**
   * A failure: a plain error answer while silent, `event` (an error in the client's dialect) once the stream is open; bytes that have no such
   * event are cut off, so that nobody takes them for whole.
   */
  fail(error: GatewayError, headers: Record<string, string>, event: string): void {
    if (this.#open) {
      if (event !== '') this.#close(event, false)
      else if (!this.#over) this.#finish(false, () => this.#call.incoming.fail(toWire(error)))
      return
    }
    const all = { 'content-type': 'application/json', ...headers }
    const { dialect } = this.#call
    const status = dialect.statusOf?.(error) ?? error.status
    this.whole(status, all, Buffer.from(dialect.encodeError(error)), this.#call.refusedFor)
  }

  /** Nothing more will be sent, and what was sent is no answer. */
  drop(): void {
    if (!this.#over) this.#finish(false, () => {})
  }

  #close(last: string | undefined, good: boolean): void {
    if (this.#over) return
    if (last !== undefined && last !== '') this.write(Buffer.from(last))
    this.#finish(good, () => this.#call.incoming.end())
  }

  /** Ends the recording, where there is one, and then the answer, where somebody waits for it. */
  #finish(good: boolean, send: () => void): void {
    this.#over = true
    const { recording } = this
    if (recording === null) {
      if (!this.#call.incoming.closed) send()
      return
    }
    void (good ? recording.finish() : recording.abandon()).then(() => {
      if (!this.#call.incoming.closed) send()
    })
  }
}
