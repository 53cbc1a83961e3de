import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { STATUS_CODES } from '../error-status.ts'
import type { Headers } from '../provider.ts'
import { isFields, text } from './wire.ts'

/** Error types of the Messages API. */
const BY_TYPE: Readonly<Record<string, ErrorCode>> = {
  invalid_request_error: 'provider_bad_request',
  authentication_error: 'provider_authentication',
  billing_error: 'provider_quota',
  permission_error: 'provider_permission',
  not_found_error: 'provider_not_found',
  request_too_large: 'provider_bad_request',
  rate_limit_error: 'provider_rate_limited',
  timeout_error: 'provider_timeout',
  api_error: 'provider_error',
  overloaded_error: 'provider_overloaded',
}

/** For bodies that name no type: proxies, load balancers. */
const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  ...STATUS_CODES,
  402: 'provider_quota',
  413: 'provider_bad_request',
}

/** An `invalid_request_error` says by its text what it is. Lower case. */
const BY_TEXT: readonly (readonly [string, ErrorCode])[] = [
  ['prompt is too long', 'context_window_exceeded'],
  ['prompt: length', 'context_window_exceeded'],
  ['exceed context limit', 'context_window_exceeded'],
  ['exceeds the context window', 'context_window_exceeded'],
  ['content filtering policy', 'content_policy'],
  ['content_policy_violation', 'content_policy'],
  // Prepaid credit used up is reported as 400, not as billing_error.
  ['credit balance is too low', 'provider_quota'],
]

/** Codes the text may refine: a rate limit stays one even when it quotes a prompt length. */
const REFINED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['provider_bad_request', 'provider_unprocessable'])

/** Longest error text repeated to a client, in characters. */
const TEXT_LIMIT = 2000

/**
 * Reads an error answer, or the data of an `error` event (status 200). `retryAfter` is milliseconds, from `retry-after` or, failing
 * that, from the reset time of the exhausted rate limit.
 */
export function decodeError(status: number, headers: Headers, body: string): GatewayError {
  const error = errorObject(body)
  const type = text(error?.['type'])
  const message = text(error?.['message'])
  const code = classify(status, type, message === '' ? body : message, error !== null)
  const details: ErrorDetails = {}
  if (type !== '') details.providerCode = type
  const own = ownStatus(code, status)
  if (own !== undefined) details.status = own
  const wait = retryAfter(headers)
  if (wait !== undefined) details.retryAfter = wait
  return new GatewayError(
    code,
    `litellm.${ERRORS[code].class}: AnthropicException - ${shown(status, error !== null, body)}`,
    details,
  )
}

/** An error object in an answer whose status says success, or null. */
export function errorInside(payload: unknown): boolean {
  return isFields(payload) && isFields(payload['error']) && (payload['type'] === 'error' || payload['type'] === undefined)
}

function errorObject(body: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(body)
    return isFields(parsed) && isFields(parsed['error']) ? parsed['error'] : null
  } catch {
    return null
  }
}

function classify(status: number, type: string, message: string, isError: boolean): ErrorCode {
  const named = entryOf(BY_TYPE, type) ?? BY_STATUS[status] ?? byClass(status, isError)
  // `api_error` is what stands under any status of the servers themselves: 502 and 503 say more.
  const code = named === 'provider_error' ? (BY_STATUS[status] ?? named) : named
  if (!REFINED.has(code)) return code
  const lower = message.toLowerCase()
  for (const [part, refined] of BY_TEXT) if (lower.includes(part)) return refined
  return code
}

function byClass(status: number, isError: boolean): ErrorCode {
  if (status >= 400 && status < 500) return 'provider_bad_request'
  return status >= 500 || isError ? 'provider_error' : 'provider_malformed'
}

/** The provider's status where our row has another and it tells more; 413 and 529 read as their rows (surface reference §6.3). */
function ownStatus(code: ErrorCode, status: number): number | undefined {
  if (status < 400 || status === ERRORS[code].status) return undefined
  if (code === 'provider_timeout') return status === 504 ? 504 : undefined
  return BY_STATUS[status] === undefined ? status : undefined
}

/** JSON bodies are repeated whole, as LiteLLM does; anything else (an HTML page of a proxy) only by its status. */
function shown(status: number, isError: boolean, body: string): string {
  const trimmed = body.trim()
  if (isError) return trimmed.slice(0, TEXT_LIMIT)
  if (trimmed === '' || trimmed.startsWith('<')) return `HTTP status ${status} without a readable body`
  return trimmed.slice(0, 500)
}

const LIMITS = ['requests', 'tokens', 'input-tokens', 'output-tokens']

function retryAfter(headers: Headers): number | undefined {
  const milliseconds = Number(headers['retry-after-ms'] ?? Number.NaN)
  if (milliseconds >= 0) return Math.round(milliseconds)
  const value = headers['retry-after']
  const seconds = Number(value ?? Number.NaN)
  if (seconds >= 0) return Math.round(seconds * 1000)
  // Times are relative to the provider's own clock: only its Date header makes them a duration.
  const now = Date.parse(headers['date'] ?? '')
  if (Number.isNaN(now)) return undefined
  const times = value === undefined ? exhausted(headers) : [value]
  const waits = times.map((time) => Date.parse(time) - now).filter((wait) => !Number.isNaN(wait))
  return waits.length === 0 ? undefined : Math.max(0, ...waits)
}

function exhausted(headers: Headers): string[] {
  const times: string[] = []
  for (const limit of LIMITS) {
    const reset = headers[`anthropic-ratelimit-${limit}-reset`]
    if (headers[`anthropic-ratelimit-${limit}-remaining`] === '0' && reset !== undefined) times.push(reset)
  }
  return times
}
