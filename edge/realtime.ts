import type { StartHead } from '../proto/call.ts'
import type { Endpoint } from '../proto/endpoints.ts'
import type { WireError } from '../proto/errors.ts'
import type { Identity } from '../proto/identity.ts'
import { CLOSE, SOCKET_MESSAGE_MAX, SOCKETS, type SocketEndpoint, SWITCHING_PROTOCOLS } from '../proto/sockets.ts'
import { PRODUCT_VERSION } from '../proto/version.ts'
import type { BodySource, OutgoingStream, ReplySink, Service } from '../shared/bus/bus.ts'
import { encodeSocketMessage, type SocketMessage, SocketMessageParser } from '../shared/bus/socket-messages.ts'
import type { Timer } from '../shared/clock.ts'
import { fromWire, type GatewayError, toGatewayError } from '../shared/errors.ts'
import { callId } from '../shared/ids.ts'
import { socketErrorEvent } from '../shared/socket-error.ts'
import { traceparentOf } from '../shared/tracer.ts'
import { answerError } from './answer.ts'
import { createChanges } from './auth/change.ts'
import { errorFormOf } from './error-form.ts'
import type { Exchange } from './exchange.ts'
import { callMessage, type InferenceDeps, ownCallId, settleLost, withoutKeys } from './inference.ts'
import { Relay, type RelayEnd } from './relay.ts'
import type { Socket, SocketEvents, Upgrade } from './socket.ts'
import { beginTrace } from './trace.ts'

export interface Realtime {
  /** Whether a path takes WebSockets. */
  takes(path: string): boolean
  handler(exchange: Exchange, upgrade: Upgrade): void
  stop(): Promise<void>
}

/** The pool of routers that serves sessions. */
const LANE = 'default'
/** Browsers cannot set headers: they offer the key as a subprotocol. */
const KEY_PROTOCOL = 'openai-insecure-api-key.'
/** Asks for the protocol's beta, as `openai-beta: realtime=v1` does. */
const BETA_PROTOCOL = 'openai-beta.realtime-v1'
const MAIN_PROTOCOL = 'realtime'
/** Headers a session takes along beside those of any call. */
const TAKEN_ALONG = ['openai-safety-identifier', 'x-client-request-id']
/** Bytes of a client's messages held while the way to the provider is full: uWS cannot stop reading a socket. */
const INBOUND_MAX = 2 * SOCKET_MESSAGE_MAX
/** Milliseconds until a session whose key has changed is looked at again, while nobody can say how. */
const CHECK_PAUSE = 1_000
/** Milliseconds the router has to end a session whose client said goodbye. */
const GOODBYE_LIMIT = 5_000
/** Longest a timer may be set for, milliseconds. */
const TIMER_MAX = 2 ** 31 - 1
const NOTHING = new Uint8Array(0)

