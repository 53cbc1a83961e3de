import type { FrameKind, OpenMessage } from '../../proto/frames.ts'
import { BEAT_INTERVAL, BODY_INLINE_MAX } from '../../proto/frames.ts'
import { type ChangeKind, type Role, type Subjects, subjects } from '../../proto/subjects.ts'
import { type Clock, DeadlineWheel, type Timer } from '../clock.ts'
import { fromWire, GatewayError, toGatewayError, toWire } from '../errors.ts'
import { processId } from '../ids.ts'
import type { Log } from '../log.ts'
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
} from './bus.ts'
import { type Codec, createCodec } from './codec.ts'
import { SWEEP_INTERVAL } from './fleet.ts'
import { MemoryQueue } from './memory-queue.ts'
import { type Address, type Link, Streams } from './stream.ts'

export interface MemoryHubOptions {
  clock: Clock
  log: Log
  /** Passes every message through the codec and freezes it, as if it had crossed a network. For tests. */
  strict?: boolean
  /** Milliseconds `accept` is held back, as the bus over a network does; default 0. */
  acceptHold?: number
}

/** All processes of an embedded gateway, or of a simulated cluster, on one bus without sockets. */
export interface MemoryHub {
  join(role: Role, id?: string): Bus
  close(): Promise<void>
  readonly faults: MemoryFaults
}

/** What can go wrong, at will. */
export interface MemoryFaults {
  /** Called for every frame; true = the frame is lost. */
  drop: ((kind: FrameKind, seq: number, streamId: string) => boolean) | null
  /** Stops a process: what is sent to it waits, it neither beats nor hears. */
  freeze(id: string): void
  /** Lets it run again; what waited is delivered in order. */
  thaw(id: string): void
  /** Ends a process without a word. */
  kill(id: string): void
}

type Responder = (payload: unknown) => Promise<unknown>
type Listener = (payload: unknown) => void

const SETTLED = Promise.resolve()
/** Most deliveries in one microtask, so that two processes talking to each other leave room for timers and sockets. */
const TURN = 1_024
const NOBODY_PAUSE = 100
const NOBODY_LIMIT = 1_000

/** A hub. One per process; close it and every bus on it is closed. */
export function createMemoryHub({ clock, log, strict = false, acceptHold = 0 }: MemoryHubOptions): MemoryHub {
  const hub = new Hub(clock, log, strict ? createCodec() : null, acceptHold)
  return {
    faults: hub.faults,
    join: (role, id = processId(role)) => {
      if (hub.members.has(id)) throw new Error(`a process named ${id} is on this bus already`)
      const member = new Member(hub, role, id)
      hub.members.set(id, member)
      return member
    },
    async close() {
      await Promise.all([...hub.members.values()].map((member) => member.close()))
      hub.queue.close()
    },
  }
}

/** The members of one queue group, taken in turn. */
class Group<Handler> {
  readonly #members: { member: Member; handler: Handler }[] = []
  #next = 0

  add(member: Member, handler: Handler): Service {
    const entry = { member, handler }
    this.#members.push(entry)
    return {
      stop: async () => {
        const at = this.#members.indexOf(entry)
        if (at >= 0) this.#members.splice(at, 1)
      },
    }
  }

