import { ERRORS, type ErrorCode } from '../../../proto/errors.ts'
import { type ErrorDetails, GatewayError } from '../../../shared/errors.ts'
import { exceptionName } from '../error-status.ts'
import { decodeError as decodeOpenAI } from '../openai/error.ts'
import type { Headers } from '../provider.ts'

/** What the server says in words alone; its statuses are few, and a stream that fails has 200. Lower case. */
const BY_TEXT: readonly (readonly [RegExp, ErrorCode])[] = [
  [/\bmodel\b.*\bnot found\b|\btry pulling it first\b/, 'provider_not_found'],
  [
    /exceeds? (the |maximum |available )*context (length|size)|exceeded max context length|exceeds the context window/,
    'context_window_exceeded',
  ],
  [/maximum pending requests exceeded|server busy/, 'provider_overloaded'],
]

/**
 * Reads an error answer (`{"error": "…"}`, or OpenAI's form from the cloud service), or the line of a stream that is one (status 200).
 * The text keeps LiteLLM's grammar; words the server has for a case decide over its status.
 */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = decodeOpenAI(provider, status, headers, body)
  const code = codeByText(error.message)
  if (code === null || code === error.code) return error
  const row = ERRORS[code]
  const grammar = `${exceptionName(provider)} - `
  const said = error.message.slice(error.message.indexOf(grammar) + grammar.length)
  const label = row.class === 'BadRequestError' ? '' : `${row.class}: `
  const details: ErrorDetails = {}
  if (error.retryAfter !== undefined && error.retryAfter !== null) details.retryAfter = error.retryAfter
  return new GatewayError(code, `litellm.${row.class}: ${label}${grammar}${said}`, details)
}

function codeByText(message: string): ErrorCode | null {
  const lower = message.toLowerCase()
  for (const [words, code] of BY_TEXT) if (words.test(lower)) return code
  return null
}
