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
  text: string
}

/** A record as it stands in a file. */
export interface StoredRecord {
  intent: boolean
  number: number
  /** UTF-8. */
  payload: Buffer
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

/** Kept between writes; more is given back. */
const SCRATCH_MAX = 1024 * 1024
/** UTF-8 bytes of a UTF-16 unit, at most. */
const UNIT_MAX = 3

/**
 * Puts records back to back, in memory it uses again: a fresh buffer per write costs as much as the write. What it returns is valid until the
 * next call; `ends[i]` is where record `i` ends.
 */
export function createFraming(): (records: readonly SpoolRecord[]) => { bytes: Buffer; ends: number[] } {
  let kept = Buffer.allocUnsafeSlow(16 * 1024)
  return (records) => {
    let most = 0
    for (const { text } of records) most += NUMBERED_HEADER + UNIT_MAX * text.length
    const scratch = most <= kept.length ? kept : Buffer.allocUnsafeSlow(most)
    if (most <= SCRATCH_MAX) kept = scratch
    const ends: number[] = []
    let at = 0
    for (const { intent, number, text } of records) {
      const start = at + (number === 0 ? PLAIN_HEADER : NUMBERED_HEADER)
      const end = start + scratch.write(text, start)
      const flags = number === 0 ? 0 : intent ? NUMBERED + INTENT : NUMBERED
      scratch.writeUInt32BE(flags + end - start, at)
      scratch.writeUInt32BE(crc32(scratch.subarray(start, end), number), at + 4)
      if (number !== 0) scratch.writeUInt32BE(number, at + PLAIN_HEADER)
      at = end
      ends.push(end)
    }
    return { bytes: scratch.subarray(0, at), ends }
  }
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
