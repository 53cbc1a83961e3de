import { describe, expect, it } from 'vitest'
import { PROVIDERS, type ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import type { CompletionChunk } from '../canonical/completion.ts'
import { createProviders } from './index.ts'
import { openai } from './openai.ts'
import { type Decoded, decodePieces, foldChunks } from './provider.suite.ts'
import type { DecodeContext } from './provider.ts'

const ROW: ProviderRow = {
  protocol: 'openai',
  base: 'https://example.test/v1',
  keys: ['K'],
  modes: ['chat', 'completion', 'embedding'],
}
const CONTEXT: DecodeContext = { id: 'made-up', created: 7, model: 'sent', request: {} }

function stream(events: (object | string)[], row: Partial<ProviderRow> = {}): Decoded<ChatChunk> {
  const decoder = openai('test', { ...ROW, ...row }).chat?.decodeStream?.(CONTEXT)
  if (decoder === undefined) throw new Error('no stream')
  const text = events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
  return decodePieces(decoder, [Buffer.from(text)])
}

const delta = (fields: object, reason: string | null = null, index: number | undefined = 0) => ({
  id: 'c1',
  object: 'x',
  created: 5,
  model: 'm',
  choices: [{ index, delta: fields, finish_reason: reason }],
})

function choice(decoded: Decoded<ChatChunk>) {
  expect(decoded.error).toBeNull()
  const folded = foldChunks(decoded.chunks).choices.get(0)
  if (folded === undefined) throw new Error('no choice')
  return folded
}

describe('a stream of an OpenAI clone', () => {
  it('gets the envelope it lacks, one and the same in every chunk', () => {
    const { chunks } = stream([
      { choices: [{ delta: { content: 'a' } }] },
      { id: 'late', choices: [{ delta: {}, finish_reason: 'stop' }] },
      '[DONE]',
    ])
    for (const chunk of chunks)
      expect(chunk).toMatchObject({ id: 'made-up', object: 'chat.completion.chunk', created: 7, model: 'sent' })
  })

  it('says its role once, however often it is repeated', () => {
    const decoded = stream([
      delta({ role: 'assistant', content: 'a' }),
      delta({ role: 'assistant', content: 'b' }),
      delta({}, 'stop'),
      '[DONE]',
    ])
    expect(choice(decoded)).toMatchObject({ roles: 1, content: 'ab', finish: 'stop' })
  })

  it.each([
    ['eos', 'stop'],
    ['end_turn', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['model_length', 'length'],
    ['tool_use', 'tool_calls'],
    ['sensitive', 'content_filter'],
    ['never_heard_of', 'never_heard_of'],
  ])('finishes with OpenAI’s word: %s is %s', (theirs, ours) => {
    expect(choice(stream([delta({ content: 'a' }), delta({}, theirs), '[DONE]'])).finish).toBe(ours)
  })

  it('finishes once, and for tool calls when it called any', () => {
    const call = { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }
    expect(choice(stream([delta({ tool_calls: [call] }), delta({}, 'stop'), delta({}, 'stop'), '[DONE]'])).finish).toBe(
      'tool_calls',
    )
    expect(choice(stream([delta({ content: 'a' }), delta({}, ''), delta({}, 'stop'), '[DONE]'])).finish).toBe('stop')
  })

  it('has its finish made up when [DONE] comes without one', () => {
    expect(choice(stream([delta({ content: 'a' }), '[DONE]'])).finish).toBe('stop')
  })

  it.each([
    [
      'no index at all',
      [
        { id: 'a', function: { name: 'f', arguments: '{"x":' } },
        { function: { arguments: '1}' } },
        { id: 'b', function: { name: 'g', arguments: '{}' } },
      ],
    ],
    [
      'index 0 for every call',
      [
        { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":1}' } },
        { index: 0, id: 'b', function: { name: 'g', arguments: '{}' } },
      ],
    ],
    [
      'id and name in every piece',
      [
        { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":' } },
        { index: 0, id: 'a', function: { name: 'f', arguments: '1}' } },
        { index: 1, id: 'b', function: { name: 'g', arguments: '{}' } },
      ],
    ],
    [
      'arguments as objects',
      [
        { index: 0, id: 'a', function: { name: 'f', arguments: { x: 1 } } },
        { index: 1, id: 'b', function: { name: 'g', arguments: {} } },
      ],
    ],
  ])('has tool calls put in order: %s', (_how, pieces) => {
    const { toolCalls } = choice(
      stream([...pieces.map((piece) => delta({ tool_calls: [piece] })), delta({}, 'tool_calls'), '[DONE]']),
    )
    expect(toolCalls).toEqual([
      { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
    ])
  })

  it('gets ids for calls that have none, and keeps them when one comes late', () => {
    const pieces = [
      { index: 0, function: { name: 'f', arguments: '{' } },
      { index: 0, id: 'late', function: { arguments: '}' } },
    ]
    const { toolCalls } = choice(
      stream([...pieces.map((piece) => delta({ tool_calls: [piece] })), delta({}, 'tool_calls'), '[DONE]']),
    )
    expect(toolCalls).toEqual([{ id: 'call_made-up_0_0', type: 'function', function: { name: 'f', arguments: '{}' } }])
  })

  it('has thinking under one name, from `reasoning` or lists of parts', () => {
    expect(
      choice(stream([delta({ reasoning: 'hm' }), delta({ content: 'a', reasoning: null }), delta({}, 'stop'), '[DONE]'])),
    ).toMatchObject({ reasoning: 'hm', content: 'a' })
    const parts = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
      { type: 'text', text: 'a' },
    ]
    expect(choice(stream([delta({ content: parts }), delta({}, 'stop'), '[DONE]']))).toMatchObject({
      reasoning: 'hm',
      content: 'a',
    })
  })

  it('has its usage found beside the choices, in x_groq or in a choice; the last counts', () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    const last = (events: object[]) => foldChunks(stream([delta({ content: 'a' }), ...events, '[DONE]']).chunks).usage
    expect(last([{ ...delta({}, 'stop'), x_groq: { usage } }])).toEqual(usage)
    expect(last([{ choices: [{ index: 0, delta: {}, finish_reason: 'stop', usage }] }])).toEqual(usage)
    expect(
      last([
        { ...delta({}), usage: { ...usage, completion_tokens: 1 } },
        { ...delta({}, 'stop'), usage },
      ]),
    ).toMatchObject({ completion_tokens: 2 })
  })

  it('counts reasoning the provider leaves out of the completion, judging by the total', () => {
    const usage = (total: number) => ({
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: total,
      completion_tokens_details: { reasoning_tokens: 20 },
    })
    const read = (total: number) =>
      foldChunks(
        stream([delta({ content: 'a' }, 'stop'), { choices: [], usage: usage(total) }, '[DONE]'], { reasoningApart: true })
          .chunks,
      ).usage
    expect(read(35)).toMatchObject({ completion_tokens: 25, total_tokens: 35 })
    expect(read(15)).toMatchObject({ completion_tokens: 5, total_tokens: 15 })
  })

  it('may be a whole message where a delta belongs, but not beside one', () => {
    const whole = { choices: [{ index: 0, message: { role: 'assistant', content: 'all' }, finish_reason: 'stop' }] }
    expect(choice(stream([whole, '[DONE]']))).toMatchObject({ content: 'all' })
    const total = { choices: [{ index: 0, delta: { role: 'assistant', content: 'a' }, message: { content: 'a' } }] }
    expect(choice(stream([total, delta({}, 'stop'), '[DONE]'])).content).toBe('a')
  })

  it('keeps fields we do not know', () => {
    const { chunks } = stream([{ ...delta({ content: 'a', odd: 1 }), citations: ['x'] }, delta({}, 'stop'), '[DONE]'])
    expect(chunks[0]).toMatchObject({ citations: ['x'], choices: [{ delta: { odd: 1 } }] })
  })

  it('may end without [DONE] once every choice finished', () => {
    expect(stream([delta({ content: 'a' }), delta({}, 'stop')]).error).toBeNull()
    expect(stream([delta({ content: 'a' }, null, 0), delta({ content: 'b' }, null, 1), delta({}, 'stop', 0)]).error?.code).toBe(
      'provider_truncated',
    )
  })

  it.each([
    ['truncated', 'after a beginning', [delta({ content: 'a' })]],
    ['malformed', 'after nothing', []],
    ['malformed', 'with [DONE] and no answer', ['[DONE]']],
  ])('is %s when it ends %s', (what, _when, events) => {
    expect(stream(events).error?.code).toBe(`provider_${what}`)
  })

  it('fails with the error it holds, at the top, in a choice or as an event', () => {
    expect(stream([delta({ content: 'a' }), { error: { message: 'x', code: 429 } }]).error?.code).toBe('provider_rate_limited')
    expect(
      stream([{ choices: [{ index: 0, delta: {}, finish_reason: 'error', error: { message: 'x', code: 502 } }] }]).error?.code,
    ).toBe('provider_bad_gateway')
    expect(stream(['{"error":"plain"}']).error?.message).toContain('plain')
    expect(stream(['{"choices": oops']).error?.code).toBe('provider_malformed')
    expect(stream([delta({ content: 'a' }), { ...delta({}, 'stop'), error: null }, '[DONE]']).error).toBeNull()
  })

  it('ignores what follows the terminator', () => {
    expect(stream([delta({ content: 'a' }, 'stop'), '[DONE]', delta({ content: 'late' })]).chunks).toHaveLength(1)
  })
})

describe('a whole answer of an OpenAI clone', () => {
  const { chat, embedding, completion } = openai('test', ROW)
  const read = (answer: object) => chat?.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, CONTEXT)

  it('gets what it lacks', () => {
    expect(read({ choices: [{ message: { content: 'a' } }] })).toEqual({
      id: 'made-up',
      object: 'chat.completion',
      created: 7,
      model: 'sent',
      choices: [{ index: 0, message: { role: 'assistant', content: 'a' }, finish_reason: 'stop' }],
    })
  })

  it('has its tool calls completed', () => {
    const calls = [{ function: { name: 'f', arguments: { x: 1 } } }, { id: 'b', function: { name: 'g', arguments: null } }]
    expect(read({ choices: [{ message: { tool_calls: calls }, finish_reason: 'stop' }] })?.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: null,
        tool_calls: [
          { id: 'call_made-up_0_0', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
          { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
        ],
      },
    })
  })

  it('that is an error inside a 200, or no answer at all, is refused', () => {
    const thrown = (answer: string) => {
      try {
        chat?.decodeResponse(Buffer.from(answer), {}, CONTEXT)
      } catch (error) {
        return (error as GatewayError).code
      }
      return null
    }
    expect(thrown('{"error":{"message":"x","code":429}}')).toBe('provider_rate_limited')
    expect(thrown('{"hello":1}')).toBe('provider_malformed')
    expect(thrown('<html>')).toBe('provider_malformed')
    expect(thrown('[]')).toBe('provider_malformed')
  })

  it('has embeddings in the form that was asked for, whichever was sent', () => {
    const asked = (format: string | undefined, vector: unknown) => {
      const context = { ...CONTEXT, request: format === undefined ? {} : { encoding_format: format } }
      return embedding?.decodeResponse(Buffer.from(JSON.stringify({ data: [{ embedding: vector }] })), {}, context).data[0]
        ?.embedding
    }
    const encoded = Buffer.from(Float32Array.from([0.5, -2]).buffer).toString('base64')
    expect(asked('base64', [0.5, -2])).toBe(encoded)
    expect(asked('base64', encoded)).toBe(encoded)
    expect(asked('float', encoded)).toEqual([0.5, -2])
    expect(asked(undefined, [0.5, -2])).toEqual([0.5, -2])
    expect(() => asked('float', 7)).toThrow(GatewayError)
  })

  it('as a text completion keeps its shape, streamed too', () => {
    expect(completion?.decodeResponse(Buffer.from('{"choices":[{"text":"a"}]}'), {}, CONTEXT)).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'a', index: 0, finish_reason: 'stop' }],
    })
    const decoder = completion?.decodeStream?.(CONTEXT)
    if (decoder === undefined) throw new Error('no stream')
    const events = 'data: {"choices":[{"text":"a"}]}\n\ndata: {"choices":[{"text":"","finish_reason":"eos"}]}\n\n'
    const { chunks, error } = decodePieces<CompletionChunk>(decoder, [Buffer.from(events)])
    expect(error).toBeNull()
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, 'stop'])
  })
})

describe('the provider list', () => {
  const providers = createProviders()

  it('makes every row of the table, once', () => {
    for (const [name, row] of Object.entries(PROVIDERS)) {
      const provider = providers.get(name)
      expect(provider?.name, name).toBe(name)
      // What has no address of its own to call has an empty one.
      expect(provider?.base || null, name).toBe(row.base)
      expect(provider).toBe(providers.get(name))
    }
    expect(providers.get('nobody')).toBeUndefined()
  })

  it('serves text completions through chat where there is no endpoint for them', () => {
    expect(providers.get('anthropic')?.completion).toBeDefined()
    expect(providers.get('groq')?.completion).toBeDefined()
    expect(providers.get('text-completion-openai')?.chat).toBeUndefined()
  })

  it('names a protocol only where bytes may pass', () => {
    expect(providers.get('openai')?.chat?.protocol).toBe('openai-chat')
    expect(providers.get('openai')?.embedding?.protocol).toBe('openai-embedding')
    expect(providers.get('groq')?.chat?.protocol).toBeUndefined()
    expect(providers.get('groq')?.completion?.protocol).toBeUndefined()
  })
})
