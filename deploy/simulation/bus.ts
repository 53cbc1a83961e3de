import { BEAT_INTERVAL, BODY_INLINE_MAX, FRAME, type FrameKind, type OpenMessage } from '../../proto/frames.ts'
import { type ChangeKind, type Role, type Subjects, subjects } from '../../proto/subjects.ts'
import type {
  Bucket,
  Bus,
  ConsumeOptions,
  FleetMember,
  OpenOptions,
  OutgoingStream,
  ReplySink,
  Service,
  StreamHandler,
} from '../../shared/bus/bus.ts'
import { type Codec, createCodec, isOpenMessage } from '../../shared/bus/codec.ts'
import { CONNECTION, SERVES, SWEEP_INTERVAL } from '../../shared/bus/fleet.ts'
import { Mirror, type Stored } from '../../shared/bus/mirror.ts'
import { type Address, type Link, Streams } from '../../shared/bus/stream.ts'
import { type Clock, DeadlineWheel } from '../../shared/clock.ts'
import { fromWire, GatewayError, toGatewayError, toWire } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { createDurable, type Durable } from './durable.ts'
import type { Random } from './random.ts'
import type { SimulatedProcess, World } from './world.ts'

/** As over the real bus (shared/bus/nats.ts), milliseconds. */
const ACCEPT_HOLD = 20
const APPEND_TIMEOUT = 5_000
const APPEND_TRIES = 2
const MIRROR_INTERVAL = 10_000
const NOBODY_PAUSE = 100
const NOBODY_LIMIT = 1_000
/** Subject of cancels for whoever has a stream; those and offers arrive in the order they were sent, as over one NATS connection. */
const CANCELS = 'cancels'
const OFFERS = 'offers'

/** What the bus does to messages, as the plan of a run has it. */
export interface BusFaults {
  /** Share of messages of core NATS that are lost. */
  loss: number
  /** Share of messages that take `slowBy` milliseconds more at most. */
  slow: number
  slowBy: number
  /** Share of words from and to the stream of usage events that are lost: messages, acknowledgements, deliveries. */
  durableLoss: number
  /** Milliseconds a message takes at most. */
  latency: number
}

export interface SimulatedBus {
  join(process: SimulatedProcess, role: Role, log: Log): Bus
  /** Cuts a process off: what is on its way to and from it is lost, what it says waits until `connect`. */
  disconnect(name: string): void
  connect(name: string): void
  readonly durable: Durable
  /** Changed by the driver while a run goes on. */
  faults: BusFaults
  /** Frames of streams pass through here: null loses one. For sabotage. */
  tamper: ((kind: FrameKind, seq: number, payload: unknown) => { seq: number; payload: unknown } | null) | null
  /** What was done to messages. */
  readonly counts: { lost: number; slowed: number; cut: number }
  /** Streams open on processes alive, and subscriptions of them. */
  readonly open: { streams: number; subscriptions: number }
}

interface Subscription {
  member: Member
  subject: string
  queue: boolean
  onMessage: (bytes: Uint8Array, reply: Reply | null) => void
}

/** Where an answer goes; null bytes = nobody serves. */
type Reply = (from: Member, bytes: Uint8Array | null) => void
type Wire = { ok: unknown } | { error: ReturnType<typeof toWire> }

export const CALM: BusFaults = { loss: 0, slow: 0, slowBy: 0, durableLoss: 0, latency: 1 }

/** The bus of a simulated cluster: `Streams` as over NATS, its messages carried in virtual time. */
export function createSimulatedBus(world: World, random: Random, faults: BusFaults): SimulatedBus {
  return new Hub(world, random, faults)
}

class Hub implements SimulatedBus {
  readonly world: World
  readonly subjects: Subjects = subjects()
  readonly members = new Map<string, Member>()
  readonly subscriptions: Subscription[] = []
  readonly buckets = new Map<string, Map<string, Stored>>()
  readonly durable: Durable
  readonly counts = { lost: 0, slowed: 0, cut: 0 }
  faults: BusFaults
  tamper: SimulatedBus['tamper'] = null
  readonly #random: Random
  /** When the last message of a publisher on a subject to a receiver arrives: the next comes after it. */
  readonly #last = new Map<string, number>()
  #turn = 0
  #appends = 0

  constructor(world: World, random: Random, faults: BusFaults) {
    this.world = world
    this.#random = random
    this.faults = faults
    this.durable = createDurable(world, {
      toStream: (process, what) => this.#durably(process, what),
      fromStream: (process, what) => this.#durably(process, what),
    })
  }

