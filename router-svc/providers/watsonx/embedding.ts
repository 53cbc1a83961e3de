import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { type Fields, isFields, jsonObject, sourceOf } from '../json.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { Adapter } from '../provider.ts'
import { placeOf } from './address.ts'
import { decodeError, throwErrorIn } from './errors.ts'

/** Placed apart, or the gateway's business: base64 is made here. */
const PLACED = ['model', 'input', 'encoding_format', 'project_id', 'space_id', 'parameters']

export function embeddingAdapter(name: string, row: ProviderRow): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const unsupported = ['dimensions'].map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  return {
    mode: 'embedding',
    encodeRequest(request, target) {
      const { url, fields } = placeOf(target, 'text/embeddings', request)
      if (fields.model_id === undefined)
        throw new GatewayError('bad_request', 'litellm.BadRequestError: watsonx.ai embeds by models, not by deployments.', {
          param: 'model',
        })
      const given: Fields = {}
      for (const [field, value] of Object.entries(request))
        if (value !== null && value !== undefined && !PLACED.includes(field) && !isGatewayField(field, value))
          given[field] = value
      dropNamed(given, request, target)
      dropQuietly(given, dropped)
      refuseUnsupported(given, unsupported, request, target)
      const parameters = { ...given, ...(isFields(request['parameters']) ? request['parameters'] : {}) }
      const body: Fields = { ...fields, inputs: textsOf(request.input) }
      if (Object.keys(parameters).length > 0) body['parameters'] = parameters
      return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    },
    decodeResponse(bytes, headers, context) {
      const source = sourceOf(bytes)
      throwErrorIn(name, source)
      const answer = jsonObject(source, 'The answer')
      const { results, input_token_count: counted, ...rest } = answer
      if (!Array.isArray(results)) throw decodeError(name, 200, headers, source)
      const base64 = context.request['encoding_format'] === 'base64'
      const tokens = typeof counted === 'number' ? counted : 0
      return {
        ...rest,
        object: 'list',
        data: (results as unknown[]).map((result, index) => ({
          object: 'embedding',
          index,
          embedding: vectorAs(isFields(result) ? result['embedding'] : undefined, base64),
        })),
        model: context.model,
        usage: { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens },
      }
    },
  }
}

function textsOf(input: EmbeddingRequest['input']): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  if (texts.every((entry) => typeof entry === 'string')) return texts as string[]
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: input must be a string or a list of strings: watsonx.ai takes no tokens.',
    { param: 'input' },
  )
}
