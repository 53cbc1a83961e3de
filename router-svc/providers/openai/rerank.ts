import type { MediaRow } from '../../../shared/catalog/media.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { RerankRequest, RerankResponse, RerankResult } from '../../canonical/rerank.ts'
import { type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import type { Adapter, DecodeContext, Headers } from '../provider.ts'
import { billedUnits, mediaTokens, withUnits } from './media-usage.ts'
import type { RequestEncoder } from './request.ts'
import type { ErrorReader } from './response.ts'

/** Rankings: Cohere's form, which most took over, NVIDIA's passages and DeepInfra's scores. */
export function rerankAdapter(
  media: MediaRow,
  encoder: RequestEncoder,
  readError: ErrorReader,
): Adapter<RerankRequest, RerankResponse, never> {
  return {
    mode: 'rerank',
    encodeRequest(request, target) {
      const body = encoder.shape(request, target)
      return encoder.wrap(target, JSON.stringify(shaped(body, request, media)))
    },
    decodeResponse: (body, headers, context) => decodeRanking(body, headers, context, readError),
  }
}

function shaped(
  { query, documents, top_n, return_documents, rank_fields, ...body }: Fields,
  request: RerankRequest,
  media: MediaRow,
): Fields {
  const texts = request.documents.map((document) => textOf(document, request.rank_fields))
  switch (media.ranking) {
    // Sorted and cut off here: neither knows how.
    case 'passages':
      return { ...body, query: { text: query }, passages: texts.map((passage) => ({ text: passage })) }
    case 'scores': {
      const { model: _, ...rest } = body
      return { ...rest, queries: [query], documents: texts }
    }
    default: {
      // Who does not choose fields itself gets what they hold.
      const chosen = (request.rank_fields?.length ?? 0) > 0 && rank_fields === undefined
      const strings = media.stringDocuments || chosen
      const given = { query, documents: strings ? texts : documents, top_n, return_documents, rank_fields }
      return {
        ...body,
        ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null)),
      }
    }
  }
}

/** A document as a string: the fields it is ranked by, else its text, else all of it. */
export function textOf(document: string | Readonly<Fields>, fields?: readonly string[] | null): string {
  if (typeof document === 'string') return document
  if (fields !== undefined && fields !== null && fields.length > 0) {
    return fields.map((field) => text(document[field], JSON.stringify(document[field] ?? ''))).join('\n')
  }
  return text(document['text'], JSON.stringify(document))
}

function decodeRanking(body: Uint8Array, headers: Headers, context: DecodeContext, readError: ErrorReader): RerankResponse {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  const ranking = rankingOf(answer, context)
  if (ranking !== null) return ranking
  if (answer['error'] !== undefined && answer['error'] !== null) throw readError(200, headers, source)
  throw new GatewayError('provider_malformed', 'The answer holds no ranking.')
}

/** An answer in any of these forms as Cohere's: sorted, cut off, with the documents asked for, and billed. Null = it holds no ranking. */
export function rankingOf(answer: Readonly<Fields>, context: DecodeContext): RerankResponse | null {
  const list = [answer['results'], answer['rankings'], answer['data'], answer['scores']].find(Array.isArray) as
    | unknown[]
    | undefined
  if (list === undefined) return null
  const request = context.request as unknown as RerankRequest
  const results = list
    .map((raw, position) => resultOf(raw, position, request))
    .sort((one, other) => other.relevance_score - one.relevance_score)
  const { rankings: _, data: __, scores: ___, object: ____, ...rest } = answer
  const meta = isFields(answer['meta']) ? answer['meta'] : undefined
  const usage = answer['usage'] ?? (isFields(meta?.['tokens']) ? meta['tokens'] : { input_tokens: answer['input_tokens'] })
  const tokens = mediaTokens(usage, 'text_tokens')
  const units = isFields(meta?.['billed_units']) ? meta['billed_units'] : {}
  const searches = typeof units['search_units'] === 'number' ? units['search_units'] : null
  const counted = tokens === null ? {} : { tokens: { input_tokens: tokens.input, output_tokens: tokens.output } }
  const billed = tokens === null ? {} : { billed_units: { total_tokens: tokens.input + tokens.output } }
  const billing = tokens === null ? billedUnits({ query: searches ?? 1 }) : withUnits(tokens, { query: searches ?? 1 })
  return {
    ...rest,
    id: text(answer['id'], context.id.replace(/^chatcmpl-/, 'rerank-')),
    results: results.slice(0, request.top_n ?? results.length),
    meta: meta ?? { ...billed, ...counted },
    billing,
  }
}

function resultOf(raw: unknown, position: number, request: RerankRequest): RerankResult {
  const { document, logit, score, ...rest }: Fields = isFields(raw) ? raw : { relevance_score: raw }
  const index = typeof rest['index'] === 'number' ? rest['index'] : position
  const found = [rest['relevance_score'], score, logit].find((value) => typeof value === 'number')
  if (found === undefined) throw new GatewayError('provider_malformed', 'The answer holds a result without a score.')
  return { ...rest, index, relevance_score: found as number, ...documentOf(document, request, index) }
}

/** As the provider gave it back; where one was asked for and none came, the client's own. */
function documentOf(document: unknown, request: RerankRequest, index: number): Pick<RerankResult, 'document'> {
  if (request.return_documents === false) return {}
  if (typeof document === 'string') return { document: { text: document } }
  if (isFields(document) && Object.keys(document).length > 0) return { document: document as { text: string } }
  const own = request.documents[index]
  if (request.return_documents !== true || own === undefined) return {}
  return { document: typeof own === 'string' ? { text: own } : (own as { text: string }) }
}
