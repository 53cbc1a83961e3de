import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { deployment, JSON_TYPE, make, settled } from '../../handle.testkit.ts'
import { problemsOf, serviceModel } from '../aws-service-model.testkit.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { EMBEDDING } from './embedding.ts'
import { canonicalOf, recordings, target } from './recordings.testkit.ts'
import { encodeRequest } from './request.ts'
import type { Fields } from './wire.ts'

function sent(model: string, fields: Partial<EmbeddingRequest>, settings: Fields = {}): Fields {
  const request = EMBEDDING.encodeRequest({ model: 'm', input: 'hi', ...fields }, target({ model, settings }))
  return JSON.parse(String(request.body)) as Fields
}

function read(answer: unknown, headers: Record<string, string> = {}, request: Fields = {}): EmbeddingResponse {
  return EMBEDDING.decodeResponse(Buffer.from(JSON.stringify(answer)), headers, { id: 'x', created: 1, model: 'm', request })
}

const PICTURE = 'data:image/jpg;base64,QQ=='

describe('a request for embeddings on Bedrock', () => {
  it.each([
    ['amazon.titan-embed-text-v1', {}, { inputText: 'hi' }],
    ['amazon.titan-embed-text-v2:0', { dimensions: 256, normalize: true }, { inputText: 'hi', dimensions: 256, normalize: true }],
    ['amazon.titan-embed-image-v1', { dimensions: 384 }, { inputText: 'hi', embeddingConfig: { outputEmbeddingLength: 384 } }],
    ['amazon.titan-embed-image-v1', { input: PICTURE }, { inputImage: 'QQ==' }],
    [
      'cohere.embed-english-v3',
      { input: ['a', 'b'], truncate: 'END' },
      { texts: ['a', 'b'], input_type: 'search_document', truncate: 'END' },
    ],
    [
      'us.cohere.embed-v4:0',
      { dimensions: 512, input_type: 'search_query' },
      { texts: ['hi'], input_type: 'search_query', output_dimension: 512 },
    ],
    ['cohere.embed-multilingual-v3', { input: [PICTURE] }, { images: [PICTURE], input_type: 'image' }],
    [
      'amazon.nova-2-multimodal-embeddings-v1:0',
      { dimensions: 1024 },
      {
        taskType: 'SINGLE_EMBEDDING',
        singleEmbeddingParams: {
          embeddingPurpose: 'GENERIC_INDEX',
          embeddingDimension: 1024,
          text: { truncationMode: 'END', value: 'hi' },
        },
      },
    ],
    [
      'amazon.nova-2-multimodal-embeddings-v1:0',
      { input: PICTURE, embeddingPurpose: 'GENERIC_RETRIEVAL' },
      {
        taskType: 'SINGLE_EMBEDDING',
        singleEmbeddingParams: { embeddingPurpose: 'GENERIC_RETRIEVAL', image: { format: 'jpeg', source: { bytes: 'QQ==' } } },
      },
    ],
  ])('is in the words of %s for %j', (model, fields, body) => {
    expect(sent(model, { ...fields, user: 'me', encoding_format: 'float' })).toEqual(body)
  })

  it('takes the kind of input from the deployment, and the model from its base where an ARN hides it', () => {
    expect(sent('cohere.embed-english-v3', {}, { input_type: 'clustering' })['input_type']).toBe('clustering')
    const arn = 'arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc'
    expect(sent(arn, {}, { base_model: 'cohere.embed-v4:0' })).toHaveProperty('texts')
  })

  it('refuses what a model does not take, by name', () => {
    expect(() => sent('amazon.titan-embed-text-v1', { dimensions: 5 })).toThrow("['dimensions']")
    expect(sent('amazon.titan-embed-text-v1', { dimensions: 5, drop_params: true })).toEqual({ inputText: 'hi' })
    expect(() => sent('amazon.titan-embed-text-v2:0', { input: [1, 2] })).toThrow('take no tokens')
    expect(() => sent('meta.llama3-1-8b-instruct-v1:0', {})).toThrow('makes no embeddings')
  })

  it.skipIf(!haveRecordings())('validates against the description of the service', () => {
    const request = EMBEDDING.encodeRequest({ model: 'm', input: 'hi' }, target({ model: 'amazon.titan-embed-text-v2:0' }))
    expect(problemsOf(serviceModel('bedrock-runtime'), 'InvokeModel', request)).toEqual([])
  })
})

