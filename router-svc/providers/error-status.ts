import type { ErrorCode } from '../../proto/errors.ts'

/** What an HTTP status says where the body does not: the part every provider agrees on. An adapter adds its own over it. */
export const STATUS_CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'provider_bad_request',
  401: 'provider_authentication',
  403: 'provider_permission',
  404: 'provider_not_found',
  408: 'provider_timeout',
  409: 'provider_conflict',
  422: 'provider_unprocessable',
  429: 'provider_rate_limited',
  500: 'provider_error',
  502: 'provider_bad_gateway',
  503: 'provider_unavailable',
  504: 'provider_timeout',
  529: 'provider_overloaded',
}
