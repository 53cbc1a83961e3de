import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { eventParser, isStream } from './framing.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('lines', () => {
  it('are one event each, whatever the pieces they come in', () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 })), fc.array(fc.nat(40)), (documents, cuts) => {
        const bytes = encode(documents.map((document) => `${JSON.stringify(document)}\n`).join(''))
        const parser = eventParser('lines')
        const events = []
        let from = 0
        for (const cut of cuts) {
          events.push(...parser.push(bytes.subarray(from, from + cut)))
          from += cut
        }
        events.push(...parser.push(bytes.subarray(from)), ...parser.end())
        expect(events.map(({ data }) => JSON.parse(data))).toEqual(
          documents.map((document) => JSON.parse(JSON.stringify(document))),
        )
      }),
    )
  })

  it('may end without a line break, and blank ones are none', () => {
    const parser = eventParser('lines')
    expect(parser.push(encode('\r\n{"a":1}\r\n\n{"b"'))).toEqual([{ event: '', data: '{"a":1}' }])
    expect(parser.push(encode(':2}'))).toEqual([])
    expect(parser.end()).toEqual([{ event: '', data: '{"b":2}' }])
  })

  it('that never end are refused before they fill the memory', () => {
    const parser = eventParser('lines')
    const megabyte = new Uint8Array(1024 * 1024).fill(0x61)
    expect(() => {
      for (let count = 0; count < 17; count += 1) parser.push(megabyte)
    }).toThrow('longer than')
  })
})

describe('isStream', () => {
  it('tells a stream from a page or an error in its place', () => {
    expect(isStream('sse', 'text/event-stream; charset=utf-8')).toBe(true)
    expect(isStream('sse', 'application/json')).toBe(false)
    expect(isStream('lines', 'application/x-ndjson')).toBe(true)
    expect(isStream('lines', 'text/html')).toBe(false)
    expect(isStream('aws', 'application/vnd.amazon.eventstream')).toBe(true)
  })
})
