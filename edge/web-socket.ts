import { CLOSE, mayClose } from '../proto/sockets.ts'
import type { Socket, SocketEvents } from './socket.ts'

/** The part of a uWebSockets.js socket that is used; `server.ts` hands in the real one. */
export interface SocketWire {
  /** 1 = sent, 0 = buffered, 2 = dropped. */
  send(message: Uint8Array, isBinary: boolean): number
  getBufferedAmount(): number
  /** Both run the close handler at once. */
  end(code?: number, reason?: string): unknown
  close(): unknown
}

const DROPPED = 2

/**
 * One WebSocket on uWS. It cannot be paused, so who takes its messages must bound what it holds.
 *
 * States: shaking (the handshake is on its way) → open → closed.
 */
export class WebSocketOfClient implements Socket {
  readonly #events: SocketEvents
  readonly #gone: () => void
  #wire: SocketWire | null = null
  #closed = false

  /** `gone`: called once when the socket is closed, whoever closed it. */
  constructor(events: SocketEvents, gone: () => void) {
    this.#events = events
    this.#gone = gone
  }

  get closed(): boolean {
    return this.#closed
  }

  get buffered(): number {
    return this.#closed ? 0 : (this.#wire?.getBufferedAmount() ?? 0)
  }

  send(kind: 'text' | 'binary', payload: Uint8Array): boolean {
    if (this.#closed || this.#wire === null) return true
    const result = this.#wire.send(payload, kind === 'binary')
    if (result === DROPPED) this.leave(CLOSE.internal)
    return result === 1
  }

  close(code: number, reason: string): void {
    if (this.#closed) return
    this.#finish()
    this.#wire?.end(mayClose(code) ? code : CLOSE.normal, reason)
  }

  /** Called by the server, as all below: the handshake is through. */
  opened(wire: SocketWire): void {
    this.#wire = wire
  }

  /** `bytes` die with the call. */
  received(bytes: ArrayBuffer, isBinary: boolean): void {
    if (!this.#closed) this.#events.message(isBinary ? 'binary' : 'text', Buffer.from(new Uint8Array(bytes)))
  }

  drained(): void {
    if (!this.#closed) this.#events.drain(this.buffered)
  }

  /** The socket is gone. */
  ended(code: number): void {
    if (this.#closed) return
    this.#finish()
    this.#events.close(code)
  }

  /** The server drains. Whether the session ends by itself. */
  part(): boolean {
    return this.#closed || this.#events.part?.() === true
  }

  /** Closes from the server's side, and tells the session. */
  leave(code: number): void {
    if (this.#closed) return
    this.#finish()
    this.#wire?.end(code, '')
    this.#events.close(code)
  }

  #finish(): void {
    this.#closed = true
    this.#gone()
  }
}

/** The subprotocols of a request, in order. */
export function protocolsOf(header: string | undefined): string[] {
  if (header === undefined) return []
  return header
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}
