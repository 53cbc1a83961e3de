import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import { decodeRequest } from '../dialects/anthropic/request.ts'
import { target } from './anthropic/encode.testkit.ts'
import { fileNames, haveRecordings } from './anthropic/recordings.testkit.ts'
import { providerOf } from './index.ts'
import { plainChat, restoreNames } from './plain-chat.ts'

const HELLO = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] }
const plain = (body: object) => plainChat(decodeRequest(body as Record<string, unknown>))
const data = (value: unknown) => JSON.parse(JSON.stringify(value)) as ChatRequest

describe('a request of an Anthropic client for a provider of another protocol', () => {
  it('holds nothing that only Anthropic knows', () => {
    const { request } = plain({
      ...HELLO,
      thinking: { type: 'enabled', budget_tokens: 2000 },
      top_k: 3,
      context_management: {},
      tools: [
        { type: 'web_search_20250305', name: 'web_search' },
        { name: 'f', input_schema: { type: 'object' }, defer_loading: true },
      ],
      tool_choice: { type: 'tool', name: 'web_search' },
    })
    expect(data(request)).toEqual({
      model: 'm',
      max_tokens: 10,
      messages: [{ role: 'user', content: 'Hello' }],
      reasoning_effort: 'low',
      drop_params: true,
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
    })
  })

  it('has no tool choice when no tool is left', () => {
    const { request } = plain({
      ...HELLO,
      tools: [{ type: 'bash_20250124', name: 'bash' }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
    })
    expect(Object.keys(request)).not.toEqual(expect.arrayContaining(['tools']))
    expect(request.tool_choice).toBeUndefined()
    expect(request.parallel_tool_calls).toBeUndefined()
  })

  it('is honoured where the client says what must not be dropped', () => {
    expect(plain({ ...HELLO, drop_params: false }).request['drop_params']).toBe(false)
  })

  it('has the text of documents and search results, and pictures of results in a user’s message behind all results', () => {
    const image = { type: 'image', source: { type: 'url', url: 'https://x/y.png' } }
    const { request } = plain({
      ...HELLO,
      messages: [
        {
          role: 'user',
          content: [{ type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'long' }, title: 'T' }],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: 's' },
            { type: 'text', text: 'I ' },
            { type: 'server_tool_use', id: 's', name: 'web_search', input: {} },
            { type: 'text', text: 'look.' },
            { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
            { type: 'tool_use', id: 'b', name: 'f', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'see' }, image], is_error: true },
            {
              type: 'tool_result',
              tool_use_id: 'b',
              content: [{ type: 'search_result', source: 'u', title: 't', content: [{ type: 'text', text: 'found' }] }],
            },
            { type: 'text', text: 'go on' },
          ],
        },
      ],
    })
    expect(data(request).messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'T\nlong' }] },
      {
        role: 'assistant',
        content: 'I look.',
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
          { id: 'b', type: 'function', function: { name: 'f', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'see' },
      { role: 'tool', tool_call_id: 'b', content: 't (u)\nfound' },
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'https://x/y.png' } },
          { type: 'text', text: 'go on' },
        ],
      },
    ])
  })

  it('has one message for one turn of the assistant: results follow their calls at once', () => {
    const { request } = plain({
      ...HELLO,
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: 'a', name: 'f', input: {} },
            { type: 'text', text: 'and' },
            { type: 'tool_use', id: 'b', name: 'f', input: {} },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: 'r' }] },
      ],
    })
    expect(request.messages.map(({ role, content, tool_calls: calls }) => [role, content, calls?.map(({ id }) => id)])).toEqual([
      ['assistant', 'and', ['a', 'b']],
      ['tool', 'r', undefined],
    ])
  })

  it('leaves turns out that hold nothing for others', () => {
    const { request } = plain({
      ...HELLO,
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: [{ type: 'redacted_thinking', data: 'd' }] },
        { role: 'user', content: [{ type: 'container_upload', file_id: 'f' }] },
      ],
    })
    expect(request.messages).toEqual([{ role: 'user', content: 'x' }])
  })

  it('never changes the canonical request', () => {
    const canonical = decodeRequest({
      ...HELLO,
      tools: [{ name: 'f', input_schema: {}, cache_control: { type: 'ephemeral' } }],
      top_k: 1,
    })
    const before = JSON.stringify(canonical)
    plainChat(canonical)
    expect(JSON.stringify(canonical)).toBe(before)
  })
})

