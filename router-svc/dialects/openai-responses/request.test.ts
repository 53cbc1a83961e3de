import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../../shared/errors.ts'
import { target } from '../../providers/anthropic/encode.testkit.ts'
import { providerOf } from '../../providers/index.ts'
import { plainResponses } from '../../providers/plain-responses.ts'
import { haveRecordings } from '../../providers/responses/recordings.testkit.ts'
import { validatorOf } from '../../providers/spec.testkit.ts'
import { fold } from './grammar.testkit.ts'
import { sealThinking } from './input.ts'
import { decodeRequest } from './request.ts'
import { encodeResponse } from './response.ts'
import { ResponseStreamEncoder } from './stream.ts'

type Fields = Record<string, unknown>

const decode = (fields: Fields) => decodeRequest({ model: 'm', input: 'hi', ...fields })
const plain = (fields: Fields, protocol: 'openai-chat' | 'anthropic' = 'openai-chat', at: Parameters<typeof target>[0] = {}) =>
  plainResponses(decode(fields) as Parameters<typeof plainResponses>[0], protocol, target(at))
const refusal = (make: () => unknown): string => {
  try {
    make()
  } catch (thrown) {
    const { code, param } = thrown as GatewayError
    return `${code} ${param}`
  }
  return 'none'
}

describe('a request of the Responses API as a chat', () => {
  it('says the input and the instructions', () => {
    expect(decode({ instructions: 'Be brief.' }).messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hi' },
    ])
  })

  it('has one assistant message of all the model said between two inputs', () => {
    const input = [
      { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'hm' }] },
      { type: 'message', id: 'msg_1', role: 'assistant', content: [{ type: 'output_text', text: 'a', annotations: [] }] },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'g', input: 'x' },
      { type: 'function_call_output', call_id: 'c1', output: 'one' },
      { type: 'custom_tool_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
      { type: 'web_search_call', id: 'ws', status: 'completed' },
      { role: 'assistant', content: 'done' },
    ]
    expect(decode({ input }).messages).toEqual([
      { role: 'user', content: 'hi' },
      {
        role: 'assistant',
        content: 'a',
        reasoning_content: 'hm',
        tool_calls: [
          { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: 'c2', type: 'custom', custom: { name: 'g', input: 'x' } },
        ],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'one' },
      { role: 'tool', tool_call_id: 'c2', content: 'two' },
      { role: 'assistant', content: 'done' },
    ])
  })

  it('gives a provider its signed thinking back', () => {
    const blocks = [{ type: 'thinking' as const, thinking: 'hm', signature: 's' }]
    const input = [{ type: 'reasoning', summary: [], encrypted_content: sealThinking(blocks) }]
    expect(decode({ input }).messages).toEqual([{ role: 'assistant', content: null, thinking_blocks: blocks }])
  })

  it('holds pictures, files and refusals', () => {
    const content = [
      { type: 'input_image', image_url: 'https://x.test/a.png', detail: 'low' },
      { type: 'input_image', file_id: 'file-1' },
      { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' },
      { type: 'input_file', file_url: 'https://x.test/a.pdf' },
    ]
    const refused = { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }
    expect(decode({ input: [{ role: 'user', content }, refused] }).messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'https://x.test/a.png', detail: 'low' } },
          { type: 'file', file: { file_id: 'file-1', format: 'image/*' } },
          { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' } },
          { type: 'file', file: { file_id: 'https://x.test/a.pdf' } },
        ],
      },
      { role: 'assistant', content: null, refusal: 'no' },
    ])
  })

  it('names limits, formats, effort and probabilities as chat does', () => {
    const format = { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true }
    expect(
      decode({
        max_output_tokens: 5,
        reasoning: { effort: 'low', summary: 'auto' },
        text: { format, verbosity: 'low' },
        include: ['message.output_text.logprobs'],
        top_logprobs: 2,
      }),
    ).toMatchObject({
      max_tokens: 5,
      reasoning_effort: 'low',
      verbosity: 'low',
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' }, strict: true } },
      logprobs: true,
      top_logprobs: 2,
    })
    expect(decode({ text: { format: { type: 'text' } } })).not.toHaveProperty('response_format')
  })

  it('nests tools and choices, and searches the web by chat’s option', () => {
    const tools = [
      { type: 'function', name: 'f', parameters: { type: 'object' }, strict: null },
      { type: 'custom', name: 'g', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
      { type: 'web_search_preview', search_context_size: 'low', user_location: { type: 'approximate', country: 'DE' } },
    ]
    expect(decode({ tools, tool_choice: { type: 'function', name: 'f' } })).toMatchObject({
      tools: [
        { type: 'function', function: { name: 'f', parameters: { type: 'object' } } },
        { type: 'custom', custom: { name: 'g', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'x' } } } },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      web_search_options: { search_context_size: 'low', user_location: { type: 'approximate', approximate: { country: 'DE' } } },
    })
    const narrowed = decode({
      tools,
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'custom', name: 'g' }] },
    })
    expect(narrowed.tools).toHaveLength(1)
    expect(narrowed.tool_choice).toBe('required')
    expect(narrowed).not.toHaveProperty('web_search_options')
  })

  it.each([
    [{ input: 5 }, 'input'],
    [{ input: undefined }, 'input'],
    [{ input: [{ role: 'user', content: [{ type: 'input_text' }] }] }, 'input[0].content[0].text'],
    [{ input: [{ type: 'function_call', call_id: 'c', name: 'f' }] }, 'input[0].arguments'],
    [{ input: [{ type: 'function_call_output', call_id: '', output: 'x' }] }, 'input[0].call_id'],
    [{ tools: [{ type: 'function' }] }, 'tools[0].name'],
    [{ text: { format: { type: 'json_schema', schema: {} } } }, 'text.format.name'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
    [{ previous_response_id: 5 }, 'previous_response_id'],
  ])('is refused at its place: %j', (fields, param) => {
    expect(refusal(() => decode(fields))).toBe(`bad_request ${param}`)
  })

  it('may leave the input to what it goes on from', () => {
    expect(decode({ input: undefined, previous_response_id: 'resp_1' }).messages).toEqual([])
  })
})

