import { GatewayError } from '../../../shared/errors.ts'
import { type Fields, isFields } from '../openai/normalise.ts'
import type { ErrorReader } from '../openai/response.ts'
import type { Headers } from '../provider.ts'

/** The v2 API: https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/embed. */
const PATHS = { chat: '/v2/chat', embed: '/v2/embed' } as const

/** Operators give the host, the host with a version, or (as LiteLLM takes it) the whole address of an endpoint. */
export function endpointUrl(base: string, endpoint: keyof typeof PATHS): string {
  return base.replace(/\/v[12](?:\/(?:chat|embed))?$/, '') + PATHS[endpoint]
}

/** An answer as an object. Throws `provider_malformed`, or the error where `message` is a text: that is how this API says one. */
export function answerFields(body: Uint8Array, headers: Headers, readError: ErrorReader): Fields {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('provider_malformed', 'The answer is not valid JSON.', { cause })
  }
  if (!isFields(answer)) throw new GatewayError('provider_malformed', 'The answer is not a JSON object.')
  if (isError(answer)) throw readError(200, headers, text)
  return answer
}

/** Whether an object is an error and no answer. */
export function isError(answer: Fields): boolean {
  return typeof answer['message'] === 'string' || (answer['error'] !== undefined && answer['error'] !== null)
}

/** A list, or an empty one. */
export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

/** The value when it is a string, else nothing. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** A count the provider told, or undefined. */
export function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
}
