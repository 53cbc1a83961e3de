import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { isObject } from '../../../shared/json-object.ts'
import type { ToolCall } from '../../canonical/chat.ts'
import { STATUS_CODES } from '../error-status.ts'

type Fields = Readonly<Record<string, unknown>>

/** What the mock does: the `mock` object of a request over that of the deployment's settings, over these defaults. */
export interface MockScript {
  /** Milliseconds before the answer, or before the first chunk of a stream. Default 250. */
  latency: number
  /** Milliseconds between chunks. Default 20. */
  interval: number
  /** Share (0–1) by which both vary at random. Default 0: the same every time. */
  jitter: number
  /** The answer. Default: a sentence that repeats some of the question. */
  text: string | null
  /** How many content chunks a stream is cut into. Default: one a word. */
  chunks: number | null
  /** Thinking, before the answer. */
  reasoning: string | null
  /** Tools it calls, in place of text unless `text` is given too. A name alone is a call without arguments. */
  tool_calls: MockToolCall[]
  /** Reported usage. Default: about four characters a token. */
  prompt_tokens: number | null
  completion_tokens: number | null
  cached_tokens: number
  reasoning_tokens: number | null
  /** Default: what fits (`stop`, `length` when cut by the request's limit, `tool_calls`). */
  finish_reason: string | null
  /** Leave usage out of the answer. Default false. */
  omit_usage: boolean
  /** Length of embeddings when the request names none. Default 1536. */
  dimensions: number
  /** How it fails, if it does. */
  fail: MockFailure | null
}

export interface MockToolCall {
  id?: string
  name: string
  arguments: string
}

export interface MockFailure {
  /** HTTP status it stands for. Default 500. */
  status: number
  message: string
  /** `error.type` and the provider's own code. */
  type: string | null
  code: string | null
  /** Fail in a stream after so many content chunks. Default: before the answer. */
  after_chunks: number | null
  /** Seconds. */
  retry_after: number | null
  /** End the stream without its terminator instead of an error event. */
  truncate: boolean
}

const DEFAULTS: MockScript = {
  latency: 250,
  interval: 20,
  jitter: 0,
  text: null,
  chunks: null,
  reasoning: null,
  tool_calls: [],
  prompt_tokens: null,
  completion_tokens: null,
  cached_tokens: 0,
  reasoning_tokens: null,
  finish_reason: null,
  omit_usage: false,
  dimensions: 1536,
  fail: null,
}

/** Deployment fields the mock reads. */
export interface MockDeployment {
  settings: Readonly<Record<string, unknown>>
  mockResponse: string | null
}

/**
 * Whether this call is answered by the mock whatever its provider: `mock_response`, `mock_tool_calls` or `mock_timeout` in the request,
 * or `mock_response` of the deployment. The `mock` object alone does not: it only tunes a mock.
 */
export function mockRequested(request: Fields, deployment: Pick<MockDeployment, 'mockResponse'>): boolean {
  const { mock_response: response, mock_tool_calls: calls, mock_timeout: timeout } = request
  return (
    (response !== undefined && response !== null) ||
    (calls !== undefined && calls !== null) ||
    timeout === true ||
    deployment.mockResponse !== null
  )
}

/** The script of one call. Throws GatewayError `bad_request` naming a field that is unknown or wrong. */
export function mockScript(request: Fields, deployment: MockDeployment): MockScript {
  const script = {
    ...DEFAULTS,
    ...readScript(deployment.settings['mock'], 'settings.mock'),
    ...readScript(request['mock'], 'mock'),
  }
  const canned = request['mock_response'] ?? deployment.mockResponse
  if (canned !== undefined && canned !== null) {
    if (typeof canned !== 'string') throw wrong('mock_response', 'a string')
    const failure = exceptionOf(canned)
    if (failure === null) script.text = canned
    else script.fail = failure
    // A canned answer is for tests: it comes at once unless a pace is asked for.
    if (request['mock'] === undefined && deployment.settings['mock'] === undefined) script.latency = script.interval = 0
  }
  if (request['mock_tool_calls'] !== undefined && request['mock_tool_calls'] !== null) {
    script.tool_calls = toolCalls(request['mock_tool_calls'], 'mock_tool_calls')
  }
  const delay = request['mock_delay']
  if (delay !== undefined && delay !== null) script.latency = 1000 * number(delay, 'mock_delay')
  if (request['mock_timeout'] === true) {
    const limit = request['timeout']
    script.latency = typeof limit === 'number' && limit > 0 ? 1000 * limit : 600_000
    script.fail = { ...FAILURE, status: 408, message: 'Mock timeout.' }
  }
  return script
}

