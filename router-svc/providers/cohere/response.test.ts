import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../../canonical/chat.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { type Decoded, decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { decodeError } from './errors.ts'
import { decodeChat } from './response.ts'
import { ChatStream } from './stream.ts'
import { decodeUsage } from './usage.ts'

const CONTEXT: DecodeContext = { id: 'made', created: 7, model: 'command-a', request: {} }
const START = { type: 'message-start', id: 'one', delta: { message: { role: 'assistant' } } }

function decode(answer: unknown): ChatResponse {
  return decodeChat(Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)), {}, CONTEXT)
}

function failure(answer: unknown): GatewayError {
  try {
    decode(answer)
  } catch (error) {
    if (error instanceof GatewayError) return error
  }
  throw new Error('was read')
}

function stream(...events: unknown[]): Decoded<ChatChunk> {
  const text = events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
  return decodePieces(new ChatStream(CONTEXT), [Buffer.from(text)])
}

function end(reason: string, rest: object = {}): object {
  return { type: 'message-end', delta: { finish_reason: reason, ...rest } }
}

describe('a whole answer of Cohere', () => {
  it('has OpenAI’s reasons to finish', () => {
    const finish = (reason: string) => decode({ message: { content: [] }, finish_reason: reason }).choices[0]?.finish_reason
    expect(['COMPLETE', 'STOP_SEQUENCE', 'MAX_TOKENS', 'TOOL_CALL', 'ERROR_TOXIC', 'NEW_ONE'].map(finish)).toEqual([
      'stop',
      'stop',
      'length',
      'tool_calls',
      'content_filter',
      'new_one',
    ])
  })

  it('keeps what has no place here, and makes up for what is missing', () => {
    const citations = [{ start: 0, end: 1, text: 'x', sources: [] }]
    const message = { content: 'plain', citations, tool_calls: [{ function: { name: 'f' } }], novelty: 1, empty: [] }
    expect(decode({ message, finish_reason: 'COMPLETE' })).toEqual({
      id: 'made',
      object: 'chat.completion',
      created: 7,
      model: 'command-a',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'plain',
            tool_calls: [{ id: 'call_0', type: 'function', function: { name: 'f', arguments: '{}' } }],
            provider_specific_fields: { citations, novelty: 1 },
          },
          finish_reason: 'tool_calls',
        },
      ],
    })
  })

  it('has logprobs in OpenAI’s form', () => {
    const logprobs = [{ token_ids: [1, 2], text: 'hé', logprobs: [-0.5, -1] }]
    const answer = decode({ message: { content: [{ type: 'text', text: 'hé' }] }, finish_reason: 'COMPLETE', logprobs })
    expect(answer.choices[0]?.logprobs).toEqual({
      content: [{ token: 'hé', logprob: -1.5, bytes: [104, 195, 169], top_logprobs: [] }],
    })
  })

  it('that is an error, fails or cannot be read is none', () => {
    const wrong: [unknown, string][] = [
      ['<html>', 'provider_malformed'],
      ['[]', 'provider_malformed'],
      [{ id: 'x' }, 'provider_malformed'],
      [{ message: 'internal server error' }, 'provider_error'],
      [{ message: { content: [] }, finish_reason: 'ERROR' }, 'provider_error'],
      [{ message: { content: [] }, finish_reason: 'TIMEOUT' }, 'provider_timeout'],
    ]
    for (const [answer, code] of wrong) expect(failure(answer).code, JSON.stringify(answer)).toBe(code)
  })
})

describe('usage of Cohere', () => {
  it('is what is billed: the template and what was cached of it cost nothing', () => {
    const raw = {
      billed_units: { input_tokens: 43, output_tokens: 21 },
      tokens: { input_tokens: 1446, output_tokens: 51, reasoning_tokens: 30, image_tokens: 50 },
      cached_tokens: 112,
    }
    const usage = decodeUsage(raw)
    expect(usage).toEqual({
      ...raw,
      prompt_tokens: 43,
      completion_tokens: 21,
      total_tokens: 64,
      prompt_tokens_details: { image_tokens: 43 },
      completion_tokens_details: { reasoning_tokens: 21 },
    })
    expect(tokensOf(usage as never)).toMatchObject({ input: 43, output: 21, cacheRead: 0 })
  })

  it('is what was read where nothing says what is billed', () => {
    expect(decodeUsage({ tokens: { input_tokens: 10, output_tokens: 2 }, cached_tokens: 4 })).toMatchObject({
      prompt_tokens: 10,
      completion_tokens: 2,
      prompt_tokens_details: { cached_tokens: 4 },
    })
    for (const nothing of [undefined, null, 5, {}, { tokens: { input_tokens: 'x' } }]) expect(decodeUsage(nothing)).toBeNull()
  })
})

