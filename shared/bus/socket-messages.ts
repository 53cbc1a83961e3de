import { CLOSE } from '../../proto/sockets.ts'
import { GatewayError } from '../errors.ts'

/**
 * One message of a WebSocket session, as it travels on a stream of the bus. Closing is the last message of the router's side; of the edge's it asks for
 * an end, and the end of its stream says that the client is gone. `booking`, of the router, is for the edge alone: what to book if the router dies
 * from here on, in the place of what it said before; empty = nothing.
 */
export type SocketMessage =
  | { kind: 'text' | 'binary' | 'booking'; payload: Uint8Array }
  | {
      kind: 'close'
      code: number
      reason: string
    }

const KINDS = ['text', 'binary', 'close', 'booking'] as const
/** Kind, and length of the payload as a big-endian 32-bit number. */
const HEADER = 5

/** The bytes of a message: header, payload. The payload of `close` is its code in two bytes, and the reason. */
export function encodeSocketMessage(message: SocketMessage): Uint8Array {
  if (message.kind === 'close') {
    const reason = Buffer.from(message.reason)
    const bytes = framed('close', reason.length + 2)
    bytes.writeUInt16BE(message.code, HEADER)
    bytes.set(reason, HEADER + 2)
    return bytes
  }
  const bytes = framed(message.kind, message.payload.length)
  bytes.set(message.payload, HEADER)
  return bytes
}

function framed(kind: SocketMessage['kind'], length: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + length)
  bytes[0] = KINDS.indexOf(kind)
  bytes.writeUInt32BE(length, 1)
  return bytes
}

/**
 * Bytes of the bus, cut anywhere, → messages. Holds at most one message of `limit` bytes. `push` throws GatewayError `stream_gap` for bytes that
 * are no messages, or a longer one.
 */
export class SocketMessageParser {
  readonly #limit: number
  #parts: Uint8Array[] = []
  #size = 0
  /** Bytes the message under way has with its header; null = its header is not whole. */
  #wanted: number | null = null

  constructor(limit: number) {
    this.#limit = limit
  }

  push(bytes: Uint8Array): SocketMessage[] {
    const messages: SocketMessage[] = []
    this.#parts.push(bytes)
    this.#size += bytes.length
    for (;;) {
      this.#wanted ??= this.#size < HEADER ? null : HEADER + this.#length()
      if (this.#wanted === null || this.#size < this.#wanted) return messages
      messages.push(decoded(this.#take(this.#wanted)))
      this.#wanted = null
    }
  }

  #length(): number {
    const length = this.#joined().readUInt32BE(1)
    if (length <= this.#limit) return length
    throw new GatewayError('stream_gap', `A message of ${length} bytes is larger than ${this.#limit}.`)
  }

  #take(size: number): Buffer {
    const all = this.#joined()
    this.#parts = size < all.length ? [all.subarray(size)] : []
    this.#size -= size
    return all.subarray(0, size)
  }

  #joined(): Buffer {
    const [first] = this.#parts
    const all =
      this.#parts.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.length)
        : Buffer.concat(this.#parts, this.#size)
    this.#parts = [all]
    return all
  }
}

function decoded(bytes: Buffer): SocketMessage {
  const kind = KINDS[bytes[0] as number]
  const payload = bytes.subarray(HEADER)
  if (kind === undefined) throw new GatewayError('stream_gap', 'What came is no message.')
  if (kind !== 'close') return { kind, payload }
  const code = payload.length < 2 ? CLOSE.none : payload.readUInt16BE(0)
  return { kind, code, reason: payload.subarray(2).toString('utf8') }
}
