import type { StartHead } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import {
  BEAT_IDLE,
  BODY_CREDIT,
  type EndPayload,
  FRAME,
  FRAME_MAX,
  type FrameKind,
  type OpenMessage,
} from '../../proto/frames.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Timer } from '../clock.ts'
import { GatewayError, toWire } from '../errors.ts'
import { BodyCollector, receiveWhole } from './body.ts'
import type { IncomingStream } from './bus.ts'
import { SWEEP_INTERVAL } from './fleet.ts'
import type { Address, Link, Streams } from './stream.ts'

/**
 * The states of a served stream:
 *
 *   offered    the handler is looking at it, or has it and `accept` is held back because the answer may come at once
 *   accepted   `accept` was sent
 *   started    the head was sent
 *   finishing  the handler ended the stream; bytes it sent before still wait for credit
 *   over       ended, failed, refused or cancelled
 *
 * offered → accepted → started → finishing → over; each may go straight to over.
 */
type State = 'offered' | 'accepted' | 'started' | 'finishing' | 'over'

/** Sweeps without a frame to the opener after which one says that the stream lives. */
const IDLE_LIMIT = BEAT_IDLE / SWEEP_INTERVAL

/** The serving end of one stream. */
export class Incoming implements IncomingStream {
  readonly id: string
  readonly head: unknown
  readonly deadline: number
  readonly body: Uint8Array | null
  onWritable: (() => void) | null = null
  onCancel: ((reason: string) => void) | null = null
  readonly #streams: Streams
  readonly #link: Link
  readonly #address: Address
  #collector: BodyCollector | null
  readonly #queue: Uint8Array[] = []
  readonly #timer: Timer
  #state: State = 'offered'
  #credit: number
  #sent = 0
  #expected = 0
  #idle = 0
  #blocked = false
  #last: { kind: typeof FRAME.end | typeof FRAME.error; payload: unknown } | null = null

  constructor(streams: Streams, link: Link, message: OpenMessage) {
    this.id = message.id
    this.head = message.head
    this.deadline = message.deadline
    this.body = message.more ? null : message.body
    this.#streams = streams
    this.#link = link
    this.#address = { replyTo: message.replyTo, openedBy: message.openedBy, id: message.id }
    this.#credit = message.credit
    this.#collector = message.more ? new BodyCollector(message.body, (bytes) => this.#send(FRAME.credit, bytes)) : null
    this.#timer = link.wheel.set(message.deadline, () => this.#expire())
  }

  get openedBy(): string {
    return this.#address.openedBy
  }

  get closed(): boolean {
    return this.#state === 'finishing' || this.#state === 'over'
  }

  /** Whether `accept` is still to be sent. */
  get unanswered(): boolean {
    return this.#state === 'offered'
  }

  /** A body in parts needs its credit at once; any other accept may wait a moment for the answer to make it needless. */
  get impatient(): boolean {
    return this.#collector !== null
  }

