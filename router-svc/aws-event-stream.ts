import { crc32 } from 'node:zlib'
import { GatewayError } from '../shared/errors.ts'
import type { SseEvent } from '../shared/http/sse.ts'
import type { EventParser } from './framing.ts'
import { BYTES_PART, EXCEPTION } from './providers/aws-exception.ts'

/**
 * AWS's binary event streams (`application/vnd.amazon.eventstream`). A frame, big-endian: its whole length u32, length of its headers u32,
 * CRC-32 of those eight bytes, headers, payload, CRC-32 of all before.
 */
const PRELUDE = 12
const CHECKSUM = 4
/** AWS's own bounds are 16 MB of payload and 128 KB of headers (https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html). */
const FRAME_LIMIT = 16 * 1024 * 1024 + 128 * 1024 + PRELUDE + CHECKSUM
const HEADERS_LIMIT = 128 * 1024

/** Bytes of a header's value by its type; those that begin with their own length (6 bytes, 7 text) are not here. */
const SIZES: Readonly<Record<number, number>> = { 0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16 }
const BYTES = 6
const TEXT = 7

/**
 * Frames → events named by their `:event-type`. Throws GatewayError `provider_malformed` for a checksum that is wrong and for a frame that
 * is larger than AWS sends.
 */
export class AwsEventStreamParser implements EventParser {
  #held: Uint8Array[] = []
  #length = 0
  /** Bytes needed before anything can be read: a prelude, or the frame it announced. */
  #wanted = PRELUDE

  push(bytes: Uint8Array): SseEvent[] {
    if (this.#length + bytes.length < this.#wanted) {
      // A copy: the bytes are the socket's.
      if (bytes.length > 0) this.#held.push(bytes.slice())
      this.#length += bytes.length
      return []
    }
    const input = this.#held.length === 0 ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) : this.#joined(bytes)
    const events: SseEvent[] = []
    let at = 0
    this.#wanted = PRELUDE
    while (input.length - at >= PRELUDE) {
      const length = frameLength(input, at)
      if (input.length - at < length) {
        this.#wanted = length
        break
      }
      events.push(eventOf(input.subarray(at, at + length)))
      at += length
    }
    this.#held = at === input.length ? [] : [new Uint8Array(input.subarray(at))]
    this.#length = input.length - at
    return events
  }

  /** A frame cut off is no event: the decoder knows by its terminator that the stream was not whole. */
  end(): SseEvent[] {
    return []
  }

  #joined(bytes: Uint8Array): Buffer {
    return Buffer.concat([...this.#held, bytes])
  }
}

/** Length of the frame that begins at `at`, its prelude checked. */
function frameLength(input: Buffer, at: number): number {
  const length = input.readUInt32BE(at)
  const headers = input.readUInt32BE(at + 4)
  if (crc32(input.subarray(at, at + 8)) !== input.readUInt32BE(at + 8)) throw malformed('has a wrong checksum')
  if (length > FRAME_LIMIT) throw malformed(`is larger than ${FRAME_LIMIT} bytes`)
  if (headers > HEADERS_LIMIT || length < PRELUDE + headers + CHECKSUM) throw malformed('has headers that do not fit in it')
  return length
}

function eventOf(frame: Buffer): SseEvent {
  const end = frame.length - CHECKSUM
  if (crc32(frame.subarray(0, end)) !== frame.readUInt32BE(end)) throw malformed('has a wrong checksum')
  const start = PRELUDE + frame.readUInt32BE(4)
  const headers = headersOf(frame.subarray(PRELUDE, start))
  const data = frame.toString('utf8', start, end)
  switch (headers.get(':message-type')) {
    case 'exception':
      return { event: EXCEPTION + (headers.get(':exception-type') ?? ''), data }
    case 'error': {
      const message = headers.get(':error-message') ?? ''
      return { event: EXCEPTION + (headers.get(':error-code') ?? ''), data: data === '' ? JSON.stringify({ message }) : data }
    }
    default: {
      const event = headers.get(':event-type') ?? ''
      return { event, data: event === BYTES_PART ? frame.toString('latin1', start, end) : data }
    }
  }
}

/** Headers whose value is text: those the protocol itself reads. */
function headersOf(bytes: Buffer): Map<string, string> {
  const headers = new Map<string, string>()
  let at = 0
  const take = (count: number): number => {
    const from = at
    at += count
    if (at > bytes.length) throw malformed('has headers that end too early')
    return from
  }
  while (at < bytes.length) {
    const nameLength = bytes.readUInt8(take(1))
    const nameAt = take(nameLength)
    const name = bytes.toString('utf8', nameAt, nameAt + nameLength)
    const type = bytes.readUInt8(take(1))
    if (type === TEXT || type === BYTES) {
      const length = bytes.readUInt16BE(take(2))
      const from = take(length)
      if (type === TEXT) headers.set(name, bytes.toString('utf8', from, from + length))
      continue
    }
    const size = SIZES[type]
    if (size === undefined) throw malformed(`has a header of the unknown type ${type}`)
    take(size)
  }
  return headers
}

function malformed(problem: string): GatewayError {
  return new GatewayError('provider_malformed', `A frame of the stream ${problem}.`)
}
