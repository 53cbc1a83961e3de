import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk } from '../../canonical/chat.ts'
import { context, decodeText, fold } from './fold.testkit.ts'
import { framed } from './recordings.testkit.ts'
import { decodeResponse } from './response.ts'
import { MessageStream } from './stream.ts'
import type { Block, Fields } from './wire.ts'

const start = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [],
    stop_reason: null,
    usage: {
      input_tokens: 10,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 0,
      output_tokens: 1,
      service_tier: 'standard',
    },
  },
}
const open = (index: number, block: Block) => ({ type: 'content_block_start', index, content_block: block })
const delta = (index: number, fields: Block) => ({ type: 'content_block_delta', index, delta: fields })
const close = (index: number) => ({ type: 'content_block_stop', index })
const end = (reason: string, more: Fields = {}) => [
  { type: 'message_delta', delta: { stop_reason: reason, stop_sequence: null, ...more }, usage: { output_tokens: 20 } },
  { type: 'message_stop' },
]
const textBlock = { type: 'text', text: '' }

function thrownBy(stream: string): GatewayError {
  try {
    decodeText(stream)
  } catch (thrown) {
    return thrown as GatewayError
  }
  throw new Error('nothing was thrown')
}

function deltas(chunks: ChatChunk[]): unknown[] {
  return chunks.map((chunk) => chunk.choices[0]?.delta)
}

