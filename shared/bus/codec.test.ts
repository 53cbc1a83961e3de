import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { FRAME, type FrameKind, MESSAGE_MAX } from '../../proto/frames.ts'
import { createCodec, isOpenMessage } from './codec.ts'

const codec = createCodec()
const HOT = [FRAME.data, FRAME.body, FRAME.bodyEnd] as const

/** Whatever a message of ours may hold: plain maps, lists, bytes, safe integers, floats, text, nothing. −0 arrives as 0, as from JSON. */
const { message } = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).map((value) => (value === 0 ? 0 : value)),
    fc.string({ unit: 'grapheme' }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  ),
  message: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.array(tie('message'), { maxLength: 6 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('message'),
      { maxKeys: 6, noNullPrototype: true },
    ),
  ),
}))

describe('codec', () => {
  it('gives back every message it took', () => {
    fc.assert(
      fc.property(message, (value) => {
        expect(codec.decode(codec.encode(value))).toEqual(value)
      }),
    )
  })

  it('gives back every large value it took', () => {
    const value = { list: Array.from({ length: 20_000 }, (_, id) => ({ id, name: `deployment-${id}` })) }
    const bytes = codec.encodeLarge(value)
    expect(bytes.length).toBeLessThan(codec.encode(value, Number.POSITIVE_INFINITY).length / 3)
    expect(codec.decodeLarge(bytes)).toEqual(value)
    expect(codec.decodeLarge(codec.encodeLarge({ small: true }))).toEqual({ small: true })
  })

  it('refuses what begins like a deflated value and is none', () => {
    expect(() => codec.decodeLarge(Uint8Array.of(0xc1, 0xff, 0xff, 1))).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  it('keeps amounts of money exact up to the largest safe integer', () => {
    for (const amount of [0, 1, -1, 2 ** 31, 2 ** 32 + 1, 2 ** 53 - 1, -(2 ** 53 - 1)]) {
      expect(codec.decode(codec.encode({ amount }))).toEqual({ amount })
    }
  })

  it('writes the header of a data frame as any msgpack library reads it', () => {
    const other = new Packr({ useRecords: false })
    fc.assert(
      fc.property(
        fc.constantFrom(...HOT),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.uint8Array({ maxLength: 70_000 }),
        (kind, seq, bytes) => {
          const [readKind, readSeq, readBytes] = other.decode(codec.encodeFrame(kind, seq, bytes))
          expect([readKind, readSeq]).toEqual([kind, seq])
          expect(Buffer.compare(readBytes, bytes)).toBe(0)
        },
      ),
    )
  })

  it('reads a data frame whoever wrote its header', () => {
    const other = new Packr({ useRecords: false })
    fc.assert(
      fc.property(
        fc.constantFrom(...HOT),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.uint8Array({ maxLength: 70_000 }),
        (kind, seq, bytes) => {
          for (const written of [codec.encodeFrame(kind, seq, bytes), other.encode([kind, seq, bytes])]) {
            const frame = codec.decodeFrame(written)
            expect([frame.kind, frame.seq]).toEqual([kind, seq])
            expect(Buffer.compare(frame.payload as Uint8Array, bytes)).toBe(0)
          }
        },
      ),
    )
  })

  it('reads frames of kinds it does not know, so that newer processes may send them', () => {
    expect(codec.decodeFrame(codec.encode([99, 7, { x: 1 }]))).toEqual({ kind: 99, seq: 7, payload: { x: 1 } })
  })

  it('throws internal, and nothing else, on bytes that are no frame', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const frame = codec.decodeFrame(bytes)
          expect(Number.isInteger(frame.kind) && Number.isInteger(frame.seq)).toBe(true)
        } catch (thrown) {
          expect(thrown).toMatchObject({ name: 'GatewayError', code: 'internal' })
        }
      }),
    )
  })

  it('throws internal on a message larger than the bus takes', () => {
    expect(() => codec.encode(new Uint8Array(MESSAGE_MAX))).toThrow(expect.objectContaining({ code: 'internal' }))
    expect(() => codec.encodeFrame(FRAME.start as FrameKind, 0, 'x'.repeat(MESSAGE_MAX))).toThrow(
      expect.objectContaining({ code: 'internal' }),
    )
  })

  it('does not let a message reach the prototype of objects', () => {
    const evil = new Packr({ useRecords: false }).encode(new Map([['__proto__', { polluted: true }]]))
    const read = codec.decode(evil) as { polluted?: boolean }
    expect(read.polluted).toBeUndefined()
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  it('tells a message that opens a stream from any other', () => {
    const open = {
      v: 1,
      id: 'a',
      replyTo: 'tp.edge.e.a',
      openedBy: 'e',
      deadline: 1,
      credit: 1,
      head: {},
      body: new Uint8Array(0),
      more: false,
    }
    expect(isOpenMessage(codec.decode(codec.encode(open)))).toBe(true)
    for (const field of ['v', 'id', 'replyTo', 'openedBy', 'deadline', 'credit', 'body', 'more']) {
      expect(isOpenMessage({ ...open, [field]: undefined })).toBe(false)
    }
    expect(isOpenMessage(null)).toBe(false)
  })
})
