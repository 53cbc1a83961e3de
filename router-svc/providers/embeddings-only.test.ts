import { describe, expect, it } from 'vitest'
import type { EmbeddingRequest } from '../canonical/embedding.ts'
import { target } from './cohere/encode.testkit.ts'
import { providerOf } from './index.ts'
import type { Fields } from './json.ts'
import { entries, fileNames, haveRecordings, recordings } from './openai/recordings.suite.ts'
import type { Provider } from './provider.ts'

type Embedder = Provider & Required<Pick<Provider, 'embedding'>>
const voyage = providerOf('voyage') as Embedder
const jina = providerOf('jina_ai') as Embedder

function encode(provider: Embedder, request: Partial<EmbeddingRequest>, model = 'some-model'): { url: string; body: Fields } {
  const sent = provider.embedding.encodeRequest(
    { model: 'alias', input: ['a', 'b'], ...request },
    target({ provider: provider.name, model, base: provider.base as string }),
  )
  return { url: sent.url, body: JSON.parse(sent.body as string) }
}

function decode(provider: Embedder, body: string, request: Fields = {}) {
  return provider.embedding.decodeResponse(Buffer.from(body), {}, { id: 'made', created: 1, model: 'asked', request })
}

describe('providers of embeddings alone', () => {
  it('serve nothing else', () => {
    for (const { chat, completion } of [voyage, jina]) expect([chat, completion]).toEqual([undefined, undefined])
    expect([providerOf('cohere')?.name, providerOf('cohere_chat')?.name]).toEqual(['cohere', 'cohere_chat'])
  })
})

describe('an embedding of Voyage', () => {
  it('has its own name for the dimensions, and no name for a list of numbers', () => {
    const asked = { dimensions: 256, encoding_format: 'float' as const, user: 'somebody', input_type: 'query' }
    expect(encode(voyage, asked)).toEqual({
      url: 'https://api.voyageai.com/v1/embeddings',
      body: { model: 'some-model', input: ['a', 'b'], output_dimension: 256, input_type: 'query' },
    })
    expect(encode(voyage, { encoding_format: 'base64' }).body).toMatchObject({ encoding_format: 'base64' })
  })

  it('of a contextual model has documents of pieces, and gets them back in one list', () => {
    const url = 'https://api.voyageai.com/v1/contextualizedembeddings'
    const model = 'voyage-context-3'
    expect(encode(voyage, { encoding_format: 'base64' }, model)).toEqual({ url, body: { model, inputs: [['a'], ['b']] } })
    expect(encode(voyage, { input: 'one' }, model).body).toEqual({ model, inputs: [['one']] })
    expect(encode(voyage, { inputs: [['a', 'b'], ['c']] }, model).body).toEqual({ model, inputs: [['a', 'b'], ['c']] })
    const piece = (index: number, embedding: number[]) => ({ object: 'embedding', index, embedding })
    const answer = {
      object: 'list',
      data: [
        { object: 'list', index: 0, data: [piece(0, [1]), piece(1, [2])] },
        { object: 'list', index: 1, data: [piece(0, [3])] },
      ],
      model,
      usage: { total_tokens: 5 },
    }
    const { data, usage } = decode(voyage, JSON.stringify(answer))
    expect(data).toEqual([piece(0, [1]), piece(1, [2]), piece(2, [3])])
    expect(usage).toMatchObject({ prompt_tokens: 5, total_tokens: 5 })
  })

  it('that cannot be read is an error', () => {
    expect(() => decode(voyage, '<html>')).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
    expect(() => decode(voyage, '{"detail":"no"}')).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
  })
})

describe('an embedding of Jina', () => {
  it('has its own name for the format', () => {
    expect(encode(jina, { encoding_format: 'base64', dimensions: 8, user: 'somebody', task: 'retrieval.query' })).toEqual({
      url: 'https://api.jina.ai/v1/embeddings',
      body: { model: 'some-model', input: ['a', 'b'], embedding_type: 'base64', dimensions: 8, task: 'retrieval.query' },
    })
  })

  it('takes images, and then every input is an object', () => {
    const request = { input: ['a', 'data:image/png;base64,AA=='] }
    expect(encode(jina, request).body['input']).toEqual([{ text: 'a' }, { image: 'AA==' }])
    expect(request.input).toEqual(['a', 'data:image/png;base64,AA=='])
    expect(encode(jina, { input: 'data:image/jpeg;base64,BB==' }).body['input']).toEqual([{ image: 'BB==' }])
    expect(encode(jina, { input: [[1, 2], [3]] }).body['input']).toEqual([[1, 2], [3]])
  })

  it('gives the form that was asked for, whatever came', () => {
    const answer = JSON.stringify({
      object: 'list',
      data: [{ index: 0, embedding: [1] }],
      usage: { total_tokens: 2, prompt_tokens: 2 },
    })
    const { data, model, usage } = decode(jina, answer, { encoding_format: 'base64' })
    expect(data[0]?.embedding).toBe(Buffer.from(new Float32Array([1]).buffer).toString('base64'))
    expect([model, usage.prompt_tokens]).toEqual(['asked', 2])
  })
})

describe.skipIf(!haveRecordings())('recorded answers of Voyage', () => {
  const files = haveRecordings() ? fileNames('voyage') : []
  const recorded = files.flatMap((file) => recordings('voyage', file, 'embedding'))

  it('are all there', () => {
    expect(recorded).toHaveLength(3)
    expect(
      entries('voyage')
        .flatMap((entry) => entry.files)
        .sort(),
    ).toEqual(files.sort())
  })

  for (const { file, status, body, request } of recorded) {
    it(`are read: ${file}`, () => {
      if (status >= 400) {
        expect(voyage.decodeError(status, {}, body as string)).toMatchObject({ code: 'provider_bad_request', status })
        return
      }
      const raw = JSON.parse(body as string) as { data: { embedding: unknown }[]; usage: { total_tokens: number } }
      const asked = request['encoding_format'] === undefined ? {} : { encoding_format: request['encoding_format'] }
      const { data, usage } = decode(voyage, body as string, asked)
      expect(data.map(({ embedding }) => embedding)).toEqual(raw.data.map(({ embedding }) => embedding))
      expect(usage).toMatchObject({ prompt_tokens: raw.usage.total_tokens, completion_tokens: 0 })
      if (request['input'] === undefined) return
      const sent = Object.entries(request).filter(([, value]) => value !== null)
      expect(encode(voyage, request as Partial<EmbeddingRequest>, String(request['model'])).body).toMatchObject(
        Object.fromEntries(sent),
      )
    })
  }
})
