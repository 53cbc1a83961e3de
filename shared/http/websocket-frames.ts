import { CLOSE } from '../../proto/sockets.ts'

/** Frames of RFC 6455 from a server, as its client reads them. */
export type ServerFrame =
  | { kind: 'text' | 'binary'; payload: Uint8Array }
  | { kind: 'ping' | 'pong'; payload: Uint8Array }
  | { kind: 'close'; code: number; reason: string }

/** What the server did wrong, and the close code that says so. */
export class FrameError extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
const CONTINUATION = 0
const CONTROL_MAX = 125

/** A whole message in one frame, masked as clients must (§5.3). `mask`: four random bytes. */
export function encodeClientFrame(kind: keyof typeof OPCODE, payload: Uint8Array, mask: Uint8Array): Uint8Array {
  const { length } = payload
  const header = length < 126 ? 6 : length < 65_536 ? 8 : 14
  const frame = Buffer.allocUnsafe(header + length)
  frame[0] = 0x80 | OPCODE[kind]
  if (length < 126) frame[1] = 0x80 | length
  else if (length < 65_536) {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 0x80 | 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  frame.set(mask, header - 4)
  for (let at = 0; at < length; at += 1) frame[header + at] = (payload[at] as number) ^ (mask[at & 3] as number)
  return frame
}

/** The payload of a close frame; an empty one says nothing. Reasons beyond what a control frame holds are cut. */
export function closePayload(code: number, reason: string): Uint8Array {
  if (code === CLOSE.none) return new Uint8Array(0)
  const text = Buffer.from(cutReason(reason))
  const payload = Buffer.allocUnsafe(2 + text.length)
  payload.writeUInt16BE(code, 0)
  payload.set(text, 2)
  return payload
}

/** At most what fits a close frame, cut between characters. */
export function cutReason(reason: string): string {
  let text = reason
  while (Buffer.byteLength(text) > CONTROL_MAX - 2) text = text.slice(0, -1)
  return text
}

/**
 * Bytes of a server → frames, messages put together from theirs. Holds at most one message of `limit` bytes. `push` throws FrameError.
 *
 * States: header (its length not known) → payload → header …; a message of several frames is held beside it.
 */
export class ServerFrameParser {
  readonly #limit: number
  #parts: Buffer[] = []
  #size = 0
  /** Of the message that goes on. */
  #kind: 'text' | 'binary' | null = null
  #message: Buffer[] = []
  #messageSize = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(bytes: Uint8Array): ServerFrame[] {
    const frames: ServerFrame[] = []
    this.#parts.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    this.#size += bytes.length
    for (;;) {
      const head = this.#head()
      if (head === null || this.#size < head.size + head.length) return frames
      const payload = this.#take(head.size + head.length).subarray(head.size)
      const frame = this.#frame(head, payload)
      if (frame !== null) frames.push(frame)
    }
  }

  #head(): Head | null {
    if (this.#size < 2) return null
    let bytes = this.#front(2)
    const [first, second] = [bytes[0] as number, bytes[1] as number]
    if ((first & 0x70) !== 0) throw new FrameError(CLOSE.protocolError, 'a frame uses an extension nobody asked for')
    if ((second & 0x80) !== 0) throw new FrameError(CLOSE.protocolError, 'a frame of the server is masked')
    const short = second & 0x7f
    const size = short === 126 ? 4 : short === 127 ? 10 : 2
    if (this.#size < size) return null
    bytes = this.#front(size)
    const length = size === 2 ? short : size === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    const head = { final: (first & 0x80) !== 0, opcode: first & 0x0f, size, length }
    if (head.opcode >= 8 && (!head.final || length > CONTROL_MAX)) {
      throw new FrameError(CLOSE.protocolError, 'a control frame is too long or in parts')
    }
    if (head.opcode < 8 && this.#messageSize + length > this.#limit)
      throw new FrameError(CLOSE.tooLarge, `a message is larger than ${this.#limit} bytes`)
    return head
  }

  #frame({ final, opcode }: Head, payload: Buffer): ServerFrame | null {
    switch (opcode) {
      case OPCODE.ping:
        return { kind: 'ping', payload }
      case OPCODE.pong:
        return { kind: 'pong', payload }
      case OPCODE.close:
        return closeOf(payload)
      case OPCODE.text:
      case OPCODE.binary: {
        if (this.#kind !== null) throw new FrameError(CLOSE.protocolError, 'a message begins inside another')
        const kind = opcode === OPCODE.text ? 'text' : 'binary'
        if (final) return { kind, payload }
        this.#kind = kind
        this.#message = [payload]
        this.#messageSize = payload.length
        return null
      }
      case CONTINUATION:
        return this.#continued(final, payload)
      default:
        throw new FrameError(CLOSE.protocolError, `a frame has the unknown opcode ${opcode}`)
    }
  }

  #continued(final: boolean, payload: Buffer): ServerFrame | null {
    const kind = this.#kind
    if (kind === null) throw new FrameError(CLOSE.protocolError, 'a message goes on that never began')
    this.#message.push(payload)
    this.#messageSize += payload.length
    if (!final) return null
    const whole = Buffer.concat(this.#message, this.#messageSize)
    this.#kind = null
    this.#message = []
    this.#messageSize = 0
    return { kind, payload: whole }
  }

  /** The first bytes, of which there are enough, without taking them. */
  #front(size: number): Buffer {
    const first = this.#parts[0] as Buffer
    return first.length >= size ? first : this.#joined()
  }

  #take(size: number): Buffer {
    const first = this.#parts[0] as Buffer
    const all = first.length >= size ? first : this.#joined()
    if (all.length > size) this.#parts[0] = all.subarray(size)
    else this.#parts.shift()
    this.#size -= size
    return all.subarray(0, size)
  }

  #joined(): Buffer {
    const all = Buffer.concat(this.#parts, this.#size)
    this.#parts = [all]
    return all
  }
}

interface Head {
  final: boolean
  opcode: number
  size: number
  length: number
}

function closeOf(payload: Buffer): ServerFrame {
  const code = payload.length < 2 ? CLOSE.none : payload.readUInt16BE(0)
  return { kind: 'close', code, reason: payload.subarray(2).toString('utf8') }
}
