import { anthropicErrorBody, anthropicStatus } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import { decodeRequest } from './anthropic/request.ts'
import { encodeResponse } from './anthropic/response.ts'
import { MessageStreamEncoder } from './anthropic/stream.ts'
import type { Dialect } from './dialect.ts'

/** Anthropic's Messages API, as clients speak it. */
export const anthropic: Dialect<ChatRequest, ChatResponse, ChatChunk> = {
  name: 'anthropic',
  mode: 'chat',
  protocol: 'anthropic',
  streamType: 'text/event-stream',
  decodeRequest: (body) => decodeRequest(body),
  encodeResponse: (response, model) => JSON.stringify(encodeResponse(response, model)),
  encodeStream: (options) => new MessageStreamEncoder(options),
  encodeError: (error) => JSON.stringify(anthropicErrorBody(error)),
  statusOf: anthropicStatus,
}
