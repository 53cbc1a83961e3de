import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import { type GatewayError, withMessage } from '../../shared/errors.ts'

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

/** `OpenAIException`, `GroqException`, `Together_aiException`: as LiteLLM spells them. */
export function exceptionName(provider: string): string {
  if (provider.startsWith('vertex_ai')) return 'VertexAIException'
  return provider === 'openai' ? 'OpenAIException' : `${provider.charAt(0).toUpperCase()}${provider.slice(1)}Exception`
}

/**
 * What we saw ourselves of a provider's failure (a broken connection, an answer that cannot be read) in the grammar of those it reports,
 * which clients and dashboards match on (surface reference §6.2). Any other error, and one that speaks it already, as it is.
 */
export function inProviderWords(error: GatewayError, provider: string): GatewayError {
  const ours = !error.code.startsWith('provider_') && error.code !== 'looping_model'
  if (ours || error.message.startsWith('litellm.')) return error
  return withMessage(error, `litellm.${ERRORS[error.code].class}: ${exceptionName(provider)} - ${error.message}`)
}
