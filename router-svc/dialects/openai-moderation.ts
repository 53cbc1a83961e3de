import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { ModerationRequest, ModerationResponse } from '../canonical/moderation.ts'
import type { Dialect } from './dialect.ts'
import { checkModel, invalid, isStrings } from './request-fields.ts'

/** OpenAI's moderation. */
export const openaiModeration: Dialect<ModerationRequest, ModerationResponse, never> = {
  name: 'openai-moderation',
  mode: 'moderation',
  protocol: null,
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: ({ billing: _, ...response }, model) => JSON.stringify({ ...response, model }),
  encodeStream: () => {
    throw new GatewayError('unsupported_endpoint', 'Moderations are not streamed.', { param: 'stream' })
  },
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

function decodeRequest(body: Record<string, unknown>): ModerationRequest {
  checkModel(body)
  const { input } = body
  const parts = Array.isArray(input) && input.length > 0 && input.every(isObject)
  if (typeof input !== 'string' && !parts && !isStrings(input))
    throw invalid('input', 'string, list of strings or list of parts', input)
  return body as ModerationRequest
}
