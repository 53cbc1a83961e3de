import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { Packr } from 'msgpackr'
import { FRAME, type FrameKind, MESSAGE_MAX, type OpenMessage } from '../../proto/frames.ts'
import { GatewayError } from '../errors.ts'

/** One frame of a stream, read. */
export interface Frame {
  kind: FrameKind
  seq: number
  payload: unknown
}

/** Messages to bytes and back: plain msgpack, so that processes of different versions read each other. */
export interface Codec {
  /** Throws GatewayError `internal` when the message is larger than `limit` (default MESSAGE_MAX bytes). */
  encode(value: unknown, limit?: number): Uint8Array
  /** Bytes inside the result are views into `bytes`. Throws GatewayError `internal` when `bytes` are not one msgpack value. */
  decode(bytes: Uint8Array): unknown
  /** Like `encode`, deflated when that is worth it: for configuration, which shrinks tenfold and may outgrow a message. */
  encodeLarge(value: unknown): Uint8Array
  /** Throws as `decode` does. */
  decodeLarge(bytes: Uint8Array): unknown
  /** Throws as `encode` does. */
  encodeFrame(kind: FrameKind, seq: number, payload: unknown): Uint8Array
  /** Throws GatewayError `internal` when `bytes` are not a frame. */
  decodeFrame(bytes: Uint8Array): Frame
}

/** Bytes before the payload of a data frame: array of three, kind, u32 sequence, bin32 length. */
const DATA_HEADER = 12
const ARRAY_3 = 0x93
const UINT_32 = 0xce
const BIN_32 = 0xc6
/** Bytes from which a large value is deflated, and the first byte that says so: msgpack never uses 0xc1. */
const DEFLATE_FROM = 32 * 1024
const DEFLATED = 0xc1
/** Bytes a message may unpack to: a thousandfold is what deflate can do. */
const INFLATED_MAX = 256 * 1024 * 1024

/** A codec. It holds msgpackr's buffers, so make one per bus. */
export function createCodec(): Codec {
  // Records and shared structures stay off: a reader that learnt other structures decodes them wrongly without an error.
  const packr = new Packr({ useRecords: false })

  function encode(value: unknown, limit = MESSAGE_MAX): Uint8Array {
    const bytes = packr.encode(value)
    if (bytes.length > limit) throw new GatewayError('internal', `A message of ${bytes.length} bytes is larger than ${limit}.`)
    return bytes
  }

  function decode(bytes: Uint8Array): unknown {
    try {
      return packr.decode(bytes)
    } catch (cause) {
      throw new GatewayError('internal', 'A bus message is not msgpack.', { cause })
    }
  }

  function inflate(bytes: Uint8Array): Uint8Array {
    try {
      return inflateRawSync(bytes, { maxOutputLength: INFLATED_MAX })
    } catch (cause) {
      throw new GatewayError('internal', 'A bus message is not deflated, or larger than any of ours.', { cause })
    }
  }

  return {
    encode,
    decode,
    encodeLarge(value) {
      const plain = encode(value, Number.POSITIVE_INFINITY)
      const bytes = plain.length < DEFLATE_FROM ? plain : Buffer.concat([Uint8Array.of(DEFLATED), deflateRawSync(plain)])
      if (bytes.length > MESSAGE_MAX)
        throw new GatewayError('internal', `A value of ${plain.length} bytes is too large to store.`)
      return bytes
    },
    decodeLarge: (bytes) => decode(bytes[0] === DEFLATED ? inflate(bytes.subarray(1)) : bytes),
    encodeFrame(kind, seq, payload) {
      if (isHot(kind) && payload instanceof Uint8Array) return encodeData(kind, seq, payload)
      return encode([kind, seq, payload])
    },
    decodeFrame(bytes) {
      if (isDataFrame(bytes)) return { kind: kindOf(bytes[1]), seq: readUint32(bytes, 3), payload: bytes.subarray(DATA_HEADER) }
      const frame = decode(bytes)
      if (!Array.isArray(frame) || !isCount(frame[0]) || !isCount(frame[1])) {
        throw new GatewayError('internal', 'A bus message is not a frame.')
      }
      return { kind: kindOf(frame[0]), seq: frame[1], payload: frame[2] }
    },
  }
}

/** Whether a decoded message has the shape of OpenMessage. Its version is for the reader to judge. */
export function isOpenMessage(value: unknown): value is OpenMessage {
  if (typeof value !== 'object' || value === null) return false
  const message = value as Partial<Record<keyof OpenMessage, unknown>>
  return (
    typeof message.v === 'number' &&
    typeof message.id === 'string' &&
    typeof message.replyTo === 'string' &&
    typeof message.openedBy === 'string' &&
    typeof message.deadline === 'number' &&
    isCount(message.credit) &&
    message.body instanceof Uint8Array &&
    typeof message.more === 'boolean'
  )
}

/** The msgpack array `[kind, seq, bytes]` by hand: 58 ns where the general encoder takes 305. */
function encodeData(kind: number, seq: number, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(DATA_HEADER + payload.length)
  bytes[0] = ARRAY_3
  bytes[1] = kind
  bytes[2] = UINT_32
  writeUint32(bytes, 3, seq)
  bytes[7] = BIN_32
  writeUint32(bytes, 8, payload.length)
  bytes.set(payload, DATA_HEADER)
  return bytes
}

function isHot(kind: number): boolean {
  return kind === FRAME.data || kind === FRAME.body || kind === FRAME.bodyEnd
}

function isDataFrame(bytes: Uint8Array): boolean {
  return (
    bytes.length >= DATA_HEADER &&
    bytes[0] === ARRAY_3 &&
    isHot(bytes[1] ?? -1) &&
    bytes[2] === UINT_32 &&
    bytes[7] === BIN_32 &&
    readUint32(bytes, 8) === bytes.length - DATA_HEADER
  )
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0
}

/** A frame kind of a newer version passes through; the stream ignores kinds it does not know, after counting them. */
function kindOf(value: number | undefined): FrameKind {
  return value as FrameKind
}
