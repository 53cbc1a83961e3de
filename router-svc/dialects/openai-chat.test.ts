import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatDelta } from '../canonical/chat.ts'
import { openaiChat } from './openai-chat.ts'

const HELLO = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] }

function refusal(body: object): GatewayError {
  try {
    openaiChat.decodeRequest(body as Record<string, unknown>)
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('accepted')
}

describe('a chat request', () => {
  it('is what the client sent, unknown fields and all', () => {
    const body = {
      ...HELLO,
      top_k: 3,
      temperature: null,
      messages: [
        { role: 'critic', content: 'x', odd: 1 },
        { role: 'assistant', content: null },
      ],
    }
    expect(openaiChat.decodeRequest(body)).toBe(body)
  })

  it('may hold every kind of message', () => {
    const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }
    const messages = [
      { role: 'system', content: 's' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'image_url', image_url: { url: 'u' } },
          { type: 'image_url', image_url: 'u' },
          { type: 'input_audio', input_audio: {} },
          { type: 'file', file: {} },
          { type: 'novel' },
        ],
      },
      { role: 'assistant', tool_calls: [call, { id: 'b', type: 'custom', custom: { name: 'g', input: 'x' } }] },
      { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'r' }] },
    ]
    expect(() => openaiChat.decodeRequest({ model: 'm', messages })).not.toThrow()
  })

  const user = (content: unknown) => ({
    model: 'm',
    messages: [
      { role: 'system', content: 's' },
      { role: 'user', content },
    ],
  })
  it.each([
    [{}, 'model'],
    [{ ...HELLO, model: '' }, 'model'],
    [{ model: 'm' }, 'messages'],
    [{ model: 'm', messages: [] }, 'messages'],
    [{ model: 'm', messages: ['hi'] }, 'messages[0]'],
    [{ model: 'm', messages: [...HELLO.messages, { content: 'x' }] }, 'messages[1].role'],
    [user(undefined), 'messages[1].content'],
    [user(null), 'messages[1].content'],
    [user(5), 'messages[1].content'],
    [user([{ text: 'x' }]), 'messages[1].content[0].type'],
    [user([{ type: 'text' }]), 'messages[1].content[0].text'],
    [
      user([
        { type: 'text', text: 'x' },
        { type: 'image_url', image_url: {} },
      ]),
      'messages[1].content[1].image_url.url',
    ],
    [{ model: 'm', messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id'],
    [
      { model: 'm', messages: [{ role: 'assistant', tool_calls: [{ id: 'a', function: { name: 'f', arguments: {} } }] }] },
      'messages[0].tool_calls[0].function.arguments',
    ],
    [{ model: 'm', messages: [{ role: 'assistant', tool_calls: [{ function: {} }] }] }, 'messages[0].tool_calls[0].id'],
    [{ ...HELLO, stream: 'yes' }, 'stream'],
    [{ ...HELLO, temperature: '1' }, 'temperature'],
    [{ ...HELLO, max_tokens: 0 }, 'max_tokens'],
    [{ ...HELLO, n: 1.5 }, 'n'],
    [{ ...HELLO, stop: [1] }, 'stop'],
    [{ ...HELLO, tools: [{ type: 'function', function: {} }] }, 'tools[0].function.name'],
    [{ ...HELLO, tools: [{ function: { name: 'f' } }] }, 'tools[0].type'],
    [{ ...HELLO, tools: {} }, 'tools'],
    [{ ...HELLO, response_format: { schema: {} } }, 'response_format.type'],
  ])('is refused at the place that is wrong: %j', (body, place) => {
    const error = refusal(body)
    expect(error).toMatchObject({ code: 'bad_request', status: 400, param: place })
    expect(error.message).toContain(`'${place}'`)
  })

  it('does not repeat a wrong value in its refusal', () => {
    expect(refusal({ ...HELLO, user: { secret: 'sk-12345' } }).message).not.toContain('sk-12345')
  })
})

const chunk = (delta: ChatDelta, reason: string | null = null, index = 0): ChatChunk => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'upstream',
  choices: [{ index, delta, finish_reason: reason }],
})
const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }

