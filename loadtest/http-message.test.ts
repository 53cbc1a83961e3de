import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MessageError, type MessageHead, MessageReader } from './http-message.ts'

interface Read {
  status: number
  target: string
  body: string
}

/** Feeds pieces and collects the messages that come out. */
function read(side: 'request' | 'response', pieces: Buffer[], finish = false): Read[] {
  const messages: Read[] = []
  let head: MessageHead | null = null
  let body: Buffer[] = []
  const reader = new MessageReader(side, {
    onHead: (value) => {
      head = value
    },
    onData: (bytes) => body.push(Buffer.from(bytes)),
    onEnd: () => {
      messages.push({ status: head?.status ?? -1, target: head?.target ?? '', body: Buffer.concat(body).toString() })
      body = []
    },
  })
  for (const piece of pieces) reader.push(piece)
  if (finish) reader.finish()
  return messages
}

function cut(bytes: Buffer, places: number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

const chunked = (parts: string[]): string =>
  `${parts.map((part) => `${Buffer.byteLength(part).toString(16)};ext=1\r\n${part}\r\n`).join('')}0\r\nx-trailer: 1\r\n\r\n`

describe('the reader of HTTP messages', () => {
  it('reads the same messages wherever the bytes are cut', () => {
    const message = fc.record({
      parts: fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { maxLength: 4 }),
      framing: fc.constantFrom('chunked', 'length'),
      early: fc.boolean(),
    })
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (messages, places) => {
          const text = messages.map(({ parts, framing, early }) => {
            const body = parts.join('')
            const before = early ? 'HTTP/1.1 100 Continue\r\n\r\n' : ''
            return framing === 'chunked'
              ? `${before}HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunked(parts)}`
              : `${before}HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
          })
          const bytes = Buffer.from(text.join(''))
          const expected = messages.map(({ parts }) => ({ status: 200, target: 'OK', body: parts.join('') }))
          expect(read('response', cut(bytes, places))).toEqual(expected)
          expect(
            read(
              'response',
              Array.from(bytes, (byte) => Buffer.of(byte)),
            ),
          ).toEqual(expected)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('ends a response without a length when the connection ends, and not before', () => {
    const bytes = [Buffer.from('HTTP/1.1 200 OK\r\n\r\nab'), Buffer.from('cd')]
    expect(read('response', bytes)).toEqual([])
    expect(read('response', bytes, true)).toEqual([{ status: 200, target: 'OK', body: 'abcd' }])
  })

  it('gives a 204 no body', () => {
    const bytes = Buffer.from('HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx')
    expect(read('response', [bytes]).map(({ status }) => status)).toEqual([204, 200])
  })

  it('refuses what is not HTTP and says when a message is cut short', () => {
    for (const text of [
      '220 smtp\r\n\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n',
      'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc',
      `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`,
    ]) {
      expect(() => read('response', [Buffer.from(text)]), text.slice(0, 60)).toThrow(MessageError)
    }
    expect(() => read('response', [Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab')], true)).toThrow(MessageError)
  })

  it('keeps a pipelined request back while held, and reads a thousand of them without deep recursion', () => {
    const one = 'POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi'
    let ended = 0
    const reader = new MessageReader('request', {
      onHead: () => {},
      onData: () => {},
      onEnd: () => {
        ended += 1
        reader.hold()
        if (ended !== 1) reader.release()
      },
    })
    reader.push(Buffer.from(one.repeat(10_000)))
    expect(ended).toBe(1)
    expect(reader.waiting).toBe(one.length * 9_999)
    reader.release()
    expect(ended).toBe(10_000)
  })
})
