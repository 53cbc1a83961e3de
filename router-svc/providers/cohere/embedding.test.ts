import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest } from '../../canonical/embedding.ts'
import type { Fields } from '../json.ts'
import { decodeEmbedding, encodeEmbedding } from './embedding.ts'
import { target } from './encode.testkit.ts'

const IMAGE = 'data:image/png;base64,AA=='

function encode(request: Partial<EmbeddingRequest>): Fields {
  const { url, body } = encodeEmbedding({ model: 'alias', input: 'one', ...request }, target({ model: 'embed-v4.0' }))
  expect(url).toBe('https://api.cohere.com/v2/embed')
  return JSON.parse(body as string)
}

function decode(answer: unknown, request: Fields = {}) {
  return decodeEmbedding(Buffer.from(JSON.stringify(answer)), {}, { id: 'made', created: 1, model: 'embed-v4.0', request })
}

describe('an embedding for Cohere', () => {
  it('asks for numbers of documents, unless the client says what for', () => {
    const asked = { model: 'embed-v4.0', texts: ['one'], input_type: 'search_document', embedding_types: ['float'] }
    expect(encode({ user: 'somebody', encoding_format: 'base64', metadata: {} })).toEqual(asked)
    expect(
      encode({ input: ['a', 'b'], dimensions: 256, input_type: 'search_query', truncate: 'END', embedding_types: ['int8'] }),
    ).toEqual({
      ...asked,
      texts: ['a', 'b'],
      output_dimension: 256,
      input_type: 'search_query',
      truncate: 'END',
      embedding_types: ['int8'],
    })
  })

  it('takes images, alone and among texts', () => {
    expect(encode({ input: [IMAGE] })).toMatchObject({ images: [IMAGE], input_type: 'image' })
    const mixed = encode({ input: ['a', IMAGE] })
    expect(mixed).toMatchObject({ input_type: 'search_document' })
    expect(mixed['inputs']).toEqual([
      { content: [{ type: 'text', text: 'a' }] },
      { content: [{ type: 'image_url', image_url: { url: IMAGE } }] },
    ])
  })

  it('refuses tokens in place of text', () => {
    for (const input of [
      [1, 2],
      [[1], [2]],
    ]) {
      expect(() => encode({ input })).toThrow(GatewayError)
      expect(() => encode({ input })).toThrow(/input must be/)
    }
  })
})

describe('an answer with embeddings of Cohere', () => {
  const meta = { billed_units: { input_tokens: 3, image_tokens: 4 } }

  it('becomes base64 where that was asked for', () => {
    const [item] = decode({ embeddings: { float: [[1, -2]] }, meta }, { encoding_format: 'base64' }).data
    expect(item?.embedding).toBe(Buffer.from(new Float32Array([1, -2]).buffer).toString('base64'))
    const base64 = Buffer.from(new Float32Array([0.5]).buffer).toString('base64')
    expect(decode({ embeddings: { base64: [base64] }, meta }).data[0]?.embedding).toEqual([0.5])
  })

  it('counts texts and images', () => {
    expect(decode({ id: 'x', embeddings: [[1]], meta })).toEqual({
      id: 'x',
      object: 'list',
      model: 'embed-v4.0',
      data: [{ object: 'embedding', index: 0, embedding: [1] }],
      meta,
      usage: { prompt_tokens: 7, completion_tokens: 0, total_tokens: 7, prompt_tokens_details: { image_tokens: 4 } },
    })
  })

  it('says of what type each vector is where types were asked for', () => {
    const answer = { embeddings: { float: [[0.5], [0.25]], int8: [[1], [2]], uint8: null }, meta }
    expect(decode(answer, { embedding_types: ['float', 'int8'] }).data).toEqual([
      { object: 'embedding', index: 0, embedding: [0.5], type: 'float' },
      { object: 'embedding', index: 1, embedding: [0.25], type: 'float' },
      { object: 'embedding', index: 0, embedding: [1], type: 'int8' },
      { object: 'embedding', index: 1, embedding: [2], type: 'int8' },
    ])
  })

  it('that is an error or holds none is no answer', () => {
    expect(() => decode({ message: 'invalid api token', status_code: 401 })).toThrow(/^litellm\.AuthenticationError/)
    for (const answer of [{}, { embeddings: {} }, { embeddings: { float: null } }, []])
      expect(() => decode(answer)).toThrow(GatewayError)
  })
})
