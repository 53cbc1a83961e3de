import { createHash, randomBytes } from 'node:crypto'
import { type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestSecure } from 'node:https'
import type { Duplex } from 'node:stream'
import { CLOSE, mayClose } from '../../proto/sockets.ts'
import type { Clock, Timer } from '../clock.ts'
import { GatewayError } from '../errors.ts'
import { closePayload, encodeClientFrame, FrameError, ServerFrameParser } from './websocket-frames.ts'

/** Where a socket goes. Times are milliseconds. */
export interface SocketRequest {
  /** Absolute, `https:` or `http:`. */
  url: string
  headers: Record<string, string>
  /** Subprotocols offered. */
  protocols: readonly string[]
  /** From sending to the end of the handshake. */
  timeout: number
  /** Largest message the server may send, bytes. */
  messageLimit: number
}

/** Told in this order: opened? message* (closed | failed), or refused, or failed. Nothing after `destroy`. */
export interface SocketSink {
  opened(headers: Record<string, string>): void
  /** The server answered, but not with a socket. `body`: at most REFUSAL_LIMIT bytes of it. */
  refused(status: number, headers: Record<string, string>, body: Uint8Array): void
  message(kind: 'text' | 'binary', payload: Uint8Array): void
  /** What `send` said false about has left. */
  drained(): void
  /** The server closed, properly: CLOSE.none when it gave no code. */
  closed(code: number, reason: string): void
  /** It could not be reached, broke off, fell silent or broke the protocol. */
  failed(error: GatewayError): void
}

export interface ClientSocket {
  /** False = the server is behind: send no more until `drained`. */
  send(kind: 'text' | 'binary', payload: Uint8Array): boolean
  /** Stops reading: the kernel's buffer fills and the server is slowed down. */
  pause(): void
  resume(): void
  /** Says goodbye; the connection ends when the server has said so too, or after a moment. */
  close(code: number, reason: string): void
  /** Cuts the connection. */
  destroy(): void
}

export type OpenSocket = (request: SocketRequest, sink: SocketSink) => ClientSocket

const REFUSAL_LIMIT = 1024 * 1024
/** Milliseconds between pings, and of silence after which the server is taken for gone. */
const PING_INTERVAL = 20_000
const SILENCE_LIMIT = 60_000
/** Milliseconds the server has to answer a close. */
const CLOSE_LIMIT = 2_000
/** Appended to the key before it is hashed (RFC 6455 §1.3). */
const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const NOTHING = new Uint8Array(0)

/**
 * Outgoing WebSockets over node's HTTP client. The platform's own WebSocket would not do: it hides the status of a refused handshake, without which
 * nobody knows whether another deployment may do better, and it cannot be paused.
 */
export function createSockets({ clock }: { clock: Clock }): OpenSocket {
  return (request, sink) => open(clock, request, sink)
}

