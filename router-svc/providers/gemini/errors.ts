import type { GatewayError } from '../../../shared/errors.ts'
import { decodeError as decodeShared } from '../openai/error.ts'
import type { Headers } from '../provider.ts'
import { isFields } from './wire.ts'

/**
 * Reads an error answer, or an error object inside a 200. Google's form ({error: {code, message, status, details}}, at times in a list
 * of one) is one of those the shared reader knows: its words, `RESOURCE_EXHAUSTED`, the delay of `RetryInfo`.
 */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  return decodeShared(provider, status, headers, body)
}

/** An error object in an answer whose status says success. */
export function errorInside(payload: unknown): boolean {
  return isFields(payload) && isFields(payload['error'])
}
