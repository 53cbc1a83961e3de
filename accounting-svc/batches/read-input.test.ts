import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createInputReader, LINES_MAX } from './read-input.ts'

const ENDPOINT = '/v1/embeddings'
const request = (customId: unknown, fields: object = {}): string =>
  JSON.stringify({ custom_id: customId, method: 'POST', url: ENDPOINT, body: { model: 'm', input: 'ä' }, ...fields })

const read = (text: string | Uint8Array, cuts: readonly number[] = []) => {
  const bytes = Buffer.from(text)
  const reader = createInputReader(ENDPOINT)
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
  const lines = places.slice(1).flatMap((end, index) => reader.push(bytes.subarray(places[index], end)))
  lines.push(...reader.end())
  return { lines, errors: reader.errors, total: reader.total }
}

describe('the input of a batch', () => {
  it('is read the same however its bytes are cut, with blank lines, carriage returns and a byte order mark', () => {
    const text = `\uFEFF${request('a')}\r\n\n${request('b')}\n   \n${request('ü')}`
    const whole = read(text)
    expect(whole.errors).toEqual([])
    expect(whole.lines.map(({ line, customId }) => [line, customId])).toEqual([
      [1, 'a'],
      [3, 'b'],
      [5, 'ü'],
    ])
    expect(JSON.parse(whole.lines[2]?.request ?? '')).toEqual({ model: 'm', input: 'ä' })
    fc.assert(fc.property(fc.array(fc.nat()), (cuts) => void expect(read(text, cuts)).toEqual(whole)))
  })

  it.each([
    ['no JSON', '{', 'invalid_json_line', null],
    ['no object', '[]', 'invalid_json_line', null],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'invalid_json_line', null],
    ['no custom_id', request(undefined), 'missing_required_parameter', 'custom_id'],
    ['a number for a custom_id', request(1), 'missing_required_parameter', 'custom_id'],
    ['a custom_id twice', request('first'), 'duplicate_custom_id', 'custom_id'],
    ['another method', request('b', { method: 'GET' }), 'invalid_method', 'method'],
    ['another endpoint', request('b', { url: '/v1/chat/completions' }), 'invalid_url', 'url'],
    ['no body', request('b', { body: 'x' }), 'invalid_request', 'body'],
    ['no model', request('b', { body: {} }), 'missing_required_parameter', 'body.model'],
    ['a stream', request('b', { body: { model: 'm', stream: true } }), 'invalid_request', 'body.stream'],
  ])('with %s is refused by its line', (_, second, code, param) => {
    const { lines, errors } = read(Buffer.concat([Buffer.from(`${request('first')}\n`), Buffer.from(second)]))
    expect(errors).toMatchObject([{ code, param, line: 2 }])
    expect(errors[0]?.message).toContain('Line 2')
    expect(lines.length).toBeLessThanOrEqual(1)
  })

  it('may not be empty, nor have more lines than OpenAI allows', () => {
    expect(read('\n \n').errors).toMatchObject([{ code: 'empty_file', line: null }])
    const most = Array.from({ length: LINES_MAX }, (_, n) => request(`r${n}`)).join('\n')
    expect(read(most)).toMatchObject({ errors: [], total: LINES_MAX })
    expect(read(`${most}\n${request('one more')}`).errors).toMatchObject([{ code: 'too_many_tasks', line: null }])
  })

  it('tells the first hundred problems', () => {
    const { errors } = read('{\n'.repeat(500))
    expect(errors.length).toBe(100)
    expect(errors.map(({ line }) => line)).toEqual(Array.from({ length: 100 }, (_, n) => n + 1))
  })
})
