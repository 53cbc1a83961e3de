import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { isNestedDeeper } from '../../../shared/nesting.ts'
import { exceptionName, STATUS_CODES } from '../error-status.ts'
import { isFields } from '../json.ts'
import type { Headers } from '../provider.ts'

type Fields = Readonly<Record<string, unknown>>

/** The provider's own code or type, where it is plainer than the status. Lower case. */
const BY_NAME: Readonly<Record<string, ErrorCode>> = {
  insufficient_quota: 'provider_quota',
  billing_hard_limit_reached: 'provider_quota',
  context_length_exceeded: 'context_window_exceeded',
  content_policy_violation: 'content_policy',
  content_filter: 'content_policy',
  data_inspection_failed: 'content_policy',
  invalid_api_key: 'provider_authentication',
  invalid_authentication_error: 'provider_authentication',
  authentication_error: 'provider_authentication',
  permission_error: 'provider_permission',
  model_not_found: 'provider_not_found',
  not_found_error: 'provider_not_found',
  rate_limit_exceeded: 'provider_rate_limited',
  rate_limit_error: 'provider_rate_limited',
  token_quota_exceeded: 'provider_rate_limited',
  token_quota_reached: 'provider_rate_limited',
  overloaded: 'provider_overloaded',
  overloaded_error: 'provider_overloaded',
  engine_overloaded_error: 'provider_overloaded',
  slow_down: 'provider_overloaded',
}

const CONTEXT_WINDOW = [
  'maximum context length',
  'context_length_exceeded',
  'exceed context limit',
  'exceeds the context window',
  'exceeds the available context size',
  "model's maximum context limit",
  "model's context length",
  'string too long. expected a string with maximum length',
  'input tokens exceed the configured limit',
  '`inputs` tokens + `max_new_tokens` must be',
  'exceeds the maximum number of tokens allowed',
  'prompt is too long',
  'prompt has too many tokens',
  'input is too long',
  'too many input tokens',
  'length limit exceeded',
  'reduce the length of the input prompt',
]
const CONTENT_POLICY = [
  'content_policy_violation',
  'violating our usage policy',
  'rejected as a result of our safety system',
  'your task failed as a result of our safety system',
  'content management policy',
  'content filtering policy',
  'the response was filtered',
  'the response was blocked',
]
const TIMEOUT = ['request timed out', 'request timeout error', 'timed out generating response', 'the read operation timed out']
const CREDENTIAL = ['incorrect api key provided', 'invalid api key', 'incorrect authentication token', 'api key not valid']
const RATE_LIMIT =
  /\b429\b|rate[ _-]limit|too many requests|request was throttled|service tier capacity exceeded|request too large/

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  ...STATUS_CODES,
  402: 'provider_quota',
  410: 'provider_not_found',
  413: 'provider_bad_request',
  // Groq: flex capacity exceeded.
  498: 'provider_overloaded',
}

/** Statuses no client knows; what they mean has a standard one. */
const VENDOR_STATUS: ReadonlySet<number> = new Set([498, 520, 521, 522, 523, 524, 525, 526, 527, 530, 529])

/** Longest error text repeated to a client, in characters. */
const TEXT_LIMIT = 2000
/** Whole keys a provider repeats in its text ("Incorrect API key provided: …"); the deployment's key is not the client's to see. */
const SECRETS = /\b(sk|pk|gsk|csk|xai|nvapi|fw|r8|hf|tgp|key|AIza)([-_][\w-]{4})[\w-]{12,}/g

/**
 * Reads an error answer of an OpenAI-compatible provider, or the error object found inside a 200 (status 200). Explicit codes decide
 * first, then words, then the status (surface reference §6.3). `type`, `param` and code of the provider are kept; the message follows
 * LiteLLM's grammar (§6.2), which clients and dashboards match on.
 */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = errorFields(body)
  const message = messageOf(error, body, status)
  const given = status >= 400 ? status : statusInside(error)
  const code = status < 400 && !isError(error) ? 'provider_malformed' : classify(provider, given, error, message)
  const row = ERRORS[code]

  const details: ErrorDetails = {}
  if (code === byStatus(given) && !VENDOR_STATUS.has(given)) details.status = given
  const type = error?.['type']
  if (typeof type === 'string' && type !== '') details.type = type
  const param = error?.['param']
  if (typeof param === 'string' && param !== '') details.param = param
  const own = error?.['code']
  if (typeof own === 'string' && own !== '') details.providerCode = own
  else if (typeof own === 'number') details.providerCode = String(own)
  const filter = filterVerdict(error)
  if (filter !== null) details.providerFields = { innererror: filter }
  const wait = retryAfter(headers) ?? retryDelay(error)
  if (wait !== undefined) details.retryAfter = wait

  const label = row.class === 'BadRequestError' ? '' : `${row.class}: `
  return new GatewayError(code, `litellm.${row.class}: ${label}${exceptionName(provider)} - ${message}`, details)
}

