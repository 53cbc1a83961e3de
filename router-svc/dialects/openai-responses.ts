import { openaiErrorBody } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { Dialect } from './dialect.ts'
import { decodeRequest } from './openai-responses/request.ts'
import { encodeResponse } from './openai-responses/response.ts'
import { ResponseStreamEncoder } from './openai-responses/stream.ts'

/** OpenAI's Responses API, as clients speak it. */
export const openaiResponses: Dialect<ChatRequest, ChatResponse, ChatChunk> = {
  name: 'openai-responses',
  mode: 'chat',
  protocol: 'openai-responses',
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: (response, model, request) => JSON.stringify(encodeResponse(response, model, request?.responses)),
  encodeStream: (options) => new ResponseStreamEncoder(options),
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}
