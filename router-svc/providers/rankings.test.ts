import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { RerankRequest } from '../canonical/rerank.ts'
import { contextOf, json, targetOf } from './images/target.testkit.ts'
import { providerOf } from './index.ts'
import { haveRecordings } from './openai/recordings.suite.ts'
import type { Provider, Target } from './provider.ts'

const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)
const DOCUMENTS = ['a', { text: 'b', title: 'B' }, { name: 'c', note: 'd' }] as RerankRequest['documents']

function at(name: string, model: string, fields: Partial<Target> = {}) {
  const known = providerOf(name) as Provider
  const provider = known.serve?.(model, { baseModel: null, settings: {}, info: {} })?.provider ?? known
  const adapter = provider.rerank
  if (adapter === undefined) throw new Error(`${name} does not rank`)
  const target = targetOf(name, provider, model, fields)
  return {
    encode(request: Partial<RerankRequest>) {
      const sent = adapter.encodeRequest({ model, query: 'q', documents: DOCUMENTS, ...request }, target)
      return { ...sent, body: JSON.parse(String(sent.body)) as Record<string, unknown> }
    },
    decode: (answer: unknown, request: Partial<RerankRequest> = {}) =>
      adapter.decodeResponse(json(answer).body, {}, contextOf({ query: 'q', documents: DOCUMENTS, ...request }, model)),
    provider,
  }
}

const SCORES = [
  { index: 2, relevance_score: 0.9 },
  { index: 0, relevance_score: 0.5 },
  { index: 1, relevance_score: 0.1 },
]
const bare = (results: readonly { index: number; relevance_score: number }[]) =>
  results.map(({ index, relevance_score }) => ({ index, relevance_score }))

