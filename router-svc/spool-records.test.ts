import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createFraming, readRecords, type SpoolRecord } from './spool-records.ts'

/** A copy: what the framing returns is used again. */
const frame = (records: SpoolRecord[]): Buffer => Buffer.from(createFraming()(records).bytes)
const EVENT = { intent: false, number: 0, text: 'event' }
const INTENT = { intent: true, number: 7, text: 'intent' }
const CLOSING = { intent: false, number: 0xffff_ffff, text: 'closing' }

describe('spool records', () => {
  it('are read back as they were written, with where they stand', () => {
    const file = frame([EVENT, INTENT, CLOSING])
    const read = [...readRecords(file)]
    expect(read.map(({ intent, number }) => [intent, number])).toEqual([
      [false, 0],
      [true, 7],
      [false, 0xffff_ffff],
    ])
    expect(read.map(({ payload }) => payload.toString())).toEqual(['event', 'intent', 'closing'])
    expect(read.map(({ at, bytes }) => [at, bytes])).toEqual([
      [0, 13],
      [13, 18],
      [31, 19],
    ])
    expect(createFraming()([EVENT, INTENT, CLOSING]).ends).toEqual([13, 31, 50])
  })

  it('of a spool older than intents are plain events', () => {
    const old = Buffer.concat(
      ['one', 'two'].map((text) => {
        const header = Buffer.alloc(8)
        header.writeUInt32BE(text.length)
        header.writeUInt32BE(crc32(text), 4)
        return Buffer.concat([header, Buffer.from(text)])
      }),
    )
    expect([...readRecords(old)].map(({ payload }) => payload.toString())).toEqual(['one', 'two'])
    expect(frame([{ ...EVENT, text: 'one' }])).toEqual(old.subarray(0, 11))
  })

  it('end where one is cut off, at any byte', () => {
    const file = frame([INTENT, CLOSING])
    for (let length = 0; length < file.length; length += 1) {
      expect([...readRecords(file.subarray(0, length))].length).toBe(length < 18 ? 0 : 1)
    }
  })

  it('end where a byte of payload, number or checksum has changed', () => {
    for (const offset of [4, 5, 6, 7, 8, 9, 10, 11, 12, 17]) {
      const file = frame([INTENT, EVENT])
      file[offset] = (file[offset] as number) ^ 1
      expect([...readRecords(file)]).toEqual([])
    }
  })

  it('end where a power cut left zeros: none is empty', () => {
    expect([...readRecords(Buffer.concat([frame([EVENT]), Buffer.alloc(64)]))].length).toBe(1)
  })

  it('may be of any length and any script', () => {
    const framing = createFraming()
    for (const text of ['é€😀'.repeat(10), 'x'.repeat(3_000_000), '€'.repeat(500_000), 'short']) {
      const records = [...readRecords(framing([{ intent: false, number: 3, text }, INTENT]).bytes)]
      expect(records.map(({ payload }) => payload.toString() === text || payload.toString())).toEqual([true, 'intent'])
    }
  })
})