const FAILURE: MockFailure = {
  status: 500,
  message: 'The mock was told to fail.',
  type: null,
  code: null,
  after_chunks: null,
  retry_after: null,
  truncate: false,
}

/** The error a failure stands for, classified as a provider's would be. */
export function mockError(failure: MockFailure): GatewayError {
  const code = codeOf(failure)
  if (failure.truncate) return new GatewayError('provider_truncated')
  const details: ErrorDetails = { status: failure.status }
  if (failure.type !== null) details.type = failure.type
  if (failure.code !== null) details.providerCode = failure.code
  if (failure.retry_after !== null) details.retryAfter = Math.round(1000 * failure.retry_after)
  const name = ERRORS[code].class
  const label = name === 'BadRequestError' ? '' : `${name}: `
  return new GatewayError(code, `litellm.${name}: ${label}MockException - ${failure.message}`, details)
}

const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  context_length_exceeded: 'context_window_exceeded',
  content_policy_violation: 'content_policy',
  insufficient_quota: 'provider_quota',
  api_connection_error: 'provider_connection',
}

function codeOf(failure: MockFailure): ErrorCode {
  const named = failure.code === null ? undefined : entryOf(BY_CODE, failure.code)
  return named ?? STATUS_CODES[failure.status] ?? (failure.status >= 500 ? 'provider_error' : 'provider_bad_request')
}

/** `litellm.<Class>`, with or without arguments, as `mock_response` names failures (surface reference §1.2). */
const EXCEPTIONS: Readonly<Record<string, Pick<MockFailure, 'status'> & Partial<MockFailure>>> = {
  BadRequestError: { status: 400 },
  ContextWindowExceededError: { status: 400, code: 'context_length_exceeded' },
  ContentPolicyViolationError: { status: 400, code: 'content_policy_violation' },
  UnsupportedParamsError: { status: 400 },
  AuthenticationError: { status: 401 },
  PermissionDeniedError: { status: 403 },
  NotFoundError: { status: 404 },
  Timeout: { status: 408 },
  UnprocessableEntityError: { status: 422 },
  RateLimitError: { status: 429 },
  InternalServerError: { status: 500 },
  APIError: { status: 500 },
  APIConnectionError: { status: 500, code: 'api_connection_error' },
  BadGatewayError: { status: 502 },
  ServiceUnavailableError: { status: 503 },
}

/** What may stand after `Exception:`; anything else is an error of status 500 with that text. */
const FAILURES: Readonly<Record<string, Partial<MockFailure>>> = {
  content_filter_policy: { status: 400, code: 'content_policy_violation' },
  context_window_exceeded: { status: 400, code: 'context_length_exceeded' },
  rate_limit_error: { status: 429 },
  timeout: { status: 408 },
}

function exceptionOf(canned: string): MockFailure | null {
  const exception = /^litellm\.(?:exceptions\.)?([A-Za-z]+)/.exec(canned)?.[1]
  const known = exception === undefined ? undefined : entryOf(EXCEPTIONS, exception)
  if (known !== undefined) return { ...FAILURE, message: `Mock ${exception}.`, ...known }
  if (!canned.startsWith('Exception:')) return null
  const text = canned.slice('Exception:'.length).trim()
  const named = entryOf(FAILURES, text)
  if (named !== undefined) return { ...FAILURE, message: text, ...named }
  if (text === 'mock_streaming_error') return { ...FAILURE, message: text, after_chunks: 1 }
  return { ...FAILURE, message: text }
}