describe('an answer with embeddings from Bedrock', () => {
  it.each([
    [{ embedding: [0.5], inputTextTokenCount: 3 }, [[0.5]]],
    [{ embeddingsByType: { binary: [1, 0] }, inputTextTokenCount: 3 }, [[1, 0]]],
    [{ embeddings: [[1], [2]], id: 'x', texts: ['a', 'b'], response_type: 'embeddings_floats' }, [[1], [2]]],
    [{ embeddings: { float: [[1], [2]] }, response_type: 'embeddings_by_type' }, [[1], [2]]],
    [{ embeddings: [{ embeddingType: 'TEXT', embedding: [1] }] }, [[1]]],
  ])('is read from %j', (answer, vectors) => {
    const { data, usage } = read(answer, { 'x-amzn-bedrock-input-token-count': '3' })
    expect(data.map(({ embedding }) => embedding)).toEqual(vectors)
    expect(data.map(({ index }) => index)).toEqual(vectors.map((_, at) => at))
    expect(usage).toEqual({ prompt_tokens: 3, completion_tokens: 0, total_tokens: 3 })
  })

  it('is base64 where that was asked for, and no answer where there is none', () => {
    expect(read({ embedding: [0.5] }, {}, { encoding_format: 'base64' }).data[0]?.embedding).toBe('AAAAPw==')
    expect(() => read({ something: 1 })).toThrow('no embeddings')
    expect(() => read({ message: 'Too many requests' }, { 'x-amzn-errortype': 'ThrottlingException' })).toThrow(
      'Too many requests',
    )
  })
})

describe.skipIf(!haveRecordings())('what was recorded of Bedrock', () => {
  it('is the request and the answer of Titan’s embeddings', () => {
    const file = 'text__pydantic-ai__test_embeddings.TestBedrock.test_instrumentation.json'
    const source = readFileSync(new URL(`../../../../shared/fixtures/bedrock/${file}`, import.meta.url), 'utf8')
    const { exchanges } = JSON.parse(source) as {
      exchanges: { request: { body: Fields }; response: { headers: Record<string, string[]>; body: string | Fields } }[]
    }
    for (const { request, response } of exchanges) {
      const { inputText, ...rest } = request.body
      expect(sent('amazon.titan-embed-text-v2:0', { input: inputText as string, ...rest })).toEqual(request.body)
      const answer = typeof response.body === 'string' ? (JSON.parse(response.body) as Fields) : response.body
      const { data, usage } = read(answer, { 'x-amzn-bedrock-input-token-count': '5' })
      expect(data[0]?.embedding).toEqual(answer['embedding'])
      expect(usage.prompt_tokens).toBe(5)
    }
  })

  it('are requests that Converse’s description allows, encoded again', () => {
    const model = serviceModel('bedrock-runtime')
    const asked = recordings().filter(({ request, status }) => request !== null && status === 200)
    expect(asked.length).toBeGreaterThan(20)
    for (const { file, model: name, request } of asked) {
      const encoded = encodeRequest(canonicalOf(request as Fields), target({ model: name, allowedOpenaiParams: ['tool_choice'] }))
      expect([file, ...problemsOf(model, 'Converse', encoded)]).toEqual([file])
    }
  })
})

describe('a call for embeddings on Bedrock', () => {
  const titan = deployment('one', {
    provider: 'bedrock',
    model: 'amazon.titan-embed-text-v2:0',
    apiBase: null,
    settings: { aws_region_name: 'us-east-1' },
  })

  it('asks once for each of several inputs, and keeps their order and all their tokens', async () => {
    const { sent: requests, events, call } = make([titan])
    const client = call({ model: 'gpt', input: ['a', 'b', 'c'] }, { endpoint: 'aembedding' })
    await settled()
    const texts = requests.map(({ request }) => (JSON.parse(String(request.body)) as Fields)['inputText'])
    expect(texts).toEqual(['a', 'b', 'c'])
    for (const [at, { sink }] of [...requests.entries()].reverse()) {
      sink.head(200, { ...JSON_TYPE, 'x-amzn-bedrock-input-token-count': '2' })
      sink.data(Buffer.from(JSON.stringify({ embedding: [at], inputTextTokenCount: 2 })))
      sink.end()
    }
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({
      data: [
        { index: 0, embedding: [0] },
        { index: 1, embedding: [1] },
        { index: 2, embedding: [2] },
      ],
      usage: { prompt_tokens: 6 },
    })
    expect(events.at(-1)).toMatchObject({ attempts: [{ usage: { input: 6, output: 0 } }] })
  })
})
