import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { type Fields, isFields } from '../json.ts'
import { dropNamed } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { DecodeContext, Headers, Target, UpstreamRequest } from '../provider.ts'
import { decodeError } from './errors.ts'
import { ownFields } from './request.ts'
import { decodeEmbeddingUsage } from './usage.ts'
import { answerFields, endpointUrl, list } from './wire.ts'

const PLACED = new Set(['model', 'input', 'user', 'dimensions', 'encoding_format'])

/** An embedding for the v2 API. Throws GatewayError `bad_request` for tokens in place of text. */
export function encodeEmbedding(canonical: EmbeddingRequest, target: Target): UpstreamRequest {
  const given = ownFields(canonical)
  dropNamed(given, canonical, target)
  const body: Fields = { model: target.model }
  for (const [name, value] of Object.entries(given)) if (!PLACED.has(name)) body[name] = value
  if (body['texts'] === undefined && body['inputs'] === undefined && body['images'] === undefined) putInput(body, canonical.input)
  // Required by every model since v3; LiteLLM's choice too.
  body['input_type'] ??= 'search_document'
  // Numbers always, which every model gives: base64 is made of them, and the second generation has no other form.
  body['embedding_types'] ??= ['float']
  if (given['dimensions'] !== undefined) body['output_dimension'] ??= given['dimensions']
  return {
    method: 'POST',
    url: endpointUrl(target.base, 'embed'),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
}

/** Texts; images (data URIs) alone under their own name, which every model takes; both among each other as `inputs`. */
function putInput(body: Fields, input: EmbeddingRequest['input']): void {
  const items: unknown[] = Array.isArray(input) ? input : [input]
  const images = items.filter(isImage).length
  if (!items.every((item) => typeof item === 'string')) {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: Cohere embeds text, not tokens: input must be a string or a list of strings.',
      {
        param: 'input',
      },
    )
  }
  if (images === 0) body['texts'] = items
  else if (images === items.length) {
    body['images'] = items
    body['input_type'] ??= 'image'
  } else {
    body['inputs'] = items.map((item) => ({
      content: [isImage(item) ? { type: 'image_url', image_url: { url: item } } : { type: 'text', text: item }],
    }))
  }
}

function isImage(item: unknown): boolean {
  return typeof item === 'string' && item.startsWith('data:image/')
}

/**
 * Reads a whole answer. One vector an input; where the client asked for several `embedding_types`, one an input and type, with the type
 * beside it. Throws `provider_malformed`, or the provider's error when the body is one.
 */
export function decodeEmbedding(body: Uint8Array, headers: Headers, context: DecodeContext): EmbeddingResponse {
  const answer = answerFields(body, headers, decodeError)
  const { embeddings, meta } = answer
  const byType = Object.entries(
    Array.isArray(embeddings) ? { float: embeddings } : isFields(embeddings) ? embeddings : {},
  ).filter(([, vectors]) => Array.isArray(vectors))
  if (byType.length === 0) throw new GatewayError('provider_malformed', "The provider's answer holds no embeddings.")
  const base64 = context.request['encoding_format'] === 'base64'
  const asked = context.request['embedding_types'] !== undefined
  const data: EmbeddingResponse['data'] = []
  for (const [type, vectors] of byType) {
    for (const [index, vector] of list(vectors).entries()) {
      data.push({
        object: 'embedding',
        index,
        embedding: type === 'float' || (type === 'base64' && !asked) ? vectorAs(vector, base64) : (vector as number[] | string),
        ...(asked ? { type } : {}),
      })
    }
  }
  return {
    object: 'list',
    data,
    model: context.model,
    usage: decodeEmbeddingUsage(meta),
    ...(typeof answer['id'] === 'string' ? { id: answer['id'] } : {}),
    ...(isFields(meta) ? { meta } : {}),
  }
}