describe('a request of the Responses API for a provider of another protocol', () => {
  it('is refused what only hosted tools and stores can do, by name', () => {
    expect(refusal(() => plain({ tools: [{ type: 'mcp', server_label: 'x' }] }))).toBe('unsupported_parameter tools[0]')
    expect(refusal(() => plain({ conversation: 'conv_1' }))).toBe('unsupported_parameter conversation')
    expect(refusal(() => plain({ input: [{ type: 'item_reference', id: 'x' }] }))).toBe('unsupported_parameter input[0]')
    const output = [{ type: 'computer_call_output', call_id: 'c', output: {} }]
    expect(refusal(() => plain({ input: output }))).toBe('unsupported_parameter input[0]')
  })

  it('goes without them where that may be dropped', () => {
    const tools = [
      { type: 'mcp', server_label: 'x' },
      { type: 'function', name: 'f' },
    ]
    expect(plain({ tools, conversation: 'c' }, 'openai-chat', { dropParams: true }).tools).toHaveLength(1)
    expect(plain({ tools: tools.slice(0, 1), drop_params: true })).not.toHaveProperty('tools')
  })

  it('has custom tools as functions of one text where there are only functions, and gets them back as they were', () => {
    const fields = {
      tools: [{ type: 'custom', name: 'patch', description: 'Patches.' }],
      tool_choice: { type: 'custom', name: 'patch' },
      input: [{ type: 'custom_tool_call', call_id: 'c', name: 'patch', input: 'a"b' }],
    }
    const request = plain(fields, 'anthropic')
    expect(request.tools?.[0]?.function).toMatchObject({ name: 'patch', parameters: { required: ['input'] } })
    expect(request.tool_choice).toEqual({ type: 'function', function: { name: 'patch' } })
    const call = { id: 'c', type: 'function', function: { name: 'patch', arguments: '{"input":"a\\"b"}' } }
    expect(request.messages[0]?.tool_calls).toEqual([call])
    const chat = { id: 'x', object: 'chat.completion' as const, created: 1, model: 'm' }
    const message = { role: 'assistant', content: null, tool_calls: [call] }
    const answer = encodeResponse(
      { ...chat, choices: [{ index: 0, message, finish_reason: 'tool_calls' }] },
      'm',
      request.responses,
    )
    expect(answer.output).toEqual([
      expect.objectContaining({ type: 'custom_tool_call', call_id: 'c', name: 'patch', input: 'a"b' }),
    ])
    const encoder = new ResponseStreamEncoder({
      model: 'm',
      responses: request.responses as NonNullable<typeof request.responses>,
    })
    const delta = (tool: object) => ({
      ...chat,
      object: 'chat.completion.chunk' as const,
      choices: [{ index: 0, delta: { tool_calls: [{ index: 0, ...tool }] }, finish_reason: null }],
    })
    const text =
      encoder.push(delta({ id: 'c', function: { name: 'patch', arguments: '{"input":"a' } })) +
      encoder.push(delta({ function: { arguments: '\\"b"}' } })) +
      encoder.end()
    expect(fold(text).items).toMatchObject([{ type: 'custom_tool_call', input: 'a"b' }])
  })

  it('shows pictures of a tool’s result as the user', () => {
    const output = [
      { type: 'input_text', text: 'see' },
      { type: 'input_image', image_url: 'https://x.test/a.png' },
    ]
    expect(plain({ input: [{ type: 'function_call_output', call_id: 'c', output }] }).messages).toEqual([
      { role: 'tool', tool_call_id: 'c', content: 'see' },
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x.test/a.png' } }] },
    ])
  })
})

