import type { StartHead } from '../proto/call.ts'
import type { WireError } from '../proto/errors.ts'
import type { OutgoingStream, ReplySink } from '../shared/bus/bus.ts'
import { fromWire, type GatewayError } from '../shared/errors.ts'
import { answerError } from './answer.ts'
import { errorFormOf } from './error-form.ts'
import type { Exchange } from './exchange.ts'
import { REFUSAL_BODY_MAX, type Refusal } from './refusals.ts'

const NOTHING = new Uint8Array(0)
/** Keep caches away, and nginx from collecting the whole answer. */
const STREAM_HEADERS = { 'cache-control': 'no-cache', 'x-accel-buffering': 'no' }

/** How an answer ended, for metrics and for the bill of a lost router. */
export interface RelayEnd {
  /** Status the client saw. */
  status: number
  /** Null before the server began to answer. */
  head: StartHead | null
  error: GatewayError | null
  /** Bytes of the answer handed to the client. */
  bytes: number
  /** The answer as a whole when it is a refusal that holds for a while. */
  refusal: Refusal | null
}

export interface RelayOptions {
  /** Puts a bus error into the client's terms; default: as it is. */
  translate?: (error: WireError) => WireError
  /** Called once, when nothing more will be sent. */
  onEnd: (end: RelayEnd) => void
}

/**
 * Frames → response, back-pressure ⇄ credit, client gone → cancel. Bytes are passed on unread.
 *
 * States: waiting (no head) → held (head known, nothing sent: an error can still be answered properly) → sending → over.
 */
export class Relay implements ReplySink {
  readonly #exchange: Exchange
  readonly #options: RelayOptions
  #stream: OutgoingStream | null = null
  #head: StartHead | null = null
  #sending = false
  #over = false
  #bytes = 0
  /** The body of a refusal so far; null once it is too large to keep. */
  #refusal: Uint8Array | null = NOTHING
  /** Bytes written but not granted back, since the socket was behind. */
  #owed = 0

  constructor(exchange: Exchange, options: RelayOptions) {
    this.#exchange = exchange
    this.#options = options
  }

  /** Ties the relay to its stream. The bus tells the sink nothing before. */
  attach(stream: OutgoingStream): void {
    this.#stream = stream
    const drained = (buffered: number): void => this.#drained(buffered)
    const left = (): void => {
      stream.cancel('client closed the connection')
      this.#finish(499, null)
    }
    this.#exchange.onDrain = drained
    this.#exchange.onAbort = left
    if (this.#exchange.closed) left()
  }

  start(head: StartHead): void {
    this.#head = head
  }

  data(bytes: Uint8Array): void {
    if (this.#over) return
    this.#send()
    this.#bytes += bytes.length
    if (this.#head?.refusedFor !== undefined) this.#keep(bytes)
    if (this.#exchange.write(bytes)) this.#stream?.consumed(bytes.length)
    else this.#owed += bytes.length
  }

  end(): void {
    if (this.#over) return
    this.#send()
    this.#exchange.end()
    this.#finish(this.#head?.status ?? 200, null)
  }

  error(wire: WireError): void {
    if (this.#over) return
    const error = fromWire(this.#options.translate?.(wire) ?? wire)
    if (!this.#sending) {
      answerError(this.#exchange, error)
      this.#finish(errorFormOf(this.#exchange.path).status(error), error)
      return
    }
    // Without [DONE] or message_stop after it, no client takes the answer for whole.
    if (isEventStream(this.#head)) this.#exchange.end(errorFormOf(this.#exchange.path).event(error))
    else this.#exchange.destroy()
    this.#finish(this.#head?.status ?? 200, error)
  }

  #send(): void {
    if (this.#sending) return
    this.#sending = true
    const head = this.#head ?? { v: 1, status: 200, headers: {} }
    this.#exchange.start(head.status, isEventStream(head) ? { ...STREAM_HEADERS, ...head.headers } : head.headers)
  }

  #keep(bytes: Uint8Array): void {
    if (this.#refusal === null) return
    this.#refusal = this.#refusal.length + bytes.length > REFUSAL_BODY_MAX ? null : Buffer.concat([this.#refusal, bytes])
  }

  #drained(buffered: number): void {
    const left = this.#owed - buffered
    if (this.#over || left <= 0) return
    this.#owed -= left
    this.#stream?.consumed(left)
  }

  #finish(status: number, error: GatewayError | null): void {
    if (this.#over) return
    this.#over = true
    const head = this.#head
    const refused = head?.refusedFor !== undefined && error === null && status === head.status && this.#refusal !== null
    const refusal = refused ? { head, body: this.#refusal as Uint8Array } : null
    this.#options.onEnd({ status, head, error, bytes: this.#bytes, refusal })
  }
}

function isEventStream(head: StartHead | null): boolean {
  return head?.headers['content-type']?.startsWith('text/event-stream') === true
}
