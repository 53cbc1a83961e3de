import { describe, expect, it } from 'vitest'
import { encode, spelled } from '../../providers/anthropic/encode.testkit.ts'
import { fileNames, haveRecordings, type Recording, recordings } from '../../providers/anthropic/recordings.testkit.ts'
import type { Fields } from '../../providers/anthropic/wire.ts'
import { decodeRequest } from './request.ts'

/** What a provider of Anthropic's protocol gets of a request of its own client that went through the canonical form. */
function around(request: Fields): Fields {
  const changes = { model: String(request['model']), allowedOpenaiParams: ['temperature', 'top_k', 'top_p'] }
  return encode(decodeRequest(request), changes)
}

describe.skipIf(!haveRecordings())('requests Anthropic’s service accepted', () => {
  const accepted = fileNames('anthropic')
    .flatMap((file) => recordings('anthropic', file))
    .filter((recording): recording is Recording & { request: Fields } => recording.request !== null && recording.status === 200)

  it('are there', () => {
    expect(accepted.length).toBeGreaterThanOrEqual(60)
  })

  for (const [index, { file, request }] of accepted.entries()) {
    it(`are the same after the canonical form: ${file} (${index})`, () => {
      expect(spelled(around(request))).toEqual(spelled(request))
    })
  }
})

describe('a request through the canonical form', () => {
  const base = { model: 'claude-sonnet-4-5', max_tokens: 100 }
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } }
  const everything = {
    ...base,
    system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral', ttl: '1h' } }],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'u' },
          { ...image, cache_control: { type: 'ephemeral' } },
          { type: 'image', source: { type: 'url', url: 'https://x/y.png' } },
          { type: 'image', source: { type: 'file', file_id: 'file_1' } },
          { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BB==' }, title: 'T', context: 'c' },
          { type: 'document', source: { type: 'url', url: 'https://x/y.pdf' }, citations: { enabled: true } },
          { type: 'document', source: { type: 'file', file_id: 'file_2' } },
          { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'plain' }, title: 'P' },
          { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'part' }] } },
          { type: 'search_result', source: 'https://x', title: 't', content: [{ type: 'text', text: 'found' }] },
          { type: 'novel_block', field: 1 },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 's' },
          { type: 'redacted_thinking', data: 'd' },
          { type: 'server_tool_use', id: 'srv', name: 'web_search', input: { query: 'q' } },
          { type: 'web_search_tool_result', tool_use_id: 'srv', content: [] },
          { type: 'text', text: 'Look.', citations: [{ type: 'char_location' }] },
          { type: 'tool_use', id: 'a', name: 'f', input: { x: { y: [1, 'é"\\'] } }, cache_control: { type: 'ephemeral' } },
          { type: 'thinking', thinking: 'again', signature: 's2' },
          { type: 'tool_use', id: 'b', name: 'g', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'r' }, image], is_error: true },
          { type: 'tool_result', tool_use_id: 'b', content: 'plain', cache_control: { type: 'ephemeral' } },
          { type: 'text', text: 'go on' },
        ],
      },
    ],
    tools: [
      { name: 'f', description: 'd', input_schema: { type: 'object', properties: {} }, cache_control: { type: 'ephemeral' } },
      { name: 'g', input_schema: { type: 'object' }, input_examples: [{}], defer_loading: true },
      { type: 'web_search_20250305', name: 'web_search', max_uses: 3 },
    ],
    tool_choice: { type: 'tool', name: 'f', disable_parallel_tool_use: true },
    stop_sequences: ['END'],
    temperature: 0.3,
    top_k: 10,
    stream: true,
    metadata: { user_id: 'opaque-1' },
    service_tier: 'standard_only',
    container: 'c1',
    mcp_servers: [{ type: 'url', url: 'https://m', name: 'm' }],
    context_management: { edits: [] },
    novel_field: { a: 1 },
  }

  it('loses nothing that the protocol knows, nor what it may know one day', () => {
    expect(spelled(around(everything))).toEqual(spelled(everything))
  })

  it.each([
    ['auto', { type: 'auto' }],
    ['any', { type: 'any', disable_parallel_tool_use: true }],
    ['none', { type: 'none' }],
  ])('keeps the choice %s', (_name, tool_choice) => {
    const request = { ...base, messages: [{ role: 'user', content: 'x' }], tools: everything.tools, tool_choice }
    expect(around(request)['tool_choice']).toEqual(tool_choice)
  })

  it.each([
    [{ thinking: { type: 'enabled', budget_tokens: 50 }, model: 'claude-sonnet-4-5' }],
    [{ thinking: { type: 'adaptive' }, output_config: { effort: 'max' }, model: 'claude-opus-4-6' }],
    [{ thinking: { type: 'disabled' }, model: 'claude-sonnet-4-5' }],
    [{ output_config: { effort: 'low' }, model: 'claude-opus-4-6' }],
    [{ output_config: { format: { type: 'json_schema', schema: { type: 'object' } } }, model: 'claude-sonnet-4-5' }],
    [{ output_format: { type: 'json_schema', schema: { type: 'object', minProperties: 1 } }, model: 'claude-sonnet-4-5' }],
  ])('keeps how the model shall think and answer: %j', (fields) => {
    const request = { ...base, messages: [{ role: 'user', content: 'x' }], ...fields }
    expect(spelled(around(request))).toEqual(spelled(request))
  })

  // The differences there are, each for a reason.
  it('leaves out what the service refuses or reads as nothing: blank text, a trailing blank of a prefill, thinking without signature', () => {
    const sent = around({
      ...base,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: ' ' },
            { type: 'text', text: 'x' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'another provider’s', signature: '' },
            { type: 'text', text: 'So ' },
          ],
        },
      ],
    })
    expect(sent['messages']).toEqual([
      { role: 'user', content: 'x' },
      { role: 'assistant', content: 'So' },
    ])
  })

  it('puts results first in their turn, as the service demands', () => {
    const sent = around({
      ...base,
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'f', input: {} }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'before' },
            { type: 'tool_result', tool_use_id: 'a', content: 'r' },
          ],
        },
      ],
    })
    expect((sent['messages'] as Fields[])[2]?.['content']).toEqual([
      { type: 'tool_result', tool_use_id: 'a', content: 'r' },
      { type: 'text', text: 'before' },
    ])
  })

  it('is not to be replaced from inside: what limits and guardrails have seen is what is sent', () => {
    const anthropic = { messages: [{ role: 'user', content: 'other' }], max_tokens: 9999, top_k: 3 }
    const fields = { ...base, messages: [{ role: 'user', content: 'x' }] }
    expect(around({ ...fields, anthropic })).toEqual(fields)
    expect(encode({ ...(fields as object), anthropic })).toMatchObject({ messages: fields.messages, max_tokens: 100, top_k: 3 })
  })

  it('keeps gateway fields inside', () => {
    const sent = around({
      ...base,
      messages: [{ role: 'user', content: 'x' }],
      tags: ['a'],
      num_retries: 1,
      litellm_metadata: { a: 1 },
    })
    expect(Object.keys(sent).sort()).toEqual(['max_tokens', 'messages', 'model'])
  })
})