/** WebSocket sessions: authenticated like calls, opened at a router, and only then upgraded, so that whatever refuses them is a plain answer. */
export function createRealtime(deps: InferenceDeps): Realtime {
  const { bus, clock, authenticate, refusals, observe, tracer } = deps
  const subject = bus.subjects.call(LANE)
  const changes = createChanges()
  /** Each with the count of changes as of which its caller was known or asked for again. */
  const sessions = new Map<Session, number>()
  const byPath = new Map(SOCKETS.flatMap((row) => [row.path, ...row.aliases].map((path) => [path, row] as const)))

  async function begin(exchange: Exchange, upgrade: Upgrade, row: SocketEndpoint): Promise<void> {
    const startedAt = clock.monotonic()
    const endpoint = asEndpoint(row)
    const id = callId()
    const own = ownCallId(exchange)
    exchange.answerHeaders = { 'x-litellm-call-id': own ?? id, 'x-litellm-version': PRODUCT_VERSION }
    let identity: Identity | null = null
    const trace = tracer === null ? null : beginTrace(tracer, exchange, own ?? id)
    const done = (end: RelayEnd): void => observe({ endpoint, identity, duration: clock.monotonic() - startedAt, end, trace })
    try {
      const { path, query, remoteAddress } = exchange
      const asking = { path, query, remoteAddress, headers: withOfferedKey(exchange.headers, upgrade.protocols) }
      const prove = (): Identity | Promise<Identity> => authenticate(asking, row.groups)
      const knownAsOf = changes.count
      const found = prove()
      const caller = found instanceof Promise ? await found : found
      identity = caller
      if (trace !== null) trace.authenticated = clock.monotonic() - startedAt
      const refusal = refusals.find(caller, row.name)
      if (refusal !== null) {
        const { head, body } = refusal
        exchange.respond(head.status, head.headers, body)
        done({ status: head.status, head, error: null, bytes: body.length, refusal: null })
        return
      }
      const asOf = refusals.changes
      const message = callMessage(deps, exchange, id, endpoint, null, caller)
      if (own !== null) message.clientCallId = own
      if (trace !== null) message.traceparent = traceparentOf(trace)
      for (const name of TAKEN_ALONG) {
        const value = exchange.headers[name]
        if (value !== undefined) message.headers[name] = value
      }
      if (upgrade.protocols.includes(BETA_PROTOCOL)) message.headers['openai-beta'] ??= 'realtime=v1'
      message.carried = { method: 'GET', path, query: withoutKeys(query), params: {}, pattern: row.path }
      const session: Session = new Session({
        exchange,
        upgrade,
        row,
        id,
        identity: caller,
        clock,
        prove,
        done(end) {
          sessions.delete(session)
          settleLost(deps, session.owed(end))
          if (end.refusal !== null) refusals.remember(caller, row.name, end.refusal, asOf)
          done(end)
        },
      })
      sessions.set(session, knownAsOf)
      session.attach(bus.open(subject, { id, head: message, body: session.source, deadline: deps.callLimit }, session))
      // What changed while accounting was asked was not looked for here.
      if (changes.count !== knownAsOf) checking ??= setImmediate(checkAll)
    } catch (thrown) {
      const error = toGatewayError(thrown)
      if (error.code === 'internal') deps.log.error({ err: error.cause, callId: id }, 'a session failed inside the edge')
      answerError(exchange, error)
      done({ status: errorFormOf(exchange.path).status(error), head: null, error, bytes: 0, refusal: null })
    }
  }

  /** Once for all the changes of a turn, when the cache of identities has heard of them too. */
  let checking: NodeJS.Immediate | null = null
  const listening: Service = bus.onChange('identity', (payload) => {
    changes.hear(payload)
    checking ??= setImmediate(checkAll)
  })

  function checkAll(): void {
    checking = null
    for (const [session, asOf] of [...sessions]) {
      if (!changes.since(asOf, session.identity.keyHash, session.identity)) continue
      sessions.set(session, changes.count)
      session.check()
    }
  }

  return {
    takes: (path) => byPath.has(path),
    handler: (exchange, upgrade) => void begin(exchange, upgrade, byPath.get(exchange.path) as SocketEndpoint),
    stop: () => {
      if (checking !== null) clearImmediate(checking)
      return listening.stop()
    },
  }
}

interface SessionParts {
  exchange: Exchange
  upgrade: Upgrade
  row: SocketEndpoint
  id: string
  identity: Identity
  clock: InferenceDeps['clock']
  /** Who is calling, asked again. */
  prove(): Identity | Promise<Identity>
  done(end: RelayEnd): void
}

/**
 * One session: messages of the client → body of the stream, data of the stream → messages, back-pressure ⇄ credit.
 *
 * States: asking (nothing decided) → relaying (the router answered otherwise: as any call) | open (a socket) → parted (the client is gone, the
 * router ends) → over; asking → over.
 */
class Session implements ReplySink, SocketEvents {
  readonly #parts: SessionParts
  readonly #parser = new SocketMessageParser(SOCKET_MESSAGE_MAX)
  #stream: OutgoingStream | null = null
  #relay: Relay | null = null
  #socket: Socket | null = null
  #head: StartHead | null = null
  #over = false
  #parted = false
  #bytes = 0
  /** What is owed for the answer under way if the router dies, and the bytes of it that came; null = what the head said. */
  #booking: Uint8Array | null = null
  #booked = 0
  /** Bytes given to the socket but not granted back, since it was behind. */
  #owed = 0
  #push: ((part: Uint8Array | null) => void) | null = null
  #paused = false
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #expiry: Timer | null = null
  #recheck: Timer | null = null
  #goodbye: Timer | null = null

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  get identity(): Identity {
    return this.#parts.identity
  }

