import { describe, expect, it } from 'vitest'
import { ENDPOINTS } from '../../proto/endpoints.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { CompletionChunk } from '../canonical/completion.ts'
import { dialects } from './index.ts'
import { openaiCompletion } from './openai-completion.ts'
import { openaiEmbedding } from './openai-embedding.ts'

function paramOf(run: () => unknown): string | null {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code === 'bad_request') return thrown.param
    throw thrown
  }
  return 'accepted'
}

describe('text to complete or embed', () => {
  it.each([['a'], [['a', 'b']], [[1, 2]], [[[1, 2], [3]]]])('may be %j', (text) => {
    expect(paramOf(() => openaiCompletion.decodeRequest({ model: 'm', prompt: text }))).toBe('accepted')
    expect(paramOf(() => openaiEmbedding.decodeRequest({ model: 'm', input: text }))).toBe('accepted')
  })

  it.each([
    [undefined, ''],
    [[], ''],
    [5, ''],
    [{ a: 1 }, ''],
    [['a', 5], '[0]'],
    [[1, 'a'], '[1]'],
    [[[1], []], '[1]'],
    [[[1], 2], '[1]'],
  ])('may not be %j', (text, place) => {
    expect(paramOf(() => openaiCompletion.decodeRequest({ model: 'm', prompt: text }))).toBe(`prompt${place}`)
    expect(paramOf(() => openaiEmbedding.decodeRequest({ model: 'm', input: text }))).toBe(`input${place}`)
  })
})

describe('a text completion', () => {
  const chunk = (text: string, reason: string | null = null): CompletionChunk => ({
    id: 'c',
    object: 'text_completion',
    created: 1,
    model: 'upstream',
    choices: [{ text, index: 0, finish_reason: reason }],
  })

  it('streams its text, usage only when asked, and the terminator', () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    const run = (includeUsage: boolean) => {
      const encoder = openaiCompletion.encodeStream({ model: 'alias', includeUsage })
      return (
        [chunk('a'), chunk(''), chunk('b'), { ...chunk('', 'stop'), usage }].map((one) => encoder.push(one)).join('') +
        encoder.end()
      )
    }
    const plain = run(false).split('\n\n')
    expect(plain).toHaveLength(5)
    expect(plain[3]).toBe('data: [DONE]')
    expect(run(false)).not.toContain('usage')
    expect(JSON.parse(run(true).split('\n\n')[3]?.slice(6) ?? '')).toMatchObject({ model: 'alias', choices: [], usage })
  })

  it('checks its own parameters', () => {
    expect(paramOf(() => openaiCompletion.decodeRequest({ model: 'm', prompt: 'a', logprobs: true }))).toBe('logprobs')
    expect(paramOf(() => openaiCompletion.decodeRequest({ model: 'm', prompt: 'a', best_of: 0 }))).toBe('best_of')
  })
})

describe('embeddings', () => {
  it('check their own parameters and are never streamed', () => {
    expect(paramOf(() => openaiEmbedding.decodeRequest({ model: 'm', input: 'a', dimensions: 0 }))).toBe('dimensions')
    expect(paramOf(() => openaiEmbedding.decodeRequest({ model: 'm', input: 'a', encoding_format: 'hex' }))).toBe(
      'encoding_format',
    )
    expect(paramOf(() => openaiEmbedding.decodeRequest({ model: 'm', input: 'a', stream: true }))).toBe('stream')
    expect(() => openaiEmbedding.encodeStream({ model: 'm', includeUsage: false })).toThrow(GatewayError)
  })
})

describe('the dialect list', () => {
  it('has the dialect of every endpoint, for the endpoint’s mode', () => {
    for (const row of ENDPOINTS) expect(dialects[row.dialect]).toMatchObject({ name: row.dialect, mode: row.mode })
  })
})
