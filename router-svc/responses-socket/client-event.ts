import { GatewayError } from '../../shared/errors.ts'
import { type Fields, isFields } from '../providers/json.ts'

/** What a client asks for with one `response.create`. */
export interface CreateEvent {
  /** The body `POST /v1/responses` would have. */
  body: Fields
  /** False = only to be remembered, as the beginning of what follows. */
  generate: boolean
  /** Repeated in each event of the response; null = none was given. */
  streamId: string | null
}

/**
 * One text message of a client. `model`: what the address named, for messages that name none. Throws GatewayError `bad_request` for whatever is no
 * `response.create`.
 */
export function readCreate(payload: Uint8Array, model: string | null): CreateEvent {
  let event: unknown
  try {
    event = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8'))
  } catch {
    throw new GatewayError('bad_request', 'The message is not valid JSON.')
  }
  if (!isFields(event)) throw new GatewayError('bad_request', 'The message is not a JSON object.')
  const { type, generate, stream_id: streamId, stream: _stream, background, ...rest } = event
  if (type !== 'response.create') {
    const named = typeof type === 'string' ? `The event type "${type}" is not known here.` : 'The event has no type.'
    throw new GatewayError('bad_request', `${named} This connection takes "response.create".`, { param: 'type' })
  }
  if (generate !== undefined && typeof generate !== 'boolean')
    throw new GatewayError('bad_request', 'generate is no boolean.', { param: 'generate' })
  if (streamId !== undefined && (typeof streamId !== 'string' || streamId === ''))
    throw new GatewayError('bad_request', 'stream_id is no text.', { param: 'stream_id' })
  if (background != null && background !== false)
    throw new GatewayError('bad_request', 'Responses in the background are not made over a WebSocket.', { param: 'background' })
  const body: Fields = { ...rest, stream: true }
  if (body['model'] === undefined && model !== null) body['model'] = model
  return { body, generate: generate !== false, streamId: (streamId as string | undefined) ?? null }
}

/** The lane a message names, whatever else is wrong with it, so that its error can be told apart. */
export function streamIdIn(payload: Uint8Array): string | null {
  try {
    const event: unknown = JSON.parse(Buffer.from(payload).toString('utf8'))
    return isFields(event) && typeof event['stream_id'] === 'string' ? event['stream_id'] : null
  } catch {
    return null
  }
}
