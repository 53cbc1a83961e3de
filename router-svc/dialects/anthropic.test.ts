import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatRequest, ChatResponse } from '../canonical/chat.ts'
import { anthropic } from './anthropic.ts'

const HELLO = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] }

function refusal(body: object): GatewayError {
  try {
    anthropic.decodeRequest(body as Record<string, unknown>)
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('accepted')
}

/** As plain data: arguments of calls are written out when read. */
function decode(body: object): ChatRequest {
  return JSON.parse(JSON.stringify(anthropic.decodeRequest(body as Record<string, unknown>))) as ChatRequest
}

const user = (...content: unknown[]) => ({ ...HELLO, messages: [{ role: 'user', content }] })

describe('a Messages request', () => {
  it.each([
    [{}, 'model'],
    [{ model: 'm', messages: HELLO.messages }, 'max_tokens'],
    [{ ...HELLO, max_tokens: '10' }, 'max_tokens'],
    [{ ...HELLO, max_tokens: 0 }, 'max_tokens'],
    [{ ...HELLO, messages: [] }, 'messages'],
    [{ ...HELLO, messages: ['hi'] }, 'messages[0]'],
    [{ ...HELLO, messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].role'],
    [{ ...HELLO, messages: [{ role: 'user' }] }, 'messages[0].content'],
    [user('x'), 'messages[0].content[0]'],
    [user({ text: 'x' }), 'messages[0].content[0].type'],
    [user({ type: 'text' }), 'messages[0].content[0].text'],
    [user({ type: 'image' }), 'messages[0].content[0].source'],
    [user({ type: 'image', source: { type: 'base64', media_type: 'image/png' } }), 'messages[0].content[0].source.data'],
    [user({ type: 'document', source: { type: 'url' } }), 'messages[0].content[0].source.url'],
    [user({ type: 'tool_result', content: 'x' }), 'messages[0].content[0].tool_use_id'],
    [user({ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text' }] }), 'messages[0].content[0].content[0].text'],
    [
      { ...HELLO, messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'f', input: '{}' }] }] },
      'messages[0].content[0].input',
    ],
    [{ ...HELLO, system: 5 }, 'system'],
    [{ ...HELLO, system: [{ type: 'text' }] }, 'system[0].text'],
    [{ ...HELLO, stream: 'yes' }, 'stream'],
    [{ ...HELLO, top_k: 1.5 }, 'top_k'],
    [{ ...HELLO, stop_sequences: 'x' }, 'stop_sequences'],
    [{ ...HELLO, tools: [{ name: 'f' }] }, 'tools[0].input_schema'],
    [{ ...HELLO, tools: [{ input_schema: {} }] }, 'tools[0].name'],
    [{ ...HELLO, tool_choice: 'auto' }, 'tool_choice'],
    [{ ...HELLO, tool_choice: { type: 'tool' } }, 'tool_choice.name'],
    [{ ...HELLO, thinking: true }, 'thinking'],
  ])('is refused at the place that is wrong: %j', (body, place) => {
    const error = refusal(body)
    expect(error).toMatchObject({ code: 'bad_request', status: 400, param: place })
    expect(error.message).toContain(`'${place}'`)
  })

  it('puts what has a canonical place there, and keeps the rest for providers of its own protocol', () => {
    const request = decode({
      ...HELLO,
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      stop_sequences: ['END'],
      temperature: 0.5,
      top_k: 5,
      stream: true,
      service_tier: 'standard_only',
      metadata: { user_id: 'u'.repeat(70) },
      thinking: { type: 'enabled', budget_tokens: 6000 },
      output_config: { format: { type: 'json_schema', schema: { type: 'object' } } },
      context_management: { edits: [] },
      mock_response: 'x',
      novel: 1,
    })
    expect(request).toEqual({
      model: 'm',
      max_tokens: 10,
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }] },
        { role: 'user', content: 'Hello' },
      ],
      stop: ['END'],
      temperature: 0.5,
      stream: true,
      service_tier: 'default',
      metadata: { user_id: 'u'.repeat(70) },
      user: 'u'.repeat(64),
      thinking: { type: 'enabled', budget_tokens: 6000 },
      reasoning_effort: 'medium',
      response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' } } },
      mock_response: 'x',
      anthropic: {
        top_k: 5,
        output_config: { format: { type: 'json_schema', schema: { type: 'object' } } },
        context_management: { edits: [] },
        novel: 1,
      },
    })
  })

  it('takes a turn of results apart: each is a message, what was said beside them follows', () => {
    const { messages } = decode({
      ...HELLO,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'a', content: 'done', is_error: true },
            { type: 'tool_result', tool_use_id: 'b' },
            {
              type: 'tool_result',
              tool_use_id: 'c',
              content: [
                { type: 'text', text: 'see' },
                { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } },
              ],
            },
            { type: 'text', text: 'go on' },
            { type: 'image', source: { type: 'url', url: 'https://x/y.png' }, cache_control: { type: 'ephemeral' } },
            { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BB==' }, title: 'T' },
            { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'plain' } },
          ],
        },
      ],
    })
    expect(messages).toEqual([
      { role: 'tool', tool_call_id: 'a', content: 'done', is_error: true },
      { role: 'tool', tool_call_id: 'b', content: '' },
      {
        role: 'tool',
        tool_call_id: 'c',
        content: [
          { type: 'text', text: 'see' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'go on' },
          { type: 'image_url', image_url: { url: 'https://x/y.png' }, cache_control: { type: 'ephemeral' } },
          { type: 'file', file: { file_data: 'data:application/pdf;base64,BB==' }, title: 'T' },
          { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'plain' } },
        ],
      },
    ])
  })

  it('keeps signed thinking where it stood, and thinking of another provider as reasoning', () => {
    const { messages } = decode({
      ...HELLO,
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: 's' },
            { type: 'thinking', thinking: 'oh', signature: '' },
            { type: 'text', text: 'I look.' },
            { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 }, cache_control: { type: 'ephemeral' } },
            { type: 'text', text: 'And then' },
          ],
        },
      ],
    })
    expect(messages).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 's' },
          { type: 'text', text: 'I look.' },
        ],
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' }, cache_control: { type: 'ephemeral' } },
        ],
        reasoning_content: 'oh',
      },
      { role: 'assistant', content: [{ type: 'text', text: 'And then' }] },
    ])
  })

  it.each([
    [{ type: 'auto' }, 'auto'],
    [{ type: 'any' }, 'required'],
    [{ type: 'none' }, 'none'],
    [
      { type: 'tool', name: 'f' },
      { type: 'function', function: { name: 'f' } },
    ],
  ])('reads tool choice %j', (choice, expected) => {
    const tools = [{ name: 'f', description: 'd', input_schema: { type: 'object' }, strict: true, defer_loading: true }]
    const request = decode({ ...HELLO, tools, tool_choice: { ...choice, disable_parallel_tool_use: true } })
    expect(request.tool_choice).toEqual(expected)
    expect(request.parallel_tool_calls).toBe(false)
    expect(request.tools).toEqual([
      {
        type: 'function',
        function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true },
        defer_loading: true,
      },
    ])
  })

  it.each([
    [{ thinking: { type: 'enabled', budget_tokens: 1024 } }, 'low'],
    [{ thinking: { type: 'enabled', budget_tokens: 32_000 } }, 'high'],
    [{ thinking: { type: 'disabled' } }, undefined],
    [{ thinking: { type: 'adaptive' } }, undefined],
    [{ thinking: { type: 'adaptive' }, output_config: { effort: 'max' } }, 'high'],
    [{ output_config: { effort: 'low' } }, 'low'],
  ])('asks others for the effort that %j means', (fields, effort) => {
    expect(decode({ ...HELLO, ...fields }).reasoning_effort).toBe(effort)
  })
})

