import { NO_TOKENS } from '../../../proto/usage.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { CountResponse } from '../../canonical/count.ts'
import { jsonObject, sourceOf } from '../json.ts'
import type { Adapter } from '../provider.ts'
import { malformed } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { encodeBody, modelUrl } from './request.ts'
import { count, objects } from './wire.ts'

/** `…:countTokens`, of everything a request holds: instructions and tools too. */
export function countAdapter(provider: string): Adapter<ChatRequest, CountResponse, never> {
  return {
    mode: 'count_tokens',
    takesGemini: true,
    encodeRequest(request, target) {
      const url = modelUrl(target)
      const model = url.slice(url.search(/(?:models|tunedModels)\/[^/]+$/))
      return {
        method: 'POST',
        url: `${url}:countTokens`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ generateContentRequest: { model, ...encodeBody(request, target) } }),
      }
    },
    decodeResponse(body, headers) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The provider sent what')
      if (errorInside(answer)) throw decodeError(provider, 200, headers, source)
      if (typeof answer['totalTokens'] !== 'number') throw malformed('The answer holds no count.')
      const response: CountResponse = { tokens: answer['totalTokens'], billing: NO_TOKENS }
      const cached = count(answer['cachedContentTokenCount'])
      if (cached > 0) response.cached = cached
      const details = objects(answer['promptTokensDetails'])
      if (details.length > 0) response.details = details
      return response
    },
  }
}
