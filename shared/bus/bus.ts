import type { StartHead } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import type { EndPayload } from '../../proto/frames.ts'
import type { ChangeKind, Role, Subjects } from '../../proto/subjects.ts'

/**
 * The bus: everything processes say to each other. Two implementations, `memory.ts` (one process) and `nats.ts` (a cluster),
 * under one suite (`bus.suite.ts`). Payloads are plain objects that msgpack can carry; bytes are `Uint8Array`.
 */
export interface Bus {
  /** This process on the bus; a subject token. */
  readonly id: string
  readonly role: Role
  /** The subject tree of this bus. */
  readonly subjects: Subjects
  /** False while the connection is down or the publishing side is far behind. */
  readonly ready: boolean

  /** Opens a stream to one member of a queue group. Never throws: what goes wrong reaches `sink.error`. */
  open(subject: string, options: OpenOptions, sink: ReplySink): OutgoingStream
  /** Serves streams opened on `subject`, sharing them with the other members of `queue`. */
  serve(subject: string, queue: string, handler: StreamHandler): Service

  /** Small request, small reply. Rejects with GatewayError `no_responder`-like codes: `accounting_away`, `deadline_exceeded`. */
  request(subject: string, payload: unknown, options: { timeout: number }): Promise<unknown>
  respond(subject: string, queue: string, handler: (payload: unknown) => Promise<unknown>): Service

  /** Broadcast of a change, and listening to it. At most once; who was away reads the source again. */
  announce(kind: ChangeKind, payload: unknown): void
  onChange(kind: ChangeKind, handler: (payload: unknown) => void): Service

  /** Sends this process's beat now (the bus also sends it every BEAT_INTERVAL), and the fleet as last heard. */
  beat(fields: Record<string, number | string | boolean>): void
  fleet(): FleetMember[]

  /** Appends events durably; resolves when they will survive this process and the bus, rejects when that is not certain. */
  append(shard: string, events: readonly unknown[]): Promise<void>
  /**
   * Consumes durable events in batches, at least once. `handle` resolving acknowledges the batch; rejecting has it delivered
   * again after a pause. Several consumers of one name share the work.
   */
  consume(name: string, options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>): Service
  /**
   * Whether nothing that was appended (with `before`: until that mark was taken) still waits for the consumers of this name or is being handled
   * by one. Rejects with GatewayError while the bus cannot say.
   */
  consumed(name: string, before?: number): Promise<boolean>
  /** A mark after everything appended so far. Under load something always waits, but not what came before a mark. Rejects as `consumed` does. */
  appended(): Promise<number>

  /** A key-value bucket; values are small enough to hold in memory everywhere. */
  bucket(name: string): Promise<Bucket>

  /** Stops serving new streams and lets running ones end; resolves when none is left or after `limit` milliseconds. */
  drain(limit: number): Promise<void>
  close(): Promise<void>
}

export interface OpenOptions {
  /** Stream id: unique per stream, a subject token. */
  id: string
  head: unknown
  /** The request body. A string of parts when it is still arriving. */
  body: Uint8Array | BodySource
  /** Milliseconds for the whole stream. */
  deadline: number
  /** Milliseconds to wait for `accept`; default ACCEPT_LIMIT. */
  acceptLimit?: number
}

/** A request body too large to hold: pulled part by part as the server grants credit. */
export interface BodySource {
  /** What has arrived so far; sent inside the open message. At most BODY_INLINE_MAX bytes. */
  readonly first: Uint8Array
  /** Asks for the rest: `push` is called with each part, then once with null. Returns pause and resume for the granted credit. */
  pull(push: (part: Uint8Array | null) => void): { pause(): void; resume(): void }
}

/** What the opener is told, in this order: accept? (start (data)* end | error). Exactly one of end and error comes, once. */
export interface ReplySink {
  /** Taken by a serving process. */
  accept?(servedBy: string): void
  start(head: StartHead): void
  /** Bytes for the client. They stay valid after the call. Grant them back with `stream.consumed(n)` once written out. */
  data(bytes: Uint8Array): void
  end(payload: EndPayload): void
  error(error: WireError): void
}

export interface OutgoingStream {
  readonly id: string
  /** Tells the stream that `bytes` of data left towards the client: credit flows back. */
  consumed(bytes: number): void
  /** Stops the stream: the server gets `cancel`, the sink hears nothing more. */
  cancel(reason: string): void
}

export type StreamHandler = (stream: IncomingStream) => void

/**
 * A stream being served. It is accepted when the handler returns without having called `refuse`. Exactly one of `end`, `fail`,
 * `refuse` ends it.
 */
export interface IncomingStream {
  readonly id: string
  readonly head: unknown
  /** Milliseconds left when the message arrived. */
  readonly deadline: number
  /** The whole body when it travelled inside the message, else null: then `collect` it. */
  readonly body: Uint8Array | null
  /** Collects a body that follows in parts, granting credit as they come. Rejects with GatewayError on a gap or cancel, `body_too_large` past `limit`. */
  collect(limit: number): Promise<Uint8Array>
  /**
   * Takes the body part by part instead, each as soon as it is here, null after the last. Tell what was done with to the function returned: as
   * much more may come. Once, and not beside `collect`. That a body breaks off is told by `onCancel`.
   */
  receive(take: (part: Uint8Array | null) => void): (consumed: number) => void
  /** Turns the stream away before it is accepted; the opener may try another member. */
  refuse(error: WireError): void
  /** Throws GatewayError `internal`, as `end` and `whole` do, when the head does not fit a message; nothing was sent then. */
  start(head: StartHead): void
  /**
   * Sends bytes, which belong to the bus from then on. Returns false when credit or the bus is used up: stop producing until
   * `onWritable`. What is sent meanwhile is kept and goes out as credit comes, so the excess is one chunk of the producer, not a
   * stream.
   */
  data(bytes: Uint8Array): boolean
  end(payload?: EndPayload): void
  fail(error: WireError): void
  /** A whole small answer at once: start, data and end in one frame when it fits and credit allows. */
  whole(head: StartHead, body: Uint8Array, payload?: EndPayload): void
  /** Called when `data` may go on after it returned false. */
  onWritable: (() => void) | null
  /** Called once when the opener cancelled, its process died, or the deadline passed. The stream is over then. */
  onCancel: ((reason: string) => void) | null
  /** Whether the stream is over, however. */
  readonly closed: boolean
}

export interface Service {
  /** Takes nothing new; what runs goes on. */
  stop(): Promise<void>
}

export interface ConsumeOptions {
  /** Most events handed over at once. */
  batch: number
  /** Longest wait for a batch to fill, milliseconds. */
  wait: number
  /** Least milliseconds from the beginning of one batch to that of one that is not full: what each batch costs is shared by more events. */
  rest?: number
  /** Batches handled at once; only a full one begins beside another. Default 1. */
  lanes?: number
}

export interface Bucket {
  get(key: string): Promise<unknown>
  put(key: string, value: unknown): Promise<void>
  delete(key: string): Promise<void>
  /** Calls `onValue` with the present value (undefined = none) before it resolves, then with every change, newest last. */
  mirror(key: string, onValue: (value: unknown) => void): Promise<Service>
}

export interface FleetMember {
  role: Role
  id: string
  /** Milliseconds since the last beat. */
  age: number
  fields: Record<string, number | string | boolean>
}
