import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChatChunk, ChatDelta } from '../canonical/chat.ts'
import type { CompletionChunk } from '../canonical/completion.ts'
import { assemble, isKeepable } from './assemble.ts'
import { chatAnswer } from './call.testkit.ts'
import { chunksOfAnswer } from './chunks-of-answer.ts'

const chunk = (delta: ChatDelta, finish: string | null = null, fields: object = {}): ChatChunk => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 5,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...fields,
})

describe('a stream put together', () => {
  it('is the answer that was cut into it', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 90 })
    const call = fc.record({
      id: fc.uuid(),
      type: fc.constant('function'),
      function: fc.record({ name: fc.string({ minLength: 1 }), arguments: fc.json() }),
    })
    const message = fc.record(
      {
        role: fc.constant('assistant'),
        content: fc.option(text, { nil: null }),
        reasoning_content: text,
        thinking_blocks: fc.array(fc.record({ type: fc.constant('thinking'), thinking: text, signature: text }), {
          minLength: 1,
          maxLength: 2,
        }),
        tool_calls: fc.array(call, { minLength: 1, maxLength: 3 }),
        annotations: fc.constant([{ type: 'url_citation' }]),
        provider_specific_fields: fc.constant({ a: 1 }),
      },
      { requiredKeys: ['role', 'content'] },
    )
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 3 }), (messages) => {
        const answer = chatAnswer(null, {
          system_fingerprint: 'fp',
          choices: messages.map((said, index) => ({
            index,
            // A stream does not tell no text from an empty one, unless there are tool calls.
            message: { ...said, content: said.content ?? (said.tool_calls === undefined ? '' : null) },
            finish_reason: said.tool_calls === undefined ? 'stop' : 'tool_calls',
          })),
        })
        expect(assemble([...chunksOfAnswer(answer)] as ChatChunk[])).toEqual(answer)
      }),
    )
  })

  it('leaves its pieces as they are, and what every object inherits too', () => {
    const token = { token: 'x', logprob: -1, top_logprobs: [] }
    const piece = (name: string) => ({
      ...chunk(JSON.parse(`{"content":"x","${name}":{"list":[1],"polluted":{"by":1}}}`)),
      choices: [
        { index: 0, delta: JSON.parse(`{"${name}":{"list":[1],"deep":{"polluted":[1]}}}`), logprobs: { content: [token] } },
      ],
    })
    for (const name of ['own', '__proto__', 'constructor']) {
      const chunks = [piece(name), piece(name), piece(name)] as unknown as ChatChunk[]
      const before = structuredClone(chunks)
      const [first, second] = [assemble(chunks), assemble(chunks)]
      expect(chunks).toEqual(before)
      expect(first).toEqual(second)
      expect(first?.['choices']).toMatchObject([{ logprobs: { content: [token, token, token] } }])
    }
    expect(assemble([piece('own'), piece('own')] as unknown as ChatChunk[])?.['choices']).toMatchObject([
      { message: { own: { list: [1, 1], deep: { polluted: [1, 1] } } } },
    ])
    expect(['list', 'deep', 'polluted'].filter((name) => name in {})).toEqual([])
  })

  it('joins the pieces of tool calls by their index', () => {
    const answer = assemble([
      chunk({
        role: 'assistant',
        content: null,
        tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }],
      }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '{"x"' } }] }),
      chunk({ tool_calls: [{ index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }),
      chunk({}, 'tool_calls'),
    ])
    expect(answer?.['choices']).toEqual([
      {
        index: 0,
        finish_reason: 'tool_calls',
        message: {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
            { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
          ],
        },
      },
    ])
  })

  it('has the usage, tier and identity that some chunk told, however empty the first is', () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    const first = { ...chunk({}), id: '', created: 0, model: '', choices: [] }
    const scores = { content: [{ token: 'x' }] }
    const answer = assemble([
      first,
      {
        ...chunk({ role: 'assistant', content: 'x' }),
        choices: [{ index: 0, delta: { content: 'x' }, finish_reason: null, logprobs: scores }],
      },
      { ...chunk({ content: 'y' }), choices: [{ index: 0, delta: { content: 'y' }, finish_reason: null, logprobs: scores }] },
      chunk({}, 'stop', { service_tier: 'flex' }),
      { ...chunk({}), choices: [], usage },
    ])
    expect(answer).toMatchObject({ id: 'c1', created: 5, model: 'm', service_tier: 'flex', usage, object: 'chat.completion' })
    expect(answer?.['choices']).toMatchObject([
      { message: { content: 'xy' }, logprobs: { content: [{ token: 'x' }, { token: 'x' }] } },
    ])
  })

  it('is nothing when there is none, or when it is audio', () => {
    expect(assemble([])).toBeNull()
    expect(assemble([chunk({ audio: { data: 'x' } }), chunk({}, 'stop')])).toBeNull()
  })

  it('is a completion when its chunks are', () => {
    const answer = {
      id: 'c',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [
        {
          index: 0,
          text: 'a text that is longer than one piece of it',
          logprobs: { tokens: ['a'], token_logprobs: [1] },
          finish_reason: 'length',
        },
        { index: 1, text: 'b', logprobs: null, finish_reason: 'stop' },
      ],
      usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    }
    const chunks = [...chunksOfAnswer(answer)] as CompletionChunk[]
    expect(chunks.length).toBeGreaterThan(5)
    expect(assemble(chunks)).toEqual(answer)
  })
})

describe('an answer worth keeping', () => {
  const ended = (finish: unknown, message: object = { role: 'assistant', content: 'x' }) =>
    chatAnswer('x', { choices: [{ index: 0, message, finish_reason: finish }] })

  it('is complete and says something', () => {
    for (const finish of ['stop', 'length', 'tool_calls', 'function_call']) expect(isKeepable(ended(finish))).toBe(true)
    for (const finish of ['content_filter', 'error', null, undefined]) expect(isKeepable(ended(finish))).toBe(false)
    expect(isKeepable(ended('tool_calls', { role: 'assistant', content: null, tool_calls: [{ id: 'a' }] }))).toBe(true)
    expect(isKeepable(ended('stop', { role: 'assistant', content: '' }))).toBe(false)
    expect(isKeepable(chatAnswer('x', { choices: [] }))).toBe(false)
    const [choice] = ended('stop')['choices'] as object[]
    expect(isKeepable(chatAnswer('x', { choices: [choice, { ...choice, index: 1, finish_reason: 'content_filter' }] }))).toBe(
      false,
    )
  })
})
