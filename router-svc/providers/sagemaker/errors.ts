import type { GatewayError } from '../../../shared/errors.ts'
import { awsError } from '../bedrock/errors.ts'
import { exceptionName } from '../error-status.ts'
import { fieldsIn, text } from '../json.ts'
import { decodeError as containerError } from '../openai/error.ts'
import type { Headers } from '../provider.ts'

/**
 * Reads an error answer or an exception frame. What the container refused with stands inside one of the service's own, with the status it had
 * there; where its log lies is the operator's business and is left out.
 */
export function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const error = fieldsIn(body)
  const { OriginalStatusCode: original, OriginalMessage: message } = error ?? {}
  if (typeof original === 'number' && original >= 400) return containerError(provider, original, headers, text(message))
  return awsError(exceptionName(provider), status, headers, body)
}
