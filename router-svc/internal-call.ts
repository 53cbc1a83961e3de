import type { CallMessage, StartHead } from '../proto/call.ts'
import type { EndpointName } from '../proto/endpoints.ts'
import type { WireError } from '../proto/errors.ts'
import type { Identity } from '../proto/identity.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import { receiveWhole } from '../shared/bus/body.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import { fromWire, GatewayError, toGatewayError } from '../shared/errors.ts'
import type { Call } from './call.ts'

/** Calls that this router makes to itself: copies for mirroring, embeddings for the cache. Served, counted and booked like any other call. */
export interface InternalCalls {
  /**
   * Resolves with whatever a client would have got, error answers included. Rejects with GatewayError when the router takes no calls now
   * (`draining`, `overloaded`), when the answer broke off, or with `deadline_exceeded`.
   */
  run(request: InternalRequest): Promise<InternalAnswer>
}

export interface InternalRequest {
  /** Who pays. */
  identity: Identity
  endpoint: EndpointName
  /** JSON, as bytes or as the object. */
  body: Uint8Array | Record<string, unknown>
  headers?: Record<string, string>
  /** Milliseconds for the whole call. */
  deadline: number
  /** Added to the `metadata` of the body, which is booked with the call and never sent to a provider. */
  metadata?: Record<string, unknown>
  /** Limits and budgets of the identity are not asked; what it costs is booked all the same. */
  unlimited?: boolean
  /** As which it is booked; default a new one. */
  callId?: string
  /** Ends the call; it rejects with the signal's reason, a GatewayError. */
  signal?: AbortSignal
  /** The bytes of the answer are of no interest. */
  discard?: boolean
}

export interface InternalAnswer {
  status: number
  headers: Record<string, string>
  /** Streams are here with all their events. */
  body: Uint8Array
}

export interface InternalCallDeps {
  /** Takes or refuses a call as one from the bus. */
  take(incoming: IncomingStream): void
  clock: Clock
  newId(): string
}

/** What an internal answer may hold: embeddings and chats are far smaller, and nobody reads it piece by piece. */
const ANSWER_LIMIT = 64 * 1024 * 1024

export function createInternalCalls({ take, clock, newId }: InternalCallDeps): InternalCalls {
  return {
    run(request) {
      return new Promise((resolve, reject) => {
        const { signal } = request
        const leave = (): void => stream.cancel('cancelled', toGatewayError(signal?.reason))
        const stream = new InternalStream(request.callId ?? newId(), request, (result) => {
          timer.cancel()
          signal?.removeEventListener('abort', leave)
          if (result instanceof GatewayError) reject(result)
          else resolve(result)
        })
        const timer = clock.after(request.deadline, () =>
          stream.cancel('deadline_exceeded', new GatewayError('deadline_exceeded')),
        )
        signal?.addEventListener('abort', leave)
        take(stream)
        if (signal?.aborted) leave()
      })
    },
  }
}

/** Whether this router made the call itself. */
export function isInternal(call: Call): boolean {
  return call.incoming instanceof InternalStream
}

/** Whether limits and budgets of its identity are not asked for it. */
export function isUnlimited(call: Call): boolean {
  return call.incoming instanceof InternalStream && call.incoming.unlimited
}

/**
 * The serving side of a stream without an opening side: what is sent is collected.
 *
 * States: open → over (one result was told).
 */
export class InternalStream implements IncomingStream {
  readonly id: string
  readonly head: CallMessage
  readonly deadline: number
  readonly body: Uint8Array
  readonly unlimited: boolean
  onWritable: (() => void) | null = null
  onCancel: ((reason: string) => void) | null = null
  readonly #discard: boolean
  readonly #parts: Uint8Array[] = []
  readonly #done: (result: InternalAnswer | GatewayError) => void
  #size = 0
  #start: StartHead | null = null
  #over = false

  constructor(callId: string, request: InternalRequest, done: (result: InternalAnswer | GatewayError) => void) {
    this.id = callId
    this.head = {
      v: WIRE_VERSION,
      callId,
      take: 1,
      endpoint: request.endpoint,
      identity: request.identity,
      headers: request.headers ?? {},
    }
    this.deadline = request.deadline
    this.body = bytesOf(request)
    this.unlimited = request.unlimited === true
    this.#discard = request.discard === true
    this.#done = done
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
    this.#end(fromWire(error))
  }

  start(head: StartHead): void {
    this.#start = head
  }

  data(bytes: Uint8Array): boolean {
    if (this.#over || this.#discard) return true
    this.#size += bytes.length
    if (this.#size > ANSWER_LIMIT) this.cancel('too large', new GatewayError('provider_malformed', 'The answer is too large.'))
    else this.#parts.push(bytes)
    return true
  }

  end(): void {
    const head = this.#start
    if (head === null) this.#end(new GatewayError('internal', 'An internal call ended without an answer.'))
    else this.#end({ status: head.status, headers: head.headers, body: Buffer.concat(this.#parts, this.#size) })
  }

  fail(error: WireError): void {
    this.#end(fromWire(error))
  }

  whole(head: StartHead, body: Uint8Array): void {
    this.start(head)
    this.data(body)
    if (!this.#over) this.end()
  }

  /** Ends the call from outside: its attempt is stopped and booked, and `error` is the result. */
  cancel(reason: string, error: GatewayError): void {
    if (this.#over) return
    this.#end(error)
    this.onCancel?.(reason)
  }

  #end(result: InternalAnswer | GatewayError): void {
    if (this.#over) return
    this.#over = true
    this.#done(result)
  }
}

function bytesOf({ body, metadata }: InternalRequest): Uint8Array {
  if (body instanceof Uint8Array && metadata === undefined) return body
  const parsed = body instanceof Uint8Array ? (JSON.parse(Buffer.from(body).toString('utf8')) as Record<string, unknown>) : body
  if (metadata === undefined) return Buffer.from(JSON.stringify(parsed))
  const own = parsed['metadata']
  const merged = typeof own === 'object' && own !== null && !Array.isArray(own) ? { ...own, ...metadata } : metadata
  return Buffer.from(JSON.stringify({ ...parsed, metadata: merged }))
}
