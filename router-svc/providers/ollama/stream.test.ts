import { describe, expect, it } from 'vitest'
import type { ChatChunk } from '../../canonical/chat.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import { context, decoderOf, lines, provider } from './encode.testkit.ts'

const AT = { model: 'm', created_at: '2026-01-01T00:00:00Z' }
const said = (message: object, more: object = { done: false }) => ({
  ...AT,
  message: { role: 'assistant', content: '', ...message },
  ...more,
})
const OVER = { done: true, done_reason: 'stop', prompt_eval_count: 5, eval_count: 9, total_duration: 3 }

function decode(bytes: Uint8Array, name = 'ollama') {
  const results = cuts(bytes, 5).map((pieces) => decodePieces<ChatChunk>(decoderOf(provider(name).chat), pieces, 'lines'))
  const [first] = results
  if (first === undefined) throw new Error('nothing decoded')
  // However it is cut, it reads the same.
  for (const result of results) expect(result).toEqual(first)
  return first
}

describe('a stream of Ollama’s', () => {
  it('is read through thinking and a call, whose finish the server calls a stop', () => {
    const call = { function: { name: 'f', arguments: { x: 1 } } }
    const { chunks, error } = decode(lines(said({ thinking: 'hm' }), said({ tool_calls: [call] }), said({}, OVER)))
    expect(error).toBeNull()
    const { choices, usage } = foldChunks(chunks)
    expect(choices.get(0)).toEqual({
      content: '',
      reasoning: 'hm',
      toolCalls: [{ id: 'call_answer_0', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }],
      finish: 'tool_calls',
      roles: 1,
    })
    expect(usage).toEqual({ prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 })
    expect(chunks[0]).toMatchObject({ id: 'answer', model: 'm', created: 1_767_225_600 })
  })

  it('numbers calls of several lines on, and keeps ids that are there', () => {
    const call = (id: string | undefined, name: string) => ({
      ...(id ? { id } : {}),
      function: { index: 0, name, arguments: {} },
    })
    const { chunks } = decode(
      lines(
        said({ tool_calls: [call('mine', 'a'), call(undefined, 'b')] }),
        said({ tool_calls: [call(undefined, 'c')] }),
        said({}, OVER),
      ),
    )
    expect(
      foldChunks(chunks)
        .choices.get(0)
        ?.toolCalls.map((made) => [made.id, made.function?.name]),
    ).toEqual([
      ['mine', 'a'],
      ['call_answer_1', 'b'],
      ['call_answer_2', 'c'],
    ])
  })

  it('ends for length where it was cut off, after calls too', () => {
    const { chunks } = decode(lines(said({ content: 'a' }), said({}, { ...OVER, done_reason: 'length' })))
    expect(foldChunks(chunks).choices.get(0)?.finish).toBe('length')
  })

  it('hands on what it says beside, and leaves usage to be estimated where a count is missing', () => {
    const { prompt_eval_count: _count, ...cached } = OVER
    const { chunks } = decode(lines(said({ content: 'a' }), said({}, { ...cached, done_reason: 'load', fresh: 1 })))
    expect(foldChunks(chunks).usage).toBeNull()
    expect(chunks.at(-1)?.choices[0]).toMatchObject({
      finish_reason: 'stop',
      delta: { provider_specific_fields: { total_duration: 3, done_reason: 'load', fresh: 1 } },
    })
  })

  it('tells thinking in tags from the answer, wherever the tags are cut', () => {
    for (const pieces of [
      ['<think>a < b</think>\n\nc'],
      ['\n<th', 'ink>a', ' < b</', 'think>', '\n', '\nc'],
      [...'<think>a < b</think>c'],
    ]) {
      const { chunks } = decode(lines(...pieces.map((content) => said({ content })), said({}, OVER)))
      expect(foldChunks(chunks).choices.get(0)).toMatchObject({ reasoning: 'a < b', content: 'c' })
    }
  })

  it('keeps content that only looks like a tag, and thinking that never ends', () => {
    const plain = decode(lines(said({ content: '<thi' }), said({}, OVER)))
    expect(foldChunks(plain.chunks).choices.get(0)).toMatchObject({ reasoning: '', content: '<thi' })
    const cut = decode(lines(said({ content: '<think>so </th' }), said({}, OVER)))
    expect(foldChunks(cut.chunks).choices.get(0)).toMatchObject({ reasoning: 'so </th', content: '' })
  })

  it('is no success without its last line, be it cut between lines or inside one', () => {
    const whole = lines(said({ content: 'a' }), said({}, OVER))
    const { error, chunks } = decode(lines(said({ content: 'a' })))
    expect(error?.code).toBe('provider_truncated')
    expect(foldChunks(chunks).choices.get(0)?.content).toBe('a')
    expect(decode(whole.subarray(0, whole.length - 9)).error?.code).toBe('provider_truncated')
    // All there but the line feed.
    expect(decode(whole.subarray(0, whole.length - 1)).error).toBeNull()
    expect(decode(Buffer.from('')).error?.code).toBe('provider_malformed')
  })

  it('is malformed where a line cannot be read and others follow', () => {
    expect(decode(Buffer.from('{"a":\n{"b":1}\n')).error?.code).toBe('provider_malformed')
    expect(decode(Buffer.from('[]\n')).error?.code).toBe('provider_malformed')
  })

  it('takes nothing after its end', () => {
    const { chunks, error } = decode(lines(said({ content: 'a' }), said({}, OVER), said({ content: 'b' })))
    expect(error).toBeNull()
    expect(foldChunks(chunks).choices.get(0)?.content).toBe('a')
  })

  it.each([
    ["model 'nope' not found, try pulling it first", 'provider_not_found', 404],
    ['the input length exceeds the context length', 'context_window_exceeded', 400],
    ['server busy, please try again. maximum pending requests exceeded', 'provider_overloaded', 503],
    ['model runner has unexpectedly stopped', 'provider_error', 500],
  ])('is over at a line that says: %s', (text, code, status) => {
    const { chunks, error } = decode(lines(said({ content: 'a' }), { error: text }), 'ollama_chat')
    expect(foldChunks(chunks).choices.get(0)?.content).toBe('a')
    expect(error).toMatchObject({ code, status })
    expect(error?.message).toMatch(/^litellm\.\w+: (\w+: )?Ollama_chatException - /)
    expect(error?.message.endsWith(text)).toBe(true)
  })

  it('carries log probabilities in OpenAI’s frame', () => {
    const entry = { token: 'a', logprob: -0.1, bytes: [97], top_logprobs: [] }
    const { chunks } = decode(lines({ ...said({ content: 'a' }), logprobs: [entry] }, said({}, OVER)))
    expect(chunks[0]?.choices[0]?.logprobs).toEqual({ content: [entry], refusal: null })
  })
})

