import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import type { Target } from '../provider.ts'
import { target } from './encode.testkit.ts'
import { encodeChat } from './request.ts'

const HELLO = [{ role: 'user', content: 'Hello' }]
const TOOLS = ['first', 'second'].map((name) => ({ type: 'function', function: { name, parameters: { type: 'object' } } }))

function encode(request: Partial<ChatRequest>, changes: Partial<Target> = {}): Fields {
  return JSON.parse(encodeChat({ model: 'alias', messages: HELLO, ...request }, target(changes)).body as string)
}

function refused(request: Partial<ChatRequest>, changes: Partial<Target> = {}): GatewayError {
  try {
    encode(request, changes)
  } catch (error) {
    if (error instanceof GatewayError) return error
  }
  throw new Error('was not refused')
}

describe('a chat for Cohere', () => {
  it('goes to the second version, however the operator wrote the base', () => {
    for (const rest of ['', '/v1', '/v2', '/v2/chat', '/v1/chat', '/v2/embed']) {
      const { url } = encodeChat({ model: 'alias', messages: HELLO }, target({ base: `http://proxy:8080/cohere${rest}` }))
      expect(url).toBe('http://proxy:8080/cohere/v2/chat')
    }
  })

  it('has its own names for OpenAI’s parameters, and keeps the ones that are its own', () => {
    const asked = {
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 5,
      max_completion_tokens: 7,
      top_p: 0.5,
      top_k: 3,
      stop: 'END',
      seed: 1,
      temperature: 0.2,
      frequency_penalty: 0.1,
      logprobs: true,
      documents: ['one', { id: 'two', data: { text: 'x' } }],
      citation_options: { mode: 'FAST' },
      safety_mode: 'OFF',
      user: 'somebody',
      metadata: { tags: ['a'] },
      presence_penalty: null,
      extra_body: { k: 9 },
    }
    expect(encode(asked)).toEqual({
      model: 'command-a-03-2025',
      messages: HELLO,
      stream: true,
      max_tokens: 7,
      p: 0.5,
      k: 9,
      stop_sequences: ['END'],
      seed: 1,
      temperature: 0.2,
      frequency_penalty: 0.1,
      logprobs: true,
      documents: asked.documents,
      citation_options: { mode: 'FAST' },
      safety_mode: 'OFF',
    })
  })

  it('does not change the request', () => {
    const request = { model: 'alias', messages: HELLO, tools: TOOLS, stop: 'x', extra_body: { k: 1 } }
    const before = structuredClone(request)
    encodeChat(request, target())
    expect(request).toEqual(before)
  })

  it('names every parameter it cannot honour, unless they ask for nothing', () => {
    const error = refused({ n: 2, logit_bias: { 5: 1 }, parallel_tool_calls: false, top_logprobs: 3 })
    expect(error).toMatchObject({ code: 'unsupported_parameter', param: 'n' })
    expect(error.message).toContain("['n', 'logit_bias', 'parallel_tool_calls', 'top_logprobs']")
    const nothing = { n: 1, logit_bias: {}, parallel_tool_calls: true, top_logprobs: 0, modalities: ['text'] }
    expect(Object.keys(encode(nothing))).toEqual(['model', 'messages'])
  })

  it('leaves them out where they may be dropped, and sends the ones that are allowed', () => {
    expect(encode({ n: 2 }, { dropParams: true })).not.toHaveProperty('n')
    expect(encode({ n: 2, drop_params: true })).not.toHaveProperty('n')
    expect(encode({ n: 2 }, { allowedOpenaiParams: ['n'] })).toMatchObject({ n: 2 })
    expect(encode({ seed: 2 }, { additionalDropParams: ['seed'] })).not.toHaveProperty('seed')
  })

  it('sends no choice for auto, and one tool alone for that tool', () => {
    const names = (body: Fields) => (body['tools'] as typeof TOOLS).map((tool) => tool.function.name)
    expect(encode({ tools: TOOLS, tool_choice: 'auto' })).not.toHaveProperty('tool_choice')
    expect(encode({ tools: TOOLS, tool_choice: 'none' })).toMatchObject({ tool_choice: 'NONE' })
    expect(encode({ tools: TOOLS, tool_choice: 'required' })).toMatchObject({ tool_choice: 'REQUIRED' })
    const one = encode({ tools: TOOLS, tool_choice: { type: 'function', function: { name: 'second' } } })
    expect([one['tool_choice'], names(one)]).toEqual(['REQUIRED', ['second']])
    expect(refused({ tools: TOOLS, tool_choice: { type: 'function', function: { name: 'third' } } })).toMatchObject({
      code: 'bad_request',
      param: 'tool_choice',
    })
  })

  it('says that tools are strict when all of them are, and refuses tools that are no functions', () => {
    const strict = TOOLS.map(({ function: definition }) => ({ type: 'function', function: { ...definition, strict: true } }))
    expect(encode({ tools: strict })).toMatchObject({ strict_tools: true, tools: TOOLS })
    expect(encode({ tools: [...strict, ...TOOLS] })).not.toHaveProperty('strict_tools')
    const bare = encode({ tools: [{ type: 'function', function: { name: 'bare' } }] })
    expect(bare['tools']).toEqual([
      { type: 'function', function: { name: 'bare', parameters: { type: 'object', properties: {} } } },
    ])
    expect(refused({ tools: [...TOOLS, { type: 'web_search' }] })).toMatchObject({
      code: 'unsupported_parameter',
      param: 'tools',
    })
  })

  it('puts a schema directly under its format', () => {
    const schema = { type: 'object', properties: {} }
    expect(
      encode({ response_format: { type: 'json_schema', json_schema: { name: 'out', schema, strict: true } } }),
    ).toMatchObject({
      response_format: { type: 'json_object', json_schema: schema },
    })
    expect(encode({ response_format: { type: 'json_object' } })['response_format']).toEqual({ type: 'json_object' })
  })

  it('thinks as much as was wished', () => {
    const cases: [Partial<ChatRequest>, unknown][] = [
      [{ reasoning_effort: 'none' }, { type: 'disabled' }],
      [{ reasoning_effort: 'high' }, { type: 'enabled', token_budget: 4096 }],
      [{ reasoning_effort: 'max' }, { type: 'enabled' }],
      [{ thinking: { type: 'enabled', budget_tokens: 500 } }, { type: 'enabled', token_budget: 500 }],
      [{ thinking: { type: 'disabled' }, reasoning_effort: 'high' }, { type: 'disabled' }],
      [{}, undefined],
    ]
    for (const [request, thinking] of cases) expect(encode(request)['thinking']).toEqual(thinking)
    expect(refused({ reasoning_effort: 'constructor' })).toMatchObject({ code: 'bad_request', param: 'reasoning_effort' })
  })
})

