import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { STATUS_CODES } from '../error-status.ts'
import { fieldsIn } from '../json.ts'
import type { Headers } from '../provider.ts'
import { type Fields, text } from './wire.ts'

/** Exceptions of the API and of the gateway before it, by name in lower case: frames spell them with a small letter. */
const BY_NAME: Readonly<Record<string, ErrorCode>> = {
  accessdeniedexception: 'provider_permission',
  conflictexception: 'provider_conflict',
  expiredtokenexception: 'provider_authentication',
  incompletesignatureexception: 'provider_authentication',
  internaldependencyexception: 'provider_error',
  internalfailure: 'provider_error',
  internalserverexception: 'provider_error',
  internalstreamfailure: 'provider_error',
  invalidclienttokenid: 'provider_authentication',
  invalidsignatureexception: 'provider_authentication',
  missingauthenticationtokenexception: 'provider_authentication',
  modelerrorexception: 'provider_error',
  modelnotreadyexception: 'provider_unavailable',
  modelstreamerror: 'provider_error',
  modelstreamerrorexception: 'provider_error',
  modeltimeoutexception: 'provider_timeout',
  resourcenotfoundexception: 'provider_not_found',
  servicequotaexceededexception: 'provider_quota',
  serviceunavailable: 'provider_unavailable',
  serviceunavailableexception: 'provider_unavailable',
  signaturedoesnotmatch: 'provider_authentication',
  throttlingexception: 'provider_rate_limited',
  toomanyrequestsexception: 'provider_rate_limited',
  unrecognizedclientexception: 'provider_authentication',
  validationerror: 'provider_bad_request',
  validationexception: 'provider_bad_request',
}

/** A ValidationException says by its text what it is. Lower case. */
const BY_TEXT: readonly (readonly [string, ErrorCode])[] = [
  ['too many tokens', 'context_window_exceeded'],
  ['too many input tokens', 'context_window_exceeded'],
  ['expected maxlength', 'context_window_exceeded'],
  ['input is too long', 'context_window_exceeded'],
  ['prompt is too long', 'context_window_exceeded'],
  ['exceed context limit', 'context_window_exceeded'],
  ['maximum context length', 'context_window_exceeded'],
  ["model's maximum context limit", 'context_window_exceeded'],
  ['content filtering policy', 'content_policy'],
  ['blocked by the content filter', 'content_policy'],
]

/** Longest error text repeated to a client, in characters. */
const TEXT_LIMIT = 2000

/**
 * Reads an error answer, or an exception frame of a stream (status 200, its name under `x-amzn-errortype`). Throttling stays a rate limit even
 * where its text speaks of tokens.
 */
export function decodeError(status: number, headers: Headers, body: string): GatewayError {
  return awsError('BedrockException', status, headers, body)
}

/** The same for any service of AWS. `exception`: what it is called in our words. */
export function awsError(exception: string, status: number, headers: Headers, body: string): GatewayError {
  const error = fieldsIn(body)
  // `Name:http://…` in the header, `namespace#Name` in the body.
  const named = text(headers['x-amzn-errortype']) || text(error?.['__type']) || text(error?.['code'])
  const name = (named.split(':')[0] ?? '').split('#').at(-1) ?? ''
  const message = text(error?.['message']) || text(error?.['Message'])
  const code = classify(status, name.toLowerCase(), message === '' ? body : message)
  const details: ErrorDetails = {}
  if (name !== '') details.providerCode = name
  const wait = Number(headers['retry-after'] ?? Number.NaN)
  if (wait >= 0) details.retryAfter = Math.round(wait * 1000)
  const own =
    status >= 400 &&
    status !== ERRORS[code].status &&
    STATUS_CODES[status] === undefined &&
    entryOf(BY_NAME, name.toLowerCase()) === undefined
  if (own) details.status = status
  return new GatewayError(code, `litellm.${ERRORS[code].class}: ${exception} - ${shown(status, error, body)}`, details)
}

function classify(status: number, name: string, message: string): ErrorCode {
  const code = entryOf(BY_NAME, name) ?? STATUS_CODES[status] ?? byClass(status)
  const lower = message.toLowerCase()
  // 403 stands for a bad signature as for a model one may not use.
  if (code === 'provider_permission' && /security token|signature|api key/.test(lower)) return 'provider_authentication'
  if (code !== 'provider_bad_request') return code
  for (const [part, refined] of BY_TEXT) if (lower.includes(part)) return refined
  return code
}

function byClass(status: number): ErrorCode {
  if (status >= 400 && status < 500 && status !== 424) return 'provider_bad_request'
  return 'provider_error'
}

/** JSON bodies are repeated whole; anything else (an HTML page of a proxy) only by its status. */
function shown(status: number, error: Fields | null, body: string): string {
  const trimmed = body.trim()
  if (error !== null) return trimmed.slice(0, TEXT_LIMIT)
  if (trimmed === '' || trimmed.startsWith('<')) return `HTTP status ${status} without a readable body`
  return trimmed.slice(0, 500)
}
