import { describe, expect, it } from 'vitest'
import type { ChatResponse } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import { type Decoded, decodePieces } from '../provider.suite.ts'
import { ADAPTER } from './encode.testkit.ts'
import { fold } from './fold.testkit.ts'
import { framed } from './recordings.testkit.ts'

const CONTEXT = { id: 'made-up', created: 7, model: 'sent', request: {} }

function response(fields: Fields): Fields {
  return {
    id: 'resp_1',
    object: 'response',
    created_at: 5.5,
    status: 'completed',
    model: 'm',
    error: null,
    output: [],
    ...fields,
  }
}

function decode(fields: Fields): ChatResponse {
  return ADAPTER.decodeResponse(Buffer.from(JSON.stringify(response(fields))), {}, CONTEXT)
}

function stream(events: Fields[]): Decoded<Parameters<typeof fold>[0][number]> {
  const decoder = ADAPTER.decodeStream?.(CONTEXT)
  if (decoder === undefined) throw new Error('no stream')
  return decodePieces(decoder, [Buffer.from(framed(events))])
}

const said = (text: string, more: Fields = {}) => ({
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text, annotations: [], ...more }],
})
const called = (id: string, more: Fields = {}) => ({
  type: 'function_call',
  id: `fc_${id}`,
  call_id: id,
  name: 'f',
  arguments: '{}',
  ...more,
})
const completed = (fields: Fields = {}) => ({ type: 'response.completed', response: response(fields) })
const delta = (type: string, fields: Fields) => ({
  type: `response.${type}`,
  output_index: 0,
  content_index: 0,
  item_id: 'x',
  ...fields,
})

