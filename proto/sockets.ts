/** What clients of a socket speak: each is served by a part of the router of its own. */
export type SocketProtocol = 'realtime' | 'responses'

/** A client-facing WebSocket. Its session is a call that goes on: messages instead of a body and an answer (shared/bus/socket-messages.ts). */
export interface SocketEndpoint {
  /** Name on the wire and, where the session itself is booked, in the ledger's `call_type`. */
  name: string
  protocol: SocketProtocol
  path: string
  aliases: readonly string[]
  /** Groups of routes a key's `allowed_routes` may name (surface reference §0.1). */
  groups: readonly string[]
}

/** Every path that takes WebSockets. A new one is one row here, and somebody in router-svc who serves it. */
export const SOCKETS: readonly SocketEndpoint[] = [
  {
    name: 'arealtime',
    protocol: 'realtime',
    path: '/v1/realtime',
    aliases: ['/realtime', '/openai/v1/realtime', '/openai/realtime'],
    groups: ['openai_routes', 'llm_api_routes'],
  },
  {
    name: 'aresponses_websocket',
    protocol: 'responses',
    path: '/v1/responses',
    aliases: ['/responses', '/openai/v1/responses', '/openai/responses'],
    groups: ['openai_routes', 'llm_api_routes'],
  },
]

/** The socket of a name; undefined for one of a newer edge, and for calls that are none. */
export function socketEndpoint(name: string): SocketEndpoint | undefined {
  return SOCKETS.find((row) => row.name === name)
}

/** Largest message either side may send, bytes: OpenAI takes 15 MB of sound in one. */
export const SOCKET_MESSAGE_MAX = 16 * 1024 * 1024
/** Status of an answer that opens a session instead of ending the call. */
export const SWITCHING_PROTOCOLS = 101
/** Close codes of RFC 6455 §7.4.1 and of the IANA list that the gateway uses itself. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  none: 1005,
  abnormal: 1006,
  policy: 1008,
  tooLarge: 1009,
  internal: 1011,
} as const

/** Whether an endpoint may send this code: others stand for what was never sent. */
export function mayClose(code: number): boolean {
  return (
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== CLOSE.none && code !== CLOSE.abnormal) ||
    (code >= 3000 && code <= 4999)
  )
}