  remove(member: Member): void {
    for (let at = this.#members.length - 1; at >= 0; at--) if (this.#members[at]?.member === member) this.#members.splice(at, 1)
  }

  pick(): { member: Member; handler: Handler } | undefined {
    if (this.#members.length === 0) return undefined
    this.#next = (this.#next + 1) % this.#members.length
    return this.#members[this.#next]
  }
}

/** What the members share. One group per subject: a subject has one queue name in this system. */
class Hub {
  readonly members = new Map<string, Member>()
  readonly servers = new Map<string, Group<StreamHandler>>()
  readonly responders = new Map<string, Group<Responder>>()
  readonly listeners = new Map<ChangeKind, Map<Listener, Member>>()
  readonly buckets = new Map<string, MemoryBucket>()
  readonly subjects: Subjects = subjects()
  readonly faults: MemoryFaults
  readonly queue: MemoryQueue
  readonly clock: Clock
  readonly log: Log
  readonly codec: Codec | null
  readonly acceptHold: number
  #fifo: (() => void)[] = []
  #draining = false

  constructor(clock: Clock, log: Log, codec: Codec | null, acceptHold: number) {
    this.clock = clock
    this.log = log
    this.codec = codec
    this.acceptHold = acceptHold
    this.queue = new MemoryQueue(clock, log)
    const member = (id: string, run: (member: Member) => void) => {
      const found = this.members.get(id)
      if (found !== undefined) run(found)
    }
    this.faults = {
      drop: null,
      freeze: (id) => member(id, (found) => found.freeze()),
      thaw: (id) => member(id, (found) => found.thaw()),
      kill: (id) => member(id, (found) => found.kill()),
    }
  }

  /** Delivers later, after everything posted before. */
  post(to: Member, run: () => void): void {
    if (to.held !== null) {
      to.held.push(run)
      return
    }
    this.#fifo.push(run)
    if (this.#draining) return
    this.#draining = true
    // Not queueMicrotask: Node makes an async resource for each.
    void SETTLED.then(() => this.#drain())
  }

  /** A message as the receiver gets it: itself, or in strict mode a frozen copy that went over the wire. */
  carry<Message>(message: Message): Message {
    return this.codec === null ? message : (freeze(this.codec.decode(this.codec.encode(message))) as Message)
  }

  /** The same for a value that may be larger than a message. */
  carryLarge(value: unknown): unknown {
    return this.codec === null ? value : freeze(this.codec.decodeLarge(this.codec.encodeLarge(value)))
  }

  group<Handler>(groups: Map<string, Group<Handler>>, subject: string): Group<Handler> {
    const group = groups.get(subject) ?? new Group<Handler>()
    groups.set(subject, group)
    return group
  }

  #drain(): void {
    let done = 0
    let fifo = this.#fifo
    for (;;) {
      this.#fifo = []
      for (const run of fifo) this.#run(run)
      done += fifo.length
      fifo = this.#fifo
      if (fifo.length === 0) break
      if (done < TURN) continue
      setImmediate(() => this.#drain())
      return
    }
    this.#draining = false
  }

  #run(run: () => void): void {
    try {
      run()
    } catch (thrown) {
      this.log.error({ err: thrown }, 'A bus handler threw.')
    }
  }
}

/** One process on the hub. */
class Member implements Bus, Link {
  readonly id: string
  readonly role: Role
  readonly subjects: Subjects
  readonly clock: Clock
  readonly wheel: DeadlineWheel
  readonly log: Log
  readonly inlineMax: number
  readonly acceptHold: number
  /** Deliveries waiting while the process is frozen. */
  held: (() => void)[] | null = null
  readonly #hub: Hub
  readonly #streams: Streams
  readonly #timers: Timer[]
  readonly #services = new Set<Service>()
  #fields: Record<string, number | string | boolean> = {}
  #dead = false

  constructor(hub: Hub, role: Role, id: string) {
    this.#hub = hub
    this.id = id
    this.role = role
    this.subjects = hub.subjects
    this.clock = hub.clock
    this.log = hub.log
    this.wheel = new DeadlineWheel(hub.clock)
    this.acceptHold = hub.acceptHold
    this.inlineMax = hub.codec === null ? Number.POSITIVE_INFINITY : BODY_INLINE_MAX
    this.#streams = new Streams(this)
    this.#timers = [
      hub.clock.every(BEAT_INTERVAL, () => this.#sendBeat()),
      hub.clock.every(SWEEP_INTERVAL, () => {
        if (this.held === null) this.#streams.sweep()
      }),
    ]
  }

  get lossy(): boolean {
    return this.#hub.faults.drop !== null
  }

  get ready(): boolean {
    return !this.#dead
  }

  get writable(): boolean {
    return true
  }

  open(subject: string, options: OpenOptions, sink: ReplySink): OutgoingStream {
    return this.#streams.open(subject, options, sink)
  }

  serve(subject: string, _queue: string, handler: StreamHandler): Service {
    return this.#service(this.#hub.group(this.#hub.servers, subject).add(this, handler))
  }

  async request(subject: string, payload: unknown, { timeout }: { timeout: number }): Promise<unknown> {
    const group = this.#hub.group(this.#hub.responders, subject)
    const waitedFrom = this.clock.monotonic()
    let responder = group.pick()
    while (responder === undefined) {
      const waited = this.clock.monotonic() - waitedFrom
      if (this.#dead || waited >= Math.min(timeout, NOBODY_LIMIT)) throw new GatewayError('accounting_away')
      await new Promise<void>((resolve) => this.clock.after(NOBODY_PAUSE, resolve))
      responder = group.pick()
    }
    return this.#ask(responder.member, responder.handler, payload, timeout)
  }

  respond(subject: string, _queue: string, handler: Responder): Service {
    return this.#service(this.#hub.group(this.#hub.responders, subject).add(this, handler))
  }

  announce(kind: ChangeKind, payload: unknown): void {
    if (this.#dead) return
    for (const [listener, member] of this.#hub.listeners.get(kind) ?? []) {
      const message = this.#hub.carry(payload)
      this.#hub.post(member, () => listener(message))
    }
  }

  onChange(kind: ChangeKind, handler: Listener): Service {
    const listeners = this.#hub.listeners.get(kind) ?? new Map<Listener, Member>()
    this.#hub.listeners.set(kind, listeners)
    const listener: Listener = (payload) => handler(payload)
    listeners.set(listener, this)
    const service = {
      stop: async () => {
        listeners.delete(listener)
      },
    }
    return this.#service(service)
  }

  beat(fields: Record<string, number | string | boolean>): void {
    this.#fields = { ...fields }
    this.#sendBeat()
  }

  fleet(): FleetMember[] {
    return this.#streams.fleet.list()
  }

  append(_shard: string, events: readonly unknown[]): Promise<void> {
    if (this.#dead) return Promise.reject(new GatewayError('draining'))
    return this.#hub.queue.append(this.#hub.codec === null ? events : events.map((event) => this.#hub.carry(event)))
  }

  consume(_name: string, options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>): Service {
    return this.#service(this.#hub.queue.consume(options, handle))
  }

  /** Of everything, whatever the mark: this queue does not know what of it was handled first. */
  async consumed(): Promise<boolean> {
    return this.#hub.queue.empty
  }

  async appended(): Promise<number> {
    return 0
  }

  async bucket(name: string): Promise<Bucket> {
    const bucket = this.#hub.buckets.get(name) ?? new MemoryBucket(this.#hub)
    this.#hub.buckets.set(name, bucket)
    return {
      get: (key) => bucket.get(key),
      put: (key, value) => bucket.put(key, value),
      delete: (key) => bucket.put(key, undefined),
      mirror: async (key, onValue) => this.#service(bucket.mirror(this, key, onValue)),
    }
  }

  async drain(limit: number): Promise<void> {
    for (const groups of [this.#hub.servers, this.#hub.responders]) for (const group of groups.values()) group.remove(this)
    await this.#streams.idle(limit)
  }

  async close(): Promise<void> {
    if (this.#dead) return
    this.#streams.close()
    await Promise.all([...this.#services].map((service) => service.stop()))
    this.#leave()
    for (const member of this.#hub.members.values()) member.#streams.fleet.left(this.id)
  }

  freeze(): void {
    this.held ??= []
  }

  thaw(): void {
    const held = this.held ?? []
    this.held = null
    for (const run of held) this.#hub.post(this, run)
    this.#sendBeat()
  }

  kill(): void {
    for (const groups of [this.#hub.servers, this.#hub.responders]) for (const group of groups.values()) group.remove(this)
    this.#leave()
    this.#streams.vanish()
  }

  offer(subject: string, message: OpenMessage): boolean {
    const server = this.#hub.servers.get(subject)?.pick()
    if (server === undefined) return false
    const { member, handler } = server
    const carried = this.#hub.carry(message)
    this.#hub.post(member, () => {
      if (!member.#dead) member.#streams.offered(carried, handler)
    })
    return true
  }

  toOpener(address: Address, kind: FrameKind, seq: number, payload: unknown): void {
    const to = this.#receiver(address.openedBy, kind, seq, address.id)
    if (to === undefined) return
    const carried = this.#hub.carry(payload)
    this.#hub.post(to, () => {
      if (!to.#dead) to.#streams.forOpener(address.id, kind, seq, carried)
    })
  }

  /** What nobody accepts here is with a process that is frozen, which is told when it wakes and accepts. */
  cancelAnywhere(): void {}

  toServer(servedBy: string, streamId: string, kind: FrameKind, seq: number, payload: unknown): void {
    const to = this.#receiver(servedBy, kind, seq, streamId)
    if (to === undefined) return
    const carried = this.#hub.carry(payload)
    this.#hub.post(to, () => {
      if (!to.#dead) to.#streams.forServer(streamId, kind, seq, carried)
    })
  }

  #receiver(id: string, kind: FrameKind, seq: number, streamId: string): Member | undefined {
    if (this.#dead || this.#hub.faults.drop?.(kind, seq, streamId) === true) return undefined
    return this.#hub.members.get(id)
  }

  /** Beats go straight to the others: they only mark the time, and must not queue behind what keeps a process busy. */
  #sendBeat(): void {
    if (this.#dead || this.held !== null) return
    for (const member of this.#hub.members.values()) {
      if (member.held === null) member.#streams.fleet.heard(this.role, this.id, this.#fields)
    }
  }

  #ask(member: Member, handler: Responder, payload: unknown, timeout: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(timeout, () => reject(new GatewayError('deadline_exceeded')))
      const settle = (run: () => void) =>
        this.#hub.post(this, () => {
          timer.cancel()
          run()
        })
      const message = this.#hub.carry(payload)
      this.#hub.post(member, () => {
        if (member.#dead) return
        // The error crosses as on a wire: its cause stays behind.
        const fail = (thrown: unknown) => settle(() => reject(fromWire(toWire(toGatewayError(thrown)))))
        try {
          handler(message).then((reply) => settle(() => resolve(this.#hub.carry(reply))), fail)
        } catch (thrown) {
          fail(thrown)
        }
      })
    })
  }

  #service(service: Service): Service {
    this.#services.add(service)
    return {
      stop: async () => {
        this.#services.delete(service)
        await service.stop()
      },
    }
  }

  #leave(): void {
    this.#dead = true
    for (const timer of this.#timers) timer.cancel()
    this.#hub.members.delete(this.id)
  }
}

/** A key-value bucket; undefined = no value. */
class MemoryBucket {
  readonly #hub: Hub
  readonly #values = new Map<string, unknown>()
  readonly #mirrors = new Map<string, Set<(value: unknown) => void>>()

  constructor(hub: Hub) {
    this.#hub = hub
  }

  async get(key: string): Promise<unknown> {
    return this.#values.get(key)
  }

  async put(key: string, value: unknown): Promise<void> {
    const carried = value === undefined ? undefined : this.#hub.carryLarge(value)
    if (carried === undefined) this.#values.delete(key)
    else this.#values.set(key, carried)
    for (const deliver of this.#mirrors.get(key) ?? []) deliver(carried)
  }

  mirror(member: Member, key: string, onValue: (value: unknown) => void): Service {
    const mirrors = this.#mirrors.get(key) ?? new Set()
    this.#mirrors.set(key, mirrors)
    const deliver = (value: unknown) =>
      this.#hub.post(member, () => {
        if (mirrors.has(deliver)) onValue(value)
      })
    mirrors.add(deliver)
    onValue(this.#values.get(key))
    return {
      stop: async () => {
        mirrors.delete(deliver)
      },
    }
  }
}

/** Freezes a message and everything in it but bytes, which cannot be frozen. */
function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