describe('a whole response as a chat', () => {
  it('has text, refusal, reasoning, logprobs, citations and usage each in its place', () => {
    const logprobs = [{ token: 'a', logprob: -1, bytes: [97], top_logprobs: [] }]
    const cite = { type: 'url_citation', url: 'https://x.test', title: 't', start_index: 0, end_index: 2 }
    const file = { type: 'file_citation', file_id: 'f', filename: 'n', index: 0 }
    const chat = decode({
      service_tier: 'flex',
      output: [
        {
          type: 'reasoning',
          id: 'rs',
          summary: [
            { type: 'summary_text', text: 'A' },
            { type: 'summary_text', text: 'B' },
          ],
        },
        { type: 'reasoning', id: 'rs2', summary: [], content: [{ type: 'reasoning_text', text: 'C' }] },
        { type: 'web_search_call', id: 'ws', status: 'completed', action: { type: 'search', query: 'q' } },
        { type: 'web_search_call', id: 'ws2', status: 'completed', action: { type: 'open_page', url: 'u' } },
        said('One', { logprobs }),
        said('Two', { annotations: [cite, file] }),
      ],
      usage: {
        input_tokens: 10,
        input_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
        output_tokens: 5,
        output_tokens_details: { reasoning_tokens: 2 },
        total_tokens: 15,
        cost_in_usd_ticks: 9,
      },
    })
    expect(chat).toMatchObject({ id: 'resp_1', object: 'chat.completion', created: 5, model: 'm', service_tier: 'flex' })
    expect(chat.usage).toEqual({
      prompt_tokens: 10,
      prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
      completion_tokens: 5,
      completion_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 15,
      cost_in_usd_ticks: 9,
      server_tool_use: { web_search_requests: 1 },
    })
    const [choice] = chat.choices
    expect(choice?.logprobs).toEqual({ content: logprobs, refusal: null })
    expect(choice?.message.content).toBe('OneTwo')
    expect(choice?.message.reasoning_content).toBe('A\n\nB\n\nC')
    expect(choice?.message.annotations).toEqual([
      { type: 'url_citation', url_citation: { url: 'https://x.test', title: 't', start_index: 3, end_index: 5 } },
      file,
    ])
    const kept = choice?.message.provider_specific_fields?.['output_items'] as Fields[]
    expect(kept.map(({ type, length }) => [type, length])).toEqual([
      ['reasoning', undefined],
      ['reasoning', undefined],
      ['web_search_call', undefined],
      ['web_search_call', undefined],
      ['message', 3],
      ['message', 3],
    ])
  })

  it('keeps nothing beside the message where that says everything', () => {
    const [choice] = decode({ output: [said('Hi'), called('c1')] }).choices
    expect(choice?.message).toEqual({
      role: 'assistant',
      content: 'Hi',
      tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }],
    })
  })

  it.each([
    [{ output: [said('x')] }, 'stop'],
    [{ output: [called('c')] }, 'tool_calls'],
    [{ output: [{ type: 'custom_tool_call', call_id: 'c', name: 'n', input: 'i' }] }, 'tool_calls'],
    [{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [called('c')] }, 'length'],
    [{ status: 'incomplete', incomplete_details: { reason: 'content_filter' } }, 'content_filter'],
    [{ status: 'incomplete', incomplete_details: { reason: 'tired' } }, 'tired'],
  ])('of %j ends for the reason %s', (fields, reason) => {
    expect(decode(fields).choices[0]?.finish_reason).toBe(reason)
  })

  it('that refuses has a refusal and no text', () => {
    const content = [{ type: 'refusal', refusal: 'No.' }]
    expect(decode({ output: [{ type: 'message', role: 'assistant', content }] }).choices[0]?.message).toEqual({
      role: 'assistant',
      content: null,
      refusal: 'No.',
    })
  })

  it('that drew has its picture among the images, and not twice', () => {
    const drawn = { type: 'image_generation_call', id: 'ig', status: 'completed', result: 'AAAA', output_format: 'webp' }
    const message = decode({ output: [drawn] }).choices[0]?.message
    expect(message?.['images']).toEqual([{ type: 'image_url', index: 0, image_url: { url: 'data:image/webp;base64,AAAA' } }])
    expect(JSON.stringify(message?.provider_specific_fields)).not.toContain('AAAA')
  })

  it.each([
    [{ status: 'failed', error: { code: 'server_error', message: 'x' } }, 'provider_error'],
    [{ status: 'failed', error: { code: 'rate_limit_exceeded', message: 'x' } }, 'provider_rate_limited'],
    [{ status: 'failed', error: { code: 'invalid_image_url', message: 'x' } }, 'provider_bad_request'],
    [{ status: 'failed', error: { code: 'image_content_policy_violation', message: 'x' } }, 'content_policy'],
    [{ status: 'failed', error: { code: 'vector_store_timeout', message: 'x' } }, 'provider_timeout'],
    [{ status: 'failed', error: { code: 'context_length_exceeded', message: 'x' } }, 'context_window_exceeded'],
    [{ status: 'failed' }, 'provider_error'],
    [{ status: 'cancelled' }, 'provider_error'],
    [{ status: 'queued' }, 'provider_malformed'],
    [{ error: 'plain words' }, 'provider_error'],
    [{ output: undefined }, 'provider_malformed'],
  ])('%j is no answer but %s', (fields, code) => {
    expect(() => decode(fields)).toThrow(expect.objectContaining({ code }))
  })
})

