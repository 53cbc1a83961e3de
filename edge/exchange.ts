/**
 * One HTTP exchange as a plain contract, so that nothing behind `server.ts` touches a uWS object. The request side is copied
 * before the first await; the response side is safe to call at any time: after the client left, writes do nothing.
 */
export interface Exchange {
  readonly method: string
  /** Path without query, as sent (percent-encoding kept). */
  readonly path: string
  /** Query string without `?`, or empty. */
  readonly query: string
  /** Lower-case name → value; a repeated header is joined with `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** Address of the peer, textual. */
  readonly remoteAddress: string
  /** Whether the client is gone or the answer is complete. */
  readonly closed: boolean

  /**
   * Delivers the body in parts, each a copy that stays valid, the last with `last` true. Throws nothing: a body over the limit or
   * too slow is answered by the server itself and `onAbort` runs.
   */
  onBody(part: (bytes: Uint8Array, last: boolean) => void): void
  /** Stops and restarts reading the request body. */
  pauseBody(): void
  resumeBody(): void

  /** Headers every answer of this exchange gets, however it comes about. */
  answerHeaders: Readonly<Record<string, string>>
  /** A complete answer. Once per exchange, instead of start/write/end. */
  respond(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array): void
  /** Begins a streamed answer. */
  start(status: number, headers: Readonly<Record<string, string>>): void
  /** Writes a part. False = the socket's buffer is full: bytes handed over so far drain later, watch `onDrain`. */
  write(bytes: Uint8Array | string): boolean
  end(bytes?: Uint8Array | string): void
  /** Cuts the connection: for a failure after the answer began that the protocol cannot express. */
  destroy(): void
  /** Runs several writes as one packet. */
  cork(run: () => void): void

  /** Bytes written but not yet taken by the kernel. */
  readonly buffered: number
  /** Called when buffered bytes went out after `write` returned false. */
  onDrain: ((buffered: number) => void) | null
  /** Called once when the client left before the answer was complete. */
  onAbort: (() => void) | null
}

export type Handler = (exchange: Exchange) => void
