import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { RerankRequest, RerankResponse } from '../canonical/rerank.ts'
import type { Dialect } from './dialect.ts'
import { checkFields, checkModel, invalid } from './request-fields.ts'

/** Cohere's rerank (v1 and v2), which Jina's clients speak too. */
export const rerank: Dialect<RerankRequest, RerankResponse, never> = {
  name: 'rerank',
  mode: 'rerank',
  protocol: null,
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: ({ billing: _, ...response }) => JSON.stringify(response),
  encodeStream: () => {
    throw new GatewayError('unsupported_endpoint', 'Rankings are not streamed.', { param: 'stream' })
  },
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

function decodeRequest(body: Record<string, unknown>): RerankRequest {
  checkModel(body)
  const { query, documents } = body
  if (typeof query !== 'string') throw invalid('query', 'string', query)
  if (!Array.isArray(documents)) throw invalid('documents', 'list', documents)
  documents.forEach((document, index) => {
    if (typeof document !== 'string' && !isObject(document)) throw invalid(`documents[${index}]`, 'string or object', document)
  })
  checkFields(body, [
    ['top_n', 'positive integer'],
    ['rank_fields', 'list of strings'],
    ['return_documents', 'boolean'],
    ['max_chunks_per_doc', 'positive integer'],
    ['max_tokens_per_doc', 'positive integer'],
  ])
  return body as RerankRequest
}
