import { GatewayError } from '../../../shared/errors.ts'
import { type Fields, isFields, jsonObject, sourceOf } from '../json.ts'
import type { Headers, Target } from '../provider.ts'
import { decodeError } from './errors.ts'

export { type Fields, isFields, text } from '../json.ts'

/** Ollama's own API (`/api/chat`, `/api/generate`, `/api/embed`) as far as the gateway reads or writes it. */

/** What operators append to the address of the server: its OpenAI endpoint, or one of the routes. */
const APPENDED = /\/(v1|api|api\/(chat|generate|embed))$/

/** Address of a route. Throws `bad_request` when the deployment has no base. */
export function address(target: Target, path: '/api/chat' | '/api/generate' | '/api/embed'): string {
  if (target.base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an api_base.')
  return target.base.replace(APPENDED, '') + path
}

/** Reads a whole answer. Throws `provider_malformed`, or the provider's error when the body is one. */
export function parseAnswer(body: Uint8Array, headers: Headers, provider: string): Fields {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  if (isError(answer)) throw decodeError(provider, 200, headers, source)
  return answer
}

/** Failures after the head of an answer come as `{"error": "…"}` under its status 200. */
export function isError(answer: Fields): boolean {
  const { error } = answer
  return isFields(error) || (typeof error === 'string' && error !== '')
}
