import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { pooled } from '../huggingface.ts'
import { type Fields, isFields, jsonValue, sourceOf } from '../json.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { Adapter } from '../provider.ts'
import { decodeError } from './errors.ts'
import { endpointRequest } from './url.ts'

/** Embeddings of an endpoint; what its container calls the input depends on who made it. */
export function embeddingAdapter(name: string, row: ProviderRow): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const unsupported = [...(row.unsupported ?? []), 'dimensions'].map(parameterRule)
  const dropped = [...(row.drop ?? []), 'user'].map(parameterRule)
  return {
    mode: 'embedding',
    encodeRequest(request, target) {
      const { input, model: _model, encoding_format: _format, ...others } = request
      const body: Fields = {}
      for (const [field, value] of Object.entries(others))
        if (value !== null && value !== undefined && !isGatewayField(field, value)) body[field] = value
      dropNamed(body, request, target)
      dropQuietly(body, dropped)
      refuseUnsupported(body, unsupported, request, target)
      return endpointRequest({ [inputName(target.model)]: textsOf(input, name), ...body }, target)
    },
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonValue(source, 'The answer')
      const vectors = vectorsOf(answer)
      if (vectors === null && isFields(answer) && (answer['error'] !== undefined || answer['Message'] !== undefined))
        throw decodeError(name, 200, headers, source)
      if (vectors === null) throw new GatewayError('provider_malformed', "The provider's answer holds no embeddings.")
      const base64 = context.request['encoding_format'] === 'base64'
      return {
        object: 'list',
        data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: vectorAs(pooled(vector), base64) })),
        model: context.model,
        // There are no counts: they are estimated.
        usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
      }
    },
  }
}

/** Voyage's containers take OpenAI's word, JumpStart's their own, all others Hugging Face's. */
function inputName(endpoint: string): string {
  if (/voyage/i.test(endpoint)) return 'input'
  return /jumpstart.*textembedding/i.test(endpoint) ? 'text_inputs' : 'inputs'
}

function textsOf(input: EmbeddingRequest['input'], provider: string): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  if (texts.every((entry) => typeof entry === 'string')) return texts as string[]
  const words = `litellm.BadRequestError: input must be a string or a list of strings: ${provider} takes no tokens.`
  throw new GatewayError('bad_request', words, { param: 'input' })
}

/** A list, or under any of the names containers give it; OpenAI's objects too. */
function vectorsOf(answer: unknown): unknown[] | null {
  if (Array.isArray(answer)) return answer
  if (!isFields(answer)) return null
  const { embedding, embeddings, data } = answer
  if (Array.isArray(data)) return data.map((entry) => (isFields(entry) ? entry['embedding'] : entry))
  const found = Array.isArray(embedding) ? embedding : embeddings
  if (!Array.isArray(found)) return null
  return typeof found[0] === 'number' ? [found] : found
}