  join(process: SimulatedProcess, role: Role, log: Log): Bus {
    const member = new Member(this, process, role, log)
    this.members.set(process.name, member)
    process.onKill(() => member.vanish())
    return member
  }

  disconnect(name: string): void {
    this.members.get(name)?.disconnect()
  }

  connect(name: string): void {
    this.members.get(name)?.connect()
  }

  get open(): { streams: number; subscriptions: number } {
    let streams = 0
    for (const member of this.members.values()) streams += member.streams.running
    return { streams, subscriptions: this.subscriptions.length }
  }

  /** To every subscriber of a subject, or to one of a queue group. False = nobody listens. */
  publish(from: Member, subject: string, bytes: Uint8Array, reply: Reply | null, what: string, order = subject): void {
    if (!from.connected) {
      from.outbox.push(() => this.publish(from, subject, bytes, reply, what, order))
      return
    }
    const all = this.subscriptions.filter((entry) => entry.subject === subject)
    const groups = all.filter((entry) => entry.queue)
    if (groups.length > 0) {
      this.#turn += 1
      const chosen = groups[this.#random.between(0, groups.length - 1)] as Subscription
      this.carry(from, chosen.member, order, what, () => chosen.onMessage(bytes, reply))
    }
    for (const entry of all) {
      if (!entry.queue) this.carry(from, entry.member, order, what, () => entry.onMessage(bytes, reply))
    }
    if (all.length === 0 && reply !== null) {
      this.carry(from, from, `nobody ${subject}`, `nobody ${what}`, () => reply(from, null), true)
    }
  }

  /** One message on its way. In order between two processes on one subject; lost when either loses its connection meanwhile. */
  carry(from: Member, to: Member, order: string, what: string, run: () => void, safe = false): void {
    if (!safe && this.faults.loss > 0 && this.#random.chance(this.faults.loss)) {
      this.counts.lost += 1
      this.world.note(`lost ${what}`)
      return
    }
    const key = `${from.id}>${to.id}>${order}`
    const at = Math.max(this.world.now + this.#latency(), this.#last.get(key) ?? 0)
    this.#last.set(key, at)
    const [sender, receiver] = [from.epoch, to.epoch]
    this.world.after(at - this.world.now, to.process, what, () => {
      if (from.epoch !== sender || to.epoch !== receiver) this.counts.cut += 1
      else run()
    })
  }

  appendTo(from: Member, text: string): Promise<void> {
    const id = `${from.id} ${++this.#appends}`
    return new Promise((resolve, reject) => {
      const attempt = (tries: number): void => {
        let over = false
        const timer = from.clock.after(APPEND_TIMEOUT, () => {
          if (over) return
          over = true
          if (tries < APPEND_TRIES && from.connected) attempt(tries + 1)
          else reject(new GatewayError('internal', 'The events were not stored.'))
        })
        const send = (): void => {
          const there = this.#durably(from.process, 'append')
          if (there === null) return
          this.world.after(there, null, `store ${id}`, () => {
            this.durable.store(id, text)
            const back = this.#durably(from.process, 'stored')
            if (back === null) return
            this.world.after(back, from.process, `stored ${id}`, () => {
              if (over) return
              over = true
              timer.cancel()
              resolve()
            })
          })
        }
        if (from.connected) send()
        else from.outbox.push(send)
      }
      attempt(1)
    })
  }

  /** Words to the server that keeps a bucket, and its answers. */
  ask<Result>(from: Member, what: string, work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (!from.connected) {
        reject(new GatewayError('internal', 'The bus is away.'))
        return
      }
      const epoch = from.epoch
      this.world.after(this.#latency(), null, `${from.id} ${what}`, () => {
        const result = work()
        this.world.after(this.#latency(), from.process, `${what} done`, () => {
          if (from.epoch === epoch) resolve(result)
          else reject(new GatewayError('internal', 'The connection was lost.'))
        })
      })
    })
  }

  #latency(): number {
    const { latency, slow, slowBy } = this.faults
    const plain = latency * (0.1 + 0.9 * this.#random.next())
    if (slow === 0 || !this.#random.chance(slow)) return plain
    this.counts.slowed += 1
    return plain + slowBy * this.#random.next()
  }

  #durably(process: SimulatedProcess, what: string): number | null {
    const member = this.members.get(process.name)
    if (member?.connected === false || (this.faults.durableLoss > 0 && this.#random.chance(this.faults.durableLoss))) {
      this.counts.lost += 1
      this.world.note(`lost ${process.name} ${what}`)
      return null
    }
    return this.#latency()
  }
}