describe('a stream of events as chunks', () => {
  it('tells reasoning, text, calls and the end as they come', () => {
    const decoded = stream([
      { type: 'response.created', response: response({ status: 'in_progress' }) },
      { type: 'response.output_item.added', output_index: 0, item: { type: 'reasoning', id: 'rs', summary: [] } },
      delta('reasoning_summary_text.delta', { summary_index: 0, delta: 'A' }),
      delta('reasoning_summary_text.delta', { summary_index: 1, delta: 'B' }),
      delta('output_text.delta', { output_index: 1, delta: 'Hi', logprobs: [{ token: 'Hi', logprob: 0 }] }),
      { type: 'response.output_item.added', output_index: 2, item: called('c1', { arguments: '' }) },
      delta('function_call_arguments.delta', { output_index: 2, delta: '{"a"' }),
      {
        type: 'response.output_item.added',
        output_index: 3,
        item: { type: 'custom_tool_call', call_id: 'c2', name: 'n', input: '' },
      },
      delta('custom_tool_call_input.delta', { output_index: 3, delta: 'ls' }),
      delta('function_call_arguments.delta', { output_index: 2, delta: ':1}' }),
      { type: 'response.web_search_call.searching', output_index: 4, item_id: 'ws' },
      completed({ service_tier: 'default', usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } }),
    ])
    expect(decoded.error).toBeNull()
    expect(decoded.chunks.map(({ choices }) => choices[0]?.delta)).toEqual([
      { role: 'assistant', reasoning_content: 'A' },
      { reasoning_content: '\n\nB' },
      { content: 'Hi' },
      { tool_calls: [{ index: 0, id: 'c1', type: 'function', function: { name: 'f', arguments: '' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] },
      { tool_calls: [{ index: 1, id: 'c2', type: 'custom', custom: { name: 'n', input: '' } }] },
      { tool_calls: [{ index: 1, custom: { input: 'ls' } }] },
      { tool_calls: [{ index: 0, function: { arguments: ':1}' } }] },
      {},
      undefined,
    ])
    expect(decoded.chunks.at(-2)?.choices[0]?.finish_reason).toBe('tool_calls')
    expect(decoded.chunks.at(-1)).toMatchObject({
      choices: [],
      service_tier: 'default',
      usage: { prompt_tokens: 1, total_tokens: 3 },
    })
    expect(new Set(decoded.chunks.map(({ id, created, model }) => `${id} ${created} ${model}`))).toEqual(new Set(['resp_1 5 m']))
  })

  it('takes from finished items, and from the response, what no delta told', () => {
    const output = [
      { type: 'reasoning', id: 'rs', summary: [{ type: 'summary_text', text: 'Why' }] },
      said('Hello', { annotations: [{ type: 'url_citation', url: 'u' }] }),
      called('c1', { arguments: '{"a":1}' }),
    ]
    const whole = decode({ output }).choices
    expect(fold(stream([completed({ output })]).chunks).choices).toEqual(whole)
    const done = output.map((item, output_index) => ({ type: 'response.output_item.done', output_index, item }))
    expect(fold(stream([...done, completed()]).chunks).choices).toEqual(whole)
    const begun = delta('output_text.delta', { output_index: 1, content_index: 4, delta: 'Hel' })
    expect(fold(stream([begun, completed({ output })]).chunks).choices[0]?.message.content).toBe('Hello')
  })

  it('ends with the reason of an answer that is incomplete', () => {
    const incomplete = response({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
    const { chunks } = stream([
      delta('output_text.delta', { delta: 'Hi' }),
      { type: 'response.incomplete', response: incomplete },
    ])
    expect(fold(chunks).choices[0]?.finish_reason).toBe('length')
  })

  it('tells a refusal as one', () => {
    expect(fold(stream([delta('refusal.delta', { delta: 'No' }), completed()]).chunks).choices[0]?.message.refusal).toBe('No')
  })

  it.each([
    [{ type: 'error', code: 'rate_limit_exceeded', message: 'slow', param: null }, 'provider_rate_limited'],
    [{ type: 'error', error: { type: 'invalid_request_error', code: null, message: 'bad' } }, 'provider_bad_request'],
    [{ error: { message: 'oops', code: 502 } }, 'provider_bad_gateway'],
    [
      { type: 'response.failed', response: response({ status: 'failed', error: { code: 'server_error', message: 'x' } }) },
      'provider_error',
    ],
  ])('of %j is an error after what came before it', (event, code) => {
    const { chunks, error } = stream([delta('output_text.delta', { delta: 'Hi' }), event as Fields])
    expect([chunks.length, error?.code]).toEqual([1, code])
    expect(error?.message).toMatch(/^litellm\./)
  })

  it('is truncated without its last event, and malformed where an event is no object', () => {
    expect(stream([delta('output_text.delta', { delta: 'Hi' })]).error?.code).toBe('provider_truncated')
    const decoder = ADAPTER.decodeStream?.(CONTEXT)
    if (decoder === undefined) throw new Error('no stream')
    expect(decodePieces(decoder, [Buffer.from('data: oops\n\n')]).error?.code).toBe('provider_malformed')
  })
})
