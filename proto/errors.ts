/**
 * The closed list of error codes. Code decides HTTP status, `error.type`, default text and whether another deployment may be tried.
 * Match on the code, never on the message. Adding one is adding a row.
 *
 * `class` is the LiteLLM exception name that clients grep for in messages and metrics (surface reference §6.1).
 */
export interface ErrorRow {
  status: number
  /** `error.type` on the wire. */
  type: string
  text: string
  /** Another deployment, or the same one a little later, may do better. */
  retryable: boolean
  class: string
}

export const ERRORS = {
  // What the client did.
  bad_request: row(400, 'invalid_request_error', 'The request is not valid.', false, 'BadRequestError'),
  invalid_json: row(400, 'invalid_request_error', 'The request body is not valid JSON.', false, 'BadRequestError'),
  unknown_model: row(400, 'invalid_request_error', 'Invalid model name.', false, 'BadRequestError'),
  unsupported_parameter: row(
    400,
    'invalid_request_error',
    'A parameter is not supported by this model.',
    false,
    'UnsupportedParamsError',
  ),
  context_window_exceeded: row(
    400,
    'invalid_request_error',
    'The input is longer than the model allows.',
    false,
    'ContextWindowExceededError',
  ),
  content_policy: row(
    400,
    'invalid_request_error',
    'The content was refused by a content policy.',
    false,
    'ContentPolicyViolationError',
  ),
  body_too_large: row(413, 'invalid_request_error', 'The request body is too large.', false, 'BadRequestError'),
  unsupported_media_type: row(415, 'invalid_request_error', 'The content type is not supported.', false, 'BadRequestError'),
  headers_too_large: row(431, 'invalid_request_error', 'The request headers are too large.', false, 'BadRequestError'),
  not_found: row(404, 'not_found_error', 'Not found.', false, 'NotFoundError'),
  already_exists: row(409, 'invalid_request_error', 'This already exists.', false, 'BadRequestError'),
  method_not_allowed: row(405, 'invalid_request_error', 'Method not allowed.', false, 'BadRequestError'),
  unsupported_endpoint: row(400, 'invalid_request_error', 'This model does not serve this endpoint.', false, 'BadRequestError'),
  request_timeout: row(408, 'invalid_request_error', 'The request did not arrive in time.', false, 'BadRequestError'),
  // Who the client is.
  no_credential: row(401, 'auth_error', 'Authentication Error, No api key passed in.', false, 'AuthenticationError'),
  malformed_credential: row(
    401,
    'auth_error',
    'Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.',
    false,
    'AuthenticationError',
  ),
  unknown_key: row(
    401,
    'token_not_found_in_db',
    'Authentication Error, Invalid proxy server token passed.',
    false,
    'AuthenticationError',
  ),
  expired_key: row(401, 'expired_key', 'Authentication Error - Expired Key.', false, 'AuthenticationError'),
  blocked_key: row(
    401,
    'auth_error',
    "Authentication Error, Key is blocked. Update via `/key/unblock` if you're admin.",
    false,
    'AuthenticationError',
  ),
  route_denied: row(403, 'auth_error', 'Virtual key is not allowed to call this route.', false, 'PermissionDeniedError'),
  admin_only: row(
    401,
    'auth_error',
    'Authentication Error, only a proxy admin may call this route.',
    false,
    'AuthenticationError',
  ),
  model_denied: row(
    403,
    'key_model_access_denied',
    'The requested model is not available for this API key.',
    false,
    'PermissionDeniedError',
  ),
  unsafe_parameter: row(401, 'auth_error', 'Authentication Error, Rejected Request.', false, 'AuthenticationError'),
  cache_control_denied: row(403, 'auth_error', 'This key may not use this cache control.', false, 'PermissionDeniedError'),
  budget_exceeded: row(429, 'budget_exceeded', 'Budget has been exceeded!', false, 'BudgetExceededError'),
  run_cap_reached: row(429, 'budget_exceeded', 'The cap of this run is reached.', false, 'BudgetExceededError'),
  blocked_customer: row(401, 'auth_error', 'Authentication Error, this customer is blocked.', false, 'AuthenticationError'),
  idempotency_conflict: row(
    409,
    'invalid_request_error',
    'This Idempotency-Key was used with another request, or its first request is still running.',
    false,
    'BadRequestError',
  ),
  rate_limited: row(429, 'rate_limit_error', 'Rate limit exceeded.', false, 'RateLimitError'),
  // What the provider did.
  provider_bad_request: row(400, 'invalid_request_error', 'The provider refused the request.', false, 'BadRequestError'),
  provider_unprocessable: row(
    422,
    'invalid_request_error',
    'The provider could not process the request.',
    false,
    'UnprocessableEntityError',
  ),
  provider_authentication: row(
    401,
    'authentication_error',
    'The provider refused the credential of the deployment.',
    false,
    'AuthenticationError',
  ),
  provider_permission: row(403, 'permission_error', 'The provider denied permission.', false, 'PermissionDeniedError'),
  provider_not_found: row(404, 'not_found_error', 'The provider does not know this model or path.', false, 'NotFoundError'),
  provider_timeout: row(408, 'timeout_error', 'The provider did not answer in time.', true, 'Timeout'),
  provider_conflict: row(409, 'invalid_request_error', 'The provider reported a conflict.', true, 'APIError'),
  provider_rate_limited: row(429, 'rate_limit_error', 'The provider is rate limiting.', true, 'RateLimitError'),
  provider_quota: row(429, 'insufficient_quota', 'The provider account has no quota left.', false, 'RateLimitError'),
  provider_error: row(500, 'server_error', 'The provider failed.', true, 'InternalServerError'),
  provider_bad_gateway: row(502, 'server_error', 'The provider answered with a bad gateway.', true, 'BadGatewayError'),
  provider_unavailable: row(503, 'server_error', 'The provider is unavailable.', true, 'ServiceUnavailableError'),
  provider_overloaded: row(503, 'overloaded_error', 'The provider is overloaded.', true, 'ServiceUnavailableError'),
  provider_connection: row(500, 'api_connection_error', 'The provider could not be reached.', true, 'APIConnectionError'),
  provider_malformed: row(
    502,
    'server_error',
    'The provider sent an answer that could not be read.',
    true,
    'APIResponseValidationError',
  ),
  provider_truncated: row(
    502,
    'server_error',
    'The answer of the provider ended before it was complete.',
    true,
    'APIConnectionError',
  ),
  looping_model: row(500, 'server_error', 'The model is looping.', false, 'InternalServerError'),
  // What happened to us.
  overloaded: row(503, 'overloaded_error', 'The gateway is at capacity. Retry later.', true, 'ServiceUnavailableError'),
  no_router: row(503, 'overloaded_error', 'No router is available. Retry later.', true, 'ServiceUnavailableError'),
  lost_router: row(502, 'server_error', 'The router serving this call went away.', true, 'InternalServerError'),
  stream_gap: row(502, 'server_error', 'Part of the answer was lost inside the gateway.', true, 'InternalServerError'),
  deadline_exceeded: row(408, 'timeout_error', 'The call took longer than its time limit.', false, 'Timeout'),
  cancelled: row(499, 'client_closed_request', 'The client closed the connection.', false, 'APIError'),
  accounting_away: row(
    503,
    'no_db_connection',
    'Database connection error during authentication.',
    true,
    'ServiceUnavailableError',
  ),
  counters_away: row(
    503,
    'service_unavailable',
    'Limits and budgets cannot be checked right now. Retry later.',
    true,
    'ServiceUnavailableError',
  ),
  cache_away: row(503, 'cache_ping_error', 'The cache cannot be reached.', true, 'ServiceUnavailableError'),
  no_deployment: row(429, 'None', 'No deployments available for selected model.', false, 'RateLimitError'),
  deployment_busy: row(
    429,
    'rate_limit_error',
    'Every deployment of the model is at its limit of calls at once.',
    false,
    'RateLimitError',
  ),
  draining: row(503, 'overloaded_error', 'The gateway is shutting down.', true, 'ServiceUnavailableError'),
  internal: row(500, 'internal_server_error', 'Internal error.', false, 'InternalServerError'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

/** An error as it crosses the bus and reaches a ledger row. */
export interface WireError {
  code: ErrorCode
  message: string
  /** HTTP status when it differs from the row's (a provider's own 4xx). */
  status?: number
  /** `error.type` when it differs from the row's (copied from an OpenAI-compatible provider). */
  type?: string
  param?: string | null
  /** Milliseconds until trying again makes sense. */
  retryAfter?: number
  /** Headers for the client, lower case (`rate_limit_type`, `reset_at`). */
  headers?: Record<string, string>
  /** The provider's own error code; goes to `provider_specific_fields`. */
  providerCode?: string
  /** What else the provider said of it that clients read; goes there too (`innererror` of Azure's content filter). */
  providerFields?: Record<string, unknown>
  /** The process that turned a stream away, so that it is not offered to the same one again. */
  refusedBy?: string
}

function row(status: number, type: string, text: string, retryable: boolean, name: string): ErrorRow {
  return { status, type, text, retryable, class: name }
}