describe.skipIf(!haveRecordings())('translations others recorded for Responses clients', () => {
  const folder = new URL('../../../../shared/fixtures/translation/', import.meta.url)
  const pairs = haveRecordings()
    ? readdirSync(folder)
        .filter((file) => file.endsWith('.json'))
        .map((file) => ({ file, ...(JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Fields) }) as Fields)
        .filter((pair) => pair['client_format'] === 'responses')
    : []
  const isResponse = validatorOf('openai', 'Response')

  it('are there', () => {
    expect(pairs.length).toBeGreaterThanOrEqual(10)
  })

  it.each(pairs.map((pair) => [String(pair['file']), pair] as const))('come out as responses: %s', (_, pair) => {
    const provider = providerOf(pair['provider_format'] === 'anthropic' ? 'anthropic' : 'gemini')
    const adapter = provider?.chat
    if (adapter === undefined) throw new Error('no adapter')
    const at = target({
      base: 'https://x.test',
      model: pair['provider_format'] === 'anthropic' ? 'claude-sonnet-4-5' : 'gemini-2.5-flash',
      dropParams: true,
    })
    const decoded = decodeRequest({ ...(pair['client_request'] as Fields) })
    const request = plainResponses(decoded as Parameters<typeof plainResponses>[0], adapter.protocol, at)
    const sent = adapter.encodeRequest(request, at)
    expect(JSON.parse(String(sent.body))).toBeTypeOf('object')
    const context = { id: 'chatcmpl-1', created: 1, model: 'm', request: request as unknown as Fields }
    const { responses } = request
    if (pair['provider_response'] !== undefined) {
      const chat = adapter.decodeResponse(Buffer.from(JSON.stringify(pair['provider_response'])), {}, context)
      const answer = encodeResponse(chat, 'alias', responses)
      expect(isResponse(answer)).toEqual([])
      expect(answer.output.length).toBeGreaterThan(0)
      return
    }
    const decoder = adapter.decodeStream?.(context)
    const encoder = new ResponseStreamEncoder({ model: 'alias', responses: responses as NonNullable<typeof responses> })
    let text = ''
    for (const event of pair['provider_response_streaming'] as Fields[])
      for (const chunk of decoder?.push({ event: String(event['type'] ?? ''), data: JSON.stringify(event) }) ?? [])
        text += encoder.push(chunk)
    for (const chunk of decoder?.end() ?? []) text += encoder.push(chunk)
    const folded = fold(text + encoder.end())
    expect(folded.end).toMatch(/^(completed|incomplete)$/)
    expect(isResponse(folded.response)).toEqual([])
  })
})