/** States: connecting → open → closing (our close is sent) → over; connecting → refused (its body is read) → over. */
function open(clock: Clock, { url, headers, protocols, timeout, messageLimit }: SocketRequest, sink: SocketSink): ClientSocket {
  const key = randomBytes(16).toString('base64')
  const parser = new ServerFrameParser(messageLimit)
  let socket: Duplex | null = null
  let closing = false
  let over = false
  let paused = false
  let heardAt = clock.monotonic()
  let timer: Timer = clock.after(timeout, () =>
    fail(new GatewayError('provider_timeout', `litellm.Timeout: the provider did not open a socket within ${timeout / 1000} s.`)),
  )

  const secure = url.startsWith('https:') || url.startsWith('wss:')
  const outgoing = (secure ? requestSecure : requestPlain)(url.replace(/^ws/, 'http'), {
    agent: false,
    headers: {
      ...headers,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': key,
      ...(protocols.length === 0 ? {} : { 'sec-websocket-protocol': protocols.join(', ') }),
    },
  })
  outgoing.on('error', (cause) => fail(new GatewayError('provider_connection', undefined, { cause })))
  outgoing.on('upgrade', (response, upgraded, first) => opened(response, upgraded, first))
  outgoing.on('response', (response) => refused(response))
  outgoing.end()

  function end(): boolean {
    if (over) return false
    over = true
    timer.cancel()
    return true
  }

  function fail(error: GatewayError): void {
    if (!end()) return
    outgoing.destroy()
    socket?.destroy()
    sink.failed(error)
  }

  function refused(response: IncomingMessage): void {
    const parts: Buffer[] = []
    let size = 0
    response.on('data', (part: Buffer) => {
      if (size < REFUSAL_LIMIT) parts.push(part)
      size += part.length
    })
    response.on('error', (cause) => fail(new GatewayError('provider_connection', undefined, { cause })))
    response.on('end', () => {
      if (end()) sink.refused(response.statusCode ?? 502, namesOf(response), Buffer.concat(parts))
    })
  }

  function opened(response: IncomingMessage, upgraded: Duplex, first: Buffer): void {
    upgraded.on('error', () => broken())
    if (over) {
      upgraded.destroy()
      return
    }
    const expected = createHash('sha1')
      .update(key + MAGIC)
      .digest('base64')
    if (response.headers['sec-websocket-accept'] !== expected) {
      upgraded.destroy()
      fail(new GatewayError('provider_malformed', 'The provider did not answer as a WebSocket server does.'))
      return
    }
    socket = upgraded
    timer.cancel()
    timer = clock.every(PING_INTERVAL, beat)
    heardAt = clock.monotonic()
    upgraded.on('close', () => broken())
    upgraded.on('end', () => broken())
    upgraded.on('drain', () => {
      if (!over && !closing) sink.drained()
    })
    sink.opened(namesOf(response))
    upgraded.on('data', (bytes: Buffer) => read(bytes))
    if (paused) upgraded.pause()
    if (first.length > 0) read(first)
  }

  function read(bytes: Buffer): void {
    if (over) return
    heardAt = clock.monotonic()
    try {
      for (const frame of parser.push(bytes)) {
        if (over) return
        if (frame.kind === 'ping') write('pong', frame.payload)
        else if (frame.kind === 'close') ended(frame.code, frame.reason)
        else if (frame.kind !== 'pong' && !closing) sink.message(frame.kind, frame.payload)
      }
    } catch (thrown) {
      if (!(thrown instanceof FrameError)) throw thrown
      write('close', closePayload(thrown.code, ''))
      fail(new GatewayError('provider_malformed', `The provider broke the WebSocket protocol: ${thrown.message}.`))
    }
  }

  function ended(code: number, reason: string): void {
    if (!closing) write('close', closePayload(mayClose(code) ? code : CLOSE.none, ''))
    socket?.end()
    if (end() && !closing) sink.closed(code, reason)
  }

  function broken(): void {
    if (closing) end()
    else fail(new GatewayError('provider_truncated', 'The provider broke the connection off.'))
  }

  function beat(): void {
    // While nothing is read here, nothing can be heard.
    if (!paused && clock.monotonic() - heardAt > SILENCE_LIMIT) {
      fail(new GatewayError('provider_timeout', 'litellm.Timeout: the provider fell silent.'))
    } else write('ping', NOTHING)
  }

  function write(kind: Parameters<typeof encodeClientFrame>[0], payload: Uint8Array): boolean {
    if (socket === null || socket.destroyed || !socket.writable) return true
    return socket.write(encodeClientFrame(kind, payload, randomBytes(4)))
  }

  return {
    send: (kind, payload) => over || closing || write(kind, payload),
    pause() {
      paused = true
      socket?.pause()
    },
    resume() {
      paused = false
      heardAt = clock.monotonic()
      socket?.resume()
    },
    close(code, reason) {
      if (over || closing) return
      if (socket === null) {
        end()
        outgoing.destroy()
        return
      }
      closing = true
      socket.resume()
      write('close', closePayload(mayClose(code) ? code : CLOSE.none, reason))
      timer.cancel()
      timer = clock.after(CLOSE_LIMIT, () => {
        if (end()) socket?.destroy()
      })
    },
    destroy() {
      if (!end()) return
      outgoing.destroy()
      socket?.destroy()
    },
  }
}

function namesOf(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return headers
}
