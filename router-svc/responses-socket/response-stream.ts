import type { CallMessage, StartHead } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import { receiveWhole } from '../../shared/bus/body.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { fromWire, toGatewayError } from '../../shared/errors.ts'
import { SseParser } from '../../shared/http/sse.ts'
import { answeredError, type ErrorEvent, errorEvent } from './error-event.ts'

/** What a connection hears of its call; `failed` or `ended` comes last, once. */
export interface ResponseSink {
  /** What to book if this process dies before the call ends. */
  booking(bytes: Uint8Array): void
  /** One event of the stream, its data as it came. False = the client is behind. */
  event(name: string, data: string): boolean
  failed(event: ErrorEvent): void
  ended(): void
}

/**
 * One `response.create` as the router serves any call: the serving side of a stream whose opener is a connection in the same process. No call of the
 * router's own (internal-call.ts), which limits and mirrors treat apart.
 *
 * States: waiting (no head) → events | refused (an error answer is collected) → over.
 */
export class ResponseStream implements IncomingStream {
  readonly id: string
  readonly head: CallMessage
  readonly deadline: number
  readonly body: Uint8Array
  onWritable: (() => void) | null = null
  onCancel: ((reason: string) => void) | null = null
  readonly #sink: ResponseSink
  readonly #parser = new SseParser()
  #start: StartHead | null = null
  #refusal: Uint8Array[] = []
  #over = false

  /** `deadline`: milliseconds for the whole call. */
  constructor(head: CallMessage, body: Uint8Array, deadline: number, sink: ResponseSink) {
    this.id = head.callId
    this.head = head
    this.body = body
    this.deadline = deadline
    this.#sink = sink
  }

  get closed(): boolean {
    return this.#over
  }

  receive(take: (part: Uint8Array | null) => void): (consumed: number) => void {
    return receiveWhole(this.body, take)
  }

  async collect(): Promise<Uint8Array> {
    return this.body
  }

  refuse(error: WireError): void {
    this.fail(error)
  }

  start(head: StartHead): void {
    this.#start = head
    if (head.booking !== undefined && !this.#over) this.#sink.booking(head.booking)
  }

  data(bytes: Uint8Array): boolean {
    if (this.#over) return true
    if (this.#isRefusal) {
      this.#refusal.push(bytes)
      return true
    }
    let keepsUp = true
    try {
      for (const { event, data } of this.#parser.push(bytes)) keepsUp = this.#sink.event(event, data) && keepsUp
    } catch (thrown) {
      const error = toGatewayError(thrown)
      this.cancel(error.code)
      this.#sink.failed(errorEvent(error))
    }
    return keepsUp
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    const { status, headers } = this.#start as StartHead
    if (this.#isRefusal) this.#sink.failed(answeredError(status, headers, Buffer.concat(this.#refusal)))
    else this.#sink.ended()
  }

  fail(error: WireError): void {
    if (this.#over) return
    this.#over = true
    this.#sink.failed(errorEvent(fromWire(error)))
  }

  whole(head: StartHead, body: Uint8Array): void {
    this.start(head)
    this.data(body)
    this.end()
  }

  /** Nobody waits for it any more: its attempt is stopped and booked. The sink hears nothing of it. */
  cancel(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.onCancel?.(reason)
  }

  get #isRefusal(): boolean {
    return this.#start !== null && this.#start.status >= 300
  }
}
