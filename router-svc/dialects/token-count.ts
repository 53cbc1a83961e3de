import { anthropicErrorBody, anthropicStatus, GatewayError, googleErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { ChatRequest } from '../canonical/chat.ts'
import type { CountResponse } from '../canonical/count.ts'
import { decodeRequest as decodeMessages } from './anthropic/request.ts'
import type { Dialect } from './dialect.ts'
import { decodeRequest as decodeContents } from './gemini/request.ts'

const COUNTS = {
  mode: 'count_tokens',
  protocol: null,
  streamType: 'text/event-stream',
  encodeStream: (): never => {
    throw new GatewayError('unsupported_endpoint', 'Counts are not streamed.', { param: 'stream' })
  },
} as const

/** Anthropic's `/v1/messages/count_tokens`: a message without its limits. */
export const anthropicCount: Dialect<ChatRequest, CountResponse, never> = {
  ...COUNTS,
  name: 'anthropic-count',
  decodeRequest: ({ stream: _stream, ...body }) => decodeMessages(body, false),
  encodeResponse: ({ tokens }) => JSON.stringify({ input_tokens: tokens }),
  encodeError: (error) => JSON.stringify(anthropicErrorBody(error)),
  statusOf: anthropicStatus,
}

/** Google's `:countTokens`: of contents alone, or of a whole request. */
export const geminiCount: Dialect<ChatRequest, CountResponse, never> = {
  ...COUNTS,
  name: 'gemini-count',
  decodeRequest({ stream: _stream, ...body }) {
    const whole = body['generateContentRequest'] ?? body['generate_content_request']
    return decodeContents(isObject(whole) ? { ...whole, model: body['model'] } : body)
  },
  encodeResponse: ({ tokens, cached, details }) =>
    JSON.stringify({
      totalTokens: tokens,
      ...(cached === undefined ? {} : { cachedContentTokenCount: cached }),
      ...(details === undefined ? {} : { promptTokensDetails: details }),
    }),
  encodeError: (error) => JSON.stringify(googleErrorBody(error)),
}
