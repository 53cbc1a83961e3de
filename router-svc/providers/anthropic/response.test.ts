import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse } from '../../canonical/chat.ts'
import { context } from './fold.testkit.ts'
import { anthropic } from './index.ts'
import { decodeResponse } from './response.ts'
import type { Fields } from './wire.ts'

function decode(fields: Fields, request: Fields = {}): ChatResponse {
  const body = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [],
    stop_reason: 'end_turn',
    usage: { input_tokens: 1, output_tokens: 2 },
    ...fields,
  }
  return decodeResponse(Buffer.from(JSON.stringify(body)), {}, context(request))
}

function thrownBy(body: string): GatewayError {
  try {
    decodeResponse(Buffer.from(body), {}, context())
  } catch (thrown) {
    return thrown as GatewayError
  }
  throw new Error('nothing was thrown')
}

describe('an answer', () => {
  it('is the canonical response', () => {
    expect(decode({ content: [{ type: 'text', text: 'Hi' }] })).toEqual({
      id: 'msg_1',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'claude',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: 1,
        completion_tokens: 2,
        total_tokens: 3,
        prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0, cache_creation_tokens: 0 },
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
      },
    })
  })

  it.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['pause_turn', 'stop'],
    ['compaction', 'stop'],
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['tool_use', 'tool_calls'],
    ['refusal', 'content_filter'],
    ['reason_of_tomorrow', 'stop'],
  ])('that stopped for %s finished with %s', (reason, finish) => {
    const { finish_reason, message } = decode({ stop_reason: reason }).choices[0] ?? {}
    expect(finish_reason).toBe(finish)
    const plain = ['end_turn', 'max_tokens', 'tool_use'].includes(reason)
    expect(message?.provider_specific_fields?.['stop_reason']).toBe(plain ? undefined : reason)
  })

  it('counts every kind of token', () => {
    const usage = {
      input_tokens: 10,
      output_tokens: 50,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 10 },
      output_tokens_details: { thinking_tokens: 40 },
      server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 },
      service_tier: 'priority',
      inference_geo: 'eu',
      nothing: null,
    }
    const response = decode({ usage })
    expect(response.service_tier).toBe('priority')
    expect(response.usage).toEqual({
      prompt_tokens: 140,
      completion_tokens: 50,
      total_tokens: 190,
      prompt_tokens_details: {
        cached_tokens: 100,
        cache_write_tokens: 30,
        cache_creation_tokens: 30,
        cache_creation_token_details: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 10 },
      },
      completion_tokens_details: { reasoning_tokens: 40 },
      cache_creation_input_tokens: 30,
      cache_read_input_tokens: 100,
      server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 },
      inference_geo: 'eu',
    })
  })

  it('of the JSON tool is content, unless a tool of the client has that name', () => {
    const content = [{ type: 'tool_use', id: 'a', name: 'json_tool_call', input: { a: 1 } }]
    const request = { response_format: { type: 'json_schema' } }
    expect(decode({ content, stop_reason: 'tool_use' }, request).choices[0]).toEqual({
      index: 0,
      message: { role: 'assistant', content: '{"a":1}' },
      finish_reason: 'stop',
    })
    const own = { ...request, tools: [{ type: 'function', function: { name: 'json_tool_call' } }] }
    expect(decode({ content, stop_reason: 'tool_use' }, own).choices[0]).toMatchObject({
      message: { content: null },
      finish_reason: 'tool_calls',
    })
    expect(decode({ content, stop_reason: 'max_tokens' }, request).choices[0]?.finish_reason).toBe('length')
  })

  it('keeps who called a tool, when it was not the model itself', () => {
    const caller = { type: 'code_execution_20250825', tool_id: 'srvtoolu_1' }
    const content = [
      { type: 'tool_use', id: 'a', name: 'f', input: {}, caller },
      { type: 'tool_use', id: 'b', name: 'f', input: {}, caller: { type: 'direct' } },
    ]
    expect(decode({ content }).choices[0]?.message.tool_calls).toEqual([
      { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' }, caller },
      { id: 'b', type: 'function', function: { name: 'f', arguments: '{}' } },
    ])
  })

  it('that cannot be read is malformed, and an error in it is thrown', () => {
    expect(thrownBy('<html>').code).toBe('provider_malformed')
    expect(thrownBy('[]').code).toBe('provider_malformed')
    expect(thrownBy('{"type":"message"}').code).toBe('provider_malformed')
    expect(thrownBy('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}').code).toBe(
      'provider_overloaded',
    )
  })
})

describe('the provider', () => {
  it('is made from its row', () => {
    const provider = anthropic({ base: 'https://api.anthropic.com', keys: ['ANTHROPIC_API_KEY'], bases: ['ANTHROPIC_BASE_URL'] })
    expect(provider).toMatchObject({
      name: 'anthropic',
      auth: { type: 'header', name: 'x-api-key' },
      base: 'https://api.anthropic.com',
      keyNames: ['ANTHROPIC_API_KEY'],
      baseNames: ['ANTHROPIC_BASE_URL'],
      chat: { mode: 'chat', protocol: 'anthropic' },
    })
    expect(provider.embedding).toBeUndefined()
    expect(provider.chat?.decodeStream?.(context()).done).toBe(false)
  })
})
