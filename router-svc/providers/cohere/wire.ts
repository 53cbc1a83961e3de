import { type Fields, jsonObject, sourceOf } from '../json.ts'
import type { ErrorReader } from '../openai/response.ts'
import type { Headers } from '../provider.ts'

export { text } from '../json.ts'

/** The v2 API: https://docs.cohere.com/reference/chat, …/embed, …/rerank and …/create-audio-transcription. */
const PATHS = {
  chat: '/v2/chat',
  embed: '/v2/embed',
  rerank: '/v2/rerank',
  'audio/transcriptions': '/v2/audio/transcriptions',
} as const

/** Operators give the host, the host with a version, or (as LiteLLM takes it) the whole address of an endpoint. */
export function endpointUrl(base: string, endpoint: keyof typeof PATHS): string {
  return base.replace(/\/v[12](?:\/(?:chat|embed|rerank|audio\/transcriptions))?$/, '') + PATHS[endpoint]
}

/** An answer as an object. Throws `provider_malformed`, or the error where `message` is a text: that is how this API says one. */
export function answerFields(body: Uint8Array, headers: Headers, readError: ErrorReader): Fields {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  if (isError(answer)) throw readError(200, headers, source)
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

/** A count the provider told, or undefined. */
export function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
}
