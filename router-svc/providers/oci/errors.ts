import type { ErrorCode } from '../../../proto/errors.ts'
import { entryOf } from '../../../shared/entry.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import { type Fields, isFields, parsedInput } from '../json.ts'
import { decodeError as decodeOpenAI } from '../openai/error.ts'
import { reclassified } from '../openai-variant.ts'
import type { Headers } from '../provider.ts'

/** Oracle's codes, with the status each comes with: inside a stream there is none. */
const STATUS: Readonly<Record<string, number>> = {
  InvalidParameter: 400,
  CannotParseRequest: 400,
  NotAuthenticated: 401,
  NotAuthorized: 403,
  NotAuthorizedOrNotFound: 404,
  NotFound: 404,
  TooManyRequests: 429,
  LimitExceeded: 429,
  QuotaExceeded: 429,
  InternalServerError: 500,
  ServiceUnavailable: 503,
}

/** Codes that say more than their status, which for limits may be 400. */
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  TooManyRequests: 'provider_rate_limited',
  LimitExceeded: 'provider_rate_limited',
  QuotaExceeded: 'provider_quota',
}

/** Reads `{code, message, opc-request-id}`. */
export function decodeError(name: string, status: number, headers: Headers, body: string): GatewayError {
  const fields = parsedInput(body)
  const code = isFields(fields) && typeof fields['code'] === 'string' ? fields['code'] : ''
  const error = decodeOpenAI(name, status >= 400 ? status : (entryOf(STATUS, code) ?? status), headers, body)
  const plainer = entryOf(BY_CODE, code)
  return plainer === undefined ? error : reclassified(error, name, plainer)
}

/** Whether an answer or an event is an error: messages of a chat are objects, those of errors are texts. */
export function isError(fields: Fields): boolean {
  return typeof fields['message'] === 'string' && fields['apiFormat'] === undefined && fields['chatResponse'] === undefined
}
