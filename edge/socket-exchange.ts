import { STATUS_CODES } from 'node:http'
import { GatewayError } from '../shared/errors.ts'
import { errorFormOf } from './error-form.ts'
import type { Exchange } from './exchange.ts'
import type { HeaderLines } from './header-lines.ts'

/** The part of a uWebSockets.js response that an exchange uses; `server.ts` hands in the real one. */
export interface Wire {
  writeStatus(status: string): unknown
  writeHeader(name: string, value: string): unknown
  write(chunk: string | Uint8Array): boolean
  end(body?: string | Uint8Array, closeConnection?: boolean): unknown
  endWithoutBody(): unknown
  close(): unknown
  pause(): void
  resume(): void
  cork(run: () => void): unknown
  onWritable(handler: () => boolean): unknown
  getRemoteAddress(): ArrayBuffer
  getRemoteAddressAsText(): ArrayBuffer
}

/** What all exchanges of one server share. */
export interface ExchangeHost {
  /** Largest body, bytes. */
  readonly bodyLimit: number
  /** Milliseconds a body may take, plus a second per BODY_RATE bytes that did arrive. */
  readonly bodyTimeout: number
  /** Milliseconds a client may leave its answer unread while more of it waits. */
  readonly stallTimeout: number
  /** True from the start of draining on: answers ask the client to use another connection. */
  readonly draining: boolean
  monotonic(): number
  readonly headerLines: HeaderLines
  /** Headers every answer to this request gets (CORS); null for none. */
  extraHeaders(exchange: Exchange): Readonly<Record<string, string>> | null
  /** Has `tend` of the exchange called every TEND_INTERVAL until `untend`. */
  tend(exchange: SocketExchange): void
  untend(exchange: SocketExchange): void
  finished(): void
}

/** The request line and headers, copied. */
export interface RequestHead {
  method: string
  path: string
  query: string
  headers: Readonly<Record<string, string>>
  /** Announced body length: 0 for none, null when it comes in chunks of unknown sum. */
  bodyLength: number | null
}

/** Slowest upload tolerated in the long run, bytes per second. uWS asks for the same. */
const BODY_RATE = 16 * 1024
/**
 * uWS tells neither how much it still holds after a failed write nor when that is gone; only the next write tells. So of a part from
 * SPLIT_FROM bytes on the last KEPT bytes are held back when the rest did not go out, and offered one by one whenever the socket turns
 * writable (a third of its buffer is free then: 256 times that is more than any window). A smaller part leaves the window open, so
 * there will be a next write.
 */
const SPLIT_FROM = 4 * 1024
const KEPT = 256
const EMPTY = new Uint8Array(0)
const JSON_HEADERS = { 'content-type': 'application/json' }
const NO_HEADERS = {}

/**
 * One request and its answer on a uWS socket.
 *
 * Request side:  arriving ⇄ paused → complete.
 * Answer side:   none → headed (start called, nothing sent) → flowing ⇄ full (socket behind) → ending (full, end called) → closed.
 * `respond` goes from none to closed at once; the client leaving goes to closed from anywhere. Once closed the uWS object must not be
 * touched any more, and every method does nothing.
 *
 * uWS arms a fixed timer of about 10 seconds while a body arrives and whenever a write fails, and its expiry closes the socket.
 * While the limits here allow more, the server has `tend` called, which arms it anew.
 */
export class SocketExchange implements Exchange {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
  answerHeaders: Readonly<Record<string, string>> = NO_HEADERS
  onDrain: ((buffered: number) => void) | null = null
  onAbort: (() => void) | null = null

  readonly #wire: Wire
  readonly #host: ExchangeHost
  #closed = false
  #address: string | null = null

  #bodyLength: number | null
  /** No next request may follow: where this one ended is uncertain (`createServer`). */
  readonly #isLast: boolean
  #received = 0
  #complete: boolean
  #paused = false
  #pausedSince = 0
  /** uWS's timer runs although the body is complete. */
  #armed = false
  #bodySince = 0
  #part: ((bytes: Uint8Array, last: boolean) => void) | null = null
  /** Parts that came before somebody asked for the body. */
  #early: Uint8Array[] | null = null

