import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeSocketMessage, type SocketMessage, SocketMessageParser } from './socket-messages.ts'

const payload = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
const message: fc.Arbitrary<SocketMessage> = fc.oneof(
  fc.record({ kind: fc.constantFrom('text' as const, 'binary' as const), payload }),
  fc.record({
    kind: fc.constant('close' as const),
    code: fc.integer({ min: 1000, max: 4999 }),
    reason: fc.string({ unit: 'grapheme' }),
  }),
)

describe('messages of a session on the bus', () => {
  it('come out as they went in, wherever their bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), fc.array(fc.nat(400), { maxLength: 20 }), (messages, cuts) => {
        const bytes = Buffer.concat(messages.map(encodeSocketMessage))
        const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
        const parser = new SocketMessageParser(1_000)
        const out = at.slice(1).flatMap((end, index) => parser.push(bytes.subarray(at[index], end)))
        expect(out.map(plain)).toEqual(messages.map(plain))
      }),
    )
  })

  it('byte by byte are the same', () => {
    const bytes = Buffer.concat([
      encodeSocketMessage({ kind: 'text', payload: Buffer.from('grüß') }),
      encodeSocketMessage({ kind: 'close', code: 1000, reason: '' }),
    ])
    const parser = new SocketMessageParser(10)
    expect([...bytes].flatMap((byte) => parser.push(Uint8Array.of(byte))).map(plain)).toEqual(['text grüß', 'close 1000 '])
  })

  it('longer than the bound are refused before they are held', () => {
    const parser = new SocketMessageParser(10)
    const header = encodeSocketMessage({ kind: 'binary', payload: new Uint8Array(11) }).subarray(0, 5)
    expect(() => parser.push(header)).toThrow('A message of 11 bytes is larger than 10.')
  })

  it('of a kind nobody knows are refused', () => {
    expect(() => new SocketMessageParser(10).push(Uint8Array.of(9, 0, 0, 0, 0))).toThrow('What came is no message.')
  })
})

function plain(one: SocketMessage): string {
  return one.kind === 'close' ? `close ${one.code} ${one.reason}` : `${one.kind} ${Buffer.from(one.payload).toString()}`
}
