import { type GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { type Fields, isFields } from '../providers/json.ts'

/** An error as the socket's clients read it. */
export interface ErrorEvent {
  type: 'error'
  status: number
  error: Fields
}

/** An error of the connection, or of a message that became no call. `code`: in the place of its status. */
export function errorEvent(error: GatewayError, code?: string): ErrorEvent {
  return shaped(error.status, openaiErrorBody(error).error, code)
}

/** The error answer of a call. */
export function answeredError(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array): ErrorEvent {
  let error: Fields = {}
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    if (isFields(parsed) && isFields(parsed['error'])) error = parsed['error']
  } catch {
    error = { message: Buffer.from(body).toString('utf8') }
  }
  const { 'content-type': _type, 'content-length': _length, ...told } = headers
  return shaped(status, { ...error, headers: told })
}

const NOT_FOUND = 'previous_response_not_found'

function shaped(status: number, error: Fields, code?: string): ErrorEvent {
  const own = isFields(error['provider_specific_fields']) ? error['provider_specific_fields']['code'] : undefined
  const made: Fields = { type: 'server_error', message: '', param: null, ...error }
  made['code'] = code ?? (typeof own === 'string' ? own : (error['code'] ?? null))
  // Clients know by this code that they must send the conversation anew.
  const lost = error['param'] === 'previous_response_id' && (status === 404 || own === NOT_FOUND)
  if (!lost) return { type: 'error', status, error: made }
  return { type: 'error', status: 400, error: { ...made, type: 'invalid_request_error', code: NOT_FOUND } }
}
