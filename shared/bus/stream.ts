import { type AcceptInfo, type BeatInfo, FRAME, type FrameKind, type OpenMessage } from '../../proto/frames.ts'
import type { Subjects } from '../../proto/subjects.ts'
import { readable } from '../../proto/version.ts'
import type { Clock, DeadlineWheel, Timer } from '../clock.ts'
import { GatewayError, toGatewayError, toWire } from '../errors.ts'
import type { Log } from '../log.ts'
import type { OpenOptions, OutgoingStream, ReplySink, StreamHandler } from './bus.ts'
import { createFleet, type Fleet } from './fleet.ts'
import { Incoming } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import { WindowPool } from './window.ts'

/** What may be one token of a subject. */
const TOKEN = /^[A-Za-z0-9_-]+$/

/** Where the frames of a served stream go. */
export interface Address {
  replyTo: string
  openedBy: string
  id: string
}

/** What the streams of one process need of their transport: order per pair of processes, loss only with the connection. */
export interface Link {
  /** This process. */
  readonly id: string
  readonly subjects: Subjects
  readonly clock: Clock
  readonly wheel: DeadlineWheel
  readonly log: Log
  /** Bytes of a body that fit the open message; Infinity where bytes go by reference. */
  readonly inlineMax: number
  /** Milliseconds `accept` is held back: an answer that comes within makes it needless. 0 = sent when the handler returns. */
  readonly acceptHold: number
  /** Frames may get lost, so silence means something. */
  readonly lossy: boolean
  /** False while the publishing side is far behind. */
  readonly writable: boolean
  /**
   * Offers a stream to a queue group, or to its member `to` alone. False = nobody serves; a link that learns it later calls `streams.nobody`.
   * Throws when too large.
   */
  offer(subject: string, message: OpenMessage, to: string | null): boolean
  /** Throws GatewayError when the payload is too large. */
  toOpener(address: Address, kind: FrameKind, seq: number, payload: unknown): void
  toServer(servedBy: string, streamId: string, kind: FrameKind, seq: number, payload: unknown): void
  /** Cancels a stream at whoever has it, or will have it: offers and this arrive in the order they were sent. */
  cancelAnywhere(streamId: string, reason: string): void
}

/** All streams of one process, both ends, by id; gives each frame to its stream. */
export class Streams {
  readonly pool: WindowPool
  readonly fleet: Fleet
  readonly #link: Link
  readonly #outgoing = new Map<string, Outgoing>()
  readonly #incoming = new Map<string, Incoming>()
  #held: Incoming[] = []
  #holdTimer: Timer | null = null
  #idleWaiters: (() => void)[] = []

  constructor(link: Link, pool: WindowPool = new WindowPool()) {
    this.#link = link
    this.pool = pool
    this.fleet = createFleet(
      link.clock,
      (id) => this.#lost(id),
      (id) => this.#returned(id),
    )
  }

  /** Streams running now, opened and served. */
  get running(): number {
    return this.#outgoing.size + this.#incoming.size
  }