/** Bytes after the vendors' documents, where nothing was recorded. */
const FORMS: readonly [name: string, model: string, fields: Partial<Target>, url: string, body: object, answer: unknown][] = [
  [
    'jina_ai',
    'jina-reranker-v2-base-multilingual',
    {},
    'https://api.jina.ai/v1/rerank',
    { model: 'jina-reranker-v2-base-multilingual', query: 'q', documents: DOCUMENTS, top_n: 2 },
    { model: 'j', results: SCORES.map((one) => ({ ...one, document: { text: 'x' } })), usage: { total_tokens: 12 } },
  ],
  [
    'infinity',
    'bge',
    { base: 'http://infinity.test' },
    'http://infinity.test/rerank',
    { model: 'bge', query: 'q', documents: ['a', 'b', '{"name":"c","note":"d"}'], top_n: 2 },
    { object: 'rerank', results: [...SCORES].reverse(), usage: { prompt_tokens: 12, total_tokens: 12 } },
  ],
  [
    'xinference',
    'bge-uid',
    {},
    'http://127.0.0.1:9997/v1/rerank',
    { model: 'bge-uid', query: 'q', documents: ['a', 'b', '{"name":"c","note":"d"}'], top_n: 2 },
    {
      id: 'x',
      results: SCORES.map((one) => ({ ...one, document: null })),
      meta: { tokens: { input_tokens: 12, output_tokens: 0 } },
    },
  ],
  [
    'huggingface',
    'BAAI/bge-reranker-large',
    { base: 'http://tei.test' },
    'http://tei.test/rerank',
    { query: 'q', texts: ['a', 'b', '{"name":"c","note":"d"}'] },
    SCORES.map(({ index, relevance_score }) => ({ index, score: relevance_score, text: 'x' })),
  ],
  [
    'watsonx',
    'cross-encoder/ms-marco-minilm-l-12-v2',
    { base: 'https://us-south.ml.cloud.ibm.com', settings: { project_id: 'p' } },
    'https://us-south.ml.cloud.ibm.com/ml/v1/text/rerank?version=2024-03-13',
    {
      model_id: 'cross-encoder/ms-marco-minilm-l-12-v2',
      project_id: 'p',
      query: 'q',
      inputs: [{ text: 'a' }, { text: 'b' }, { text: '{"name":"c","note":"d"}' }],
      parameters: { return_options: { top_n: 2 } },
    },
    {
      model_id: 'm',
      results: SCORES.map(({ index, relevance_score }) => ({ index, score: relevance_score, input: { text: 'x' } })),
      input_token_count: 12,
    },
  ],
  [
    'vertex_ai',
    'semantic-ranker-default@latest',
    { base: 'https://us-central1-aiplatform.googleapis.com/projects/proj/locations/us-central1' },
    'https://discoveryengine.googleapis.com/v1/projects/proj/locations/global/rankingConfigs/default_ranking_config:rank',
    {
      model: 'semantic-ranker-default@latest',
      query: 'q',
      records: [
        { id: '0', content: 'a' },
        { id: '1', title: 'B', content: 'b' },
        { id: '2', content: '{"name":"c","note":"d"}' },
      ],
      topN: 2,
      ignoreRecordDetailsInResponse: true,
    },
    { records: SCORES.map(({ index, relevance_score }) => ({ id: String(index), score: relevance_score })) },
  ],
  [
    'bedrock',
    'cohere.rerank-v3-5:0',
    { base: 'https://bedrock-runtime.eu-central-1.amazonaws.com' },
    'https://bedrock-agent-runtime.eu-central-1.amazonaws.com/rerank',
    {
      queries: [{ type: 'TEXT', textQuery: { text: 'q' } }],
      sources: [
        { type: 'INLINE', inlineDocumentSource: { type: 'TEXT', textDocument: { text: 'a' } } },
        { type: 'INLINE', inlineDocumentSource: { type: 'TEXT', textDocument: { text: 'b' } } },
        { type: 'INLINE', inlineDocumentSource: { type: 'JSON', jsonDocument: { name: 'c', note: 'd' } } },
      ],
      rerankingConfiguration: {
        type: 'BEDROCK_RERANKING_MODEL',
        bedrockRerankingConfiguration: {
          numberOfResults: 2,
          modelConfiguration: { modelArn: 'arn:aws:bedrock:eu-central-1::foundation-model/cohere.rerank-v3-5:0' },
        },
      },
    },
    { results: SCORES.map(({ index, relevance_score }) => ({ index, relevanceScore: relevance_score })) },
  ],
  [
    'bedrock',
    'invoke/cohere.rerank-v3-5:0',
    { base: 'https://bedrock-runtime.eu-central-1.amazonaws.com' },
    'https://bedrock-runtime.eu-central-1.amazonaws.com/model/cohere.rerank-v3-5%3A0/invoke',
    { query: 'q', documents: ['a', 'b', '{"name":"c","note":"d"}'], api_version: 2, top_n: 2 },
    { results: SCORES },
  ],
  [
    'azure_ai',
    'Cohere-rerank-v4.0-pro',
    { base: 'https://host.models.ai.azure.com' },
    'https://host.models.ai.azure.com/v1/rerank',
    { model: 'Cohere-rerank-v4.0-pro', query: 'q', documents: DOCUMENTS, top_n: 2 },
    { id: 'a', results: SCORES, meta: { billed_units: { search_units: 1 } } },
  ],
  [
    'cohere',
    'rerank-v3.5',
    { base: 'https://api.cohere.ai/v1/rerank' },
    'https://api.cohere.ai/v2/rerank',
    { model: 'rerank-v3.5', query: 'q', documents: ['a', 'b', '{"name":"c","note":"d"}'], top_n: 2 },
    { id: 'a', results: SCORES, meta: { billed_units: { search_units: 1 } } },
  ],
  [
    'voyage',
    'rerank-2.5',
    {},
    'https://api.voyageai.com/v1/rerank',
    { model: 'rerank-2.5', query: 'q', documents: ['a', 'b', '{"name":"c","note":"d"}'], top_k: 2 },
    { object: 'list', data: SCORES, model: 'rerank-2.5', usage: { total_tokens: 12 } },
  ],
]

