import type { CallMessage } from '../../proto/call.ts'
import { CLOSE, SOCKET_MESSAGE_MAX, SWITCHING_PROTOCOLS } from '../../proto/sockets.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { encodeSocketMessage, type SocketMessage, SocketMessageParser } from '../../shared/bus/socket-messages.ts'
import type { Clock, Timer } from '../../shared/clock.ts'
import { GatewayError, toGatewayError, toWire } from '../../shared/errors.ts'
import type { ResponseObject } from '../canonical/responses.ts'
import type { Fields } from '../providers/json.ts'
import { Chain, type Chained } from './chain.ts'
import { type CreateEvent, readCreate, streamIdIn } from './client-event.ts'
import { type ErrorEvent, errorEvent } from './error-event.ts'
import { ResponseStream } from './response-stream.ts'
import { warmedUp } from './warm-up.ts'

export interface SessionDeps {
  /** Takes or refuses a call as one from the bus. */
  take(incoming: IncomingStream): void
  clock: Clock
  newId(): string
  /** The id of a response that only this connection knows. */
  ownId(call: CallMessage, key: string): string
}

/** Milliseconds a connection may be open, as OpenAI's may. */
export const CONNECTION_LIMIT = 60 * 60_000
/** Milliseconds a connection may be silent: its client may have somebody who thinks, and it costs little. */
export const IDLE_LIMIT = 30 * 60_000
/** Headers of the handshake that speak of one call alone. */
const OF_ONE_CALL: ReadonlySet<string> = new Set(['idempotency-key'])
/** Events that hold the response. */
const ENVELOPES: ReadonlySet<string> = new Set([
  'response.queued',
  'response.created',
  'response.in_progress',
  'response.completed',
  'response.incomplete',
  'response.failed',
])
/** The last event of a stream, where its response may be gone on from. */
const GOOD_ENDS: ReadonlySet<string> = new Set(['response.completed', 'response.incomplete'])

/** The response under way. */
interface Running {
  stream: ResponseStream
  create: CreateEvent
  chained: Chained
  /** As it ended, where it ended well, and its bytes. */
  last: ResponseObject | null
  bytes: number
}

/**
 * One connection of a Responses client: each `response.create` is a call of its own, served as `POST /v1/responses` is. No provider's socket is
 * opened, not even where it has one: limits, budgets, fallbacks and the choice of a deployment are made anew for each response, which a connection
 * to one deployment would rule out, and models whose provider has no socket, or no Responses API, answer here all the same.
 *
 * States: idle ⇄ running → over. Parting (the gateway drains) and expired end it when next idle.
 */
export class ResponsesSession {
  readonly #deps: SessionDeps
  readonly #incoming: IncomingStream
  readonly #call: CallMessage
  readonly #model: string | null
  readonly #done: () => void
  readonly #parser = new SocketMessageParser(SOCKET_MESSAGE_MAX)
  readonly #chain = new Chain()
  #running: Running | null = null
  /** Asked for when the last event was out already. */
  #next: Uint8Array | null = null
  /** Bytes of the client taken, and not granted back. */
  #taken = 0
  #grant: (bytes: number) => void = () => undefined
  #behind = false
  #parting = false
  #expired = false
  #over = false
  #limit: Timer | null = null
  #idle: Timer | null = null

  constructor(deps: SessionDeps, incoming: IncomingStream, done: () => void) {
    this.#deps = deps
    this.#incoming = incoming
    this.#call = incoming.head as CallMessage
    this.#model = new URLSearchParams(this.#call.carried?.query ?? '').get('model')
    this.#done = done
  }

