import type { GatewayError } from '../shared/errors.ts'
import { errorFormOf } from './error-form.ts'
import type { Exchange } from './exchange.ts'

/** Answers with a JSON value. */
export function answerJson(
  exchange: Exchange,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  exchange.respond(status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value))
}

/** Answers with the error envelope of the path's clients; `retry-after` in seconds when the error says when to come back. */
export function answerError(exchange: Exchange, error: GatewayError, headers: Readonly<Record<string, string>> = {}): void {
  const all: Record<string, string> = { ...error.headers, ...headers }
  if (error.retryAfter !== undefined) all['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfter / 1000)))
  const form = errorFormOf(exchange.path)
  exchange.respond(form.status(error), { 'content-type': 'application/json', ...all }, form.body(error))
}
