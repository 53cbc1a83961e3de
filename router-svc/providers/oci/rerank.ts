import { GatewayError } from '../../../shared/errors.ts'
import type { RerankRequest, RerankResponse, RerankResult } from '../../canonical/rerank.ts'
import { isFields, jsonObject, sourceOf, text } from '../json.ts'
import { billedUnits } from '../openai/media-usage.ts'
import { textOf } from '../openai/rerank.ts'
import type { Adapter, Provider } from '../provider.ts'
import { postJson } from '../text-protocol.ts'
import { isError } from './errors.ts'
import { actionUrl, placeOf } from './models.ts'

/** `rerankText`, billed by the search. */
export function rerankAdapter(readError: Provider['decodeError']): Adapter<RerankRequest, RerankResponse, never> {
  return {
    mode: 'rerank',
    encodeRequest({ query, documents, top_n, return_documents, rank_fields, max_chunks_per_doc, max_tokens_per_doc }, target) {
      return postJson(actionUrl(target, 'rerankText'), {
        ...placeOf(target),
        input: query,
        documents: documents.map((document) => textOf(document, rank_fields)),
        ...(top_n == null ? {} : { topN: top_n }),
        ...(return_documents == null ? {} : { isEcho: return_documents }),
        ...(max_chunks_per_doc == null ? {} : { maxChunksPerDocument: max_chunks_per_doc }),
        ...(max_tokens_per_doc == null ? {} : { maxTokensPerDocument: max_tokens_per_doc }),
      })
    },
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The answer')
      if (isError(answer)) throw readError(200, headers, source)
      const ranks = answer['documentRanks']
      if (!Array.isArray(ranks)) throw new GatewayError('provider_malformed', 'The answer holds no ranking.')
      const results = (ranks as unknown[]).filter(isFields).map(resultOf)
      return {
        id: text(answer['id'], context.id.replace(/^chatcmpl-/, 'rerank-')),
        results: results.sort((one, other) => other.relevance_score - one.relevance_score),
        meta: { billed_units: { search_units: 1 } },
        billing: billedUnits({ query: 1 }),
      }
    },
  }
}

function resultOf({ index, relevanceScore, document }: Record<string, unknown>): RerankResult {
  if (typeof index !== 'number' || typeof relevanceScore !== 'number')
    throw new GatewayError('provider_malformed', 'The answer holds a result without its place or its score.')
  const echoed = isFields(document) ? (document as { text: string }) : null
  return { index, relevance_score: relevanceScore, ...(echoed === null ? {} : { document: echoed }) }
}
