import { CLOSE, SOCKET_MESSAGE_MAX } from '../../proto/sockets.ts'
import { encodeSocketMessage, type SocketMessage, SocketMessageParser } from '../../shared/bus/socket-messages.ts'
import type { Timer } from '../../shared/clock.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import { socketErrorEvent } from '../../shared/socket-error.ts'
import type { Call } from '../call.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import type { Connected } from './connect.ts'
import { SessionMeter } from './session-meter.ts'
import { admitOn, bookTranscription, bookTurn, dropTurn, openTurn, type Turn, type TurnDeps } from './turns.ts'

export interface SessionDeps extends TurnDeps {
  /** What is in force now. */
  runtime(): RouterRuntime
  /** The route of another model of the same deployment, for its prices. */
  routeOf(route: Route, model: string): Route
}

/** How a session ended. */
export interface SessionEnd {
  /** Null = as sessions end. */
  error: GatewayError | null
  /** The last message to the client; null = an error of ours in its place. */
  goodbye: Extract<SocketMessage, { kind: 'close' }> | null
}

const CANCEL = Buffer.from('{"type":"response.cancel"}')
/** Milliseconds a provider has to say what an answer used that its client does not wait for. */
const LAST_WORD = 2_000
/** Close codes that end a session as it should. */
const PROPER: ReadonlySet<number> = new Set([CLOSE.normal, CLOSE.goingAway, CLOSE.none])

/**
 * One session between a client and a provider: messages go through unchanged both ways, usage is read as they go by.
 *
 * States: running → leaving (the client is gone, the provider may still say what the answer under way used) → over.
 * Towards the provider: flowing ⇄ asking (limits and budgets, before the first message after an answer) and flowing ⇄ full (it is behind).
 */
export class Session {
  readonly #deps: SessionDeps
  readonly #call: Call
  readonly #resolution: Resolution
  readonly #connected: Connected
  readonly #done: (end: SessionEnd) => void
  readonly #parser = new SocketMessageParser(SOCKET_MESSAGE_MAX)
  readonly #meter = new SessionMeter()
  readonly #inbox: SocketMessage[] = []
  /** What waits for entries that are being written, and how many of those. */
  readonly #outbox: SocketMessage[] = []
  #writing = 0
  /** Only writes down what it hears: each piece is an answer. */
  readonly #hearing: boolean
  #turn: Turn | null
  #answering = false
  #asking = false
  #full = false
  /** Bytes of the client taken, and not granted back. */
  #taken = 0
  #grant: (bytes: number) => void = () => undefined
  #leaving = false
  #parting = false
  #over = false
  #timer: Timer | null = null

  constructor(
    deps: SessionDeps,
    parts: { call: Call; turn: Turn; resolution: Resolution; connected: Connected; hearing: boolean },
    done: (end: SessionEnd) => void,
  ) {
    this.#deps = deps
    this.#call = parts.call
    this.#turn = parts.turn
    this.#resolution = parts.resolution
    this.#connected = parts.connected
    this.#hearing = parts.hearing
    this.#done = done
  }

  /** Begins to pass messages. The head of the answer has been sent. */
  start(): void {
    const { incoming } = this.#call
    const { tap, socket } = this.#connected
    this.#call.stop = () => this.#leave()
    incoming.onWritable = () => socket.resume()
    this.#grant = incoming.receive((part) => this.#receive(part))
    tap.listen({
      message: (kind, payload) => this.#fromProvider(kind, payload),
      drained: () => {
        this.#full = false
        this.#pump()
      },
      closed: (code, reason) => {
        const error = PROPER.has(code)
          ? null
          : new GatewayError('provider_error', `The provider closed the session with code ${code}.`)
        this.#finish({ error, goodbye: { kind: 'close', code, reason } })
      },
      failed: (error) => this.#finish({ error, goodbye: null }),
    })
  }

