import { ERRORS, type ErrorCode } from '../proto/errors.ts'
import type { Identity } from '../proto/identity.ts'
import type { SpanAttributes, SpanEvent } from './tracer.ts'

/** Whose call it is, under the names LiteLLM gives them in its metadata (surface reference §9.3). Of a key, its hash; of a person, the id. */
export function callerAttributes(identity: Identity): SpanAttributes {
  const { keyHash, keyAlias, userId, teamId, teamAlias, organizationId } = identity
  const known = {
    'metadata.user_api_key_hash': keyHash,
    'metadata.user_api_key_alias': keyAlias,
    'metadata.user_api_key_user_id': userId,
    'metadata.user_api_key_team_id': teamId,
    'metadata.user_api_key_team_alias': teamAlias,
    'metadata.user_api_key_org_id': organizationId,
  }
  return Object.fromEntries(
    Object.entries(known).filter((entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1] !== ''),
  )
}

/** What went wrong, as codes of ours, never as texts: those of providers may quote what was asked. */
export function errorAttributes(code: ErrorCode): { 'error.type': string; 'error.code': ErrorCode } {
  return { 'error.type': ERRORS[code].class, 'error.code': code }
}

/** OpenTelemetry's event of a failure, `at` epoch milliseconds. */
export function exceptionEvent(type: string, at: number): SpanEvent {
  return { name: 'exception', at, attributes: { 'exception.type': type } }
}
