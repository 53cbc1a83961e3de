import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CohereClientV2 } from 'cohere-ai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

type Fields = Record<string, unknown>

const DOCUMENTS = ['Carson City is the capital of Nevada.', 'Washington, D.C. is the capital.', 'Saipan is a capital.']
const QUERY = 'What is the capital of the United States?'

const CONFIG = (url: string): string => `
model_list:
  - {model_name: cohere, litellm_params: {model: cohere/rerank-v3.5, api_base: '${url}', api_key: k}}
  - {model_name: voyage, litellm_params: {model: voyage/rerank-2.5, api_base: '${url}/voyage', api_key: k}}
  - {model_name: jina, litellm_params: {model: jina_ai/jina-reranker-v2-base-multilingual, api_base: '${url}/jina', api_key: k}}
  - {model_name: tei, litellm_params: {model: huggingface/BAAI/bge-reranker-large, api_base: '${url}/tei', api_key: k, input_cost_per_query: 0.25}}
router_settings: {num_retries: 0}
`

/** Scores by place, as each service writes them: the longer a document, the better. */
const ANSWERS: Readonly<Record<string, (scores: { index: number; score: number }[], fields: Fields) => unknown>> = {
  '/v2/rerank': (scores, { top_n: top }) => ({
    id: 'c1',
    results: scores.slice(0, Number(top ?? scores.length)).map(({ index, score }) => ({ index, relevance_score: score })),
    meta: { api_version: { version: '2' }, billed_units: { search_units: 1 } },
  }),
  '/voyage/rerank': (scores) => ({
    object: 'list',
    data: scores.map(({ index, score }) => ({ index, relevance_score: score })),
    usage: { total_tokens: 1000 },
  }),
  '/jina/rerank': (scores) => ({
    model: 'jina-reranker-v2-base-multilingual',
    results: scores.map(({ index, score }) => ({ index, relevance_score: score, document: { text: DOCUMENTS[index] } })),
    usage: { total_tokens: 1000 },
  }),
  '/tei/rerank': (scores) => scores.toReversed().map(({ index, score }) => ({ index, score })),
}

/** Rankings as official clients ask for them, whoever ranks, and what the ledger then says. */
describe.each(MODES)('rankings, %s', (mode) => {
  const calls: { path: string; fields: Fields }[] = []
  let upstream: Server
  let gateway: Gateway
  let cohere: CohereClientV2

  beforeAll(async () => {
    upstream = createServer(async (request, response) => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const fields = JSON.parse(Buffer.concat(parts).toString()) as Fields
      const path = request.url as string
      calls.push({ path, fields })
      const answer = ANSWERS[path]
      const type = { 'content-type': 'application/json' }
      if (answer === undefined || fields['query'] === 'fail') {
        response.writeHead(422, type).end(JSON.stringify({ message: 'the query cannot be ranked' }))
        return
      }
      const documents = (fields['documents'] ?? fields['texts']) as string[]
      const scores = documents.map((document, index) => ({ index, score: String(document).length / 100 }))
      scores.sort((one, other) => other.score - one.score)
      response.writeHead(200, type).end(JSON.stringify(answer(scores, fields)))
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    const { port } = upstream.address() as AddressInfo
    gateway = await openGateway(mode, { config: CONFIG(`http://127.0.0.1:${port}`) })
    cohere = new CohereClientV2({ environment: gateway.url, token: gateway.masterKey })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    upstream?.closeAllConnections()
    await new Promise((resolve) => upstream.close(resolve))
  })
  beforeEach(() => {
    calls.length = 0
  })

  const post = (path: string, body: unknown) =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  async function booked(headers: { get(name: string): string | null }): Promise<number> {
    const rows = await gateway.ledger(headers.get('x-litellm-call-id') as string)
    expect(rows).toHaveLength(1)
    return Number(rows[0]?.spend)
  }

  it.each([
    // $2 a thousand searches; $0.05 and $0.018 a million tokens; as the operator says.
    ['cohere', '/v2/rerank', 0.002],
    ['voyage', '/voyage/rerank', 0.00005],
    ['jina', '/jina/rerank', 0.000018],
    ['tei', '/tei/rerank', 0.25],
  ] as const)('of %s reach Cohere’s client sorted, cut off and booked', async (model, path, dollars) => {
    const { data, rawResponse } = await cohere.rerank({ model, query: QUERY, documents: DOCUMENTS, topN: 2 }).withRawResponse()
    // Jina gives documents back unasked.
    expect(data.results).toMatchObject([
      { index: 0, relevanceScore: 0.37 },
      { index: 1, relevanceScore: 0.32 },
    ])
    expect(data.id).not.toBe('')
    expect(calls.map((call) => call.path)).toEqual([path])
    expect(await booked(rawResponse.headers)).toBeCloseTo(dollars, 12)
  })

  it('reach Cohere’s client as errors it knows, with what the provider said', async () => {
    await expect(
      cohere.rerank({ model: 'cohere', query: 'fail', documents: DOCUMENTS }, { maxRetries: 0 }),
    ).rejects.toMatchObject({
      statusCode: expect.any(Number),
      body: { error: { message: expect.stringContaining('CohereException - the query cannot be ranked') } },
    })
    await expect(cohere.rerank({ model: 'nobody', query: QUERY, documents: DOCUMENTS }, { maxRetries: 0 })).rejects.toMatchObject(
      {
        statusCode: 400,
      },
    )
    expect(calls).toHaveLength(1)
  })

  it.each(['/v1/rerank', '/v2/rerank', '/rerank'])('are asked for at %s in Jina’s form, documents and all', async (path) => {
    const documents = [{ text: 'short' }, { text: 'by far the longest' }]
    const response = await post(path, { model: 'jina', query: QUERY, documents, top_n: 1, return_documents: true })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      results: [{ index: expect.any(Number), document: { text: expect.any(String) } }],
    })
    expect(calls[0]?.fields).toEqual({
      model: 'jina-reranker-v2-base-multilingual',
      query: QUERY,
      documents,
      top_n: 1,
      return_documents: true,
    })
  })

  it('of documents with fields are by the fields that are named', async () => {
    const documents = [
      { title: 'a', body: 'not looked at' },
      { title: 'bb', body: 'x' },
    ]
    const response = await post('/v1/rerank', {
      model: 'tei',
      query: QUERY,
      documents,
      rank_fields: ['title'],
      return_documents: true,
    })
    expect(await response.json()).toMatchObject({ results: [{ index: 1, document: documents[1] }, { index: 0 }] })
    expect(calls[0]?.fields).toEqual({ query: QUERY, texts: ['a', 'bb'] })
  })

  it('name what is missing, and what a provider has no counterpart for', async () => {
    for (const [fields, param] of [
      [{ documents: undefined }, 'documents'],
      [{ top_n: 0 }, 'top_n'],
      [{ max_chunks_per_doc: 2 }, 'max_chunks_per_doc'],
    ] as const) {
      const response = await post('/v2/rerank', { model: 'voyage', query: QUERY, documents: DOCUMENTS, ...fields })
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({ error: { param } })
    }
    expect(calls).toEqual([])
  })
})
