import { type GatewayError, openaiErrorBody } from './errors.ts'

/** An error as an event of a session whose clients speak OpenAI's realtime protocol. `id` makes the event's id. */
export function socketErrorEvent(error: GatewayError, id: string): string {
  return JSON.stringify({ type: 'error', event_id: `event_${id}`, error: { ...openaiErrorBody(error).error, event_id: null } })
}