function encode(response: Partial<ChatResponse['choices'][number]> & object, rest: Partial<ChatResponse> = {}) {
  const choice = { index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Hi' }, ...response }
  const canonical = { id: 'c1', object: 'chat.completion' as const, created: 1, model: 'upstream', choices: [choice], ...rest }
  return JSON.parse(anthropic.encodeResponse(canonical, 'alias')) as Record<string, unknown>
}

describe('a whole message', () => {
  it('carries the client’s model name, its text, and usage in Anthropic’s counts', () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 7,
      total_tokens: 107,
      prompt_tokens_details: { cached_tokens: 60, cache_creation_tokens: 10 },
      completion_tokens_details: { reasoning_tokens: 3 },
    }
    expect(encode({}, { usage, service_tier: 'default' })).toEqual({
      id: 'c1',
      type: 'message',
      role: 'assistant',
      model: 'alias',
      content: [{ type: 'text', text: 'Hi' }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      usage: {
        input_tokens: 30,
        cache_creation_input_tokens: 10,
        cache_read_input_tokens: 60,
        output_tokens: 7,
        output_tokens_details: { thinking_tokens: 3 },
        service_tier: 'standard',
      },
    })
  })

  it('puts thinking first, then text, then calls with their input parsed', () => {
    const message = {
      role: 'assistant',
      content: 'Let me see.',
      reasoning_content: 'hm',
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":[1]}' } },
        { id: 'b', type: 'function', function: { name: 'g', arguments: '' } },
      ],
    }
    expect(encode({ message, finish_reason: 'tool_calls' })).toMatchObject({
      content: [
        { type: 'thinking', thinking: 'hm', signature: '' },
        { type: 'text', text: 'Let me see.' },
        { type: 'tool_use', id: 'a', name: 'f', input: { x: [1] } },
        { type: 'tool_use', id: 'b', name: 'g', input: {} },
      ],
      stop_reason: 'tool_use',
    })
  })

  it.each([
    ['stop', 'end_turn'],
    ['length', 'max_tokens'],
    ['content_filter', 'refusal'],
    ['function_call', 'tool_use'],
    ['novel', 'end_turn'],
  ])('says for %s that it stopped with %s', (finish, stop) => {
    expect(encode({ finish_reason: finish })['stop_reason']).toBe(stop)
  })

  it('keeps what an Anthropic provider said beyond the canonical fields', () => {
    const message = {
      role: 'assistant',
      content: 'Hi',
      thinking_blocks: [{ type: 'thinking' as const, thinking: 't', signature: 's' }],
      provider_specific_fields: {
        stop_reason: 'stop_sequence',
        stop_sequence: 'END',
        container: { id: 'c' },
        content_blocks: [{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }],
        citations: [[{ type: 'char_location' }]],
      },
    }
    expect(encode({ message })).toMatchObject({
      content: [
        { type: 'thinking', thinking: 't', signature: 's' },
        { type: 'server_tool_use' },
        { type: 'text', text: 'Hi', citations: [{ type: 'char_location' }] },
      ],
      stop_reason: 'stop_sequence',
      stop_sequence: 'END',
      container: { id: 'c' },
    })
  })

  it('shows a refusal as text', () => {
    const message = { role: 'assistant', content: null, refusal: 'No.' }
    expect(encode({ message, finish_reason: 'content_filter' })['content']).toEqual([{ type: 'text', text: 'No.' }])
  })

  it('never makes up the input of a call that cannot be read, unless the limit cut it off', () => {
    const call = (text: string) => ({
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: text } }],
    })
    for (const text of ['{"x":', '[1]', '"x"']) {
      expect(() => encode({ message: call(text), finish_reason: 'tool_calls' })).toThrow(GatewayError)
      expect(encode({ message: call(text), finish_reason: 'length' })).toMatchObject({
        content: [{ type: 'tool_use', input: {} }],
        stop_reason: 'max_tokens',
      })
    }
  })
})

describe('an error', () => {
  it.each([
    ['bad_request', 400, 'invalid_request_error'],
    ['no_credential', 401, 'authentication_error'],
    ['model_denied', 403, 'permission_error'],
    ['provider_not_found', 404, 'not_found_error'],
    ['provider_timeout', 408, 'timeout_error'],
    ['body_too_large', 413, 'request_too_large'],
    ['budget_exceeded', 429, 'rate_limit_error'],
    ['provider_error', 500, 'api_error'],
    ['provider_truncated', 502, 'api_error'],
    ['provider_overloaded', 529, 'overloaded_error'],
    ['no_router', 529, 'overloaded_error'],
  ] as const)('%s is %i %s', (code, status, type) => {
    const error = new GatewayError(code)
    expect(anthropic.statusOf?.(error)).toBe(status)
    expect(JSON.parse(anthropic.encodeError(error))).toEqual({ type: 'error', error: { type, message: error.message } })
  })
})