describe('a stream', () => {
  const events = [
    start,
    { type: 'ping' },
    open(0, { type: 'thinking', thinking: '', signature: '' }),
    delta(0, { type: 'thinking_delta', thinking: 'h' }),
    delta(0, { type: 'thinking_delta', thinking: 'm' }),
    delta(0, { type: 'signature_delta', signature: 'sig' }),
    close(0),
    open(1, textBlock),
    delta(1, { type: 'text_delta', text: 'Hi' }),
    close(1),
    open(2, { type: 'tool_use', id: 'toolu_1', name: 'f', input: {} }),
    delta(2, { type: 'input_json_delta', partial_json: '' }),
    delta(2, { type: 'input_json_delta', partial_json: '{"x":' }),
    delta(2, { type: 'input_json_delta', partial_json: '1}' }),
    close(2),
    open(3, { type: 'tool_use', id: 'toolu_2', name: 'g', input: {} }),
    close(3),
    ...end('tool_use'),
  ]

  it('becomes chunks in the order clients expect', () => {
    const chunks = decodeText(framed(events))
    expect(deltas(chunks)).toEqual([
      { role: 'assistant', content: '' },
      { reasoning_content: 'h' },
      { reasoning_content: 'm' },
      { thinking_blocks: [{ type: 'thinking', thinking: 'hm', signature: 'sig' }] },
      { content: 'Hi' },
      { tool_calls: [{ index: 0, id: 'toolu_1', type: 'function', function: { name: 'f', arguments: '' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '{"x":' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '1}' } }] },
      { tool_calls: [{ index: 1, id: 'toolu_2', type: 'function', function: { name: 'g', arguments: '' } }] },
      { tool_calls: [{ index: 1, function: { arguments: '{}' } }] },
      {},
      undefined,
    ])
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason ?? null)).toEqual([
      ...Array.from({ length: 10 }, () => null),
      'tool_calls',
      null,
    ])
    expect(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.model} ${chunk.created} ${chunk.object}`)).size).toBe(1)
    expect(chunks.at(-1)).toMatchObject({
      id: 'msg_1',
      choices: [],
      service_tier: 'standard',
      usage: { prompt_tokens: 110, completion_tokens: 20, total_tokens: 130, prompt_tokens_details: { cached_tokens: 100 } },
    })
  })

  it('gives the names of tools back as the client wrote them', () => {
    const request = { tools: [{ type: 'function', function: { name: 'my.tool' } }] }
    const named = [start, open(0, { type: 'tool_use', id: 'a', name: 'my_tool', input: {} }), close(0), ...end('tool_use')]
    expect(fold(decodeText(framed(named), request)).message.tool_calls?.[0]?.function).toEqual({
      name: 'my.tool',
      arguments: '{}',
    })
  })

  it('of the JSON tool is content', () => {
    const request = { response_format: { type: 'json_object' } }
    const json = [
      start,
      open(0, { type: 'tool_use', id: 'a', name: 'json_tool_call', input: {} }),
      delta(0, { type: 'input_json_delta', partial_json: '{"a"' }),
      delta(0, { type: 'input_json_delta', partial_json: ':1}' }),
      close(0),
      ...end('tool_use'),
    ]
    const folded = fold(decodeText(framed(json), request))
    expect([folded.message, folded.finish]).toEqual([{ role: 'assistant', content: '{"a":1}' }, 'stop'])
    expect(fold(decodeText(framed(json))).finish).toBe('tool_calls')
  })

  it('hands on citations, server tools, unknown blocks and fields', () => {
    const citation = { type: 'web_search_result_location', url: 'https://a.example', title: 'A', cited_text: 'x' }
    const folded = fold(
      decodeText(
        framed([
          start,
          open(0, { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }),
          delta(0, { type: 'input_json_delta', partial_json: '{"query":"q"}' }),
          close(0),
          open(1, { type: 'web_search_tool_result', tool_use_id: 's', content: [] }),
          close(1),
          open(2, { type: 'compaction', content: null }),
          delta(2, { type: 'compaction_delta', content: 'sum' }),
          delta(2, { type: 'compaction_delta', content: 'mary' }),
          close(2),
          open(3, textBlock),
          delta(3, { type: 'text_delta', text: 'Before ' }),
          close(3),
          open(4, { ...textBlock, citations: [] }),
          delta(4, { type: 'citations_delta', citation }),
          delta(4, { type: 'text_delta', text: 'cited' }),
          delta(4, { type: 'delta_of_tomorrow', x: 1 }),
          close(4),
          { type: 'event_of_tomorrow', x: 1 },
          ...end('stop_sequence', { stop_sequence: 'END', container: { id: 'c' } }),
        ]),
      ),
    )
    expect(folded.finish).toBe('stop')
    expect(folded.message).toEqual({
      role: 'assistant',
      content: 'Before cited',
      annotations: [
        { type: 'url_citation', url_citation: { url: 'https://a.example', title: 'A', start_index: 7, end_index: 12 } },
      ],
      provider_specific_fields: {
        content_blocks: [
          { type: 'server_tool_use', id: 's', name: 'web_search', input: { query: 'q' } },
          { type: 'web_search_tool_result', tool_use_id: 's', content: [] },
          { type: 'compaction', content: 'summary' },
        ],
        citations: [[citation]],
        container: { id: 'c' },
        stop_sequence: 'END',
        stop_reason: 'stop_sequence',
      },
    })
  })

  it('that was refused says why', () => {
    const folded = fold(
      decodeText(
        framed([start, ...end('refusal', { stop_details: { type: 'refusal', category: 'cyber', explanation: 'No.' } })]),
      ),
    )
    expect([folded.finish, folded.message.refusal]).toEqual(['content_filter', 'No.'])
  })

  it('that ends early is truncated, wherever it ends', () => {
    expect(thrownBy('').code).toBe('provider_malformed')
    for (let kept = 1; kept < events.length; kept += 1) {
      expect(thrownBy(framed(events.slice(0, kept))).code, `${kept} events`).toBe('provider_truncated')
    }
  })

  it('tells the counts so far when it breaks off', () => {
    const decoder = new MessageStream(context())
    expect(decoder.usage).toBeNull()
    decoder.push({ event: 'message_start', data: JSON.stringify(start) })
    expect(decoder.usage).toMatchObject({ prompt_tokens: 110, completion_tokens: 1 })
  })

  it('with an error event fails with that error', () => {
    const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    const error = thrownBy(framed([start, overloaded]))
    expect([error.code, error.status, error.providerCode, error.retryable]).toEqual([
      'provider_overloaded',
      503,
      'overloaded_error',
      true,
    ])
    expect(thrownBy('data: {"error":{"type":"api_error","message":"x"}}\n\n').code).toBe('provider_error')
  })

  it('that cannot be read is malformed', () => {
    expect(thrownBy('event: message_start\ndata: {"type":\n\n').code).toBe('provider_malformed')
    expect(thrownBy('data: 17\n\n').code).toBe('provider_malformed')
  })

  it('ignores what comes after its end', () => {
    const decoder = new MessageStream(context())
    for (const event of [start, ...end('end_turn')]) decoder.push({ event: '', data: JSON.stringify(event) })
    expect(decoder.done).toBe(true)
    expect(decoder.push({ event: 'error', data: '{"error":{}}' })).toEqual([])
    expect(decoder.end()).toEqual([])
  })

  it('takes later counts over earlier ones, also after the finish', () => {
    const late = { type: 'message_delta', delta: {}, usage: { output_tokens: 30, input_tokens: null } }
    const [, ...stop] = end('end_turn')
    const chunks = decodeText(framed([start, end('end_turn')[0] as object, late, ...stop]))
    expect(fold(chunks).usage).toMatchObject({ prompt_tokens: 110, completion_tokens: 30 })
    expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason).length).toBe(1)
  })
})

/** A random message, and a random way to stream it. */
const words = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const citation = fc.record({ type: fc.constant('web_search_result_location'), url: fc.webUrl(), title: words, cited_text: words })
const block: fc.Arbitrary<Block> = fc.oneof(
  fc.record({ type: fc.constant('text'), text: words }),
  fc.record({ type: fc.constant('text'), text: words, citations: fc.array(citation, { minLength: 1, maxLength: 2 }) }),
  fc.record({ type: fc.constant('thinking'), thinking: words, signature: words }),
  fc.record({ type: fc.constant('redacted_thinking'), data: words }),
  fc.record({
    type: fc.constant('tool_use'),
    id: words,
    name: fc.constantFrom('f', 'my_tool', 'g'),
    input: fc.dictionary(words, fc.jsonValue()),
  }),
  fc.record({
    type: fc.constant('server_tool_use'),
    id: words,
    name: words,
    input: fc.dictionary(words, fc.jsonValue(), { minKeys: 1 }),
  }),
  fc.record({ type: fc.constantFrom('web_search_tool_result', 'block_of_tomorrow'), content: fc.jsonValue() }),
)
const message = fc.record({
  id: words,
  type: fc.constant('message'),
  role: fc.constant('assistant'),
  model: words,
  content: fc.array(block, { maxLength: 6 }),
  stop_reason: fc.constantFrom(
    'end_turn',
    'max_tokens',
    'tool_use',
    'pause_turn',
    'refusal',
    'stop_sequence',
    'reason_of_tomorrow',
  ),
  stop_sequence: fc.option(words),
  container: fc.option(fc.record({ id: words })),
  usage: fc.record({
    input_tokens: fc.nat(),
    output_tokens: fc.nat(),
    cache_read_input_tokens: fc.nat(),
    cache_creation_input_tokens: fc.nat(),
    service_tier: fc.constant('standard'),
  }),
})

function pieces(value: string, size: number): string[] {
  const found: string[] = []
  for (let at = 0; at < value.length; at += size) found.push(value.slice(at, at + size))
  return found
}

function streamOf(whole: Fields & { content: Block[]; usage: Fields }, size: number): object[] {
  const { content, stop_reason: reason, stop_sequence: sequence, container, usage, ...rest } = whole
  const events: object[] = [
    {
      type: 'message_start',
      message: { ...rest, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } },
    },
  ]
  for (const [index, entry] of content.entries()) {
    const send = (empty: Fields, type: string, field: string, value: string): void => {
      events.push(open(index, { ...entry, ...empty }), { type: 'ping' })
      for (const piece of pieces(value, size)) events.push(delta(index, { type, [field]: piece }))
    }
    if (entry.type === 'text') {
      const { citations, ...plain } = entry
      events.push(open(index, { ...plain, text: '' }))
      for (const piece of pieces(String(entry['text']), size)) events.push(delta(index, { type: 'text_delta', text: piece }))
      for (const entry of (citations as unknown[] | undefined) ?? [])
        events.push(delta(index, { type: 'citations_delta', citation: entry }))
    } else if (entry.type === 'thinking') {
      send({ thinking: '', signature: '' }, 'thinking_delta', 'thinking', String(entry['thinking']))
      events.push(delta(index, { type: 'signature_delta', signature: entry['signature'] }))
    } else if (entry.type === 'tool_use' || entry.type === 'server_tool_use') {
      send({ input: {} }, 'input_json_delta', 'partial_json', JSON.stringify(entry['input']))
    } else events.push(open(index, entry))
    events.push(close(index))
  }
  events.push(
    { type: 'message_delta', delta: { stop_reason: reason, stop_sequence: sequence, container }, usage },
    { type: 'message_stop' },
  )
  return events
}

describe('any message', () => {
  it('reads the same streamed and whole', () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1, max: 7 }), fc.boolean(), (whole, size, json) => {
        const request = {
          tools: [{ type: 'function', function: { name: 'my.tool' } }],
          ...(json ? { response_format: { type: 'json_object' } } : {}),
        }
        const response = decodeResponse(Buffer.from(JSON.stringify(whole)), {}, context(request))
        const folded = fold(decodeText(framed(streamOf(whole, size)), request))
        expect(folded.message).toEqual(response.choices[0]?.message)
        expect(folded.finish).toBe(response.choices[0]?.finish_reason)
        expect(folded.usage).toEqual(response.usage)
        expect([folded.id, folded.model, folded.serviceTier]).toEqual([response.id, response.model, response.service_tier])
      }),
    )
  })
})