function classify(provider: string, status: number, error: Fields | null, message: string): ErrorCode {
  for (const member of ['code', 'type']) {
    const name = error?.[member]
    const named = typeof name === 'string' ? entryOf(BY_NAME, name.toLowerCase()) : undefined
    // OpenAI types a malformed key `invalid_request_error`, DeepSeek puts that into `code`: only plain names decide.
    if (named !== undefined && !(named === 'provider_overloaded' && status === 429)) return named
  }
  if (filterVerdict(error)?.['code'] === 'ResponsibleAIPolicyViolation') return 'content_policy'
  const text = message.toLowerCase()
  // Google's word for a limit of the minute as much as for one of the plan; it says when to come back.
  if (error?.['status'] === 'RESOURCE_EXHAUSTED') return 'provider_rate_limited'
  if (status === 429) return text.includes('exceeded your current quota') ? 'provider_quota' : 'provider_rate_limited'
  if (includesAny(text, CONTEXT_WINDOW)) return 'context_window_exceeded'
  if (includesAny(text, CONTENT_POLICY)) return 'content_policy'
  if (includesAny(text, TIMEOUT)) return 'provider_timeout'
  if (includesAny(text, CREDENTIAL)) return 'provider_authentication'
  if ((status >= 500 || status === 413) && RATE_LIMIT.test(text)) return 'provider_rate_limited'
  if (status === 400 && text.includes('request too large')) return 'provider_rate_limited'
  if (status === 503 && text.includes('overloaded')) return 'provider_overloaded'
  // OpenAI's own SDK calls 422 a bad request; for the others it says what the server could not process.
  if (status === 422 && provider === 'openai') return 'provider_bad_request'
  return byStatus(status)
}

/** What Azure's content filter found, category by category: applications tell their users from it. */
function filterVerdict(error: Fields | null): Record<string, unknown> | null {
  const inner = error?.['innererror'] ?? error?.['inner_error']
  return isFields(inner) ? { ...inner } : null
}

function byStatus(status: number): ErrorCode {
  const known = BY_STATUS[status]
  if (known !== undefined) return known
  if (status >= 520 && status <= 530) return 'provider_bad_gateway'
  return status >= 500 ? 'provider_error' : 'provider_bad_request'
}

function includesAny(text: string, parts: readonly string[]): boolean {
  return parts.some((part) => text.includes(part))
}

/** The object that holds message, type and code: under `error`, at the top (Cerebras, Mistral), first in a list (Gemini's clone). */
function errorFields(body: string): Fields | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    return null
  }
  if (Array.isArray(parsed)) parsed = parsed[0]
  if (!isFields(parsed) || isNestedDeeper(parsed)) return null
  const inner = parsed['error']
  if (isFields(inner)) return inner
  if (typeof inner === 'string') return { ...parsed, message: inner }
  return parsed
}

/** A 200 may hold an error object; a page of a proxy, nothing at all or something else entirely is none. */
function isError(error: Fields | null): boolean {
  return error !== null && ['message', 'detail', 'msg', 'code', 'type'].some((member) => error[member] != null)
}

function messageOf(error: Fields | null, body: string, status: number): string {
  const found = error?.['message'] ?? error?.['detail'] ?? error?.['msg']
  let text = typeof found === 'string' ? found : found === undefined ? '' : JSON.stringify(found)
  if (status < 400 && !isError(error)) return 'The answer is neither what was asked for nor an error'
  // A load balancer's HTML says nothing a client can use.
  if (text === '' && error !== null) text = body
  if (text === '' && !/^\s*</.test(body)) text = body.trim()
  if (text === '') text = `HTTP ${status} without a readable body`
  return text.slice(0, TEXT_LIMIT).replace(SECRETS, '$1$2…')
}

/** The status an error object inside a 200 speaks of; 500 when it names none. */
function statusInside(error: Fields | null): number {
  for (const member of ['code', 'status_code', 'status', 'http_status']) {
    const value = Number(error?.[member])
    if (Number.isInteger(value) && value >= 400 && value <= 599) return value
  }
  return error?.['type'] === 'invalid_request_error' ? 400 : 500
}

/**
 * Milliseconds from `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110 §10.2.3), measured against the answer's own
 * `date` so that no clock is needed.
 */
export function retryAfter(headers: Headers): number | undefined {
  const exact = Number(headers['retry-after-ms'] || Number.NaN)
  if (Number.isFinite(exact) && exact >= 0) return Math.round(exact)
  const value = headers['retry-after']
  if (value === undefined || value === '') return undefined
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return seconds >= 0 ? Math.round(seconds * 1000) : undefined
  const at = Date.parse(value)
  const now = Date.parse(headers['date'] ?? '')
  return Number.isFinite(at) && Number.isFinite(now) ? Math.max(0, at - now) : undefined
}

/** Milliseconds of Google's RetryInfo among the details of an error: `{ "retryDelay": "34.4s" }`. */
function retryDelay(error: Fields | null): number | undefined {
  const details = error?.['details']
  if (!Array.isArray(details)) return undefined
  for (const detail of details as unknown[]) {
    const match = isFields(detail) ? /^(\d+(?:\.\d+)?)s$/.exec(String(detail['retryDelay'])) : null
    if (match !== null) return Math.round(Number(match[1]) * 1000)
  }
  return undefined
}
