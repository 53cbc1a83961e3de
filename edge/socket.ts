/**
 * One WebSocket of a client as a plain contract, so that nothing behind `server.ts` touches a uWS object. Safe to call at any time: once closed, every
 * method does nothing.
 */
export interface Socket {
  readonly closed: boolean
  /** Bytes not yet taken by the kernel. */
  readonly buffered: number
  /** False = the client is behind: `onDrain` tells when what is buffered went out. */
  send(kind: 'text' | 'binary', payload: Uint8Array): boolean
  /** Says goodbye with a code that may be sent. `onClose` does not run. */
  close(code: number, reason: string): void
}

/** What a session hears. The payload stays valid after the call. */
export interface SocketEvents {
  message(kind: 'text' | 'binary', payload: Uint8Array): void
  drain(buffered: number): void
  /** The client closed, left, fell silent or sent more than it may; or the server drains (1001). Once. */
  close(code: number): void
  /** The server drains. True = the session ends by itself as soon as nothing is under way, false or absent = it is closed after a while. */
  part?(): boolean
}

/** A request to become a socket, still answered as an HTTP request as long as it has not. */
export interface Upgrade {
  /** Subprotocols offered, in the client's order. */
  readonly protocols: readonly string[]
  /** Completes the handshake, with headers of the answer and the subprotocol chosen; null when the client is gone. */
  accept(protocol: string | null, headers: Readonly<Record<string, string>>, events: SocketEvents): Socket | null
}
