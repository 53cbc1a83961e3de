import type { ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import { decodeListedError, listedError } from '../listed-errors.ts'
import { reclassified } from '../openai-variant.ts'
import type { Headers } from '../provider.ts'

/** What its codes say and its statuses do not. */
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  // 403: the plan's tokens are used up.
  token_quota_reached: 'provider_quota',
  authentication_token_expired: 'provider_authentication',
  authentication_token_not_valid: 'provider_authentication',
  model_not_supported: 'provider_not_found',
}

/** Reads `{errors: [{code, message}], trace, status_code}`, or OpenAI's form. */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = decodeListedError(provider, status >= 400 ? status : statusInside(body), headers, body)
  const code = error.providerCode === undefined ? undefined : entryOf(BY_CODE, error.providerCode)
  return code === undefined ? error : reclassified(error, provider, code)
}

/** The error an answer or an event holds in place of what was asked for, or null. */
export function errorIn(provider: string, source: string): GatewayError | null {
  return source.includes('"errors"') && listedError(source) !== null ? decodeError(provider, 200, {}, source) : null
}

export function throwErrorIn(provider: string, source: string): void {
  const error = errorIn(provider, source)
  if (error !== null) throw error
}

/** An error inside a 200 tells its status beside the list. */
function statusInside(body: string): number {
  const status = Number(/"status_code"\s*:\s*(\d{3})\b/.exec(body)?.[1])
  return status >= 400 ? status : 200
}

/** The error of an answer that ends in one: the reason says only that. Null for every other reason. */
export function failedFinish(provider: string, reason: unknown): GatewayError | null {
  if (reason !== 'error' && reason !== 'cancelled') return null
  const message = reason === 'error' ? 'the generation failed' : 'the generation was cancelled'
  return decodeError(provider, 500, {}, JSON.stringify({ error: { message } }))
}