  /** The client's messages. */
  get source(): BodySource {
    return {
      first: NOTHING,
      pull: (push) => {
        this.#push = push
        return { pause: () => this.#pause(), resume: () => this.#resume() }
      },
    }
  }

  attach(stream: OutgoingStream): void {
    const { exchange } = this.#parts
    this.#stream = stream
    exchange.onAbort = () => {
      stream.cancel('client closed the connection')
      this.#finish(499, null)
    }
    if (exchange.closed) exchange.onAbort()
  }

  /** The end as it is to be booked where nobody else can: answers that are over have been. */
  owed(end: RelayEnd): RelayEnd {
    const booking = this.#booking
    if (booking === null || end.head === null) return { ...end, bytes: 0 }
    const { booking: _head, ...head } = end.head
    return { ...end, head: booking.length === 0 ? head : { ...head, booking }, bytes: this.#booked }
  }

  /** Something about the key has changed. */
  check(): void {
    const judge = async (): Promise<void> => {
      try {
        await this.#parts.prove()
      } catch (thrown) {
        const error = toGatewayError(thrown)
        if (error.status === 401 || error.status === 403) this.#end(error, CLOSE.policy)
        // While accounting is away those already let in go on; what has changed is looked at when it is back.
        else if (!this.#over) {
          this.#recheck?.cancel()
          this.#recheck = this.#parts.clock.after(CHECK_PAUSE, () => this.check())
        }
      }
    }
    void judge()
  }

  start(head: StartHead): void {
    this.#head = head
    if (head.status !== SWITCHING_PROTOCOLS) {
      this.#asRelay().start(head)
      return
    }
    const { exchange, upgrade, identity, clock } = this.#parts
    this.#socket = upgrade.accept(chosen(upgrade.protocols), { ...head.headers, ...exchange.answerHeaders }, this)
    if (this.#socket === null) {
      this.#stream?.cancel('client closed the connection')
      this.#finish(499, null)
      return
    }
    if (identity.expires === null) return
    const left = identity.expires - clock.now()
    if (left < TIMER_MAX) this.#expiry = clock.after(Math.max(0, left), () => this.check())
  }

  data(bytes: Uint8Array): void {
    if (this.#over) return
    if (this.#relay !== null) {
      this.#relay.data(bytes)
      return
    }
    this.#bytes += bytes.length
    let messages: SocketMessage[]
    try {
      messages = this.#parser.push(bytes)
    } catch (thrown) {
      this.#end(toGatewayError(thrown), CLOSE.internal)
      return
    }
    this.#booked += bytes.length
    let behind = this.#owed > 0
    for (const message of messages) {
      if (message.kind === 'close') this.#part(() => this.#socket?.close(message.code, message.reason))
      else if (message.kind === 'booking') {
        this.#booking = message.payload
        this.#booked = 0
      } else if (this.#socket?.send(message.kind, message.payload) === false) behind = true
    }
    if (behind && this.#socket?.closed === false) this.#owed += bytes.length
    else this.#stream?.consumed(bytes.length)
  }

  end(): void {
    if (this.#over) return
    if (this.#relay !== null) {
      this.#relay.end()
      return
    }
    this.#part(() => this.#socket?.close(CLOSE.normal, ''))
    this.#finish(SWITCHING_PROTOCOLS, null)
  }

  error(wire: WireError): void {
    if (this.#over) return
    if (this.#socket === null) {
      this.#asRelay().error(wire)
      return
    }
    const error = fromWire(wire)
    this.#part(() => this.#tell(error, CLOSE.internal))
    this.#finish(SWITCHING_PROTOCOLS, error)
  }

  message(kind: 'text' | 'binary', payload: Uint8Array): void {
    if (this.#over || this.#parted) return
    this.#toRouter(encodeSocketMessage({ kind, payload }))
  }

  #toRouter(bytes: Uint8Array): void {
    if (!this.#paused && this.#push !== null) {
      this.#push(bytes)
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes <= INBOUND_MAX) return
    this.#parted = true
    this.#socket?.close(CLOSE.policy, 'messages come faster than the provider takes them')
    this.#stream?.cancel('the client sends too fast')
    this.#finish(SWITCHING_PROTOCOLS, null)
  }

  part(): boolean {
    if (this.#parts.row.protocol !== 'responses') return false
    if (!this.#over && !this.#parted) this.#toRouter(encodeSocketMessage({ kind: 'close', code: CLOSE.goingAway, reason: '' }))
    return true
  }

  drain(buffered: number): void {
    const left = this.#owed - buffered
    if (this.#over || left <= 0) return
    this.#owed -= left
    this.#stream?.consumed(left)
  }

  close(code: number): void {
    if (this.#over || this.#parted) return
    this.#parted = true
    // What waited for the socket waits no more: the rest of the stream is read and thrown away.
    this.drain(0)
    if (this.#waiting.length > 0 || this.#push === null || code === CLOSE.abnormal) {
      this.#stream?.cancel('client closed the connection')
      this.#finish(499, null)
      return
    }
    this.#push(encodeSocketMessage({ kind: 'close', code, reason: '' }))
    this.#push(null)
    this.#goodbye = this.#parts.clock.after(GOODBYE_LIMIT, () => {
      this.#stream?.cancel('client closed the connection')
      this.#finish(SWITCHING_PROTOCOLS, null)
    })
  }

  /** From here on the router's answer is a plain one. */
  #asRelay(): Relay {
    const relay = new Relay(this.#parts.exchange, {
      onEnd: (end) => {
        this.#over = true
        this.#parts.done(end)
      },
    })
    if (this.#stream !== null) relay.attach(this.#stream)
    this.#relay = relay
    return relay
  }

  #pause(): void {
    this.#paused = true
  }

  #resume(): void {
    this.#paused = false
    while (!this.#paused && this.#waiting.length > 0) {
      const next = this.#waiting.shift() as Uint8Array
      this.#waitingBytes -= next.length
      this.#push?.(next)
    }
  }

  /** Ends an open session, or one not yet opened, from this side. */
  #end(error: GatewayError, code: number): void {
    if (this.#over || this.#relay !== null) return
    this.#stream?.cancel(error.code)
    if (this.#socket === null) answerError(this.#parts.exchange, error)
    else this.#part(() => this.#tell(error, code))
    this.#finish(this.#socket === null ? error.status : SWITCHING_PROTOCOLS, error)
  }

  #tell(error: GatewayError, code: number): void {
    this.#socket?.send('text', Buffer.from(socketErrorEvent(error, this.#parts.id, this.#parts.row.protocol)))
    this.#socket?.close(code, error.code)
  }

  #part(farewell: () => void): void {
    if (this.#parted) return
    this.#parted = true
    farewell()
  }

  #finish(status: number, error: GatewayError | null): void {
    if (this.#over) return
    this.#over = true
    this.#expiry?.cancel()
    this.#recheck?.cancel()
    this.#goodbye?.cancel()
    this.#waiting = []
    this.#parts.done({ status, head: this.#head, error, bytes: this.#bytes, refusal: null })
  }
}

/** The subprotocol that is answered: never one that holds a key. */
function chosen(offered: readonly string[]): string | null {
  if (offered.includes(MAIN_PROTOCOL)) return MAIN_PROTOCOL
  return offered.find((name) => !name.startsWith(KEY_PROTOCOL)) ?? null
}

/** A key offered as a subprotocol counts last, as one of an `api-key` header would. */
function withOfferedKey(
  headers: Readonly<Record<string, string>>,
  protocols: readonly string[],
): Readonly<Record<string, string>> {
  const offered = protocols.find((name) => name.startsWith(KEY_PROTOCOL))
  if (offered === undefined) return headers
  return { 'api-key': offered.slice(KEY_PROTOCOL.length), ...headers }
}

function asEndpoint({ name, path }: SocketEndpoint): Endpoint {
  return { name, method: 'POST', path, aliases: [], mode: 'chat', dialect: 'openai-chat', body: 'json' }
}
