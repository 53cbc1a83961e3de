import { googleErrorBody } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { Dialect } from './dialect.ts'
import { decodeRequest } from './gemini/request.ts'
import { encodeResponse } from './gemini/response.ts'
import { arrayFrames, eventFrames, GenerateStreamEncoder } from './gemini/stream.ts'

/** Gemini's `generateContent`, as Google's clients speak it: streams are one JSON array, unless the address asks for events. */
export const gemini: Dialect<ChatRequest, ChatResponse, ChatChunk> = {
  name: 'gemini',
  mode: 'chat',
  protocol: 'gemini',
  streamType: 'application/json',
  decodeRequest,
  encodeResponse: (response, model) => JSON.stringify(encodeResponse(response, model)),
  encodeStream: (options) => new GenerateStreamEncoder(options, arrayFrames(options.resume?.begun === true)),
  encodeError: (error) => JSON.stringify(googleErrorBody(error)),
  forQuery: (query) => (query['alt'] === 'sse' ? geminiEvents : null),
}

const geminiEvents: Dialect<ChatRequest, ChatResponse, ChatChunk> = {
  ...gemini,
  streamType: 'text/event-stream',
  encodeStream: (options) => new GenerateStreamEncoder(options, eventFrames()),
}
