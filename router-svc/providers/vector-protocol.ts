import { GatewayError } from '../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import { type Fields, jsonObject, sourceOf } from './json.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from './openai/parameters.ts'
import { vectorAs } from './openai/response.ts'
import type { Adapter, Provider, Target, UpstreamRequest } from './provider.ts'

/** Embeddings of texts by a protocol of the provider's own. */
export interface VectorProtocol {
  /** Rules of what cannot be asked (openai/parameters.ts). */
  unsupported: readonly string[]
  request(texts: string[], given: Fields, target: Target): UpstreamRequest
  /** One vector a text, in order; the answer is no error. */
  vectors(answer: Fields): { vectors: unknown[]; promptTokens?: unknown }
}

export function vectorAdapter(
  name: string,
  protocol: VectorProtocol,
  readError: Provider['decodeError'],
): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const unsupported = protocol.unsupported.map(parameterRule)
  const dropped = ['user'].map(parameterRule)
  return {
    mode: 'embedding',
    encodeRequest({ input, model: _model, encoding_format: _format, ...others }, target) {
      const given: Fields = {}
      for (const [field, value] of Object.entries(others))
        if (value !== null && value !== undefined && !isGatewayField(field, value)) given[field] = value
      dropNamed(given, others, target)
      dropQuietly(given, dropped)
      refuseUnsupported(given, unsupported, others, target)
      return protocol.request(textsOf(input, name), given, target)
    },
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The answer')
      if (answer['error']) throw readError(200, headers, source)
      const { vectors, promptTokens } = protocol.vectors(answer)
      const base64 = context.request['encoding_format'] === 'base64'
      const tokens = typeof promptTokens === 'number' ? promptTokens : 0
      return {
        object: 'list',
        data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: vectorAs(vector, base64) })),
        model: context.model,
        usage: { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens },
      }
    },
  }
}

function textsOf(input: EmbeddingRequest['input'], provider: string): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  if (texts.every((text) => typeof text === 'string')) return texts as string[]
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: input must be a string or a list of strings: ${provider} takes no tokens.`,
    { param: 'input' },
  )
}

/** A list of vectors, or one alone. Throws `provider_malformed`. */
export function listOfVectors(value: unknown): unknown[] {
  if (Array.isArray(value)) return typeof value[0] === 'number' ? [value] : value
  throw new GatewayError('provider_malformed', 'The answer holds no embeddings.')
}

/** A flat list cut into `rows` of the same length. Throws `provider_malformed`. */
export function rowsOf(flat: unknown, rows: number): unknown[] {
  if (!Array.isArray(flat) || rows < 1 || flat.length % rows !== 0)
    throw new GatewayError('provider_malformed', 'The answer holds no tensor of embeddings.')
  const length = flat.length / rows
  return Array.from({ length: rows }, (_, row) => flat.slice(row * length, (row + 1) * length))
}
