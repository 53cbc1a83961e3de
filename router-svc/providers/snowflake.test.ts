import { describe, expect, it } from 'vitest'
import { providerOf } from './index.ts'
import type { Fields } from './json.ts'
import { answered, embedded, folded, sent, streamed } from './openai-variant.testkit.ts'
import type { Provider, Target } from './provider.ts'

const snowflake = providerOf('snowflake') as Provider
const HOST = 'https://org-acct.snowflakecomputing.com'
const CORTEX = `${HOST}/api/v2/cortex`
const messages = [{ role: 'user', content: 'hi' }]

const chat = (request: Fields, changes: Partial<Target> = {}) =>
  sent(snowflake, 'chat', { model: 'alias', messages, ...request }, { model: 'llama3.1-70b', base: CORTEX, ...changes })
const embedding = (request: Fields, changes: Partial<Target> = {}) =>
  sent(snowflake, 'embedding', { model: 'alias', input: 'a', ...request }, { model: 'e5-base-v2', base: CORTEX, ...changes })

describe('a request to Snowflake Cortex', () => {
  it('goes to the surface in OpenAI’s form, however the base is written', () => {
    for (const base of [
      HOST,
      `${HOST}/api/v2`,
      CORTEX,
      `${CORTEX}/v1`,
      `${CORTEX}/v1/chat/completions`,
      `${CORTEX}/inference:complete`,
    ]) {
      expect(chat({}, { base }).url).toBe(`${CORTEX}/v1/chat/completions`)
      expect(embedding({}, { base }).url).toBe(`${CORTEX}/inference:embed`)
    }
  })

  it('has its name for the output limit, asks streams for usage, and has plain tools', () => {
    const parameters = { type: 'object', properties: {}, additionalProperties: false }
    const tools = [{ type: 'function', function: { name: 'f', strict: true, parameters } }]
    expect(chat({ max_tokens: 5, stream: true, tools, user: 'u', n: 1 }).body).toEqual({
      model: 'llama3.1-70b',
      messages,
      max_completion_tokens: 5,
      stream: true,
      stream_options: { include_usage: true },
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }],
    })
  })

  it('names what is not supported', () => {
    const asked = { n: 2, seed: 1, stop: 'x', logprobs: true, presence_penalty: 1, parallel_tool_calls: false }
    expect(() => chat(asked)).toThrow(/'n', 'seed', 'stop', 'logprobs', 'presence_penalty', 'parallel_tool_calls'/)
    expect(chat(asked, { dropParams: true }).body).toEqual({ model: 'llama3.1-70b', messages })
    expect(chat({ stop: 'x' }, { allowedOpenaiParams: ['stop'] }).body).toMatchObject({ stop: 'x' })
  })

  it('for Claude says the effort its way, at the one temperature that thinks', () => {
    expect(chat({ reasoning_effort: 'high' }, { model: 'claude-sonnet-4-5' }).body).toEqual({
      model: 'claude-sonnet-4-5',
      messages,
      reasoning: { effort: 'high' },
      temperature: 1,
    })
    expect(chat({ reasoning_effort: 'high', temperature: 0.2 }, { model: 'claude-sonnet-4-5' }).body).toMatchObject({
      temperature: 0.2,
    })
    expect(chat({ reasoning_effort: 'none' }, { model: 'claude-sonnet-4-5' }).body).toEqual({
      model: 'claude-sonnet-4-5',
      messages,
    })
    expect(chat({ reasoning_effort: 'high' }, { model: 'openai-gpt-5' }).body).toMatchObject({ reasoning_effort: 'high' })
  })

  it('for an embedding has texts', () => {
    expect(embedding({ encoding_format: 'base64', user: 'u' }).body).toEqual({ model: 'e5-base-v2', text: ['a'] })
    expect(embedding({ input: ['a', 'b'] }).body).toEqual({ model: 'e5-base-v2', text: ['a', 'b'] })
    expect(() => embedding({ input: [1, 2] })).toThrow(expect.objectContaining({ code: 'bad_request', param: 'input' }))
    expect(() => embedding({ dimensions: 8 })).toThrow(expect.objectContaining({ code: 'unsupported_parameter' }))
  })
})

