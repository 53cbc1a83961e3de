import { GatewayError } from '../../../shared/errors.ts'
import type { Headers, Target } from '../provider.ts'
import { decodeError } from './errors.ts'

/** Ollama's own API (`/api/chat`, `/api/generate`, `/api/embed`) as far as the gateway reads or writes it. */

export type Fields = Record<string, unknown>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value when it is a string, else `otherwise`. */
export function text(value: unknown, otherwise = ''): string {
  return typeof value === 'string' ? value : otherwise
}

/** What operators append to the address of the server: its OpenAI endpoint, or one of the routes. */
const APPENDED = /\/(v1|api|api\/(chat|generate|embed))$/

/** Address of a route. Throws `bad_request` when the deployment has no base. */
export function address(target: Target, path: '/api/chat' | '/api/generate' | '/api/embed'): string {
  if (target.base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an api_base.')
  return target.base.replace(APPENDED, '') + path
}

/** Reads a whole answer. Throws `provider_malformed`, or the provider's error when the body is one. */
export function parseAnswer(body: Uint8Array, headers: Headers, provider: string): Fields {
  const source = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  let answer: unknown
  try {
    answer = JSON.parse(source)
  } catch (cause) {
    throw new GatewayError('provider_malformed', 'The answer is not valid JSON.', { cause })
  }
  if (!isFields(answer)) throw new GatewayError('provider_malformed', 'The answer is not a JSON object.')
  if (isError(answer)) throw decodeError(provider, 200, headers, source)
  return answer
}

/** Failures after the head of an answer come as `{"error": "…"}` under its status 200. */
export function isError(answer: Fields): boolean {
  const { error } = answer
  return isFields(error) || (typeof error === 'string' && error !== '')
}
