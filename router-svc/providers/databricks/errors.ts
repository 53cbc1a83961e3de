import { entryOf } from '../../../shared/entry.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import { fieldsIn } from '../json.ts'
import { decodeError as decodeOpenAI } from '../openai/error.ts'
import type { Headers } from '../provider.ts'

/** Statuses of its codes, for errors that come inside a 200. */
const STATUS: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  INVALID_PARAMETER_VALUE: 400,
  PERMISSION_DENIED: 403,
  RESOURCE_DOES_NOT_EXIST: 404,
  ENDPOINT_NOT_FOUND: 404,
  REQUEST_LIMIT_EXCEEDED: 429,
  INTERNAL_ERROR: 500,
  TEMPORARILY_UNAVAILABLE: 503,
}

/** Reads `{error_code, message}`, or what the model behind an endpoint said in OpenAI's form. */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = errorOf(body)
  if (error === null) return decodeOpenAI(provider, status, headers, body)
  const known = entryOf(STATUS, error.code)
  const given = status < 400 && known !== undefined ? known : status
  return decodeOpenAI(provider, given, headers, JSON.stringify({ error }))
}

/** The error an answer or an event is under a 200, or null. */
export function errorIn(provider: string, source: string): GatewayError | null {
  return source.includes('"error_code"') && errorOf(source) !== null ? decodeError(provider, 200, {}, source) : null
}

function errorOf(body: string): { code: string; message: unknown } | null {
  const parsed = fieldsIn(body)
  if (typeof parsed?.['error_code'] !== 'string') return null
  return { code: parsed['error_code'], message: parsed['message'] }
}
