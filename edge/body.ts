import type { BodySource } from '../shared/bus/bus.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Exchange } from './exchange.ts'

/**
 * What to answer a request whose body is compressed, null for others. Nobody behind unpacks one: a small body could become as large as it
 * likes. What providers and configured endpoints get as it is may be anything.
 */
export function compressedBody({ headers }: Exchange): GatewayError | null {
  const encoding = headers['content-encoding'] ?? ''
  if (encoding === '' || encoding.toLowerCase() === 'identity') return null
  const text = 'The request body may not be compressed: leave out the content-encoding header, and send it as it is.'
  return new GatewayError('unsupported_media_type', text, { param: 'content-encoding' })
}

/**
 * The whole request body, as bytes nobody looks at. Rejects with GatewayError `cancelled` when the client leaves first (or the server refuses
 * its request), `body_too_large` past `limit` bytes.
 */
export async function collectBody(exchange: Exchange, limit: number): Promise<Uint8Array> {
  const body = await takeBody(exchange, limit)
  if (body instanceof Uint8Array) return body
  throw new GatewayError('body_too_large', `The request body is larger than ${limit} bytes.`)
}

/**
 * The request body: whole when it is at most `inlineMax` bytes, else its beginning and a way to pull the rest, while the socket waits.
 * Rejects with GatewayError `cancelled` when the client leaves first.
 */
export function takeBody(exchange: Exchange, inlineMax: number): Promise<Uint8Array | BodySource> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = []
    let size = 0
    /** Where parts go once the body has proved to be large. */
    let large: LargeBody | null = null
    const left = (): void => reject(new GatewayError('cancelled'))
    exchange.onAbort = left
    exchange.onBody((bytes, last) => {
      if (large !== null) {
        large.add(bytes, last)
        return
      }
      size += bytes.length
      parts.push(bytes)
      if (size > inlineMax) {
        large = new LargeBody(exchange, Buffer.concat(parts, size), inlineMax, last)
        resolve(large)
      } else if (last) {
        resolve(parts.length === 1 ? bytes : Buffer.concat(parts, size))
      }
    })
  })
}

/** A body still arriving. Holds what was read when the socket was paused; the rest stays in the socket until it is asked for. */
class LargeBody implements BodySource {
  readonly first: Uint8Array
  readonly #exchange: Exchange
  #waiting: Uint8Array[]
  #complete: boolean
  #paused = false
  #push: ((part: Uint8Array | null) => void) | null = null

  constructor(exchange: Exchange, read: Uint8Array, inlineMax: number, complete: boolean) {
    this.#exchange = exchange
    this.first = read.subarray(0, inlineMax)
    this.#waiting = [read.subarray(inlineMax)]
    this.#complete = complete
    exchange.pauseBody()
  }

  add(bytes: Uint8Array, last: boolean): void {
    this.#waiting.push(bytes)
    this.#complete = last
    this.#flow()
  }

  pull(push: (part: Uint8Array | null) => void): { pause(): void; resume(): void } {
    this.#push = push
    // The caller gets its hands on pause and resume first.
    queueMicrotask(() => this.#flow())
    return {
      pause: () => {
        this.#paused = true
        this.#exchange.pauseBody()
      },
      resume: () => {
        this.#paused = false
        this.#flow()
      },
    }
  }

  #flow(): void {
    const push = this.#push
    if (push === null) return
    while (!this.#paused && this.#waiting.length > 0) push(this.#waiting.shift() as Uint8Array)
    if (this.#waiting.length > 0) return
    if (this.#complete) {
      this.#push = null
      push(null)
    } else if (!this.#paused) {
      this.#exchange.resumeBody()
    }
  }
}