describe('rankings', () => {
  it.each(FORMS)('of %s (%s) are asked for and read in its words', (name, model, fields, url, body, answer) => {
    const ranker = at(name, model, fields)
    const sent = ranker.encode({ top_n: 2 })
    expect({ url: sent.url, body: sent.body }).toEqual({ url, body })
    const two = ranker.decode(answer, { top_n: 2, return_documents: true })
    expect(bare(two.results)).toEqual(SCORES.slice(0, 2))
    expect(two.results[0]).toHaveProperty('document')
    const all = ranker.decode(answer, { return_documents: false })
    expect(all.results.map(({ index }) => index)).toEqual([2, 0, 1])
    for (const result of all.results) expect(result).not.toHaveProperty('document')
    expect(all.id).not.toBe('')
    expect(all.billing?.units).toEqual({ query: 1 })
  })

  it.each(FORMS.map(([name, model, fields]) => [name, model, fields] as const))(
    'of %s (%s) are by the fields the client names, and refuse what nobody there knows',
    (name, model, fields) => {
      const ranker = at(name, model, fields)
      if (name !== 'azure_ai') {
        const { body } = ranker.encode({ documents: [{ a: 'x', b: 'unchosen', c: 'z' }], rank_fields: ['c', 'a'] })
        expect(JSON.stringify(body)).toContain('z\\nx')
        expect(JSON.stringify(body)).not.toContain('unchosen')
        expect(JSON.stringify(body)).not.toContain('rank_fields')
      }
      if (!['azure_ai', 'xinference'].includes(name)) {
        expect(() => ranker.encode({ max_chunks_per_doc: 3 })).toThrow("['max_chunks_per_doc']")
      }
    },
  )

  it.each(FORMS.map(([name, model, fields]) => [name, model, fields] as const))(
    'of %s (%s) are no ranking where the answer is an error',
    (name, model, fields) => {
      const ranker = at(name, model, fields)
      expect(() => ranker.decode({ error: { message: 'no such model' } })).toThrow(/no such model/)
      expect(() => ranker.decode({ ok: true })).toThrow(/holds no ranking|provider_malformed|malformed/)
    },
  )

  it.each([
    ['https://r.services.ai.azure.com', 'https://r.services.ai.azure.com/v1/rerank'],
    ['https://r.services.ai.azure.com/providers/cohere/v2', 'https://r.services.ai.azure.com/providers/cohere/v2/rerank'],
    ['https://m.eastus.models.ai.azure.com/v1/rerank', 'https://m.eastus.models.ai.azure.com/v1/rerank'],
  ])('at Azure’s %s are asked for at %s', (base, url) => {
    expect(at('azure_ai', 'cohere-rerank-v3.5', { base }).encode({}).url).toBe(url)
  })

  it('at Hugging Face need an endpoint of the operator’s, and at Google a project', () => {
    expect(() => at('huggingface', 'a/b').encode({})).toThrow('api_base')
    const express = at('vertex_ai', 'm', { base: 'https://aiplatform.googleapis.com' })
    expect(() => express.encode({})).toThrow('vertex_project')
  })

  it('of more than a hundred documents are several queries where they are sold so', () => {
    const documents = Array.from({ length: 201 }, (_, index) => `document ${index}`)
    const { billing, meta } = at('bedrock', 'amazon.rerank-v1:0').decode({ results: [] }, { documents })
    expect([billing?.units, meta?.billed_units]).toEqual([{ query: 3 }, { search_units: 3 }])
  })
})

describe.skipIf(!haveRecordings())('recorded rankings', () => {
  const read = (file: string) => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'))

  it('of Cohere and Voyage are asked for as they were, and cost what they say', () => {
    const cases = [
      ['cohere', 'cohere/rerank__ruby_llm__rerank_reranking_with_cohere_rerank-v3_5_orders_documents_by_rele-75a695.json'],
      ['voyage', 'voyage/rerank__openllmetry__test_rerank.test_voyageai_rerank_async_legacy.json'],
    ] as const
    const answers = cases.map(([name, file]) => {
      const [{ request, response }] = read(file).exchanges
      const { model, top_k, ...body } = request.body
      const ranker = at(name, model)
      const asked = { ...body, ...(top_k === undefined ? {} : { top_n: top_k }) }
      const sent = ranker.encode(asked)
      expect([sent.url, sent.body]).toEqual([request.url, request.body])
      return ranker.decode(JSON.parse(response.body), asked)
    })
    expect(answers[0]).toMatchObject({
      id: '31337dd2-66cd-4d99-a7cf-f4879de260d1',
      results: [
        { index: 1, relevance_score: 0.86303437 },
        { index: 0, relevance_score: 0.17279942 },
      ],
      billing: { units: { query: 1 } },
    })
    expect(answers[1]).toMatchObject({
      results: [
        { index: 0, relevance_score: 0.69140625 },
        { index: 2, relevance_score: 0.494140625 },
      ],
      meta: { billed_units: { total_tokens: 43 } },
      billing: { input: 43 },
    })
  })

  it('of Bedrock and Cohere, as others kept them, are read', () => {
    const documents = ['a', 'b', 'c', 'd', 'e', 'f']
    const bedrock = at('bedrock', 'cohere.rerank-v3-5:0')
    const ranked = bedrock.decode(read('bedrock/rerank__vercel-ai__amazon-bedrock-reranking.1.json'), { documents })
    expect(bare(ranked.results)).toEqual([
      { index: 0, relevance_score: 0.5110583305358887 },
      { index: 5, relevance_score: 0.30241215229034424 },
    ])
    const cohere = at('cohere', 'rerank-v3.5').decode(read('cohere/rerank__vercel-ai__cohere-reranking.1.json'), { documents })
    expect(cohere.results.map(({ index }) => index)).toEqual([1, 0])
    expect(cohere.billing?.units).toEqual({ query: 1 })
  })
})
