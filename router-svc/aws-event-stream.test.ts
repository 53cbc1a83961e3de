import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { awsEvent, awsException, awsFrame, rawFrame } from './aws-event-stream.testkit.ts'
import { AwsEventStreamParser } from './aws-event-stream.ts'
import { eventParser } from './framing.ts'

describe('frames of AWS', () => {
  it('are one event each, whatever the pieces they come in', () => {
    const document = fc.record({
      name: fc.string({ minLength: 1, maxLength: 20 }),
      payload: fc.dictionary(fc.string(), fc.string()),
    })
    fc.assert(
      fc.property(fc.array(document, { maxLength: 5 }), fc.array(fc.nat(60)), (documents, cuts) => {
        const bytes = Buffer.concat(documents.map(({ name, payload }) => awsEvent(name, payload)))
        const parser = eventParser('aws')
        const events = []
        let from = 0
        for (const cut of cuts) {
          events.push(...parser.push(bytes.subarray(from, from + cut)))
          from += cut
        }
        events.push(...parser.push(bytes.subarray(from)), ...parser.end())
        expect(events).toEqual(documents.map(({ name, payload }) => ({ event: name, data: JSON.stringify(payload) })))
      }),
    )
  })

  it('do not depend on what the socket does with its bytes afterwards', () => {
    const bytes = Buffer.from(awsEvent('metadata', { a: 1 }))
    const parser = new AwsEventStreamParser()
    const first = bytes.subarray(0, 20)
    expect(parser.push(first)).toEqual([])
    const rest = Buffer.from(bytes.subarray(20))
    bytes.fill(0)
    expect(parser.push(rest)).toEqual([{ event: 'metadata', data: '{"a":1}' }])
  })

  it('say when they are exceptions or errors', () => {
    const parser = new AwsEventStreamParser()
    expect(parser.push(awsException('throttlingException', { message: 'slow' }))).toEqual([
      { event: 'exception:throttlingException', data: '{"message":"slow"}' },
    ])
    const error = awsFrame({ ':message-type': 'error', ':error-code': 'InternalError', ':error-message': 'it broke' }, '')
    expect(parser.push(error)).toEqual([{ event: 'exception:InternalError', data: '{"message":"it broke"}' }])
  })

  it('may have headers of every type beside the ones that are read', () => {
    const header = (name: string, type: number, value: number[]) =>
      Buffer.from([name.length, ...Buffer.from(name), type, ...value])
    const headers = Buffer.concat([
      header('a', 0, []),
      header('b', 1, []),
      header('c', 2, [1]),
      header('d', 3, [1, 2]),
      header('e', 4, [1, 2, 3, 4]),
      header('f', 5, [1, 2, 3, 4, 5, 6, 7, 8]),
      header('g', 6, [0, 2, 9, 9]),
      header('h', 8, [1, 2, 3, 4, 5, 6, 7, 8]),
      header(
        'i',
        9,
        Array.from({ length: 16 }, () => 7),
      ),
      header(':event-type', 7, [0, 1, 120]),
    ])
    expect(new AwsEventStreamParser().push(rawFrame(headers, Buffer.from('{}')))).toEqual([{ event: 'x', data: '{}' }])
    const broken = rawFrame(header('a', 7, [0, 9, 1]), Buffer.from('{}'))
    expect(() => new AwsEventStreamParser().push(broken)).toThrow('headers that end too early')
    expect(() => new AwsEventStreamParser().push(rawFrame(header('a', 10, []), Buffer.from('{}')))).toThrow('unknown type 10')
  })

  it('are refused when any byte is another', () => {
    const frame = awsEvent('contentBlockDelta', { delta: { text: 'hello' } })
    for (let at = 0; at < frame.length; at += 1) {
      const changed = Uint8Array.from(frame)
      changed[at] = (changed[at] as number) ^ 1
      expect(() => new AwsEventStreamParser().push(changed), `byte ${at}`).toThrow('checksum')
    }
  })

  it('are refused before they fill the memory', () => {
    const frame = Buffer.from(rawFrame(Buffer.alloc(0), Buffer.alloc(17 * 1024 * 1024)))
    expect(() => new AwsEventStreamParser().push(frame.subarray(0, 12))).toThrow('larger than')
  })

  it('that are cut off are no event', () => {
    const parser = new AwsEventStreamParser()
    expect(parser.push(awsEvent('x', {}).subarray(0, -1))).toEqual([])
    expect(parser.end()).toEqual([])
  })
})
