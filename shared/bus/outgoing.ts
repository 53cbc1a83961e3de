import type { StartHead } from '../../proto/call.ts'
import type { ErrorCode, WireError } from '../../proto/errors.ts'
import {
  ACCEPT_LIMIT,
  type AcceptInfo,
  BEAT_IDLE,
  BEAT_LIMIT,
  type BeatInfo,
  type EndPayload,
  FRAME,
  type FrameKind,
  type OpenMessage,
  TAKE_MARK,
} from '../../proto/frames.ts'
import { readable, WIRE_VERSION } from '../../proto/version.ts'
import type { Timer } from '../clock.ts'
import { GatewayError, toGatewayError, toWire } from '../errors.ts'
import { BodySender, inlinePart } from './body.ts'
import type { OpenOptions, OutgoingStream, ReplySink } from './bus.ts'
import { SWEEP_INTERVAL } from './fleet.ts'
import type { Link, Streams } from './stream.ts'
import { Window } from './window.ts'

/**
 * The states of an opened stream:
 *
 *   opening   published, nobody has answered
 *   waiting   nobody serves the subject; published again every NOBODY_PAUSE, for NOBODY_LIMIT at most
 *   accepted  taken by `servedBy`, which has not begun to answer
 *   started   the head reached the sink; from here on nothing is tried again
 *   over      ended, failed or cancelled; the sink hears nothing more
 *
 * opening ⇄ waiting; opening → accepted → started → over, any → over. `opening` and `accepted` go back to `opening` as the next
 * take: TAKES_MAX in all, of which ANSWERED_MAX were heard of.
 */
type State = 'opening' | 'waiting' | 'accepted' | 'started' | 'over'

/** Milliseconds between tries while nobody serves: a router may just be restarting. */
const NOBODY_PAUSE = 100
/** Milliseconds of that before `no_router`. */
const NOBODY_LIMIT = 1_000
/** Sweeps of silence after which a live server must have lost track of the stream: it beats every BEAT_IDLE. */
const SILENT_LIMIT = (2.5 * BEAT_IDLE) / SWEEP_INTERVAL
/** The same after a connection was lost, when a server that still has the stream says so: as long as a process may be silent. */
const PROOF_LIMIT = BEAT_LIMIT / SWEEP_INTERVAL

/**
 * A frozen process stays in its queue group, which hands it streams that nobody accepts then. A further take goes past the group, to a member
 * whose beats come; a third is for when none is known, and the group hands it the second take too.
 */
const TAKES_MAX = 3
/** Work may have been done for a take that was accepted or refused, so there is no third of those. */
const ANSWERED_MAX = 2

/** Codes with which a stream is turned away before any work was done for it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['overloaded', 'draining'])
/** Codes with which a server gives a stream up because of itself. */
const GIVEN_UP: ReadonlySet<ErrorCode> = new Set(['draining', 'lost_router'])

/** The opening end of one stream. */
export class Outgoing implements OutgoingStream {
  readonly id: string
  readonly #streams: Streams
  readonly #link: Link
  readonly #subject: string
  #sink: ReplySink
  readonly #window: Window
  readonly #deadlineAt: number
  readonly #acceptLimit: number
  #options: OpenOptions | null
  #state: State = 'opening'
  #wireId: string
  #take = 1
  /** Takes that were accepted or refused. */
  #answered = 0
  #servedBy: string | null = null
  /** The one member this take was offered to; null = the queue group. */
  #offeredTo: string | null = null
  #refusedBy: string | null = null
  #expected = 0
  #sent = 0
  #sentAtBeat = 0
  #silent = 0
  #body: BodySender | null = null
  /** Parts of a source that cannot be asked for again have left. */
  #spent = false
  #nobodySince: number | null = null
  #timer: Timer | null = null

  constructor(streams: Streams, link: Link, subject: string, options: OpenOptions, sink: ReplySink) {
    const now = link.clock.monotonic()
    this.id = options.id
    this.#wireId = options.id
    this.#streams = streams
    this.#link = link
    this.#subject = subject
    this.#options = options
    this.#sink = sink
    this.#window = new Window(streams.pool, link.clock, now)
    this.#deadlineAt = now + options.deadline
    this.#acceptLimit = options.acceptLimit ?? ACCEPT_LIMIT
  }

  get servedBy(): string | null {
    return this.#servedBy
  }

  /** Publishes the stream for the first time. */
  open(): void {
    this.#streams.register(this.id, this)
    this.#arm(Math.min(this.#acceptLimit, this.#deadlineAt - this.#link.clock.monotonic()))
    this.#publish(this.#streams.fleet.doubtful)
  }