describe('a stream of Cohere', () => {
  it('gives a call without arguments the empty ones, whether or not it is closed', () => {
    const call = (id: string, index: number) => ({
      type: 'tool-call-start',
      index,
      delta: { message: { tool_calls: { id, type: 'function', function: { name: 'f', arguments: '' } } } },
    })
    const { chunks, error } = stream(
      START,
      call('a', 0),
      { type: 'tool-call-end', index: 0 },
      call('b', 1),
      call('c', 2),
      end('TOOL_CALL'),
    )
    expect(error).toBeNull()
    expect(foldChunks(chunks).choices.get(0)).toMatchObject({
      finish: 'tool_calls',
      toolCalls: ['a', 'b', 'c'].map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
    })
  })

  it('ends with its last event, and ignores what follows', () => {
    const usage = { billed_units: { input_tokens: 1, output_tokens: 2 } }
    const { chunks, error } = stream(
      START,
      { type: 'debug' },
      { type: 'novelty' },
      end('MAX_TOKENS', { usage }),
      '[DONE]',
      'not JSON',
    )
    expect(error).toBeNull()
    expect(chunks.map((chunk) => [chunk.id, chunk.choices[0]?.finish_reason, chunk.usage?.total_tokens])).toEqual([
      ['one', null, undefined],
      ['one', 'length', undefined],
      ['one', undefined, 3],
    ])
  })

  it('never ends well without it', () => {
    const text = { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Hi' } } } }
    expect(stream().error?.code).toBe('provider_malformed')
    expect(stream(START, text).error?.code).toBe('provider_truncated')
    expect(stream(START, text, '[DONE]').error?.code).toBe('provider_truncated')
    expect(stream(START, text, '{').error?.code).toBe('provider_malformed')
    expect(stream(START, text, '[1]').error?.code).toBe('provider_malformed')
  })

  it('throws the error that is in it, after what was said', () => {
    const text = { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Hi' } } } }
    const failed = stream(START, text, end('ERROR', { error: 'the model crashed' }))
    expect(failed.chunks).toHaveLength(2)
    expect(failed.error).toMatchObject({ code: 'provider_error' })
    expect(failed.error?.message).toContain('the model crashed')
    expect(stream(START, end('TIMEOUT')).error?.code).toBe('provider_timeout')
    expect(stream(START, { message: 'too many tokens', status_code: 400 }).error?.code).toBe('context_window_exceeded')
  })

  it('has its logprobs beside the text', () => {
    const logprobs = { token_ids: [1], text: 'Hi', logprobs: [-0.25] }
    const { chunks } = stream(
      START,
      { type: 'content-delta', delta: { message: { content: { text: 'Hi' } } }, logprobs },
      end('COMPLETE'),
    )
    expect(chunks[1]?.choices[0]).toMatchObject({
      delta: { content: 'Hi' },
      logprobs: { content: [{ token: 'Hi', logprob: -0.25 }] },
    })
  })
})

describe('errors of Cohere', () => {
  it.each([
    [400, 'invalid request: message must be at least 1 token long', 'provider_bad_request', 400],
    [400, 'too many tokens: size limit exceeded by 11326 tokens.', 'context_window_exceeded', 400],
    [422, 'Too many tokens in the prompt', 'context_window_exceeded', 400],
    [403, 'not allowed', 'provider_permission', 403],
    [404, "model 'x' not found", 'provider_not_found', 404],
    [429, 'Trial key limited to 40 API calls / minute', 'provider_rate_limited', 429],
    [429, 'Trial key limited to 1000 API calls / month', 'provider_quota', 429],
    [498, 'invalid token', 'provider_authentication', 401],
    [499, 'request cancelled', 'provider_error', 500],
    [503, 'unavailable', 'provider_unavailable', 503],
  ])('of status %i, “%s”, are %s', (status, message, code, shown) => {
    const error = decodeError(status, { 'retry-after': '2' }, JSON.stringify({ id: 'x', message }))
    expect([error.code, error.status, error.retryAfter]).toEqual([code, shown, 2000])
    expect(error.message).toMatch(/^litellm\.\w+: (\w+: )?CohereException - /)
    expect(error.message.endsWith(` - ${message}`)).toBe(true)
  })
})