describe('a whole answer of Ollama’s', () => {
  const read = (document: unknown) => provider().chat.decodeResponse(Buffer.from(JSON.stringify(document)), {}, context())

  it('is read like a stream', () => {
    const call = { function: { name: 'f', arguments: { x: 1 } } }
    expect(read(said({ content: '<think>hm</think>yes', tool_calls: [call] }, OVER))).toEqual({
      id: 'answer',
      object: 'chat.completion',
      created: 1_767_225_600,
      model: 'm',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'yes',
            reasoning_content: 'hm',
            tool_calls: [{ id: 'call_answer_0', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }],
            provider_specific_fields: { total_duration: 3 },
          },
          finish_reason: 'tool_calls',
        },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 },
    })
  })

  it('is an error when it holds one, and when it is not done', () => {
    expect(() => read({ error: 'out of memory' })).toThrow(expect.objectContaining({ code: 'provider_error' }))
    expect(() => read(said({ content: 'a' }))).toThrow(expect.objectContaining({ code: 'provider_truncated' }))
    expect(() => read({ done: true })).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
  })
})

describe('an error of Ollama’s', () => {
  it('is classed by its status where its words say no more', () => {
    const { decodeError } = provider()
    const missing = decodeError(404, {}, '{"error":"model \\"x\\" not found, try pulling it first"}')
    expect(missing).toMatchObject({ code: 'provider_not_found', status: 404 })
    expect(missing.message).toBe(
      'litellm.NotFoundError: NotFoundError: OllamaException - model "x" not found, try pulling it first',
    )
    expect(decodeError(400, {}, '{"error":"registry.ollama.ai/library/gemma does not support tools"}').code).toBe(
      'provider_bad_request',
    )
    expect(decodeError(401, {}, '{"error":"unauthorized","signin_url":"https://x"}').code).toBe('provider_authentication')
    expect(decodeError(429, { 'retry-after': '2' }, '{"error":"too many"}')).toMatchObject({
      code: 'provider_rate_limited',
      retryAfter: 2000,
    })
    expect(decodeError(502, {}, '<html>').code).toBe('provider_bad_gateway')
  })
})