// Bytes after the documented form: nothing was recorded.
describe('an answer of Snowflake Cortex', () => {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
  const event = (delta: Fields, finish_reason: string | null = null, more: Fields = {}) =>
    `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`

  it('is OpenAI’s, its thinking under LiteLLM’s name', () => {
    const message = { role: 'assistant', content: 'yes', reasoning: 'hm' }
    expect(
      answered(snowflake, { id: 'x', model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }], usage }),
    ).toMatchObject({
      choices: [{ message: { role: 'assistant', content: 'yes', reasoning_content: 'hm' }, finish_reason: 'stop' }],
      usage,
    })
  })

  it('streams text and calls, however it is cut', () => {
    const call = (fields: Fields) => ({ tool_calls: [{ index: 0, ...fields }] })
    const source =
      event({ role: 'assistant', content: 'y' }) +
      event({ content: 'es' }) +
      event(call({ id: 'c', type: 'function', function: { name: 'f', arguments: '' } })) +
      event(call({ function: { arguments: '{"x":1}' } })) +
      event({}, 'tool_calls') +
      `data: ${JSON.stringify({ id: 'x', choices: [], usage })}\n\ndata: [DONE]\n\n`
    expect(folded(snowflake, source)).toMatchObject({
      content: 'yes',
      finish: 'tool_calls',
      toolCalls: [{ id: 'c', function: { name: 'f', arguments: '{"x":1}' } }],
      usage,
    })
    const begun = event({ role: 'assistant', content: 'y' })
    expect(streamed(snowflake, begun).error).toMatchObject({ code: 'provider_truncated' })
    const failure = { message: 'token expired', code: '390318', request_id: 'r' }
    expect(streamed(snowflake, `${begun}data: ${JSON.stringify(failure)}\n\n`).error).toMatchObject({
      code: 'provider_authentication',
    })
    expect(() => answered(snowflake, failure)).toThrow(expect.objectContaining({ code: 'provider_authentication' }))
  })

  it('to an embedding has each vector in a list of its own', () => {
    const answer = {
      object: 'list',
      data: [
        { embedding: [[1, 2]], index: 0 },
        { embedding: [3], index: 1 },
      ],
      model: 'e5',
      usage: { total_tokens: 4 },
    }
    expect(embedded(snowflake, answer)).toMatchObject({
      data: [
        { object: 'embedding', index: 0, embedding: [1, 2] },
        { object: 'embedding', index: 1, embedding: [3] },
      ],
      model: 'e5',
      usage: { prompt_tokens: 4, total_tokens: 4 },
    })
    expect(embedded(snowflake, answer, { encoding_format: 'base64' }).data[0]?.embedding).toBe(
      Buffer.from(new Float32Array([1, 2]).buffer).toString('base64'),
    )
    expect(() => embedded(snowflake, { message: 'no such model', code: '400' })).toThrow(
      expect.objectContaining({ code: 'provider_bad_request' }),
    )
  })
})

describe('a refusal of Snowflake Cortex', () => {
  it.each([
    [401, { code: '390303', message: 'Invalid OAuth access token.' }, 'provider_authentication'],
    [400, { code: '390318', message: 'expired' }, 'provider_authentication'],
    [403, { error_code: '390144', message: 'JWT token is invalid.' }, 'provider_authentication'],
    [400, { message: 'unknown model "x"', request_id: 'r' }, 'provider_bad_request'],
    [400, { message: 'max tokens of 10 exceeded: prompt is too long' }, 'context_window_exceeded'],
    [429, { message: 'too many requests' }, 'provider_rate_limited'],
    [503, { message: 'no' }, 'provider_unavailable'],
  ])('of status %i and body %j is %s', (status, body, code) => {
    const error = snowflake.decodeError(status, {}, JSON.stringify(body))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(/^litellm\.\w+: (\w+: )?SnowflakeException - /)
  })
})
