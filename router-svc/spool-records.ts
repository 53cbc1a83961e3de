import { crc32 } from 'node:zlib'

/**
 * Records of spool files, back to back:
 *
 *   u32 length of the payload, its two highest bits flags; u32 CRC-32 of the payload, begun with the number; with NUMBERED a u32 number; payload
 *
 * Integers are big endian. A number ties the intent of a call to its event. A plain event has neither flag nor number, as all had before there
 * were intents; its number counts as 0, which leaves the CRC as it was.
 */
export interface SpoolRecord {
  /** Announces what to book if the event of the same number never comes; else an event. */
  intent: boolean
  /** 0 = an event that was not announced. */
  number: number
  payload: Uint8Array
}

/** A record as it stands in a file. */
export interface StoredRecord extends SpoolRecord {
  /** Offset of its header in the file. */
  at: number
  /** Header and payload. */
  bytes: number
}

const PLAIN_HEADER = 8
const NUMBERED_HEADER = 12
const NUMBERED = 0x8000_0000
const INTENT = 0x4000_0000
const LENGTH = 0x3fff_ffff

/** Bytes of a record in a file. */
export function recordBytes({ number, payload }: Pick<SpoolRecord, 'number' | 'payload'>): number {
  return (number === 0 ? PLAIN_HEADER : NUMBERED_HEADER) + payload.length
}

/** These records, back to back. */
export function frame(records: readonly SpoolRecord[]): Buffer {
  let length = 0
  for (const record of records) length += recordBytes(record)
  const framed = Buffer.allocUnsafe(length)
  let at = 0
  for (const { intent, number, payload } of records) {
    const flags = number === 0 ? 0 : intent ? NUMBERED + INTENT : NUMBERED
    framed.writeUInt32BE(flags + payload.length, at)
    framed.writeUInt32BE(crc32(payload, number), at + 4)
    at += PLAIN_HEADER
    if (number !== 0) at = framed.writeUInt32BE(number, at)
    framed.set(payload, at)
    at += payload.length
  }
  return framed
}

/** The whole records of a file. One cut off or damaged, or zeros a power cut left, ends the reading: what follows cannot be framed. */
export function* readRecords(file: Buffer): Generator<StoredRecord> {
  let at = 0
  while (at + PLAIN_HEADER <= file.length) {
    const head = file.readUInt32BE(at)
    const numbered = head >= NUMBERED
    const start = at + (numbered ? NUMBERED_HEADER : PLAIN_HEADER)
    const end = start + (head & LENGTH)
    if (end === start || end > file.length) return
    const number = numbered ? file.readUInt32BE(at + PLAIN_HEADER) : 0
    const payload = file.subarray(start, end)
    if (crc32(payload, number) !== file.readUInt32BE(at + 4)) return
    yield { intent: (head & INTENT) !== 0, number, payload, at, bytes: end - at }
    at = end
  }
}
