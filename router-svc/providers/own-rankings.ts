import type { MediaRules } from '../../shared/catalog/media.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { RerankRequest, RerankResponse } from '../canonical/rerank.ts'
import { type Fields, isFields, jsonValue, sourceOf } from './json.ts'
import { rankingOf, textOf } from './openai/rerank.ts'
import { ownFields } from './own-fields.ts'
import type { Adapter, Provider, Target, UpstreamRequest } from './provider.ts'

/** What is ranked, as services in words of their own take it. */
export interface Ranked {
  query: string
  /** Documents as strings, in the request's order. */
  texts: readonly string[]
  /** How many the client wants back; null = all. What a service sends beyond that is cut off here. */
  top: number | null
  /** Parameters that are left, under the service's names. */
  rest: Fields
}

/** How a service in words of its own ranks documents. */
export interface OwnRanking {
  rules?: MediaRules
  /** Throws GatewayError. */
  encode(ranked: Ranked, request: RerankRequest, target: Target): { url: string; body: Fields; headers?: Record<string, string> }
  /** An answer in Cohere's form, or in any of those `rankingOf` knows; null = it is no ranking. */
  read(answer: unknown, request: RerankRequest): Fields | null
}

export function ownRanking(
  ranking: OwnRanking,
  readError: Provider['decodeError'],
): Adapter<RerankRequest, RerankResponse, never> {
  const fieldsOf = ownFields('rerank', ranking.rules ?? {})
  return {
    mode: 'rerank',
    encodeRequest(request, target): UpstreamRequest {
      const {
        model: _,
        query,
        documents: __,
        top_n,
        return_documents: ___,
        rank_fields: ____,
        ...rest
      } = fieldsOf(request, target)
      const texts = request.documents.map((document) => textOf(document, request.rank_fields))
      const ranked = { query: query as string, texts, top: typeof top_n === 'number' ? top_n : null, rest: given(rest) }
      const { url, body, headers } = ranking.encode(ranked, request, target)
      return { method: 'POST', url, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
    },
    decodeResponse(bytes, headers, context) {
      const source = sourceOf(bytes)
      const answer = jsonValue(source, 'The answer')
      const read = ranking.read(answer, context.request as unknown as RerankRequest)
      const ranked = read === null ? null : rankingOf(read, context)
      if (ranked !== null) return ranked
      if (isFields(answer) && ['error', 'errors', 'message'].some((name) => answer[name])) throw readError(200, headers, source)
      throw new GatewayError('provider_malformed', 'The answer holds no ranking.')
    },
  }
}

function given(fields: Readonly<Fields>): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