function readScript(raw: unknown, place: string): Partial<MockScript> {
  if (raw === undefined || raw === null) return {}
  if (!isObject(raw)) throw wrong(place, 'an object')
  const script: Partial<MockScript> = {}
  for (const [name, value] of Object.entries(raw)) {
    const at = `${place}.${name}`
    switch (name) {
      case 'latency':
      case 'interval':
        script[name] = number(value, at)
        break
      case 'jitter':
        if (typeof value !== 'number' || value < 0 || value > 1) throw wrong(at, 'a number from 0 to 1')
        script.jitter = value
        break
      case 'text':
      case 'reasoning':
      case 'finish_reason':
        script[name] = string(value, at)
        break
      case 'chunks':
      case 'dimensions':
        script[name] = Math.max(1, integer(value, at))
        break
      case 'prompt_tokens':
      case 'completion_tokens':
      case 'cached_tokens':
      case 'reasoning_tokens':
        script[name] = integer(value, at)
        break
      case 'omit_usage':
        script.omit_usage = boolean(value, at)
        break
      case 'tool_calls':
        script.tool_calls = toolCalls(value, at)
        break
      case 'fail':
        script.fail = value === null ? null : readFailure(value, at)
        break
      default:
        throw unknown(at, Object.keys(DEFAULTS))
    }
  }
  return script
}

function readFailure(raw: unknown, place: string): MockFailure {
  if (!isObject(raw)) throw wrong(place, 'an object')
  const failure = { ...FAILURE }
  for (const [name, value] of Object.entries(raw)) {
    const at = `${place}.${name}`
    switch (name) {
      case 'status':
        failure.status = integer(value, at)
        if (failure.status < 400 || failure.status > 599) throw wrong(at, 'a status from 400 to 599')
        break
      case 'message':
        failure.message = string(value, at)
        break
      case 'type':
      case 'code':
        failure[name] = string(value, at)
        break
      case 'after_chunks':
        failure.after_chunks = integer(value, at)
        break
      case 'retry_after':
        failure.retry_after = number(value, at)
        break
      case 'truncate':
        failure.truncate = boolean(value, at)
        break
      default:
        throw unknown(at, Object.keys(FAILURE))
    }
  }
  return failure
}

/** Names, `{ name, arguments, id }` or OpenAI's `{ id, type, function: { name, arguments } }`. */
function toolCalls(raw: unknown, place: string): MockToolCall[] {
  if (!Array.isArray(raw)) throw wrong(place, 'a list')
  return raw.map((item: unknown, index) => {
    const at = `${place}[${index}]`
    if (typeof item === 'string') return { name: item, arguments: '{}' }
    if (!isObject(item)) throw wrong(at, 'a name or an object')
    const { id } = item as Partial<ToolCall>
    const named = isObject(item['function']) ? item['function'] : item
    const given = named['arguments'] ?? '{}'
    return {
      ...(typeof id === 'string' ? { id } : {}),
      name: string(named['name'], `${at}.name`),
      arguments: typeof given === 'string' ? given : JSON.stringify(given),
    }
  })
}

function number(value: unknown, place: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw wrong(place, 'a number, 0 or more')
  return value
}

function integer(value: unknown, place: string): number {
  if (!Number.isInteger(value) || (value as number) < 0) throw wrong(place, 'an integer, 0 or more')
  return value as number
}

function string(value: unknown, place: string): string {
  if (typeof value !== 'string') throw wrong(place, 'a string')
  return value
}

function boolean(value: unknown, place: string): boolean {
  if (typeof value !== 'boolean') throw wrong(place, 'true or false')
  return value
}

function wrong(place: string, expected: string): GatewayError {
  return new GatewayError('bad_request', `Invalid value for '${place}': expected ${expected}.`, { param: place })
}

function unknown(place: string, known: string[]): GatewayError {
  return new GatewayError('bad_request', `Unknown field '${place}'. Known ones: ${known.join(', ')}.`, { param: place })
}
