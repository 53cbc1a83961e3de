import type { GatewayError } from '../../../shared/errors.ts'

/** The protocol's closed list of codes holds these for what may happen to any answer. */
export function errorOf(error: GatewayError): { code: string; message: string } {
  return { code: error.status === 429 ? 'rate_limit_exceeded' : 'server_error', message: error.message }
}
