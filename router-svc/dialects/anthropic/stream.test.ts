import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatDelta } from '../../canonical/chat.ts'
import { fold } from './grammar.testkit.ts'
import { MessageStreamEncoder } from './stream.ts'

const chunk = (delta: ChatDelta, finish: string | null = null, fields: object = {}): ChatChunk => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'upstream',
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...fields,
})
const call = (index: number, fields: { id?: string; name?: string; arguments?: string }): ChatChunk => {
  const { id, ...named } = fields
  return chunk({ tool_calls: [{ index, ...(id === undefined ? {} : { id, type: 'function' }), function: named }] })
}
const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, prompt_tokens_details: { cached_tokens: 4 } }

function stream(...chunks: ChatChunk[]): string {
  const encoder = new MessageStreamEncoder({ model: 'alias' })
  return chunks.map((one) => encoder.push(one)).join('') + encoder.end()
}

describe('a Messages stream', () => {
  it('says model, text, stop reason and usage in the protocol’s order', () => {
    const text = stream(
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: 'Hel' }),
      chunk({ content: 'lo' }),
      chunk({}, 'stop'),
      { ...chunk({}), choices: [], usage },
    )
    expect(text.match(/^event: (.*)$/gm)).toEqual(
      [
        'message_start',
        'content_block_start',
        'content_block_delta',
        'content_block_delta',
        'content_block_stop',
        'message_delta',
        'message_stop',
      ].map((name) => `event: ${name}`),
    )
    expect(fold(text)).toMatchObject({
      message: { id: 'c1', type: 'message', role: 'assistant', model: 'alias', stop_reason: null },
      blocks: [{ type: 'text', text: 'Hello' }],
      stop: 'end_turn',
      usage: { input_tokens: 6, cache_read_input_tokens: 4, output_tokens: 5 },
      end: 'stop',
    })
  })

  it('says nothing before there is something to say, so that another deployment may be asked', () => {
    const encoder = new MessageStreamEncoder({ model: 'alias' })
    expect(encoder.push(chunk({ role: 'assistant', content: '' }))).toBe('')
    expect(encoder.push(chunk({}, 'stop'))).toBe('')
    expect(fold(encoder.end())).toMatchObject({ blocks: [], stop: 'end_turn', end: 'stop' })
  })

  it('tells thinking, text and calls in blocks of their own', () => {
    const text = stream(
      chunk({ reasoning_content: 'h' }),
      chunk({ reasoning_content: 'm', content: 'I ' }),
      chunk({ content: 'look' }),
      call(0, { id: 'a', name: 'f', arguments: '' }),
      call(0, { arguments: '{"x":' }),
      call(0, { arguments: '1}' }),
      call(1, { id: 'b', name: 'g' }),
      chunk({}, 'tool_calls'),
    )
    expect(fold(text)).toMatchObject({
      blocks: [
        { type: 'thinking', thinking: 'hm', signature: '' },
        { type: 'text', text: 'I look' },
        { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
        { type: 'tool_use', id: 'b', name: 'g', input: {} },
      ],
      stop: 'tool_use',
    })
  })

  it('gives thinking its signature before its block closes, and keeps redacted thinking', () => {
    const text = stream(
      chunk({ reasoning_content: 'hm' }),
      chunk({ thinking_blocks: [{ type: 'thinking', thinking: 'hm', signature: 's1' }] }),
      chunk({ thinking_blocks: [{ type: 'redacted_thinking', data: 'd' }] }),
      chunk({ thinking_blocks: [{ type: 'thinking', thinking: '', signature: 's2' }] }),
      chunk({ reasoning_content: 'oh' }),
      chunk({ thinking_blocks: [{ type: 'thinking', thinking: 'oh', signature: 's3' }] }),
      chunk({ content: 'x' }, 'stop'),
    )
    expect(fold(text).blocks).toEqual([
      { type: 'thinking', thinking: 'hm', signature: 's1' },
      { type: 'redacted_thinking', data: 'd' },
      { type: 'thinking', thinking: '', signature: 's2' },
      { type: 'thinking', thinking: 'oh', signature: 's3' },
      { type: 'text', text: 'x' },
    ])
  })

  it('never mixes the arguments of calls whose fragments alternate', () => {
    const text = stream(
      call(0, { id: 'a', name: 'f', arguments: '{"x"' }),
      call(1, { id: 'b', name: 'g', arguments: '{"y"' }),
      call(0, { arguments: ':"}"}' }),
      call(1, { arguments: ':2}' }),
      call(2, { id: 'c', name: 'h' }),
      chunk({}, 'tool_calls'),
    )
    expect(fold(text).blocks).toEqual([
      { type: 'tool_use', id: 'a', name: 'f', input: { x: '}' } },
      { type: 'tool_use', id: 'b', name: 'g', input: { y: 2 } },
      { type: 'tool_use', id: 'c', name: 'h', input: {} },
    ])
  })

  it('waits for the name of a call', () => {
    const encoder = new MessageStreamEncoder({ model: 'alias' })
    expect(encoder.push(call(0, { id: 'a', arguments: '{"x":1' }))).toBe('')
    const text = encoder.push(call(0, { name: 'f', arguments: '}' })) + encoder.end()
    expect(fold(text).blocks).toEqual([{ type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } }])
  })

  it('tells the text of a custom tool as the one member of an object, as whole answers do', () => {
    const piece = (custom: object, id?: string) =>
      chunk({ tool_calls: [{ index: 0, type: 'custom', custom, ...(id === undefined ? {} : { id }) }] })
    const text = stream(
      piece({ name: 'note', input: '' }, 'a'),
      piece({ input: 'say "hi"\n' }),
      piece({ input: 'é' }),
      chunk({}, 'tool_calls'),
    )
    expect(fold(text).blocks).toEqual([{ type: 'tool_use', id: 'a', name: 'note', input: { input: 'say "hi"\né' } }])
  })

  it('says of other vendors’ citations and filters what clients know', () => {
    const kept = (fields: object) => chunk({ provider_specific_fields: fields as Record<string, unknown> })
    const cited = stream(
      chunk({ content: 'a' }),
      kept({ citations: [{ type: 'TEXT_CONTENT', start: 0, end: 1 }] }),
      chunk({}, 'stop'),
    )
    expect(fold(cited).blocks).toEqual([{ type: 'text', text: 'a' }])
    const filtered = stream(chunk({ content: 'a' }), kept({ stop_reason: 'guardrail_intervened' }), chunk({}, 'content_filter'))
    expect(fold(filtered).stop).toBe('refusal')
  })

  it('is broken off when a call goes on after other content: it could not be told', () => {
    const encoder = new MessageStreamEncoder({ model: 'alias' })
    encoder.push(call(0, { id: 'a', name: 'f', arguments: '{' }))
    encoder.push(chunk({ content: 'x' }))
    expect(() => encoder.push(call(0, { arguments: '}' }))).toThrow(GatewayError)
  })

  it('keeps what an Anthropic provider said beyond the canonical fields', () => {
    const kept = (fields: object) => chunk({ provider_specific_fields: fields as Record<string, unknown> })
    const text = stream(
      chunk({ content: 'a' }),
      kept({ citations: [[{ type: 'char_location' }]] }),
      kept({ content_blocks: [{ type: 'server_tool_use', id: 's', name: 'web_search', input: { query: 'q' } }] }),
      chunk({ content: 'b' }),
      kept({ stop_reason: 'stop_sequence', stop_sequence: 'END', context_management: { applied_edits: [] } }),
      chunk({}, 'stop'),
    )
    expect(fold(text)).toMatchObject({
      blocks: [
        { type: 'text', text: 'a', citations: [{ type: 'char_location' }] },
        { type: 'server_tool_use', input: { query: 'q' } },
        { type: 'text', text: 'b' },
      ],
      stop: 'stop_sequence',
    })
    expect(text).toContain('"delta":{"stop_reason":"stop_sequence","stop_sequence":"END"}')
    expect(text).toContain('"context_management":{"applied_edits":[]}')
  })

  it('ends in an error event without message_stop', () => {
    const encoder = new MessageStreamEncoder({ model: 'alias' })
    const text = encoder.push(chunk({ content: 'a' })) + encoder.error(new GatewayError('provider_overloaded', 'busy'))
    expect(fold(text)).toMatchObject({ end: 'error', error: { type: 'overloaded_error', message: 'busy' } })
  })

  it('goes on where another stream died: no second start, the next index, the open block', () => {
    const encoder = new MessageStreamEncoder({ model: 'alias', resume: { begun: true, blocks: 2, open: 'text' } })
    const rest = encoder.push(chunk({ content: 'lo' })) + encoder.push(call(0, { id: 'a', name: 'f' })) + encoder.end()
    expect(rest).not.toContain('message_start')
    expect([...rest.matchAll(/"type":"content_block_(\w+)","index":(\d)/g)].map(([, name, index]) => `${name} ${index}`)).toEqual(
      ['delta 1', 'stop 1', 'start 2', 'stop 2'],
    )
  })

  it('has one message: further choices are not told', () => {
    const other = chunk({ content: 'x' })
    expect(
      fold(stream(chunk({ content: 'a' }), { ...other, choices: [{ ...other.choices[0], index: 1 }] as never })).blocks,
    ).toEqual([{ type: 'text', text: 'a' }])
  })
})
