import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseSseFrame, type SseEvent, SseParser, SseSplitter, sseEvent } from './sse.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)

function parse(text: string, cuts: number[] = []): SseEvent[] {
  const input = bytes(text)
  const parser = new SseParser()
  const events: SseEvent[] = []
  let from = 0
  for (const cut of [...new Set(cuts)].sort((a, b) => a - b).filter((at) => at > 0 && at < input.length)) {
    events.push(...parser.push(input.subarray(from, cut)))
    from = cut
  }
  events.push(...parser.push(input.subarray(from)))
  return events
}

/** The same text through a well-kept parser, which drops events without data; ours keeps those that are named. */
function oracle(text: string): SseEvent[] {
  const events: SseEvent[] = []
  createParser({ onEvent: ({ event, data }) => events.push({ event: event ?? '', data }) }).feed(text)
  return events
}

const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
const value = fc.string({ maxLength: 20 }).map((text) => text.replace(/[\r\n]/g, ' '))
const line = fc.oneof(
  value.map((text) => `data: ${text}`),
  value.map((text) => `data:${text}`),
  fc.constant('data'),
  value.map((text) => `: ${text}`),
  fc.constantFrom('event: ping', 'event:done', 'id: 7', 'retry: 10'),
)
const stream = fc
  .tuple(fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }), lineEnd)
  .map(([events, end]) => events.map((lines) => lines.map((text) => text + end).join('') + end).join(''))

describe('SseParser', () => {
  it('reads what another parser reads, whatever the line ends, and however the bytes are cut', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(400)), (text, cuts) => {
        // A lone \r at the very end cannot be told from half a \r\n; one more byte settles it.
        const whole = `${text}:\n`
        const ours = parse(whole, cuts)
        const theirs = oracle(whole)
        expect(ours.filter((event) => event.data !== '')).toEqual(theirs.filter((event) => event.data !== ''))
      }),
    )
  })

  it('yields the same events cut at every single byte', () => {
    const text = 'event: a\ndata: één ☃ 😀\n\n: comment\n\ndata: {"x":1}\r\n\r\ndata: one\ndata: two\n\n'
    const whole = parse(text)
    expect(whole).toEqual([
      { event: 'a', data: 'één ☃ 😀' },
      { event: '', data: '{"x":1}' },
      { event: '', data: 'one\ntwo' },
    ])
    for (let cut = 1; cut < bytes(text).length; cut += 1) expect(parse(text, [cut])).toEqual(whole)
    expect(
      parse(
        text,
        Array.from({ length: bytes(text).length }, (_, index) => index),
      ),
    ).toEqual(whole)
  })

  it('takes a last event whose blank line is missing', () => {
    const parser = new SseParser()
    expect(parser.push(bytes('data: a\n\ndata: [DONE]'))).toEqual([{ event: '', data: 'a' }])
    expect(parser.end()).toEqual([{ event: '', data: '[DONE]' }])
  })

  it('drops comments and keep-alives', () => {
    expect(parse(': OPENROUTER PROCESSING\n\n: ping\n\ndata: x\n\n')).toEqual([{ event: '', data: 'x' }])
  })

  it('keeps a space that belongs to the data', () => {
    expect(parse('data:  two\n\n')).toEqual([{ event: '', data: ' two' }])
  })
})

describe('SseSplitter', () => {
  it('hands out frames that join to the input', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(400)), (text, cuts) => {
        const splitter = new SseSplitter()
        const input = bytes(text)
        const frames: Uint8Array[] = []
        let from = 0
        for (const cut of [...cuts].sort((a, b) => a - b)) {
          if (cut <= from || cut >= input.length) continue
          frames.push(...splitter.push(input.subarray(from, cut)))
          from = cut
        }
        frames.push(...splitter.push(input.subarray(from)))
        expect(Buffer.concat([...frames, splitter.rest()])).toEqual(Buffer.from(input))
      }),
    )
  })

  it('refuses a frame above its limit instead of holding it', () => {
    const splitter = new SseSplitter(100)
    splitter.push(bytes('data: '))
    expect(() => splitter.push(new Uint8Array(200).fill(97))).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
  })

  it('does not keep a large chunk alive for a short rest', () => {
    const splitter = new SseSplitter()
    splitter.push(bytes(`data: ${'x'.repeat(100_000)}\n\nda`))
    expect(splitter.rest().buffer.byteLength).toBeLessThan(100)
  })
})

describe('sseEvent', () => {
  it('writes what parseSseFrame reads', () => {
    expect(parseSseFrame(bytes(sseEvent('{"a":1}')))).toEqual({ event: '', data: '{"a":1}' })
    expect(parseSseFrame(bytes(sseEvent('{}', 'ping')))).toEqual({ event: 'ping', data: '{}' })
  })
})