  consumed(bytes: number): void {
    if (this.#state !== 'started') return
    const credit = this.#window.consume(bytes)
    if (credit > 0) this.#send(FRAME.credit, credit)
  }

  cancel(reason: string): void {
    if (this.#state === 'over') return
    this.#sendCancel(reason)
    this.#finish()
  }

  /** Fails the stream from this side: the server is cancelled, the sink told. */
  fail(error: WireError): void {
    if (this.#state === 'over') return
    this.#sendCancel(error.code)
    this.#finish().error(error)
  }

  /** Ends without telling anybody. */
  vanish(): void {
    this.#finish()
  }

  /** The subject has no server just now. */
  nobody(): void {
    if (this.#state !== 'opening') return
    if (this.#offeredTo !== null) {
      // It has left since its last beat.
      this.#publish(false)
      return
    }
    const now = this.#link.clock.monotonic()
    this.#nobodySince ??= now
    if (now - this.#nobodySince >= NOBODY_LIMIT) {
      this.#failWith('no_router')
      return
    }
    this.#state = 'waiting'
    this.#arm(Math.min(NOBODY_PAUSE, this.#deadlineAt - now))
  }

  /** The serving process is taken for dead. */
  lost(): void {
    if (this.#state === 'over' || this.#again('lost_router')) return
    this.#failWith('lost_router')
  }

  /** Sends what waited for the bus. */
  flush(): void {
    this.#body?.flush()
  }

  sweep(): void {
    if (this.#state !== 'accepted' && this.#state !== 'started') return
    this.#silent += 1
    if (this.#silent > SILENT_LIMIT) this.lost()
  }

  /** A server that has the stream says so within BEAT_LIMIT. */
  expectProof(): void {
    this.#silent = Math.max(this.#silent, SILENT_LIMIT - PROOF_LIMIT)
  }

  onFrame(kind: FrameKind, seq: number, payload: unknown): void {
    if (seq !== this.#expected) {
      this.#failWith('stream_gap')
      return
    }
    this.#expected += 1
    this.#silent = 0
    switch (kind) {
      case FRAME.data:
        this.#sink.data(payload as Uint8Array)
        break
      case FRAME.whole:
        this.#onWhole(payload as [StartHead, Uint8Array, EndPayload])
        break
      case FRAME.accept:
        this.#onAccept(payload as AcceptInfo)
        break
      case FRAME.start:
        this.#onStart(payload as StartHead)
        break
      case FRAME.end:
        this.#finish().end(payload as EndPayload)
        break
      case FRAME.error:
        this.#onError(payload as WireError)
        break
      case FRAME.credit:
        this.#body?.grant(payload as number)
        break
      case FRAME.beat:
        this.#onBeat(payload as BeatInfo)
        break
    }
  }

  #onAccept(info: AcceptInfo): void {
    if (!readable(info.v)) {
      this.#failWith('internal')
      return
    }
    this.#state = 'accepted'
    this.#answered += 1
    this.#servedBy = info.servedBy
    this.#streams.fleet.touch(info.servedBy)
    this.#sink.accept?.(info.servedBy)
    const body = this.#options?.body
    if (info.bodyCredit === undefined || body === undefined || this.#over()) return
    const whole = body instanceof Uint8Array
    const sender = new BodySender(
      body,
      this.#link.inlineMax,
      () => this.#link.writable,
      (kind, bytes) => {
        if (!whole) this.#spent = true
        this.#send(kind, bytes)
      },
    )
    this.#body = sender
    sender.start(info.bodyCredit)
  }

  #onStart(head: StartHead): void {
    if (!readable(head.v)) {
      this.#failWith('internal')
      return
    }
    this.#state = 'started'
    this.#options = null
    this.#sink.start(head)
  }

  #onWhole([head, bytes, end]: [StartHead, Uint8Array, EndPayload]): void {
    if (!readable(head.v)) {
      this.#failWith('internal')
      return
    }
    const sink = this.#finish()
    sink.start(head)
    if (bytes.length > 0) sink.data(bytes)
    sink.end(end)
  }

  #onError({ refusedBy, ...error }: WireError): void {
    const refused = this.#state === 'opening'
    if (refused) {
      this.#answered += 1
      this.#refusedBy = refusedBy ?? null
    }
    const mayMove = refused ? REFUSALS : GIVEN_UP
    if (mayMove.has(error.code) && this.#again(null)) return
    this.#finish().error(error)
  }

  /** Frames sent before the previous beat came must be in this one's count: beats are seconds apart. */
  #onBeat({ received, proof }: BeatInfo): void {
    if (proof === true) return
    if (received < this.#sentAtBeat) {
      this.#failWith('stream_gap')
      return
    }
    this.#sentAtBeat = this.#sent
  }

  /** `past`: past the queue group, to a member whose beats come, if there is one. */
  #publish(past: boolean): void {
    const options = this.#options
    if (options === null) return
    this.#state = 'opening'
    this.#offeredTo = past ? this.#streams.fleet.pick(this.#subject, this.#refusedBy) : null
    const { first, more } = inlinePart(options.body, this.#link.inlineMax)
    try {
      const message: OpenMessage = {
        v: WIRE_VERSION,
        id: this.#wireId,
        replyTo: this.#link.subjects.edge(this.#link.id, this.#wireId),
        openedBy: this.#link.id,
        deadline: Math.max(1, Math.round(this.#deadlineAt - this.#link.clock.monotonic())),
        credit: this.#window.initial,
        head: this.#take === 1 ? options.head : nextTake(options.head, this.#take),
        body: first,
        more,
      }
      const served = this.#link.offer(this.#subject, message, this.#offeredTo)
      if (!served) this.nobody()
    } catch (thrown) {
      const error = toWire(toGatewayError(thrown))
      // The caller has not got the stream yet: it must not hear of its end before.
      queueMicrotask(() => this.fail(error))
    }
  }

  /** Publishes once more, when that is still possible. The taker before is cancelled, now or when it wakes up and accepts. */
  #again(reason: string | null): boolean {
    const restartable = this.#state === 'opening' || this.#state === 'accepted'
    if (!restartable || this.#take === TAKES_MAX || this.#answered === ANSWERED_MAX || this.#spent) return false
    if (reason !== null) this.#sendCancel(reason)
    const before = this.#wireId
    this.#body?.stop()
    this.#body = null
    this.#take += 1
    this.#wireId = `${this.id}${TAKE_MARK}${this.#take}`
    this.#streams.rename(before, this.#wireId, this)
    this.#servedBy = null
    this.#expected = this.#sent = this.#sentAtBeat = this.#silent = 0
    this.#nobodySince = null
    this.#arm(Math.min(this.#acceptLimit, this.#deadlineAt - this.#link.clock.monotonic()))
    this.#publish(true)
    return true
  }

  #onTimer(): void {
    const now = this.#link.clock.monotonic()
    if (now >= this.#deadlineAt) {
      this.#failWith('deadline_exceeded')
      return
    }
    if (this.#state === 'waiting') {
      this.#arm(Math.min(this.#acceptLimit, this.#deadlineAt - now))
      this.#publish(false)
      return
    }
    if (this.#state !== 'opening') {
      this.#arm(this.#deadlineAt - now)
      return
    }
    if (!this.#again('no accept')) this.#failWith('no_router')
  }

  #arm(delay: number): void {
    this.#timer?.cancel()
    this.#timer = this.#link.wheel.set(delay, () => this.#onTimer())
  }

  #send(kind: FrameKind, payload: unknown): void {
    if (this.#servedBy === null) return
    this.#link.toServer(this.#servedBy, this.#wireId, kind, this.#sent, payload)
    this.#sent += 1
  }

  /** Who has an offer that nobody has answered is not known; it may lie in a server that is frozen, and be taken when it wakes. */
  #sendCancel(reason: string): void {
    if (this.#servedBy === null && this.#state === 'opening') this.#link.cancelAnywhere(this.#wireId, reason)
    else this.#send(FRAME.cancel, reason)
  }

  #failWith(code: ErrorCode): void {
    this.fail(toWire(new GatewayError(code)))
  }

  #over(): boolean {
    return this.#state === 'over'
  }

  /**
   * Lets go of the call, and returns who is to be told of its end. The tables of a map that it outgrew keep what stood in them, and an old one
   * all that came after it: whole calls were copied by every collection of young garbage, 13 KB of 45 that a call makes.
   */
  #finish(): ReplySink {
    const sink = this.#sink
    this.#state = 'over'
    this.#timer?.cancel()
    this.#timer = null
    this.#body?.stop()
    this.#body = null
    this.#options = null
    this.#sink = NOBODY
    this.#window.close()
    this.#streams.forget(this.#wireId)
    return sink
  }
}

/** In the place of a sink that has heard all. */
const NOBODY: ReplySink = { start() {}, data() {}, end() {}, error() {} }

/** The message of a further take: the same, but for its number, so that work done for several is booked for all. */
function nextTake(head: unknown, take: number): unknown {
  return typeof head === 'object' && head !== null && 'take' in head ? { ...head, take } : head
}