  open(subject: string, options: OpenOptions, sink: ReplySink): OutgoingStream {
    if (this.#outgoing.has(options.id) || !TOKEN.test(options.id)) return refused(options.id, sink)
    const stream = new Outgoing(this, this.#link, subject, options, sink)
    stream.open()
    return stream
  }

  /** A stream offered to this process. */
  offered(message: OpenMessage, handler: StreamHandler): void {
    if (!readable(message.v) || this.#incoming.has(message.id)) {
      // Another member may be new enough to read it, so it is turned away rather than failed.
      const refusal = { ...toWire(new GatewayError('draining')), refusedBy: this.#link.id }
      this.#link.toOpener(message, FRAME.error, 0, refusal)
      return
    }
    const stream = new Incoming(this, this.#link, message)
    this.#incoming.set(message.id, stream)
    this.fleet.touch(message.openedBy)
    try {
      handler(stream)
    } catch (thrown) {
      this.#link.log.error({ err: thrown, stream: message.id }, 'A stream handler threw.')
      stream.abort('internal', toWire(toGatewayError(thrown)))
    }
    if (!stream.unanswered) return
    if (stream.impatient || this.#link.acceptHold === 0) stream.accept()
    else this.#hold(stream)
  }

  /** A frame of a server for a stream opened here. */
  forOpener(id: string, kind: FrameKind, seq: number, payload: unknown): void {
    const stream = this.#outgoing.get(id)
    if (stream === undefined) {
      this.#unwanted(id, kind, payload)
      return
    }
    try {
      stream.onFrame(kind, seq, payload)
    } catch (thrown) {
      this.#link.log.error({ err: thrown, stream: id }, 'A reply sink threw.')
      stream.cancel('sink failed')
    }
  }

  /** A frame of an opener for a stream served here. */
  forServer(id: string, kind: FrameKind, seq: number, payload: unknown): void {
    const stream = this.#incoming.get(id)
    if (stream === undefined) return
    try {
      stream.onFrame(kind, seq, payload)
    } catch (thrown) {
      this.#link.log.error({ err: thrown, stream: id }, 'A stream handler threw.')
      stream.abort('internal', toWire(toGatewayError(thrown)))
    }
  }

  /** Nobody serves the subject of a stream opened here. */
  nobody(id: string): void {
    this.#outgoing.get(id)?.nobody()
  }

  /** The link became writable again. */
  writable(): void {
    for (const stream of this.#incoming.values()) stream.flush()
    for (const stream of this.#outgoing.values()) stream.flush()
  }

  /**
   * The link lost its connection and is back; to be called before the beat that tells the others. Frames that were on their way are lost, and where
   * no more would follow nobody would notice for long: every stream served here says that it lives, and those opened here must soon.
   */
  reconnected(): void {
    this.fleet.forgive()
    for (const stream of this.#incoming.values()) if (this.fleet.proves(stream.openedBy)) stream.prove()
    for (const stream of this.#outgoing.values()) {
      if (stream.servedBy !== null && this.fleet.proves(stream.servedBy)) stream.expectProof()
    }
  }

  /** Every SWEEP_INTERVAL: who fell silent. */
  sweep(): void {
    this.fleet.sweep()
    if (!this.#link.lossy) return
    for (const stream of this.#incoming.values()) stream.sweep()
    for (const stream of this.#outgoing.values()) stream.sweep()
  }

  /** Resolves when no stream is left or after `limit` milliseconds. */
  idle(limit: number): Promise<void> {
    if (this.running === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#link.clock.after(limit, resolve)
      this.#idleWaiters.push(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /** Gives up every stream: this process leaves. */
  close(): void {
    const error = toWire(new GatewayError('draining'))
    for (const stream of [...this.#incoming.values()]) stream.abort('draining', error)
    for (const stream of [...this.#outgoing.values()]) stream.fail(error)
    this.#rest()
  }

  /** Forgets every stream without a word to anybody: this process was killed. */
  vanish(): void {
    for (const stream of [...this.#incoming.values(), ...this.#outgoing.values()]) stream.vanish()
    this.#rest()
  }

  register(id: string, stream: Outgoing): void {
    this.#outgoing.set(id, stream)
  }

  rename(from: string, to: string, stream: Outgoing): void {
    this.#outgoing.delete(from)
    this.#outgoing.set(to, stream)
  }

  forget(id: string): void {
    this.#outgoing.delete(id)
    this.#settle()
  }

  served(id: string): void {
    this.#incoming.delete(id)
    this.#settle()
  }

  /**
   * A stream nobody waits for: taken by a process that was frozen meanwhile, or for a client that left before anybody had
   * answered, or its `cancel` was lost. Accept and beat name the server, so it can be told.
   */
  #unwanted(id: string, kind: FrameKind, payload: unknown): void {
    if (kind !== FRAME.accept && kind !== FRAME.beat) return
    const info = payload as AcceptInfo | BeatInfo
    const seq = 'received' in info ? info.received : 0
    this.#link.toServer(info.servedBy, id, FRAME.cancel, seq, 'no longer wanted')
  }

  #rest(): void {
    this.#holdTimer?.cancel()
    this.#holdTimer = null
    this.#held = []
  }

  #settle(): void {
    if (this.#idleWaiters.length === 0 || this.running > 0) return
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const done of waiters) done()
  }

  #hold(stream: Incoming): void {
    this.#held.push(stream)
    this.#holdTimer ??= this.#link.clock.after(this.#link.acceptHold, () => this.#acceptHeld())
  }

  #acceptHeld(): void {
    const held = this.#held
    this.#held = []
    this.#holdTimer = null
    for (const stream of held) stream.accept()
  }

  /** Another process has lost its connection and is back: it has said before which streams it serves, and may have missed what is served here. */
  #returned(id: string): void {
    for (const stream of this.#outgoing.values()) if (stream.servedBy === id) stream.expectProof()
    for (const stream of this.#incoming.values()) if (stream.openedBy === id) stream.prove()
  }

  #lost(id: string): void {
    for (const stream of [...this.#outgoing.values()]) if (stream.servedBy === id) stream.lost()
    const error = toWire(new GatewayError('lost_router'))
    for (const stream of [...this.#incoming.values()]) if (stream.openedBy === id) stream.abort('edge lost', error)
  }
}

/** A stream whose id cannot be used. Its sink hears of it after the caller has the stream. */
function refused(id: string, sink: ReplySink): OutgoingStream {
  let cancelled = false
  queueMicrotask(() => {
    if (!cancelled) sink.error(toWire(new GatewayError('internal', 'The stream id is not a free subject token.')))
  })
  return {
    id,
    consumed() {},
    cancel() {
      cancelled = true
    },
  }
}