  start(): void {
    const { clock } = this.#deps
    const incoming = this.#incoming
    incoming.onCancel = () => this.#leave()
    incoming.onWritable = () => {
      this.#behind = false
      this.#running?.stream.onWritable?.()
      this.#release()
    }
    incoming.start({ v: WIRE_VERSION, status: SWITCHING_PROTOCOLS, headers: {} })
    this.#limit = clock.after(CONNECTION_LIMIT, () => {
      this.#expired = true
      this.#rest()
    })
    this.#rest()
    this.#grant = incoming.receive((part) => this.#receive(part))
  }

  /** The gateway drains: the connection ends once no response is under way. */
  part(): void {
    this.#parting = true
    this.#rest()
  }

  /** Now, whatever is under way. */
  end(): void {
    this.#running?.stream.cancel('draining')
    this.#finish(RESTARTING)
  }

  #receive(part: Uint8Array | null): void {
    if (this.#over) return
    if (part === null) {
      this.#leave()
      return
    }
    this.#taken += part.length
    try {
      for (const message of this.#parser.push(part)) this.#take(message)
    } catch (thrown) {
      this.#break(toGatewayError(thrown))
      return
    }
    this.#release()
  }

  /** What came is done with. A client that does not read its answers is read no further. */
  #release(): void {
    if (this.#behind || this.#taken === 0 || this.#over) return
    const granted = this.#taken
    this.#taken = 0
    this.#grant(granted)
  }

  #take(message: SocketMessage): void {
    if (this.#over) return
    if (message.kind === 'close') this.part()
    else if (message.kind === 'text') this.#asked(message.payload)
    else this.#tell(errorEvent(new GatewayError('bad_request', 'Messages are text: JSON of one event each.')), null)
  }

  #asked(payload: Uint8Array): void {
    const running = this.#running
    try {
      if (running?.last != null && this.#next === null) {
        this.#next = payload
        return
      }
      const create = readCreate(payload, this.#model)
      if (running !== null) {
        const text = 'A response is in progress on this connection, which makes one at a time: wait for its end, or open another.'
        this.#tell(errorEvent(new GatewayError('bad_request', text), 'response_in_progress'), create.streamId)
        return
      }
      if (create.generate) this.#run(create)
      else this.#warmUp(create, payload)
    } catch (thrown) {
      this.#tell(errorEvent(toGatewayError(thrown)), streamIdIn(payload))
    }
  }

  #run(create: CreateEvent): void {
    this.#idle?.cancel()
    const chained = this.#chain.resolve(create.body)
    const head = this.#headOf()
    const stream = new ResponseStream(head, Buffer.from(JSON.stringify(chained.body)), this.#incoming.deadline, {
      booking: (payload) => this.#send({ kind: 'booking', payload }),
      event: (name, data) => this.#event(running, name, data),
      failed: (event) => {
        this.#tell(event, create.streamId)
        this.#answered(running)
      },
      ended: () => this.#answered(running),
    })
    const running: Running = { stream, create, chained, last: null, bytes: 0 }
    this.#running = running
    this.#deps.take(stream)
  }

  /** The connection's head as that of one of its calls. */
  #headOf(): CallMessage {
    const { carried: _carried, clientCallId: _own, headers, ...shared } = this.#call
    const passed = Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_ONE_CALL.has(name)))
    // What belongs together is found together.
    if (passed['x-litellm-trace-id'] === undefined) passed['x-litellm-session-id'] ??= this.#call.callId
    return { ...shared, callId: this.#deps.newId(), take: 1, endpoint: 'aresponses', headers: passed }
  }

  #event(running: Running, name: string, data: string): boolean {
    if (this.#over) return true
    const { create, chained } = running
    const type = name === '' ? typeOf(data) : name
    if (!ENVELOPES.has(type)) return this.#say(withLane(data, create.streamId))
    const event = JSON.parse(data) as Fields & { response: ResponseObject }
    if (GOOD_ENDS.has(type)) {
      running.last = event.response
      running.bytes = data.length
    }
    if (chained.from === null) return this.#say(withLane(data, create.streamId))
    const response = { ...event.response, previous_response_id: chained.from }
    return this.#say(withLane(JSON.stringify({ ...event, response }), create.streamId))
  }

  #answered(running: Running): void {
    if (this.#running !== running) return
    this.#running = null
    const { chained, create, last, stream, bytes } = running
    if (last !== null) this.#chain.keep(chained.body, last, create.body['store'] !== false, stream.body.length + bytes)
    else if (chained.from !== null) this.#chain.forget()
    this.#send({ kind: 'booking', payload: NOTHING })
    this.#rest()
    const next = this.#next
    this.#next = null
    if (next !== null && !this.#over) this.#asked(next)
  }

  /** Nothing is asked of any model, and nothing is booked: what was said is remembered for the turns that go on from it. */
  #warmUp(create: CreateEvent, payload: Uint8Array): void {
    const chained = this.#chain.resolve(create.body)
    const id = this.#deps.ownId(this.#call, this.#deps.newId().replaceAll('-', ''))
    const { events, response } = warmedUp(id, create.body, this.#deps.clock.now())
    this.#chain.keep(chained.body, response, false, payload.length)
    for (const event of events) this.#say(withLane(JSON.stringify(event), create.streamId))
    this.#rest()
  }

  #tell(event: ErrorEvent, streamId: string | null): void {
    this.#say(withLane(JSON.stringify(event), streamId))
  }

  #say(text: string): boolean {
    return this.#send({ kind: 'text', payload: Buffer.from(text) })
  }

  #send(message: SocketMessage): boolean {
    if (this.#over || this.#incoming.closed) return true
    if (!this.#incoming.data(encodeSocketMessage(message))) this.#behind = true
    return !this.#behind
  }

  /** Nothing is under way: the connection ends if it has to, or waits. */
  #rest(): void {
    if (this.#over || this.#running !== null) return
    if (this.#parting) {
      this.#finish(RESTARTING)
      return
    }
    if (this.#expired) {
      const text = 'This connection has been open for 60 minutes, which is as long as one may be. Open another to go on.'
      this.#tell(errorEvent(new GatewayError('bad_request', text), 'websocket_connection_limit_reached'), null)
      this.#finish({ kind: 'close', code: CLOSE.goingAway, reason: 'websocket_connection_limit_reached' })
      return
    }
    this.#idle?.cancel()
    this.#idle = this.#deps.clock.after(IDLE_LIMIT, () =>
      this.#finish({ kind: 'close', code: CLOSE.goingAway, reason: 'nothing was asked for 30 minutes' }),
    )
  }

  /** The client is gone. */
  #leave(): void {
    this.#running?.stream.cancel('client closed the connection')
    this.#finish({ kind: 'close', code: CLOSE.normal, reason: '' })
  }

  #break(error: GatewayError): void {
    this.#running?.stream.cancel(error.code)
    this.#close()
    if (!this.#incoming.closed) this.#incoming.fail(toWire(error))
    this.#done()
  }

  #finish(goodbye: SocketMessage): void {
    if (this.#over) return
    this.#send(goodbye)
    this.#close()
    if (!this.#incoming.closed) this.#incoming.end()
    this.#done()
  }

  #close(): void {
    this.#over = true
    this.#running = null
    this.#next = null
    this.#limit?.cancel()
    this.#idle?.cancel()
    this.#incoming.onWritable = null
  }
}

const NOTHING = new Uint8Array(0)
const RESTARTING: SocketMessage = { kind: 'close', code: CLOSE.goingAway, reason: 'the gateway is restarting' }

function typeOf(data: string): string {
  return String((JSON.parse(data) as Fields)['type'])
}

/** The event with the name of its lane, the rest of it untouched. */
function withLane(data: string, streamId: string | null): string {
  if (streamId === null) return data
  return `${data.slice(0, data.lastIndexOf('}'))},"stream_id":${JSON.stringify(streamId)}}`
}