  #head: { status: number; headers: Readonly<Record<string, string>> } | null = null
  #first: Uint8Array | string | null = null
  #flowing = false
  #full = false
  #fullSince = 0
  #ending = false
  /** Bytes not yet given to uWS. */
  #held: Uint8Array[] | null = null
  /** Bytes given or held since the socket fell behind. */
  #buffered = 0

  constructor(wire: Wire, host: ExchangeHost, head: RequestHead) {
    this.#wire = wire
    this.#host = host
    this.method = head.method
    this.path = head.path
    this.query = head.query
    this.headers = head.headers
    this.#bodyLength = head.bodyLength
    this.#isLast = head.bodyLength === null
    this.#complete = head.bodyLength === 0
  }

  get closed(): boolean {
    return this.#closed
  }

  get buffered(): number {
    return this.#buffered
  }

  get remoteAddress(): string {
    this.#address ??= this.#closed ? '' : addressOf(this.#wire)
    return this.#address
  }

  /** Called by the server with each part of the body; `chunk` dies with the call. */
  receive(chunk: ArrayBuffer, last: boolean): void {
    if (this.#closed) return
    this.#received += chunk.byteLength
    if (this.#received > this.#host.bodyLimit) {
      this.refuse(tooLarge(this.#host.bodyLimit), false)
      return
    }
    this.#complete = last
    if (last) this.#bodyEnded()
    else this.#expectMore()
    const bytes = chunk.byteLength === 0 ? EMPTY : Buffer.from(new Uint8Array(chunk))
    if (this.#part !== null) {
      this.#part(bytes, last)
      return
    }
    this.#early ??= []
    this.#early.push(bytes)
    // Nobody took the body yet (the key is being looked up): hold this part and no more.
    if (!last) this.pauseBody()
  }

  onBody(part: (bytes: Uint8Array, last: boolean) => void): void {
    if (this.#closed) return
    this.#part = part
    const early = this.#early
    this.#early = null
    if (early === null) {
      if (this.#complete) part(EMPTY, true)
      return
    }
    early.forEach((bytes, index) => {
      part(bytes, this.#complete && index === early.length - 1)
    })
    if (!this.#complete) this.resumeBody()
  }

  pauseBody(): void {
    if (this.#closed || this.#complete || this.#paused) return
    this.#paused = true
    this.#pausedSince = this.#host.monotonic()
    this.#wire.pause()
  }

  resumeBody(): void {
    if (this.#closed || !this.#paused) return
    this.#paused = false
    // Time we did not read is not the client's.
    this.#bodySince += this.#host.monotonic() - this.#pausedSince
    this.#wire.resume()
  }

  respond(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array): void {
    if (this.#closed) return
    this.#respond(status, headers, body, false)
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.#closed) return
    this.#head = { status, headers }
  }

  write(bytes: Uint8Array | string): boolean {
    if (this.#closed || this.method === 'HEAD') return true
    if (this.#head !== null && this.#first === null) {
      // Head and first part leave together; an answer that ends in the same tick leaves whole, with a content-length.
      this.#first = bytes
      queueMicrotask(() => {
        if (!this.#closed && this.#head !== null) this.#put(null)
      })
      return true
    }
    if (!this.#full) return this.#put(bytes)
    const unprobed = this.#held === null
    this.#hold(bytes)
    if (unprobed) this.#writable()
    return !this.#full
  }

  end(bytes?: Uint8Array | string): void {
    if (this.#closed) return
    if (!this.#flowing) {
      const head = this.#head ?? { status: 200, headers: {} }
      this.#respond(head.status, head.headers, join(this.#first, bytes), false)
      return
    }
    if (this.#held !== null) {
      if (bytes !== undefined) this.#hold(bytes)
      this.#ending = true
      return
    }
    // What uWS still holds goes out by itself from here on.
    this.#finish()
    this.#wire.cork(() => this.#wire.end(bytes))
  }

  destroy(): void {
    if (this.#closed) return
    this.#finish()
    this.#wire.close()
  }

  cork(run: () => void): void {
    if (this.#closed) run()
    else this.#wire.cork(run)
  }

  /** Called by the server when the connection goes on as something else: nothing is answered here any more. False = it is gone or answered. */
  release(): boolean {
    if (this.#closed) return false
    this.#finish()
    return true
  }

  /** Called by the server when the socket is gone. */
  aborted(): void {
    if (this.#closed) return
    this.#finish()
    this.onAbort?.()
  }

  /** Answers for the handler, which hears `onAbort`: the request itself is at fault. */
  refuse(error: GatewayError, mustClose: boolean): void {
    if (this.#closed) return
    if (this.#flowing) {
      this.destroy()
    } else {
      const form = errorFormOf(this.path)
      this.#respond(form.status(error), JSON_HEADERS, form.body(error), mustClose)
    }
    this.onAbort?.()
  }

  /** Called by the server every few seconds while tended: arms uWS's timer anew, or ends what took too long. */
  tend(): void {
    if (this.#closed || this.#paused) return
    const now = this.#host.monotonic()
    if (!this.#complete && now - this.#bodySince > this.#host.bodyTimeout + (this.#received / BODY_RATE) * 1000) {
      this.refuse(new GatewayError('request_timeout'), true)
      return
    }
    if (this.#full && now - this.#fullSince > this.#host.stallTimeout) {
      this.destroy()
      this.onAbort?.()
      return
    }
    this.#nudge()
  }

  /**
   * A socket still paused when its body ends would never be read again, and the next request on it would hang. Resuming arms uWS's timer, which
   * uWS itself stops only at the end of a body: so it is tended until the answer is complete.
   */
  #bodyEnded(): void {
    if (!this.#paused) {
      this.#host.untend(this)
      return
    }
    this.#paused = false
    this.#armed = true
    this.#host.tend(this)
    this.#wire.resume()
  }

  #expectMore(): void {
    if (this.#bodySince === 0) {
      this.#bodySince = this.#host.monotonic()
      this.#host.tend(this)
    } else {
      this.#nudge()
    }
  }

  /** Arms uWS's timer anew. Only as a pair: `resume` of what is not paused stops all reading. */
  #nudge(): void {
    if (this.#paused) return
    this.#wire.pause()
    this.#wire.resume()
  }

  /** Sends the head when it is still to come, what was kept of the first part, and `bytes`. False when the socket is behind. */
  #put(bytes: Uint8Array | string | null): boolean {
    this.#wire.cork(() => {
      if (this.#head !== null) this.#sendHead()
      const first = this.#first
      this.#first = null
      if (first !== null) this.#offer(first)
      if (bytes !== null) this.#offer(bytes)
    })
    return !this.#full
  }

  /** Gives a part to uWS, inside a cork, or holds it. */
  #offer(part: Uint8Array | string): void {
    if (this.#full) {
      this.#hold(part)
      return
    }
    if (part.length === 0) return
    if (part.length < SPLIT_FROM) {
      if (!this.#wire.write(part)) this.#becomeFull(sizeOf(part))
      return
    }
    const bytes = bytesOf(part)
    const tail = bytes.subarray(bytes.length - KEPT)
    if (this.#wire.write(bytes.subarray(0, bytes.length - KEPT))) {
      this.#wire.write(tail)
    } else {
      this.#becomeFull(bytes.length - KEPT)
      this.#hold(tail)
    }
  }

  #hold(part: Uint8Array | string): void {
    const bytes = bytesOf(part)
    if (bytes.length === 0) return
    this.#held ??= []
    this.#held.push(bytes)
    this.#buffered += bytes.length
  }

  #sendHead(): void {
    const head = this.#head as { status: number; headers: Readonly<Record<string, string>> }
    this.#head = null
    this.#flowing = true
    this.#writeHead(head.status, head.headers)
    // Proxies then use another connection; uWS cannot close one at the end of a streamed answer.
    if (this.#host.draining || this.#isLast) this.#wire.writeHeader('connection', 'close')
    this.#wire.onWritable(() => this.#writable())
  }

  #becomeFull(size: number): void {
    this.#full = true
    this.#fullSince = this.#host.monotonic()
    this.#buffered += size
    this.#host.tend(this)
  }

  /** The kernel takes bytes again. With this handler set, uWS sends what it holds only when written to, or at the end of a cork. */
  #writable(): boolean {
    if (this.#closed) return true
    this.#wire.cork(() => {
      if (this.#full) this.#probe()
    })
    if (this.#full) {
      this.#fullSince = this.#host.monotonic()
    } else {
      if (this.#complete && !this.#armed) this.#host.untend(this)
      if (this.#ending) {
        this.#finish()
        this.#wire.cork(() => this.#wire.end())
        return true
      }
    }
    this.onDrain?.(this.#buffered)
    return true
  }

  /** Learns by one byte whether uWS sent all it had; then offers what is held. */
  #probe(): void {
    const held = this.#held
    const next = held?.[0]
    if (held !== null && next !== undefined && !this.#wire.write(next.subarray(0, 1))) {
      if (next.length > 1) held[0] = next.subarray(1)
      else if (held.length > 1) held.shift()
      else this.#held = null
      return
    }
    this.#full = false
    this.#buffered = 0
    this.#held = null
    if (held === null || next === undefined) return
    held[0] = next.subarray(1)
    for (const part of held) this.#offer(part)
  }

  #respond(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array, mustClose: boolean): void {
    const close = mustClose || this.#isLast || this.#host.draining || !this.#discards()
    this.#finish()
    this.#wire.cork(() => {
      this.#writeHead(status, headers)
      const bare = status === 204 || status === 304
      if (this.method !== 'HEAD' && !bare) {
        this.#wire.end(body, close)
        return
      }
      // Given a length, uWS waits for that many bytes; given `close`, it wants a length.
      if (!bare) this.#wire.writeHeader('content-length', announced(headers) ?? String(sizeOf(body)))
      if (close) this.#wire.writeHeader('connection', 'close')
      this.#wire.endWithoutBody()
    })
  }

  /**
   * Whether the rest of the body may come in and be thrown away (uWS does), which spares a client in the middle of its upload a reset
   * that would hide the answer from it. Only a known rest of at most twice the limit.
   */
  #discards(): boolean {
    return this.#complete || (this.#bodyLength !== null && this.#bodyLength - this.#received <= 2 * this.#host.bodyLimit)
  }

  /** All headers in one call to the native side: the first by name, the rest inside its value. */
  #writeHead(status: number, headers: Readonly<Record<string, string>>): void {
    this.#wire.writeStatus(statusLine(status))
    const extra = this.#host.extraHeaders(this)
    let all = this.#host.headerLines(this.answerHeaders, this.#host.headerLines(headers, ''))
    if (extra !== null) all = this.#host.headerLines(extra, all)
    if (all === '') return
    const colon = all.indexOf(':')
    this.#wire.writeHeader(all.slice(0, colon), all.slice(colon + 2))
  }

  #finish(): void {
    this.#closed = true
    this.#held = null
    this.#early = null
    this.#buffered = 0
    this.#host.untend(this)
    this.#host.finished()
  }
}

/** The error for a body over `limit` bytes. */
export function tooLarge(limit: number): GatewayError {
  return new GatewayError('body_too_large', `The request body is larger than ${limit} bytes.`)
}

/** IPv4 from its four bytes, which takes half the time of uWS's text. */
function addressOf(wire: Wire): string {
  const bytes = new Uint8Array(wire.getRemoteAddress())
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  return Buffer.from(wire.getRemoteAddressAsText()).toString('latin1')
}

function announced(headers: Readonly<Record<string, string>>): string | null {
  const length = headers['content-length']
  return length === undefined || !/^\d+$/.test(length) ? null : length
}

function statusLine(status: number): string {
  return status === 200 ? '200 OK' : `${status} ${STATUS_CODES[status] ?? 'Unknown'}`
}

function bytesOf(part: Uint8Array | string): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part
}

function sizeOf(bytes: Uint8Array | string): number {
  return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
}

function join(first: Uint8Array | string | null, second: Uint8Array | string | undefined): Uint8Array | string {
  if (first === null) return second ?? ''
  if (second === undefined) return first
  if (typeof first === 'string' && typeof second === 'string') return first + second
  return Buffer.concat([bytesOf(first), bytesOf(second)])
}
