import type { SocketProtocol } from '../proto/sockets.ts'
import { type GatewayError, openaiErrorBody } from './errors.ts'

/** An error as an event of a session. `id` makes the event's id, where its protocol gives events one. */
export function socketErrorEvent(error: GatewayError, id: string, protocol: SocketProtocol): string {
  const told = openaiErrorBody(error).error
  if (protocol === 'responses') return JSON.stringify({ type: 'error', status: error.status, error: told })
  return JSON.stringify({ type: 'error', event_id: `event_${id}`, error: { ...told, event_id: null } })
}