describe('messages for Cohere', () => {
  it('keep roles, text and images, and lose other vendors’ marks', () => {
    const mark = { cache_control: { type: 'ephemeral' as const } }
    const messages = [
      { role: 'developer', content: [{ type: 'text', text: 'Be brief.', ...mark }] },
      {
        role: 'user',
        name: 'ann',
        content: [
          { type: 'text', text: 'What?' },
          { type: 'image_url', image_url: 'https://x/y.png' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low', format: 'image/png' }, ...mark },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'text', text: 'That.' },
        ],
        reasoning_content: 'hm',
      },
    ]
    expect(encode({ messages })['messages']).toEqual([
      { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What?' },
          { type: 'image_url', image_url: { url: 'https://x/y.png' } },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'text', text: 'That.' },
        ],
      },
    ])
  })

  it('have a plan in place of content beside calls', () => {
    const call = { id: 'c1', type: 'function', function: { name: 'first', arguments: '' } }
    const messages = [
      { role: 'assistant', content: 'I will look.', tool_calls: [call] },
      {
        role: 'tool',
        tool_call_id: 'c1',
        content: [
          { type: 'text', text: 'found' },
          { type: 'document', document: { data: 'x' } },
        ],
      },
      { role: 'assistant', content: null, tool_calls: [call] },
    ]
    const called = [{ ...call, function: { name: 'first', arguments: '{}' } }]
    expect(encode({ messages })['messages']).toEqual([
      { role: 'assistant', tool_plan: 'I will look.', tool_calls: called },
      {
        role: 'tool',
        tool_call_id: 'c1',
        content: [
          { type: 'text', text: 'found' },
          { type: 'document', document: { data: 'x' } },
        ],
      },
      { role: 'assistant', tool_calls: called },
    ])
  })

  it('that cannot be carried are named by their place', () => {
    const audio = { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } }
    expect(refused({ messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, audio] }] })).toMatchObject({
      code: 'bad_request',
      param: 'messages[0].content[1]',
    })
    expect(refused({ messages: [{ role: 'narrator', content: 'a' }] }).param).toBe('messages[0].role')
    expect(refused({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} as never }] }] }).param).toBe(
      'messages[0].content[0].image_url.url',
    )
  })
})
