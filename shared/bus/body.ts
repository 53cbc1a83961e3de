import { BODY_CREDIT, FRAME, FRAME_MAX } from '../../proto/frames.ts'
import { GatewayError } from '../errors.ts'
import type { BodySource } from './bus.ts'

type SendPart = (kind: typeof FRAME.body | typeof FRAME.bodyEnd, bytes: Uint8Array) => void

const EMPTY = new Uint8Array(0)

/**
 * The opener's end of a body that does not fit the open message. What the server granted goes out at once; when its credit or
 * the bus is used up the source is paused, so the most held here is what the source pushes before it heeds the pause.
 */
export class BodySender {
  readonly #body: Uint8Array | BodySource
  readonly #inlineMax: number
  readonly #send: SendPart
  readonly #writable: () => boolean
  readonly #queue: Uint8Array[] = []
  #credit = 0
  #source: { pause(): void; resume(): void } | null = null
  #paused = false
  #ended = false
  #stopped = false

  constructor(body: Uint8Array | BodySource, inlineMax: number, writable: () => boolean, send: SendPart) {
    this.#body = body
    this.#inlineMax = inlineMax
    this.#writable = writable
    this.#send = send
  }

  /** Begins sending what follows the inline part. */
  start(credit: number): void {
    this.#credit = credit
    if (this.#body instanceof Uint8Array) {
      this.#queue.push(this.#body.subarray(this.#inlineMax))
      this.#ended = true
      this.flush()
      return
    }
    const source = this.#body.pull((part) => this.#push(part))
    this.#source = source
    if (this.#paused || this.#stopped) source.pause()
  }

  grant(bytes: number): void {
    this.#credit += bytes
    this.flush()
  }

  /** Sends nothing more; what the source still pushes is dropped. */
  stop(): void {
    this.#stopped = true
    this.#queue.length = 0
  }

  /** Sends what credit and the bus allow. */
  flush(): void {
    while (this.#queue.length > 0 && this.#credit > 0 && this.#writable() && !this.#stopped) this.#sendNext()
    if (this.#stopped || this.#queue.length > 0 || !this.#paused) return
    this.#paused = false
    this.#source?.resume()
  }

  #push(part: Uint8Array | null): void {
    if (this.#stopped || this.#ended) return
    if (part === null) {
      this.#ended = true
      // The last part may have left already: an empty one says so. It costs no credit.
      if (this.#queue.length === 0) this.#finish(EMPTY)
      return
    }
    if (part.length === 0) return
    this.#queue.push(part)
    this.flush()
    if (this.#queue.length === 0 || this.#paused) return
    this.#paused = true
    this.#source?.pause()
  }

  #sendNext(): void {
    const part = this.#queue[0] ?? EMPTY
    const size = Math.min(part.length, FRAME_MAX, this.#credit)
    this.#credit -= size
    if (size < part.length) {
      this.#queue[0] = part.subarray(size)
      this.#send(FRAME.body, part.subarray(0, size))
      return
    }
    this.#queue.shift()
    if (this.#ended && this.#queue.length === 0) this.#finish(part)
    else this.#send(FRAME.body, part)
  }

  #finish(last: Uint8Array): void {
    this.#stopped = true
    this.#send(FRAME.bodyEnd, last)
  }
}

/** `receive` of a body that is here already. */
export function receiveWhole(body: Uint8Array, take: (part: Uint8Array | null) => void): (consumed: number) => void {
  if (body.length > 0) take(body)
  take(null)
  return () => undefined
}

/** The bytes of a body that travel inside the open message, and whether more follow. */
export function inlinePart(body: Uint8Array | BodySource, inlineMax: number): { first: Uint8Array; more: boolean } {
  if (!(body instanceof Uint8Array)) return { first: body.first, more: true }
  return body.length <= inlineMax ? { first: body, more: false } : { first: body.subarray(0, inlineMax), more: true }
}

/**
 * The server's end: holds at most BODY_CREDIT bytes until `collect` is called, then grants as parts come, up to the limit; or until `receive` is,
 * then grants what was consumed.
 */
export class BodyCollector {
  readonly #grant: (bytes: number) => void
  readonly #parts: Uint8Array[]
  #size: number
  #ungranted = 0
  #complete = false
  #failure: GatewayError | null = null
  #taker: ((part: Uint8Array | null) => void) | null = null
  #waiting: { limit: number; resolve(body: Uint8Array): void; reject(error: GatewayError): void } | null = null

  constructor(first: Uint8Array, grant: (bytes: number) => void) {
    this.#parts = [first]
    this.#size = first.length
    this.#grant = grant
  }

  collect(limit: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting = { limit, resolve, reject }
      this.#settle()
    })
  }

  receive(take: (part: Uint8Array | null) => void): (consumed: number) => void {
    this.#taker = take
    this.#ungranted = 0
    // What came inside the message was never granted.
    let free = this.#parts[0]?.length ?? 0
    for (const part of this.#parts.splice(0)) if (part.length > 0) take(part)
    if (this.#complete) take(null)
    return (consumed) => {
      const ungranted = Math.max(0, consumed - free)
      free = Math.max(0, free - consumed)
      this.#ungranted += ungranted
      if (this.#complete || this.#failure !== null || this.#ungranted < BODY_CREDIT / 4) return
      const bytes = this.#ungranted
      this.#ungranted = 0
      this.#grant(bytes)
    }
  }

  add(part: Uint8Array, last: boolean): void {
    if (this.#failure !== null) return
    if (this.#taker !== null) {
      this.#complete = last
      if (part.length > 0) this.#taker(part)
      if (last) this.#taker(null)
      return
    }
    this.#parts.push(part)
    this.#size += part.length
    this.#ungranted += part.length
    this.#complete = last
    this.#settle()
  }

  fail(error: GatewayError): void {
    if (this.#complete || this.#failure !== null) return
    this.#failure = error
    this.#parts.length = 0
    this.#settle()
  }

  #settle(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    if (this.#failure === null && this.#size > waiting.limit) {
      this.#failure = new GatewayError('body_too_large')
      this.#parts.length = 0
    }
    if (this.#failure !== null) {
      this.#waiting = null
      waiting.reject(this.#failure)
      return
    }
    if (this.#complete) {
      this.#waiting = null
      const body = Buffer.concat(this.#parts, this.#size)
      this.#parts.length = 0
      waiting.resolve(body)
      return
    }
    if (this.#ungranted < BODY_CREDIT / 2) return
    const bytes = this.#ungranted
    this.#ungranted = 0
    this.#grant(bytes)
  }
}