/** One process on the bus. */
class Member implements Bus, Link {
  readonly id: string
  readonly role: Role
  readonly process: SimulatedProcess
  readonly subjects: Subjects
  readonly clock: Clock
  readonly wheel: DeadlineWheel
  readonly log: Log
  readonly inlineMax = BODY_INLINE_MAX
  readonly acceptHold = ACCEPT_HOLD
  readonly lossy = true
  readonly streams: Streams
  /** What was said while cut off. */
  outbox: (() => void)[] = []
  connected = true
  epoch = 0
  readonly #hub: Hub
  readonly #codec: Codec = createCodec()
  readonly #timers
  readonly #mine = new Set<Subscription>()
  readonly #mirrors = new Set<Mirror>()
  readonly #served = new Set<string>()
  readonly #consumers = new Set<Service>()
  #fields: Record<string, number | string | boolean> = {}
  #closed = false

  constructor(hub: Hub, process: SimulatedProcess, role: Role, log: Log) {
    this.#hub = hub
    this.process = process
    this.id = process.name
    this.role = role
    this.subjects = hub.subjects
    this.clock = process.clock
    this.log = log
    this.wheel = new DeadlineWheel(process.clock)
    this.streams = new Streams(this)
    this.#listen('beats', (bytes) => this.#onBeat(bytes))
    this.#listen(CANCELS, (message) => {
      const { streamId, bytes } = this.#codec.decode(message) as { streamId: string; bytes: Uint8Array }
      const { kind, seq, payload } = this.#codec.decodeFrame(bytes)
      this.streams.forServer(streamId, kind as FrameKind, seq, payload)
    })
    this.#timers = [
      this.clock.every(BEAT_INTERVAL, () => this.#sendBeat(this.#fields)),
      this.clock.every(SWEEP_INTERVAL, () => this.streams.sweep()),
      this.clock.every(MIRROR_INTERVAL, () => this.#refresh()),
    ]
    this.#sendBeat({})
  }

  get ready(): boolean {
    return this.connected && !this.#closed
  }

  get writable(): boolean {
    return this.connected
  }

  disconnect(): void {
    if (!this.connected) return
    this.connected = false
    this.epoch += 1
  }

  connect(): void {
    if (this.connected) return
    this.#hub.world.after(0, this.process, 'reconnected', () => {
      this.connected = true
      const waiting = this.outbox
      this.outbox = []
      for (const send of waiting) send()
      this.streams.reconnected()
      this.#sendBeat(this.#fields)
      this.streams.writable()
      this.#refresh()
    })
  }

  /** Killed: the server forgets its subscriptions. */
  vanish(): void {
    this.#closed = true
    this.epoch += 1
    this.streams.vanish()
    for (const entry of this.#mine) this.#leave(entry)
    this.#hub.members.delete(this.id)
  }

  open(subject: string, options: OpenOptions, sink: ReplySink): OutgoingStream {
    return this.streams.open(subject, options, sink)
  }

  serve(subject: string, _queue: string, handler: StreamHandler): Service {
    const onMessage = (bytes: Uint8Array): void => {
      const offer = this.#codec.decode(bytes)
      if (isOpenMessage(offer)) this.streams.offered(offer, handler)
    }
    const group = this.#join(subject, onMessage)
    const alone = this.#join(this.subjects.member(subject, this.id), onMessage)
    this.#served.add(subject)
    this.#sendBeat(this.#fields)
    return {
      stop: async () => {
        this.#served.delete(subject)
        await Promise.all([group.stop(), alone.stop()])
      },
    }
  }

  async request(subject: string, payload: unknown, { timeout }: { timeout: number }): Promise<unknown> {
    const bytes = this.#codec.encode(payload)
    const startedAt = this.clock.monotonic()
    for (;;) {
      const waited = this.clock.monotonic() - startedAt
      const reply = await this.#ask(subject, bytes, Math.max(1, timeout - waited))
      if (reply instanceof Uint8Array) {
        const wire = this.#codec.decode(reply) as Wire
        if ('error' in wire) throw fromWire(wire.error)
        return wire.ok
      }
      if (reply === 'late') throw new GatewayError(this.connected ? 'deadline_exceeded' : 'accounting_away')
      if (waited + NOBODY_PAUSE >= Math.min(timeout, NOBODY_LIMIT)) throw new GatewayError('accounting_away')
      await new Promise<void>((resolve) => this.clock.after(NOBODY_PAUSE, resolve))
    }
  }

  respond(subject: string, _queue: string, handler: (payload: unknown) => Promise<unknown>): Service {
    return this.#join(subject, (bytes, reply) => {
      void this.#answer(bytes, reply, handler)
    })
  }

  announce(kind: ChangeKind, payload: unknown): void {
    this.#send(this.subjects.changed(kind), this.#codec.encode(payload), `changed ${kind}`)
  }

  onChange(kind: ChangeKind, handler: (payload: unknown) => void): Service {
    return this.#service(this.#listen(this.subjects.changed(kind), (bytes) => handler(this.#codec.decode(bytes))))
  }

  beat(fields: Record<string, number | string | boolean>): void {
    this.#fields = { ...fields }
    this.#sendBeat(this.#fields)
  }

  fleet(): FleetMember[] {
    return this.streams.fleet.list()
  }

  append(_shard: string, events: readonly unknown[]): Promise<void> {
    if (events.length === 0) return Promise.resolve()
    return this.#hub.appendTo(this, JSON.stringify({ v: 1, events }))
  }

  consume(_name: string, options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>): Service {
    const consumer = this.#hub.durable.consume(this.process, options, handle)
    this.#consumers.add(consumer)
    return consumer
  }

  consumed(_name: string, before?: number): Promise<boolean> {
    return this.#hub.ask(this, 'consumed', () => this.#hub.durable.consumed(before))
  }

  appended(): Promise<number> {
    return this.#hub.ask(this, 'appended', () => this.#hub.durable.mark)
  }

  async bucket(name: string): Promise<Bucket> {
    const stored = this.#hub.buckets.get(name) ?? new Map<string, Stored>()
    this.#hub.buckets.set(name, stored)
    const look = (key: string): Promise<Stored> =>
      this.#hub.ask(this, `get ${key}`, () => stored.get(key) ?? { revision: 0, writtenAt: 0, value: () => undefined })
    const write = async (key: string, value: unknown): Promise<void> => {
      const copy = value === undefined ? undefined : this.#codec.decodeLarge(this.#codec.encodeLarge(value))
      await this.#hub.ask(this, `put ${key}`, () => {
        const before = stored.get(key)
        stored.set(key, { revision: (before?.revision ?? 0) + 1, writtenAt: this.#hub.world.clock.now(), value: () => copy })
      })
      this.#send(this.subjects.stored(name, key), new Uint8Array(0), `stored ${key}`)
    }
    return {
      get: async (key) => (await look(key)).value(),
      put: write,
      delete: (key) => write(key, undefined),
      mirror: async (key, onValue) => {
        const mirror = new Mirror(this.clock, this.log, () => look(key), onValue)
        const word = this.#listen(this.subjects.stored(name, key), () => mirror.refresh())
        await mirror.start()
        this.#mirrors.add(mirror)
        return {
          stop: async () => {
            this.#mirrors.delete(mirror)
            mirror.stop()
            this.#leave(word)
          },
        }
      },
    }
  }

  async drain(limit: number): Promise<void> {
    for (const entry of [...this.#mine]) if (entry.queue) this.#leave(entry)
    await this.streams.idle(limit)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop()))
    this.streams.close()
    this.#sendBeat(null)
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    for (const mirror of this.#mirrors) mirror.stop()
    for (const entry of [...this.#mine]) this.#leave(entry)
    this.#hub.members.delete(this.id)
  }

  offer(subject: string, message: OpenMessage, member: string | null): boolean {
    const bytes = this.#codec.encode(message)
    this.#hub.publish(
      this,
      member === null ? subject : this.subjects.member(subject, member),
      bytes,
      (_, answer) => {
        if (answer === null) this.streams.nobody(message.id)
      },
      `offer ${message.openedBy}`,
      OFFERS,
    )
    return true
  }

  cancelAnywhere(streamId: string, reason: string): void {
    const bytes = this.#codec.encodeFrame(FRAME.cancel, 0, reason)
    const frame = this.#codec.encode({ streamId, bytes })
    if (!this.#closed) this.#hub.publish(this, CANCELS, frame, null, `cancel anywhere ${this.id}`, OFFERS)
  }

  toOpener(address: Address, kind: FrameKind, seq: number, payload: unknown): void {
    this.#frame(address.openedBy, address.replyTo, kind, seq, payload, (to, frame) =>
      to.streams.forOpener(address.id, frame.kind as FrameKind, frame.seq, frame.payload),
    )
  }

  toServer(servedBy: string, streamId: string, kind: FrameKind, seq: number, payload: unknown): void {
    this.#frame(servedBy, this.subjects.router(servedBy, streamId), kind, seq, payload, (to, frame) =>
      to.streams.forServer(streamId, frame.kind as FrameKind, frame.seq, frame.payload),
    )
  }

  #frame(
    receiver: string,
    subject: string,
    kind: FrameKind,
    seq: number,
    payload: unknown,
    deliver: (to: Member, frame: ReturnType<Codec['decodeFrame']>) => void,
  ): void {
    if (this.#closed) return
    const { tamper } = this.#hub
    const sent = tamper === null ? { seq, payload } : tamper(kind, seq, payload)
    if (sent === null) return
    const bytes = this.#codec.encodeFrame(kind, sent.seq, sent.payload)
    const send = (): void => {
      const to = this.#hub.members.get(receiver)
      if (to === undefined) return
      this.#hub.carry(this, to, subject, `frame ${this.id} ${kind}.${sent.seq}`, () => {
        const frame = this.#codec.decodeFrame(bytes)
        deliver(to, frame)
      })
    }
    if (this.connected) send()
    else this.outbox.push(send)
  }

  #onBeat(bytes: Uint8Array): void {
    const { role, id, fields } = this.#codec.decode(bytes) as {
      role: Role
      id: string
      fields: Record<string, number | string | boolean> | null
    }
    if (fields === null) this.streams.fleet.left(id)
    else this.streams.fleet.heard(role, id, fields)
  }

  #sendBeat(fields: Record<string, number | string | boolean> | null): void {
    if (!this.connected) return
    const served = this.#served.size === 0 ? {} : { [SERVES]: ` ${[...this.#served].join(' ')} ` }
    const all = fields && { ...fields, ...served, [CONNECTION]: this.epoch }
    this.#send('beats', this.#codec.encode({ role: this.role, id: this.id, fields: all }), `beat ${this.id}`)
  }

  #send(subject: string, bytes: Uint8Array, what: string): void {
    if (!this.#closed) this.#hub.publish(this, subject, bytes, null, what)
  }

  #ask(subject: string, bytes: Uint8Array, timeout: number): Promise<Uint8Array | 'nobody' | 'late'> {
    return new Promise((resolve) => {
      const timer = this.clock.after(timeout, () => resolve('late'))
      const done = (answer: Uint8Array | null): void => {
        timer.cancel()
        resolve(answer ?? 'nobody')
      }
      const reply: Reply = (from, answer) => {
        if (from === this) done(answer)
        else this.#hub.carry(from, this, `inbox ${subject}`, `reply ${from.id}`, () => done(answer))
      }
      this.#hub.publish(this, subject, bytes, reply, `request ${subject}`)
    })
  }

  async #answer(bytes: Uint8Array, reply: Reply | null, handler: (payload: unknown) => Promise<unknown>): Promise<void> {
    let wire: Wire
    try {
      wire = { ok: await handler(this.#codec.decode(bytes)) }
    } catch (thrown) {
      wire = { error: toWire(toGatewayError(thrown)) }
    }
    if (reply === null) return
    const answer = this.#codec.encode(wire)
    if (this.connected) reply(this, answer)
    else this.outbox.push(() => reply(this, answer))
  }

  #listen(subject: string, onMessage: Subscription['onMessage'], queue = false): Subscription {
    const entry: Subscription = { member: this, subject, queue, onMessage }
    this.#mine.add(entry)
    this.#hub.subscriptions.push(entry)
    return entry
  }

  #join(subject: string, onMessage: Subscription['onMessage']): Service {
    return this.#service(this.#listen(subject, onMessage, true))
  }

  #service(entry: Subscription): Service {
    return { stop: async () => this.#leave(entry) }
  }

  #leave(entry: Subscription): void {
    if (!this.#mine.delete(entry)) return
    this.#hub.subscriptions.splice(this.#hub.subscriptions.indexOf(entry), 1)
  }

  #refresh(): void {
    if (this.connected) for (const mirror of this.#mirrors) mirror.refresh()
  }
}