  accept(): void {
    if (this.#state !== 'offered') return
    this.#state = 'accepted'
    const info = { v: WIRE_VERSION, servedBy: this.#link.id }
    this.#send(FRAME.accept, this.#collector === null ? info : { ...info, bodyCredit: BODY_CREDIT })
  }

  collect(limit: number): Promise<Uint8Array> {
    if (this.#collector !== null) return this.#collector.collect(limit)
    const body = this.body ?? new Uint8Array(0)
    return body.length > limit ? Promise.reject(new GatewayError('body_too_large')) : Promise.resolve(body)
  }

  receive(take: (part: Uint8Array | null) => void): (consumed: number) => void {
    if (this.#collector !== null) return this.#collector.receive(take)
    return receiveWhole(this.body ?? new Uint8Array(0), take)
  }

  refuse(error: WireError): void {
    if (this.#state !== 'offered') {
      this.fail(error)
      return
    }
    this.#send(FRAME.error, { ...error, refusedBy: this.#link.id })
    this.#finish()
  }

  start(head: StartHead): void {
    if (this.#state !== 'offered' && this.#state !== 'accepted') return
    this.accept()
    this.#send(FRAME.start, head)
    this.#state = 'started'
  }

  data(bytes: Uint8Array): boolean {
    if (this.#state !== 'started') return false
    if (this.#queue.length > 0) this.#queue.push(bytes)
    else this.#sendData(bytes)
    if (this.#queue.length === 0 && this.#credit > 0 && this.#link.writable) return true
    this.#blocked = true
    return false
  }

  end(payload: EndPayload = null): void {
    if (this.#state === 'started') this.#conclude(FRAME.end, payload)
  }

  fail(error: WireError): void {
    if (this.closed) return
    // An `overloaded` without an accept before it would read as a refusal, and the call be made a second time.
    this.accept()
    this.#conclude(FRAME.error, error)
  }

  whole(head: StartHead, body: Uint8Array, payload: EndPayload = null): void {
    if (this.#state !== 'offered' && this.#state !== 'accepted') return
    if (body.length <= this.#credit && body.length <= FRAME_MAX) {
      this.#send(FRAME.whole, [head, body, payload])
      this.#finish()
      return
    }
    this.start(head)
    this.data(body)
    this.end(payload)
  }

  /** Ends the stream from outside the handler, telling it and the opener. */
  abort(reason: string, error: WireError | null): void {
    if (this.#state === 'over') return
    const told = this.#state === 'finishing'
    const { onCancel } = this
    const collector = this.#collector
    if (error !== null) this.#send(FRAME.error, error)
    this.#finish()
    collector?.fail(new GatewayError(reason === 'stream_gap' ? 'stream_gap' : 'cancelled', reason))
    if (!told) onCancel?.(reason)
  }

  /** Ends without telling anybody. */
  vanish(): void {
    this.#finish()
  }

  /** Credit or the bus allows more: sends what waits, then lets the producer go on. */
  flush(): void {
    while (this.#queue.length > 0 && this.#credit > 0) this.#sendData(this.#queue.shift() ?? new Uint8Array(0), true)
    if (this.#queue.length > 0 || this.#state === 'over') return
    if (this.#last !== null) {
      this.#send(this.#last.kind, this.#last.payload)
      this.#finish()
      return
    }
    if (!this.#blocked || this.#credit === 0 || !this.#link.writable) return
    this.#blocked = false
    this.onWritable?.()
  }

  sweep(): void {
    if (this.#state === 'offered') return
    this.#idle += 1
    if (this.#idle >= IDLE_LIMIT) this.#send(FRAME.beat, { received: this.#expected, servedBy: this.#link.id })
  }

  /** Says that the stream lives, after a connection was lost. */
  prove(): void {
    if (this.#state === 'offered') return
    this.#send(FRAME.beat, { received: this.#expected, servedBy: this.#link.id, proof: true })
  }

  onFrame(kind: FrameKind, seq: number, payload: unknown): void {
    if (seq !== this.#expected) {
      this.abort('stream_gap', toWire(new GatewayError('stream_gap')))
      return
    }
    this.#expected += 1
    switch (kind) {
      case FRAME.credit:
        this.#credit += payload as number
        this.flush()
        break
      case FRAME.cancel:
        this.abort(String(payload), null)
        break
      case FRAME.body:
        this.#collector?.add(payload as Uint8Array, false)
        break
      case FRAME.bodyEnd:
        this.#collector?.add(payload as Uint8Array, true)
        break
    }
  }

  #expire(): void {
    this.abort('deadline_exceeded', toWire(new GatewayError('deadline_exceeded')))
  }

  #conclude(kind: typeof FRAME.end | typeof FRAME.error, payload: unknown): void {
    if (this.#queue.length > 0) {
      this.#last = { kind, payload }
      this.#state = 'finishing'
      return
    }
    this.#send(kind, payload)
    this.#finish()
  }

  /** Sends as much of `bytes` as credit allows, in frames; the rest waits, in front when it was taken from there. */
  #sendData(bytes: Uint8Array, fromQueue = false): void {
    let rest = bytes
    while (rest.length > 0 && this.#credit > 0) {
      const size = Math.min(rest.length, FRAME_MAX, this.#credit)
      this.#credit -= size
      this.#send(FRAME.data, size === rest.length ? rest : rest.subarray(0, size))
      if (size === rest.length) return
      rest = rest.subarray(size)
    }
    if (rest.length === 0) return
    if (fromQueue) this.#queue.unshift(rest)
    else this.#queue.push(rest)
  }

  #send(kind: FrameKind, payload: unknown): void {
    if (this.#state === 'over') return
    this.#link.toOpener(this.#address, kind, this.#sent, payload)
    this.#sent += 1
    this.#idle = 0
  }

  /** Lets go of the call, as `Outgoing` does. */
  #finish(): void {
    this.#state = 'over'
    this.#queue.length = 0
    this.#timer.cancel()
    this.#collector = null
    this.onWritable = null
    this.onCancel = null
    this.#streams.served(this.id)
  }
}
