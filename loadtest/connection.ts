import { connect, type Socket } from 'node:net'
import { type MessageHead, MessageReader } from './http-message.ts'

/**
 * One keep-alive HTTP/1.1 connection of the load client: one call at a time, bytes made beforehand. Spends about 10 µs per call
 * where `node:http` spends 40, so the client can drive a gateway from the same small machine.
 */

export interface CallHandler {
  onHead?(head: MessageHead): void
  /** A piece of the body as it arrived, HTTP framing removed. */
  onData?(bytes: Buffer): void
  onEnd(): void
  /** The call failed: refused, reset, cut off, not HTTP. Called once, instead of `onEnd`. */
  onError(error: Error): void
}

export interface CallTarget {
  /** `http://host:port`. */
  origin: string
  path: string
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** The bytes of a call. */
export function callBytes(target: CallTarget): Buffer {
  const { host } = new URL(target.origin)
  const body = Buffer.from(target.body ?? '')
  const lines = [`${target.method ?? 'POST'} ${target.path} HTTP/1.1`, `host: ${host}`]
  const headers = { 'content-type': 'application/json', accept: '*/*', ...target.headers }
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
  lines.push(`content-length: ${body.length}`, '', '')
  return Buffer.concat([Buffer.from(lines.join('\r\n')), body])
}

/**
 * Milliseconds after which an unused connection is not used again: a server that closes it for idleness at that moment (uWebSockets.js after 8 to 12
 * seconds) would reset the call.
 */
const IDLE_MAX = 6_000

export class Connection {
  readonly #host: string
  readonly #port: number
  #socket: Socket | null = null
  #call: CallHandler | null = null
  #usedAt = 0

  /** `origin`: `http://host:port`. Connects at the first call and again after the peer has closed. */
  constructor(origin: string) {
    const url = new URL(origin)
    this.#host = url.hostname
    this.#port = Number(url.port || 80)
  }

  /** Sends a call made by `callBytes`. Throws when one is under way: calls are never pipelined. */
  call(bytes: Buffer, handler: CallHandler): void {
    if (this.#call !== null) throw new Error('a call is under way on this connection')
    if (this.#socket !== null && performance.now() - this.#usedAt > IDLE_MAX) this.#drop(this.#socket)
    this.#call = handler
    const socket = this.#socket ?? this.#open()
    socket.write(bytes)
  }

  /** Stops reading: the gateway sees a slow client. */
  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  /** Leaves, whatever is under way; its handler hears nothing more. The connection can be used again. */
  abort(): void {
    this.#call = null
    this.#socket?.destroy()
    this.#socket = null
  }

  #open(): Socket {
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true })
    let keepAlive = true
    const reader = new MessageReader('response', {
      onHead: (head) => {
        keepAlive = head.keepAlive
        this.#call?.onHead?.(head)
      },
      onData: (data) => this.#call?.onData?.(data),
      onEnd: () => {
        const call = this.#call
        this.#call = null
        this.#usedAt = performance.now()
        if (!keepAlive) this.#drop(socket)
        call?.onEnd()
      },
    })
    socket.on('data', (data) => {
      // After an abort, bytes of the abandoned answer may still be queued in this socket.
      if (this.#socket !== socket) return
      try {
        reader.push(data)
      } catch (error) {
        this.#fail(socket, error as Error)
      }
    })
    socket.on('end', () => {
      if (this.#socket !== socket) return
      try {
        reader.finish()
      } catch (error) {
        this.#fail(socket, error as Error)
        return
      }
      this.#fail(socket, new Error('connection closed before the answer'))
    })
    socket.on('error', (error) => this.#fail(socket, error))
    socket.on('close', () => this.#fail(socket, new Error('connection closed')))
    this.#socket = socket
    return socket
  }

  #drop(socket: Socket): void {
    if (this.#socket === socket) this.#socket = null
    socket.destroy()
  }

  #fail(socket: Socket, error: Error): void {
    if (this.#socket !== socket) return
    this.#drop(socket)
    const call = this.#call
    this.#call = null
    call?.onError(error)
  }
}

/** One call with its whole answer, for set-up and tests. Rejects when it fails, or has not ended after `limit` milliseconds. */
export function once(
  target: CallTarget,
  limit = 30_000,
): Promise<{ status: number; headers: Map<string, string>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const connection = new Connection(target.origin)
    const parts: Buffer[] = []
    let head: MessageHead | null = null
    const timer = setTimeout(() => {
      connection.abort()
      reject(new Error(`no end within ${limit} ms`))
    }, limit)
    connection.call(callBytes(target), {
      onHead: (value) => {
        head = value
      },
      onData: (bytes) => parts.push(bytes),
      onEnd: () => {
        clearTimeout(timer)
        connection.abort()
        resolve({ status: head?.status ?? 0, headers: head?.headers ?? new Map(), body: Buffer.concat(parts) })
      },
      onError: (error) => {
        clearTimeout(timer)
        reject(error)
      },
    })
  })
}
