import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { jsonValue, sourceOf } from '../json.ts'
import { dropNamed } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { DecodeContext, Headers, Target, UpstreamRequest } from '../provider.ts'
import { createRefusals } from '../refusals.ts'
import { malformed } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { camelCase } from './parameters.ts'
import { modelUrl } from './request.ts'
import { decodeUsage } from './usage.ts'
import { type Fields, isFields, objects, type Part } from './wire.ts'

const TRANSLATED = new Set(['model', 'input', 'dimensions', 'encoding_format', 'user', 'input_type'])

/** Most texts the service takes in one call. */
const BATCH_LIMIT = 100

/** What other vendors call the use of a vector. */
const TASKS: Readonly<Record<string, string>> = {
  query: 'RETRIEVAL_QUERY',
  search_query: 'RETRIEVAL_QUERY',
  document: 'RETRIEVAL_DOCUMENT',
  passage: 'RETRIEVAL_DOCUMENT',
  search_document: 'RETRIEVAL_DOCUMENT',
  classification: 'CLASSIFICATION',
  clustering: 'CLUSTERING',
}

/**
 * Texts (or pictures, as data URIs) as `batchEmbedContents`, which serves one as well as many. Throws `bad_request` for tokens in place of
 * text, which only the model's own maker could read, and for more than a hundred inputs.
 */
export function encodeEmbedding(canonical: EmbeddingRequest, target: Target): UpstreamRequest {
  const refusals = createRefusals({ messages: [], ...canonical }, target)
  const given: Fields = { ...canonical }
  dropNamed(given, canonical, target)
  const model = /^(models|tunedModels)\//.test(target.model) ? target.model : `models/${target.model}`
  const options: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || TRANSLATED.has(name) || isGatewayField(name, value)) continue
    options[camelCase(name)] = value
  }
  // A client of this protocol: in its own words.
  if (isFields(canonical['gemini'])) Object.assign(options, canonical['gemini'])
  if (typeof given['dimensions'] === 'number') options['outputDimensionality'] = given['dimensions']
  const use = given['input_type']
  if (typeof use === 'string') options['taskType'] ??= entryOf(TASKS, use.toLowerCase()) ?? use.toUpperCase()
  const requests = inputsOf(canonical.input).map((part) => ({ model, content: { parts: [part] }, ...options }))
  refusals.check()
  return {
    method: 'POST',
    url: `${modelUrl(target)}:batchEmbedContents`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ requests }),
  }
}

function inputsOf(input: EmbeddingRequest['input']): Part[] {
  const list: readonly unknown[] = Array.isArray(input) ? input : [input]
  if (list.length === 0 || list.length > BATCH_LIMIT)
    throw refuse('input', `must hold 1 to ${BATCH_LIMIT} texts, not ${list.length}`)
  return list.map((value, index) => {
    if (typeof value !== 'string') throw refuse(`input[${index}]`, 'must be a text: Gemini takes no tokens')
    const match = /^data:([^;,]+);base64,(.+)$/s.exec(value)
    return match === null ? { text: value } : { inlineData: { mimeType: match[1], data: match[2] } }
  })
}

/** Reads `embeddings`, or the `embedding` of a single call. Most models report no usage, and then it is counted by the router. */
export function decodeEmbedding(provider: string, body: Uint8Array, headers: Headers, context: DecodeContext): EmbeddingResponse {
  const source = sourceOf(body)
  const answer = jsonValue(source, 'The answer')
  if (errorInside(answer)) throw decodeError(provider, 200, headers, source)
  if (!isFields(answer)) throw malformed('The answer is not a JSON object.')
  const vectors = objects(answer['embeddings'] ?? [answer['embedding']])
  if (vectors.length === 0) throw malformed('The answer holds no embeddings.')
  const base64 = context.request['encoding_format'] === 'base64'
  const { prompt_tokens: tokens, prompt_tokens_details: details } = decodeUsage(
    isFields(answer['usageMetadata']) ? answer['usageMetadata'] : {},
  )
  return {
    object: 'list',
    data: vectors.map(({ values }, index) => ({ object: 'embedding', index, embedding: vectorAs(values, base64) })),
    model: context.model,
    usage: {
      prompt_tokens: tokens,
      completion_tokens: 0,
      total_tokens: tokens,
      ...(tokens > 0 && details ? { prompt_tokens_details: details } : {}),
    },
  }
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