describe('names of tools longer than others take', () => {
  const long = `mcp__${'x'.repeat(80)}`
  const tools = [
    { name: `${long}_one`, input_schema: { type: 'object' } },
    { name: `${long}_two`, input_schema: { type: 'object' } },
    { name: 'short', input_schema: { type: 'object' } },
  ]
  const { request, names } = plain({
    ...HELLO,
    tools,
    tool_choice: { type: 'tool', name: `${long}_two` },
    messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: `${long}_two`, input: {} }] }],
  })
  const sent = request.tools?.map((tool) => tool.function?.name ?? '') ?? []

  it('are shortened, each to its own, everywhere in the request', () => {
    expect(sent.every((name) => name.length <= 64)).toBe(true)
    expect(new Set(sent).size).toBe(3)
    expect(sent[2]).toBe('short')
    expect(request.tool_choice).toEqual({ type: 'function', function: { name: sent[1] } })
    expect(request.messages[0]?.tool_calls?.[0]?.function?.name).toBe(sent[1])
  })

  it('are put back into answers, whole and streamed', () => {
    const named = { id: 'a', type: 'function', function: { name: sent[1] as string, arguments: '{}' } }
    const whole = {
      choices: [{ index: 0, message: { role: 'assistant', content: null, tool_calls: [named] }, finish_reason: null }],
    }
    const piece = {
      choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { name: sent[0] } }] }, finish_reason: null }],
    }
    restoreNames(whole as unknown as ChatResponse, names as never)
    restoreNames(piece as unknown as ChatChunk, names as never)
    expect(whole.choices[0]?.message.tool_calls[0]?.function.name).toBe(`${long}_two`)
    expect(piece.choices[0]?.delta.tool_calls[0]?.function.name).toBe(`${long}_one`)
  })

  it('are left alone where all are short enough', () => {
    expect(plain({ ...HELLO, tools: [tools[2]] }).names).toBeNull()
  })
})

describe.skipIf(!haveRecordings())('recorded requests of Anthropic clients', () => {
  const folder = new URL('../../../shared/fixtures/translation/', import.meta.url)
  const files = fileNames('translation').filter((file) => file.includes('anthropic_to_chat-completions'))

  it('are there', () => {
    expect(files.length).toBeGreaterThanOrEqual(8)
  })

  it.each(files)('reach OpenAI in its own words: %s', (file) => {
    const { client_request: client } = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as {
      client_request: Record<string, unknown>
    }
    const { request } = plain(client)
    const encoded = providerOf('openai')?.chat?.encodeRequest(request, target({ provider: 'openai', model: 'gpt-5-nano' }))
    const body = JSON.parse(encoded?.body as string) as Record<string, unknown>
    expect(body['model']).toBe('gpt-5-nano')
    expect(body['max_completion_tokens']).toBe(client['max_tokens'])
    const known = [
      'model',
      'messages',
      'max_completion_tokens',
      'tools',
      'tool_choice',
      'parallel_tool_calls',
      'stream',
      'stream_options',
    ]
    expect([...known, 'reasoning_effort', 'response_format', 'temperature', 'user']).toEqual(
      expect.arrayContaining(Object.keys(body)),
    )
    for (const message of body['messages'] as Record<string, unknown>[]) {
      expect(['role', 'content', 'tool_calls', 'tool_call_id']).toEqual(expect.arrayContaining(Object.keys(message)))
      for (const part of Array.isArray(message['content']) ? message['content'] : [])
        expect(['text', 'image_url', 'file']).toContain(part.type)
    }
  })
})
