import { describe, expect, it } from 'vitest'
import { readCreate } from './client-event.ts'

const read = (event: unknown, model: string | null = null) =>
  readCreate(Buffer.from(typeof event === 'string' ? event : JSON.stringify(event)), model)

describe('messages of a Responses client', () => {
  it('are the body of a streamed call, without what only the connection reads', () => {
    const event = { type: 'response.create', model: 'm', input: 'x', stream: false, background: false, stream_id: 'a', novel: 1 }
    expect(read(event)).toEqual({ body: { model: 'm', input: 'x', novel: 1, stream: true }, generate: true, streamId: 'a' })
    expect(read({ type: 'response.create', generate: false }).generate).toBe(false)
  })

  it('are of the model the address names unless they name one', () => {
    expect(read({ type: 'response.create' }, 'named').body['model']).toBe('named')
    expect(read({ type: 'response.create', model: 'm' }, 'named').body['model']).toBe('m')
  })

  it.each([
    ['{', null, 'not valid JSON'],
    ['[]', null, 'not a JSON object'],
    [{}, 'type', 'no type'],
    [{ type: 'response.cancel' }, 'type', '"response.cancel"'],
    [{ type: 'response.create', generate: 1 }, 'generate', 'generate'],
    [{ type: 'response.create', stream_id: '' }, 'stream_id', 'stream_id'],
    [{ type: 'response.create', background: true }, 'background', 'background'],
  ])('are refused by name: %j', (event, param, text) => {
    expect(() => read(event)).toThrow(
      expect.objectContaining({ code: 'bad_request', param, message: expect.stringContaining(text) }),
    )
  })
})
