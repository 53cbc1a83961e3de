import type { WireError } from './errors.ts'

/**
 * Frames of one stream between the opening side (edge) and the serving side (router, accounting).
 *
 * On the wire each is the msgpack array `[kind, seq, payload]`. `seq` counts the frames of one direction from 0 and has no
 * holes: the receiver ends the stream with `stream_gap` when it meets one. `accept` is left out when the answer comes at once.
 *
 *   serving → opening   accept  the call is taken; payload AcceptInfo
 *                       start   head of the answer; payload StartHead (any map, opaque to the bus)
 *                       data    bytes for the client, at most FRAME_MAX
 *                       end     the answer is complete; payload null or a map
 *                       error   the answer failed, before or after start; payload WireError
 *                       beat    nothing new, still here; sent on a stream silent for BEAT_IDLE, and on every one whose
 *                               process or opener lost its connection, when it is back. Payload BeatInfo
 *                       credit  payload integer: that many more body bytes may be sent
 *   opening → serving   body    the next part of a request body larger than BODY_INLINE_MAX
 *                       credit  payload integer: that many more data bytes may be sent
 *                       cancel  stop; payload string reason
 */
export const FRAME = {
  accept: 0,
  start: 1,
  data: 2,
  end: 3,
  error: 4,
  beat: 5,
  body: 6,
  credit: 7,
  cancel: 8,
  /** Last part of a body; same payload as `body`. */
  bodyEnd: 9,
  /** A whole small answer in one frame: payload `[StartHead, bytes, end payload]`. Saves three messages on a unary call. */
  whole: 10,
} as const

export type FrameKind = (typeof FRAME)[keyof typeof FRAME]

export interface AcceptInfo {
  v: number
  /** The serving process, so that beats of that process keep the stream alive and its silence ends it. */
  servedBy: string
  /** How many body bytes the server will take now (only when the body did not fit the call message). */
  bodyCredit?: number
}

export interface BeatInfo {
  /** Frames of the opening side received so far: one that was lost is noticed though nothing follows it. */
  received: number
  /** The serving process, so that an opener that does not know the stream any more can cancel it. */
  servedBy: string
  /** Sent because a connection was lost, and not for the stream's silence: any time after the beat before, so that counts say nothing. */
  proof?: true
}

/** Between a stream's id and the number of its take, from the second on: late frames of an earlier taker reach nobody. */
export const TAKE_MARK = '~'

/** What opens a stream: published to the queue group, with the reply inbox. */
export interface OpenMessage {
  v: number
  /** Stream id: callId plus take. */
  id: string
  /** Subject on which the opener takes frames for this stream. */
  replyTo: string
  /** The opening process, whose beats keep the stream alive. */
  openedBy: string
  /** Milliseconds left for the whole call. A duration, never a wall clock. */
  deadline: number
  /** Initial credit: data bytes the server may send before the first `credit` frame. */
  credit: number
  /** The message itself: CallMessage or AdminMessage. */
  head: unknown
  /** The first (often only) part of the request body. */
  body: Uint8Array
  /** True when more parts follow as `body` frames, granted by accept's `bodyCredit`. */
  more: boolean
}

export type EndPayload = Record<string, unknown> | null
export type ErrorPayload = WireError

/** Largest payload of one data or body frame. NATS refuses a message above 1 MB by default. */
export const FRAME_MAX = 256 * 1024
/** A request body up to this size travels inside the open message and may be published again; a larger one follows in frames. */
export const BODY_INLINE_MAX = 512 * 1024
/** Largest message of any kind: what NATS takes (1 MB), less room for its headers. */
export const MESSAGE_MAX = 1024 * 1024 - 4096
/** Bytes of a body on the way to the server and not yet collected. */
export const BODY_CREDIT = 1024 * 1024
/** Initial credit of a stream in bytes; it grows for fast readers. */
export const CREDIT_START = 64 * 1024
/** Smallest window, however many streams share the pool. */
export const CREDIT_FLOOR = 2 * 1024
/** Upper bound of one stream's window. */
export const CREDIT_MAX = 1024 * 1024
/**
 * All windows of one opening process together: half of NATS' default `max_pending` of 64 MB, past which the server cuts the
 * connection as a slow consumer and every stream with it.
 */
export const CREDIT_POOL = 32 * 1024 * 1024
/** Milliseconds without any frame on a stream after which the server sends `beat`. */
export const BEAT_IDLE = 10_000
/** Milliseconds between beats of a process. */
export const BEAT_INTERVAL = 1_000
/** Milliseconds without a beat after which a process is taken for dead. A router that parses a 64 MB body on a busy machine was silent for 4 s. */
export const BEAT_LIMIT = 6_000
/** Milliseconds the opener waits for `accept` before it publishes once more. */
export const ACCEPT_LIMIT = 2_000
