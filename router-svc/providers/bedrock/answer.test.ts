import { describe, expect, it } from 'vitest'
import type { ChatChunk } from '../../canonical/chat.ts'
import { EXCEPTION } from '../aws-exception.ts'
import { foldChunks } from '../provider.suite.ts'
import { decodeError } from './errors.ts'
import { decodeResponse } from './response.ts'
import { ConverseStream } from './stream.ts'
import { decodeUsage } from './usage.ts'

const CONTEXT = { id: 'made', created: 1, model: 'asked', request: {} }
const JSON_ASKED = { ...CONTEXT, request: { response_format: { type: 'json_object' } } }

function read(events: [string, unknown][], context = CONTEXT): ChatChunk[] {
  const stream = new ConverseStream(context)
  const chunks = events.flatMap(([event, payload]) => stream.push({ event, data: JSON.stringify(payload) }))
  return [...chunks, ...stream.end()]
}

const END: [string, unknown][] = [
  ['messageStop', { stopReason: 'tool_use' }],
  ['metadata', { usage: { inputTokens: 1, outputTokens: 2 }, metrics: { latencyMs: 5 } }],
]

describe('answers of Bedrock', () => {
  it('give the JSON tool’s input as content, whole or streamed', () => {
    const use = { toolUseId: 't', name: 'json_tool_call' }
    const body = {
      output: { message: { content: [{ toolUse: { ...use, input: { a: 1 } } }] } },
      stopReason: 'tool_use',
      usage: {},
    }
    expect(decodeResponse(Buffer.from(JSON.stringify(body)), {}, JSON_ASKED).choices[0]).toMatchObject({
      message: { content: '{"a":1}' },
      finish_reason: 'stop',
    })
    const chunks = read(
      [
        ['contentBlockStart', { contentBlockIndex: 0, start: { toolUse: use } }],
        ['contentBlockDelta', { contentBlockIndex: 0, delta: { toolUse: { input: '{"a":1}' } } }],
        ['contentBlockStop', { contentBlockIndex: 0 }],
        ...END,
      ],
      JSON_ASKED,
    )
    expect(foldChunks(chunks).choices.get(0)).toMatchObject({ content: '{"a":1}', toolCalls: [], finish: 'stop' })
  })

  it('give a call without arguments an empty object, and keep what they say beside', () => {
    const chunks = read([
      ['contentBlockStart', { contentBlockIndex: 0, start: { toolUse: { toolUseId: 't', name: 'f' } } }],
      ['contentBlockStop', { contentBlockIndex: 0 }],
      ...END,
    ])
    const folded = foldChunks(chunks)
    expect(folded.choices.get(0)?.toolCalls).toEqual([{ id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }])
    expect(folded.usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 })
    expect(chunks.at(-3)?.choices[0]?.delta.provider_specific_fields).toEqual({ metrics: { latencyMs: 5 } })
  })

  it('are errors when they hold one', () => {
    expect(() => decodeResponse(Buffer.from('{"message":"no"}'), {}, CONTEXT)).toThrow('BedrockException')
    expect(() => decodeResponse(Buffer.from('{}'), {}, CONTEXT)).toThrow('no content blocks')
    expect(() => read([[`${EXCEPTION}throttlingException`, { message: 'slow' }]])).toThrow(
      'litellm.RateLimitError: BedrockException',
    )
    expect(() => read([])).toThrow('empty stream')
    expect(() => read([['messageStop', { stopReason: 'end_turn' }]])).toThrow('before it was complete')
  })

  it('count the cache into the prompt, and what lives an hour apart', () => {
    const cacheDetails = [
      { ttl: '1h', inputTokens: 30 },
      { ttl: '5m', inputTokens: 10 },
    ]
    const usage = decodeUsage({
      inputTokens: 5,
      outputTokens: 7,
      cacheReadInputTokens: 100,
      cacheWriteInputTokens: 40,
      cacheDetails,
    })
    expect(usage).toMatchObject({
      prompt_tokens: 145,
      total_tokens: 152,
      prompt_tokens_details: {
        cached_tokens: 100,
        cache_write_tokens: 40,
        cache_creation_token_details: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 30 },
      },
    })
  })
})

describe('errors of Bedrock', () => {
  const cases: [number, string, string, string][] = [
    [429, 'ThrottlingException', 'Too many tokens, please wait before trying again.', 'provider_rate_limited'],
    [400, 'ValidationException', 'Too many input tokens. Max input tokens: 8192', 'context_window_exceeded'],
    [400, 'ValidationException:http://internal.amazon.com/', 'Input is too long for requested model.', 'context_window_exceeded'],
    [400, 'ValidationException', 'The provided model identifier is invalid.', 'provider_bad_request'],
    [403, 'AccessDeniedException', 'You don’t have access to the model with the specified model ID.', 'provider_permission'],
    [403, 'UnrecognizedClientException', 'The security token included in the request is invalid.', 'provider_authentication'],
    [403, 'ExpiredTokenException', 'expired', 'provider_authentication'],
    [404, 'ResourceNotFoundException', 'end of its life', 'provider_not_found'],
    [408, 'ModelTimeoutException', 'slow', 'provider_timeout'],
    [424, 'ModelErrorException', 'broke', 'provider_error'],
    [503, 'ServiceUnavailableException', 'later', 'provider_unavailable'],
    [200, 'modelStreamErrorException', 'broke', 'provider_error'],
    [400, 'ServiceQuotaExceededException', 'spent', 'provider_quota'],
    [502, '', 'bad gateway', 'provider_bad_gateway'],
  ]
  for (const [status, name, message, code] of cases)
    it(`${status} ${name} "${message}" is ${code}`, () => {
      const error = decodeError(status, name === '' ? {} : { 'x-amzn-errortype': name }, JSON.stringify({ message }))
      expect(error.code).toBe(code)
      expect(error.message).toContain(message)
    })

  it('show no page of a proxy', () => {
    expect(decodeError(502, {}, '<html>secret</html>').message).toBe(
      'litellm.BadGatewayError: BedrockException - HTTP status 502 without a readable body',
    )
  })
})
