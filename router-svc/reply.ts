import type { StartHead } from '../proto/call.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { GatewayError } from '../shared/errors.ts'
import type { Call } from './call.ts'

/**
 * The answer of one call, as far as it got.
 *
 * States: silent (nothing sent; anything may still be answered) → open (head sent, bytes follow) → over.
 */
export class Reply {
  readonly #call: Call
  #open = false
  #over = false

  constructor(call: Call) {
    this.#call = call
  }

  get #done(): boolean {
    return this.#over || this.#call.incoming.closed
  }

  /** Sends the head of a stream. */
  start(headers: Record<string, string>, booking?: Uint8Array): void {
    if (this.#done) return
    this.#open = true
    const head: StartHead = { v: WIRE_VERSION, status: 200, headers }
    if (booking !== undefined) head.booking = booking
    this.#call.incoming.start(head)
  }

  /** False = the client is behind: stop reading the upstream until `onWritable`. */
  write(bytes: Uint8Array): boolean {
    if (this.#done) return true
    return this.#call.incoming.data(bytes)
  }

  /** A whole answer at once. */
  whole(status: number, headers: Record<string, string>, body: Uint8Array, refusedFor = 0): void {
    if (this.#done) return
    this.#open = true
    this.#over = true
    const head: StartHead = { v: WIRE_VERSION, status, headers }
    if (refusedFor > 0) head.refusedFor = refusedFor
    this.#call.incoming.whole(head, body)
  }

  /** The proper end of a stream. */
  end(last?: string): void {
    if (this.#done) return
    if (last !== undefined && last !== '') this.write(Buffer.from(last))
    this.#over = true
    this.#call.incoming.end()
  }

  /** A failure: a plain error answer while silent, `event` (an error in the client's dialect) once the stream is open. */
  fail(error: GatewayError, headers: Record<string, string>, event: string): void {
    if (this.#done) return
    if (!this.#open) {
      this.whole(
        error.status,
        { 'content-type': 'application/json', ...headers },
        Buffer.from(this.#call.dialect.encodeError(error)),
        this.#call.refusedFor,
      )
      return
    }
    this.end(event)
  }
}
