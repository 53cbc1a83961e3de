import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { exceptionName } from '../error-status.ts'
import { decodeError as decodeOpenAI } from '../openai/error.ts'
import type { Headers } from '../provider.ts'

/** Both names of the provider speak with one voice, as LiteLLM's do. */
const NAME = 'cohere'

/** Its own statuses: 498 is a token it does not take (Groq's 498 is another), 499 a request it says we gave up. */
const STATUS: Readonly<Record<number, number>> = { 498: 401, 499: 500 }

/** What its texts say and no status does. Lower case. */
const REFINED: readonly { from: ErrorCode; part: RegExp; to: ErrorCode }[] = [
  { from: 'provider_bad_request', part: /too many tokens/, to: 'context_window_exceeded' },
  { from: 'provider_unprocessable', part: /too many tokens/, to: 'context_window_exceeded' },
  // A trial key has a limit of the minute and one of the month; waiting helps against the first.
  { from: 'provider_rate_limited', part: /api calls ?\/ ?month/, to: 'provider_quota' },
]

/** Reads an error answer (`{id, message}`), or the error inside a 200. */
export function decodeError(status: number, headers: Headers, body: string): GatewayError {
  const error = decodeOpenAI(NAME, STATUS[status] ?? status, headers, body)
  const said = error.message.toLowerCase()
  const refined = REFINED.find(({ from, part }) => error.code === from && part.test(said))
  if (refined === undefined) return error
  const row = ERRORS[refined.to]
  const name = exceptionName(NAME)
  const message = error.message.slice(error.message.indexOf(`${name} - `))
  const details: ErrorDetails = {}
  if (error.retryAfter !== undefined) details.retryAfter = error.retryAfter
  if (error.providerCode !== undefined) details.providerCode = error.providerCode
  const label = row.class === 'BadRequestError' ? '' : `${row.class}: `
  return new GatewayError(refined.to, `litellm.${row.class}: ${label}${message}`, details)
}

/** The error of an answer that ends in one: `finish_reason` says only that. */
export function failedFinish(reason: string, told: unknown): GatewayError {
  const words = reason === 'TIMEOUT' ? 'timed out generating response' : 'the generation failed'
  const message = typeof told === 'string' && told !== '' ? `${words}: ${told}` : words
  return decodeError(200, {}, JSON.stringify({ message }))
}
