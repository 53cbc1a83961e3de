import type { GatewayError } from '../../shared/errors.ts'
import { type Fields, fieldsIn, isFields } from './json.ts'
import { decodeError } from './openai/error.ts'
import type { Headers } from './provider.ts'

/** The first of the errors in `{errors: [{code, message}]}` (watsonx.ai, Cloudflare); null when the body holds none. */
export function listedError(body: string): Fields | null {
  const errors = fieldsIn(body)?.['errors']
  const listed: unknown[] = Array.isArray(errors) ? errors : []
  return listed.find(isFields) ?? null
}

/** Reads a listed error as OpenAI's of the same code and words; a body without one as it is. */
export function decodeListedError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = listedError(body)
  return decodeError(provider, status, headers, error === null ? body : JSON.stringify({ error }))
}
