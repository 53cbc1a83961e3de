import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import { askHandler, type Handler, type HandlerContext, handledProvider, handlerError, streamHandler } from './handler.ts'

const context: HandlerContext = {
  model: 'fast',
  apiKey: null,
  apiBase: null,
  settings: {},
  signal: new AbortController().signal,
  fetch,
}
const answer = { choices: [{ index: 0, message: { role: 'assistant', content: 'hello there' }, finish_reason: 'stop' }] }
const provider = (handler: Handler) => handledProvider('mine', handler)

async function all(chunks: AsyncIterable<string>): Promise<unknown[]> {
  const seen: unknown[] = []
  for await (const chunk of chunks) seen.push(JSON.parse(chunk))
  return seen
}

describe('a handler', () => {
  it('is asked for a chat where a text is to be completed', async () => {
    let asked: unknown
    const mine = provider({
      completion: async (request) => {
        asked = request
        return answer as never
      },
    })
    await askHandler(mine, 'completion', { model: 'fast', prompt: 'hi' }, context)
    expect(asked).toMatchObject({ messages: [{ role: 'user', content: 'hi' }] })
  })

  it('without streams of its own answers whole, and that is cut into pieces', async () => {
    const chunks = await all(streamHandler(provider({ completion: () => answer as never }), 'chat', { messages: [] }, context))
    const text = (chunks as { choices: { delta: { content?: string } }[] }[]).map(
      ({ choices }) => choices[0]?.delta.content ?? '',
    )
    expect(text.join('')).toBe('hello there')
  })

  it('must give objects, bytes of sounds, and something to iterate over', async () => {
    await expect(askHandler(provider({ completion: () => null as never }), 'chat', {}, context)).rejects.toThrow(/gave null/)
    await expect(askHandler(provider({ speech: () => ({ audio: 'x' }) as never }), 'speech', {}, context)).rejects.toThrow(
      /no bytes/,
    )
    const odd = provider({ completion: () => answer as never, stream: (() => [1]) as never })
    await expect(all(streamHandler(odd, 'chat', {}, context))).rejects.toThrow(/nothing to iterate over/)
  })

  it('bills images and sounds as their providers do', () => {
    const mine = provider({ image: () => ({ data: [] }), speech: () => ({ audio: new Uint8Array(1), contentType: 'audio/ogg' }) })
    const reading = { id: 'x', created: 1, model: 'fast', request: { input: 'four', prompt: 'p' } }
    const sound = mine.speech?.decodeResponse(new Uint8Array(8), { 'content-type': 'audio/ogg' }, reading)
    expect(sound).toMatchObject({ contentType: 'audio/ogg', billing: { units: { character_in: 4 } } })
    const images = Buffer.from(JSON.stringify({ data: [{ url: 'https://x' }, { url: 'https://y' }] }))
    expect(mine.image?.decodeResponse(images, {}, reading)).toMatchObject({ billing: { units: expect.anything() } })
  })

  it.each<[unknown, Partial<GatewayError>]>([
    [new Error('no'), { code: 'provider_error', status: 500 }],
    ['no', { code: 'provider_error', status: 500 }],
    [Object.assign(new Error('no'), { status: 429 }), { code: 'provider_rate_limited', status: 429 }],
    [Object.assign(new Error('no'), { status: 200 }), { code: 'provider_error', status: 500 }],
    [Object.assign(new Error('no'), { statusCode: 503 }), { code: 'provider_unavailable', status: 503 }],
    [Object.assign(new Error('no'), { status: 400, code: 'context_length_exceeded' }), { code: 'context_window_exceeded' }],
    [new GatewayError('bad_request', 'mine'), { code: 'bad_request', message: 'mine' }],
  ])('fails as its error says: %s', (thrown, error) => {
    expect(handlerError(thrown, provider({ completion: () => answer as never }))).toMatchObject(error)
  })
})
