import { ERRORS, type ErrorCode, type WireError } from '../proto/errors.ts'

export interface ErrorDetails {
  status?: number
  type?: string
  param?: string | null
  retryAfter?: number
  providerCode?: string
  providerFields?: Record<string, unknown>
  headers?: Record<string, string>
  cause?: unknown
}

/**
 * The one error class. The code decides status, type, retry and default text (proto/errors.ts); the message may reach a client,
 * so it never holds a secret or a stack. What must stay inside goes into `cause`, which is logged and never sent.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly type: string
  readonly param: string | null
  readonly retryAfter: number | undefined
  readonly providerCode: string | undefined
  readonly providerFields: Readonly<Record<string, unknown>> | undefined
  /** For the client, lower case. */
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(code: ErrorCode, message?: string, details: ErrorDetails = {}) {
    const row = ERRORS[code]
    super(message ?? row.text, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'GatewayError'
    this.code = code
    this.status = details.status ?? row.status
    this.type = details.type ?? row.type
    this.param = details.param ?? null
    this.retryAfter = details.retryAfter
    this.providerCode = details.providerCode
    this.providerFields = details.providerFields
    this.headers = details.headers
  }

  /** Whether another deployment, or the same a little later, may do better. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}

/** Whatever was thrown, as a GatewayError; an unknown thing becomes `internal` and keeps its cause for the log. */
export function toGatewayError(thrown: unknown): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError('internal', undefined, { cause: thrown })
}

/** The same error with another text. */
export function withMessage(error: GatewayError, message: string): GatewayError {
  const { code, status, type, param, cause, retryAfter, providerCode, providerFields, headers } = error
  return new GatewayError(code, message, {
    status,
    type,
    param,
    cause,
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(providerCode === undefined ? {} : { providerCode }),
    ...(providerFields === undefined ? {} : { providerFields }),
    ...(headers === undefined ? {} : { headers }),
  })
}

/** An error as it crosses the bus. */
export function toWire(error: GatewayError): WireError {
  const wire: WireError = { code: error.code, message: error.message }
  const row = ERRORS[error.code]
  if (error.status !== row.status) wire.status = error.status
  if (error.type !== row.type) wire.type = error.type
  if (error.param !== null) wire.param = error.param
  if (error.retryAfter !== undefined) wire.retryAfter = error.retryAfter
  if (error.providerCode !== undefined) wire.providerCode = error.providerCode
  if (error.providerFields !== undefined) wire.providerFields = { ...error.providerFields }
  if (error.headers !== undefined) wire.headers = { ...error.headers }
  return wire
}

/** The error another process sent; a code this version does not know reads as `internal` with the sender's status. */
export function fromWire(wire: WireError): GatewayError {
  const code: ErrorCode = wire.code in ERRORS ? wire.code : 'internal'
  const details: ErrorDetails = {}
  if (wire.status !== undefined) details.status = wire.status
  if (wire.type !== undefined) details.type = wire.type
  if (wire.param !== undefined) details.param = wire.param
  if (wire.retryAfter !== undefined) details.retryAfter = wire.retryAfter
  if (wire.providerCode !== undefined) details.providerCode = wire.providerCode
  if (wire.providerFields !== undefined) details.providerFields = wire.providerFields
  if (wire.headers !== undefined) details.headers = wire.headers
  return new GatewayError(code, wire.message, details)
}

/**
 * The OpenAI error envelope as LiteLLM sends it: `code` is the HTTP status as a string (surface reference §0), the provider's own
 * code and details go to `provider_specific_fields`.
 */
export function openaiErrorBody(error: GatewayError): { error: Record<string, unknown> } {
  const body: Record<string, unknown> = {
    message: error.message,
    type: error.type,
    param: error.param,
    code: String(error.status),
  }
  const { providerCode: own, providerFields } = error
  if (own !== undefined || providerFields !== undefined) {
    body['provider_specific_fields'] = { ...(own === undefined ? {} : { code: own }), ...providerFields }
  }
  return { error: body }
}

/** Error types of Anthropic's Messages API by HTTP status (https://platform.claude.com/docs/en/api/errors). */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/** The status Anthropic's clients expect: they wait and try again after 529, which is what 503 asks for (surface reference §6.2). */
export function anthropicStatus(error: GatewayError): number {
  return error.status === 503 ? 529 : error.status
}

/** Anthropic's error envelope. */
export function anthropicErrorBody(error: GatewayError): { type: 'error'; error: { type: string; message: string } } {
  const status = anthropicStatus(error)
  const type = ANTHROPIC_TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error')
  return { type: 'error', error: { type, message: error.message } }
}

/** Google's names of failures by HTTP status (https://google.aip.dev/193). */
const GOOGLE_STATUSES: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  402: 'FAILED_PRECONDITION',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  408: 'DEADLINE_EXCEEDED',
  409: 'ABORTED',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  501: 'UNIMPLEMENTED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** Google's error envelope; when to come back stands in its details. */
export function googleErrorBody(error: GatewayError): { error: Record<string, unknown> } {
  const { status: code, message, retryAfter } = error
  const status = GOOGLE_STATUSES[code] ?? (code >= 500 ? 'INTERNAL' : 'INVALID_ARGUMENT')
  const body: Record<string, unknown> = { code, message, status }
  if (retryAfter !== undefined) {
    const retryDelay = `${Math.max(1, Math.ceil(retryAfter / 1000))}s`
    body['details'] = [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay }]
  }
  return { error: body }
}
