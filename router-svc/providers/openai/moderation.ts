import { NO_TOKENS } from '../../../proto/usage.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ModerationRequest, ModerationResponse } from '../../canonical/moderation.ts'
import { isFields, jsonObject, sourceOf, text } from '../json.ts'
import type { Adapter, DecodeContext, Headers } from '../provider.ts'
import { mediaTokens } from './media-usage.ts'
import type { RequestEncoder } from './request.ts'
import type { ErrorReader } from './response.ts'

/** Moderation of OpenAI's protocol. */
export function moderationAdapter(
  encoder: RequestEncoder,
  readError: ErrorReader,
): Adapter<ModerationRequest, ModerationResponse, never> {
  return {
    mode: 'moderation',
    encodeRequest: (request, target) => encoder.encode(request, target),
    decodeResponse: (body, headers, context) => decodeModeration(body, headers, context, readError),
  }
}

/** Some (Mistral) give categories and leave the verdict to whoever reads them. */
function decodeModeration(
  body: Uint8Array,
  headers: Headers,
  context: DecodeContext,
  readError: ErrorReader,
): ModerationResponse {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  const { results } = answer
  if (!Array.isArray(results)) {
    if (answer['error'] !== undefined && answer['error'] !== null) throw readError(200, headers, source)
    throw new GatewayError('provider_malformed', 'The answer holds no results.')
  }
  const found = (results as unknown[]).map((raw) => {
    const result = isFields(raw) ? raw : {}
    const categories = (isFields(result['categories']) ? result['categories'] : {}) as Record<string, boolean | null>
    const scores = (isFields(result['category_scores']) ? result['category_scores'] : {}) as Record<string, number | null>
    const { flagged } = result
    return {
      ...result,
      flagged: typeof flagged === 'boolean' ? flagged : Object.values(categories).includes(true),
      categories,
      category_scores: scores,
    }
  })
  return {
    ...answer,
    id: text(answer['id'], context.id.replace(/^chatcmpl-/, 'modr-')),
    model: text(answer['model'], context.model),
    results: found,
    billing: mediaTokens(answer['usage'], 'text_tokens') ?? { ...NO_TOKENS, estimated: true },
  }
}