  /** The router drains: the session ends once no answer is under way. */
  part(): void {
    this.#parting = true
    if (!this.#answering) this.#finish(LEFT)
  }

  /** Now, whatever is under way. */
  end(): void {
    this.#finish(LEFT)
  }

  #fromProvider(kind: 'text' | 'binary', payload: Uint8Array): void {
    if (this.#over) return
    const seen = kind === 'text' ? this.#meter.see(payload) : null
    const billed = seen !== null && seen.kind !== 'began' && (seen.kind === 'response' || seen.usage !== null)
    if (billed) this.#writing += 1
    if (this.#writing > 0) this.#outbox.push({ kind, payload })
    else this.#toClient({ kind, payload })
    if (seen === null) return
    if (seen.kind === 'began') this.#began()
    else if (seen.kind === 'response') {
      const outcome = seen.status === 'failed' ? 'failure' : seen.status === 'cancelled' ? 'cancelled' : 'success'
      this.#answered(outcome, seen.usage)
    } else if (seen.usage !== null) {
      if (this.#hearing) this.#heard()
      const { route } = this.#connected
      const heard = seen.model === null ? route : this.#deps.routeOf(route, seen.model)
      bookTranscription(this.#call, this.#deps, heard, seen.usage, () => this.#written())
    }
  }

  /** An entry is on disk: the client may hear of what it pays for. */
  #written(): void {
    this.#writing -= 1
    if (this.#writing === 0) this.#flush()
  }

  #flush(): void {
    for (const message of this.#outbox.splice(0)) this.#toClient(message)
  }

  #toClient(message: SocketMessage): void {
    const { incoming } = this.#call
    if (this.#leaving || incoming.closed) return
    if (!incoming.data(encodeSocketMessage(message))) this.#connected.socket.pause()
  }

  #began(): void {
    this.#answering = true
    // Begun by what was heard before: the provider does not wait for us, so that what it costs is counted, if not held.
    this.#turn ??= openTurn(this.#call, this.#deps)
    this.#turn.begunAt ??= this.#deps.clock.now()
  }

  #answered(outcome: 'success' | 'failure' | 'cancelled', usage: Parameters<typeof bookTurn>[3]['usage']): void {
    const turn = this.#turn ?? openTurn(this.#call, this.#deps)
    this.#turn = null
    this.#answering = false
    bookTurn(turn, this.#deps, this.#connected.route, { usage, outcome, model: this.#meter.model }, () => this.#written())
    if (this.#leaving) this.#finish(GONE)
    else if (this.#parting) this.#finish(LEFT)
  }

  /** What was heard is the answer: its cost is booked apart, the turn is over. */
  #heard(): void {
    if (this.#turn !== null) dropTurn(this.#turn, this.#deps, this.#connected.route)
    this.#turn = null
  }

  #receive(part: Uint8Array | null): void {
    if (this.#over || this.#leaving) return
    if (part === null) {
      this.#leave()
      return
    }
    this.#taken += part.length
    try {
      this.#inbox.push(...this.#parser.push(part))
    } catch (thrown) {
      this.#finish({ error: toGatewayError(thrown), goodbye: null })
      return
    }
    this.#pump()
  }

  /** Sends what came, as long as it may. */
  #pump(): void {
    while (!this.#asking && !this.#full && !this.#over && !this.#leaving) {
      if (this.#inbox.length === 0) {
        const granted = this.#taken
        this.#taken = 0
        if (granted > 0) this.#grant(granted)
        return
      }
      const [message] = this.#inbox as [SocketMessage]
      if (message.kind === 'close' || message.kind === 'booking') {
        this.#leave()
        return
      }
      if (this.#turn === null && this.#ask()) return
      this.#inbox.shift()
      this.#full = !this.#connected.socket.send(message.kind, message.payload)
    }
  }

  /** Asks limits and budgets before there may be another answer. True = it takes a moment, or they refuse. */
  #ask(): boolean {
    const turn = openTurn(this.#call, this.#deps)
    const admitted = (): void => {
      this.#turn ??= turn
      if (this.#turn === turn && !this.#over && !this.#leaving) return
      // Somebody was faster: an answer began, or all is over.
      if (this.#turn === turn) this.#turn = null
      dropTurn(turn, this.#deps, this.#connected.route)
    }
    try {
      const asked = admitOn(turn, this.#deps, this.#deps.runtime(), this.#resolution, this.#connected.route)
      if (!(asked instanceof Promise)) {
        admitted()
        return false
      }
      this.#asking = true
      asked
        .then(admitted, (thrown: unknown) => this.#refuse(toGatewayError(thrown)))
        .finally(() => {
          this.#asking = false
          this.#pump()
        })
    } catch (thrown) {
      this.#refuse(toGatewayError(thrown))
    }
    return true
  }

  /** The caller may not go on: told why, then closed. */
  #refuse(error: GatewayError): void {
    if (this.#over) return
    const { incoming, message } = this.#call
    this.#flush()
    if (!this.#leaving && !incoming.closed)
      incoming.data(
        encodeSocketMessage({ kind: 'text', payload: Buffer.from(socketErrorEvent(error, message.callId, 'realtime')) }),
      )
    const code = error.status >= 500 ? CLOSE.internal : CLOSE.policy
    this.#finish({ error, goodbye: { kind: 'close', code, reason: error.code } })
  }

  /** The client is gone. An answer under way is ended, and the provider may say what it used. */
  #leave(): void {
    if (this.#over || this.#leaving) return
    this.#leaving = true
    this.#inbox.length = 0
    if (!this.#answering) {
      this.#finish(GONE)
      return
    }
    this.#connected.socket.resume()
    this.#connected.socket.send('text', CANCEL)
    this.#timer = this.#deps.clock.after(LAST_WORD, () => this.#finish(GONE))
  }

  #finish(end: SessionEnd): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.cancel()
    this.#inbox.length = 0
    const { route, socket } = this.#connected
    const turn = this.#turn
    this.#turn = null
    if (turn !== null && this.#answering) {
      const usage = this.#meter.estimate()
      const outcome = this.#leaving ? 'cancelled' : 'partial'
      bookTurn(turn, this.#deps, route, { usage, outcome, model: this.#meter.model }, () => undefined)
    } else if (turn !== null) dropTurn(turn, this.#deps, route)
    // What follows is told once the session's own entry is on disk, and with it these.
    this.#flush()
    this.#call.stop = null
    this.#call.incoming.onWritable = null
    socket.close(CLOSE.normal, '')
    this.#done(end)
  }
}

const GONE: SessionEnd = { error: null, goodbye: { kind: 'close', code: CLOSE.normal, reason: '' } }
const LEFT: SessionEnd = { error: null, goodbye: { kind: 'close', code: CLOSE.goingAway, reason: 'the gateway is restarting' } }
