import { describe, expect, it } from 'vitest'
import { providerOf } from './index.ts'
import type { Fields } from './json.ts'
import { answered, embedded, folded, sent, streamed } from './openai-variant.testkit.ts'
import type { Provider, Target } from './provider.ts'

const cloudflare = providerOf('cloudflare') as Provider
const BASE = 'https://api.cloudflare.com/client/v4/accounts/acct/ai'
const MODEL = '@cf/meta/llama-3.1-8b-instruct'

const chat = (request: Fields, changes: Partial<Target> = {}) =>
  sent(
    cloudflare,
    'chat',
    { model: 'alias', messages: [{ role: 'user', content: 'hi' }], ...request },
    { model: MODEL, base: BASE, ...changes },
  )

describe('a request to Workers AI', () => {
  it('goes to the endpoints in OpenAI’s form, however the base is written', () => {
    for (const base of [BASE, `${BASE}/run`, `${BASE}/v1`]) {
      expect(chat({}, { base }).url).toBe(`${BASE}/v1/chat/completions`)
      expect(
        sent(
          cloudflare,
          'embedding',
          { model: 'a', input: ['x'], encoding_format: 'base64' },
          { model: '@cf/baai/bge-m3', base },
        ),
      ).toEqual({
        url: `${BASE}/v1/embeddings`,
        body: { model: '@cf/baai/bge-m3', input: ['x'] },
      })
    }
  })

  it('names the model in the body, and has text as text', () => {
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'h' },
          { type: 'text', text: 'i' },
        ],
      },
    ]
    expect(chat({ messages, max_completion_tokens: 5, stream: true, user: 'u', seed: 1 }).body).toEqual({
      model: MODEL,
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: 5,
      seed: 1,
      stream: true,
      stream_options: { include_usage: true },
    })
  })

  it('names what is not supported', () => {
    expect(() => chat({ audio: { voice: 'x' }, functions: [{ name: 'f' }] })).toThrow(/'functions', 'audio'/)
    expect(chat({ audio: { voice: 'x' } }, { dropParams: true }).body).not.toHaveProperty('audio')
    expect(() => sent(cloudflare, 'embedding', { model: 'a', input: 'x', dimensions: 3 }, { model: 'm', base: BASE })).toThrow(
      expect.objectContaining({ code: 'unsupported_parameter', param: 'dimensions' }),
    )
  })
})

// Bytes after the documented form: nothing was recorded.
describe('an answer of Workers AI', () => {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
  const answer = {
    id: 'x',
    object: 'chat.completion',
    created: 1,
    model: MODEL,
    choices: [{ index: 0, message: { role: 'assistant', content: 'yes' }, finish_reason: 'stop' }],
    usage,
  }

  it('is OpenAI’s, bare or in the envelope of Cloudflare’s API', () => {
    for (const body of [answer, { result: answer, success: true, errors: [], messages: [] }])
      expect(answered(cloudflare, body)).toMatchObject({
        choices: [{ message: { content: 'yes' }, finish_reason: 'stop' }],
        usage,
      })
    const vectors = {
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [1] }],
      model: 'm',
      usage: { prompt_tokens: 1, total_tokens: 1 },
    }
    for (const body of [vectors, { result: vectors, success: true, errors: [] }])
      expect(embedded(cloudflare, body)).toMatchObject({ data: [{ embedding: [1] }], usage: { prompt_tokens: 1 } })
  })

  it('has arguments of calls as text, whatever a model sends', () => {
    const message = { role: 'assistant', content: null, tool_calls: [{ function: { name: 'f', arguments: { x: 1 } } }] }
    const { choices } = answered(cloudflare, { choices: [{ index: 0, message, finish_reason: 'stop' }] })
    expect(choices[0]).toMatchObject({
      message: { tool_calls: [{ id: 'call_made_0_0', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }] },
      finish_reason: 'tool_calls',
    })
  })

  const event = (delta: Fields, finish_reason: string | null = null) =>
    `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: MODEL, choices: [{ index: 0, delta, finish_reason }] })}\n\n`

  it('streams, however it is cut, and does not end well when it breaks off or fails', () => {
    const begun = event({ role: 'assistant', content: 'y' }) + event({ content: 'es' })
    const last = `data: ${JSON.stringify({ id: 'x', choices: [], usage })}\n\ndata: [DONE]\n\n`
    expect(folded(cloudflare, begun + event({}, 'stop') + last)).toMatchObject({
      content: 'yes',
      finish: 'stop',
      roles: 1,
      usage,
    })
    expect(streamed(cloudflare, begun).error).toMatchObject({ code: 'provider_truncated' })
    const failure = `data: ${JSON.stringify({ success: false, errors: [{ code: 3040, message: 'Capacity temporarily exceeded' }] })}\n\n`
    expect(streamed(cloudflare, begun + failure).error).toMatchObject({ code: 'provider_rate_limited' })
  })

  it('that is an error under a 200 is that error', () => {
    const body = { result: null, success: false, errors: [{ code: 5007, message: 'No such model' }], messages: [] }
    expect(() => answered(cloudflare, body)).toThrow(
      expect.objectContaining({ code: 'provider_not_found', providerCode: '5007' }),
    )
  })
})

describe('a refusal of Workers AI', () => {
  it.each([
    [400, 10000, 'Authentication error', 'provider_authentication'],
    [403, 10000, 'Authentication error', 'provider_authentication'],
    [400, 7003, 'Could not route to /accounts/x', 'provider_not_found'],
    [400, 5006, "Error: oneOf at '/' not met: must have required property 'prompt'", 'provider_bad_request'],
    [400, 5007, 'No such model', 'provider_not_found'],
    [429, 3036, 'you have used up your daily free allocation of neurons', 'provider_quota'],
    [429, 3040, 'Capacity temporarily exceeded', 'provider_rate_limited'],
    [500, 1031, 'Unknown internal error', 'provider_error'],
  ])('of status %i and number %i (%s) is %s', (status, number, message, code) => {
    const body = JSON.stringify({ success: false, errors: [{ code: number, message }], messages: [], result: null })
    const error = cloudflare.decodeError(status, {}, body)
    expect(error).toMatchObject({ code, providerCode: String(number) })
    expect(error.message).toContain(`CloudflareException - ${message}`)
  })
})