function encode(chunks: ChatChunk[], includeUsage = false): { events: ChatChunk[]; text: string } {
  const encoder = openaiChat.encodeStream({ model: 'alias', includeUsage })
  const text = chunks.map((one) => encoder.push(one)).join('') + encoder.end()
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  const events = text
    .split('\n\n')
    .slice(0, -2)
    .map((event) => JSON.parse(event.slice('data: '.length)) as ChatChunk)
  return { events, text }
}

describe('a chat stream', () => {
  it('says the role in the first chunk only and finishes in a chunk of its own', () => {
    const { events } = encode([chunk({ content: 'a' }), chunk({ role: 'assistant', content: 'b' }, 'stop')])
    expect(events.map((event) => [event.choices[0]?.delta, event.choices[0]?.finish_reason])).toEqual([
      [{ role: 'assistant', content: 'a' }, null],
      [{ content: 'b' }, null],
      [{}, 'stop'],
    ])
  })

  it('carries the client’s model name everywhere', () => {
    for (const event of encode([chunk({ content: 'a' }), { ...chunk({}, 'stop'), usage }], true).events)
      expect(event.model).toBe('alias')
  })

  it('leaves deltas out that say nothing', () => {
    expect(
      encode([chunk({ content: 'a' }), chunk({ content: '' }), chunk({}), chunk({ tool_calls: [] }), chunk({}, 'stop')]).events,
    ).toHaveLength(2)
  })

  it('begins every choice with a role, even an empty answer', () => {
    const { events } = encode([chunk({}, 'stop'), chunk({ content: 'x' }, null, 1), chunk({}, 'stop', 1)])
    expect(events[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' })
    expect(events[2]?.choices[0]).toMatchObject({ index: 1, delta: { role: 'assistant', content: 'x' } })
  })

  it('tells usage once, last, and only when asked', () => {
    const chunks = [
      chunk({ content: 'a' }),
      { ...chunk({}, 'stop'), usage },
      { ...chunk({}), choices: [], usage: { ...usage, total_tokens: 4 } },
    ]
    const asked = encode(chunks, true).events
    expect(asked.filter((event) => event.usage !== undefined)).toEqual([asked.at(-1)])
    expect(asked.at(-1)).toMatchObject({ id: 'c', choices: [], usage: { total_tokens: 4 } })
    expect(encode(chunks).text).not.toContain('usage')
  })

  it('keeps tool calls, reasoning, logprobs and fields we do not know', () => {
    const tool = { tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }] }
    const first = { ...chunk(tool), citations: ['x'], service_tier: 'default' }
    first.choices[0] = { ...first.choices[0], logprobs: { content: [] } } as never
    const { events } = encode([first, chunk({ reasoning_content: 'hm' }), chunk({}, 'tool_calls')])
    expect(events[0]).toMatchObject({
      citations: ['x'],
      service_tier: 'default',
      choices: [{ delta: { role: 'assistant', ...tool }, logprobs: { content: [] } }],
    })
    expect(events[1]?.choices[0]?.delta).toEqual({ reasoning_content: 'hm' })
  })

  it('ends in an error event without a terminator', () => {
    const encoder = openaiChat.encodeStream({ model: 'alias', includeUsage: true })
    encoder.push(chunk({ content: 'a' }))
    const text = encoder.error(new GatewayError('provider_truncated', 'cut', { providerCode: 'x' }))
    expect(text).not.toContain('[DONE]')
    expect(JSON.parse(text.slice('data: '.length))).toEqual({
      error: { message: 'cut', type: 'server_error', param: null, code: '502', provider_specific_fields: { code: 'x' } },
    })
  })
})

describe('a whole chat answer', () => {
  it('carries the client’s model name and is otherwise what it was', () => {
    const response = { id: 'c', object: 'chat.completion' as const, created: 1, model: 'upstream', choices: [], usage, odd: 1 }
    expect(JSON.parse(openaiChat.encodeResponse(response, 'alias'))).toEqual({ ...response, model: 'alias' })
  })

  it('as an error is OpenAI’s envelope, the code being the status', () => {
    expect(JSON.parse(openaiChat.encodeError(new GatewayError('rate_limited')))).toMatchObject({
      error: { code: '429', type: 'rate_limit_error' },
    })
  })
})
