import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import { target } from '../providers/gemini/encode.testkit.ts'
import { providerOf } from '../providers/index.ts'
import { geminiEmbedding, geminiEmbeddingBatch } from './gemini-embedding.ts'

const text = (words: string) => ({ parts: [{ text: words }] })

function paramOf(run: () => unknown): string | null {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code === 'bad_request') return thrown.param
    throw thrown
  }
  return 'accepted'
}

describe('embeddings of a Gemini client', () => {
  it('are asked of others in their words, and of Gemini in its own', () => {
    const requests = ['a', 'b'].map((words) => ({ content: text(words), taskType: 'CLUSTERING', outputDimensionality: 8 }))
    const canonical = geminiEmbeddingBatch.decodeRequest({ model: 'm', requests, tags: ['t'] })
    expect(canonical).toEqual({ model: 'm', input: ['a', 'b'], dimensions: 8, gemini: { taskType: 'CLUSTERING' }, tags: ['t'] })
    const sent = (provider: string) =>
      JSON.parse(String(providerOf(provider)?.embedding?.encodeRequest(canonical, target({ provider, model: 'e' })).body))
    expect(sent('openai')).toEqual({ model: 'e', input: ['a', 'b'], dimensions: 8 })
    expect(sent('gemini')).toEqual({ requests: requests.map((request) => ({ model: 'models/e', ...request })) })
  })

  it('are answered as they were asked: one, or a list', () => {
    const data = [
      { object: 'embedding' as const, index: 0, embedding: [1] },
      { object: 'embedding' as const, index: 1, embedding: [2] },
    ]
    const answer = {
      object: 'list' as const,
      data,
      model: 'm',
      usage: { prompt_tokens: 3, completion_tokens: 0, total_tokens: 3 },
    }
    const usageMetadata = { promptTokenCount: 3 }
    expect(JSON.parse(geminiEmbedding.encodeResponse(answer, 'm'))).toEqual({ embedding: { values: [1] }, usageMetadata })
    expect(JSON.parse(geminiEmbeddingBatch.encodeResponse(answer, 'm'))).toEqual({
      embeddings: [{ values: [1] }, { values: [2] }],
      usageMetadata,
    })
  })

  it.each([
    [{ model: 'm' }, 'requests'],
    [{ model: 'm', requests: [5] }, 'requests[0]'],
    [{ model: 'm', requests: [{}] }, 'requests[0].content'],
    [{ model: 'm', requests: [{ content: { parts: [] } }] }, 'requests[0].content.parts'],
    [{ model: 'm', requests: [{ content: { parts: [{ text: 1 }] } }] }, 'requests[0].content.parts[0].text'],
    [{ model: 'm', requests: [{ content: text('a'), outputDimensionality: 0 }] }, 'requests[0].outputDimensionality'],
    [{ model: 'm', requests: [{ content: text('a') }, { content: text('b'), title: 't' }] }, 'requests[1]'],
  ])('%j is refused at %s', (body, place) => {
    expect(paramOf(() => geminiEmbeddingBatch.decodeRequest(body))).toBe(place)
  })
})
