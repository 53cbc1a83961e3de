import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import type { Dialect } from './dialect.ts'
import { checkText } from './openai-completion.ts'
import { checkFields, checkModel } from './request-fields.ts'

/** OpenAI's embeddings, as clients speak them. */
export const openaiEmbedding: Dialect<EmbeddingRequest, EmbeddingResponse, never> = {
  name: 'openai-embedding',
  mode: 'embedding',
  protocol: 'openai-embedding',
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: (response, model) => JSON.stringify({ ...response, model }),
  encodeStream: () => {
    throw new GatewayError('unsupported_endpoint', 'Embeddings are not streamed.', { param: 'stream' })
  },
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

function decodeRequest(body: Record<string, unknown>): EmbeddingRequest {
  checkModel(body)
  checkText(body['input'], 'input')
  checkFields(body, [
    ['dimensions', 'positive integer'],
    ['encoding_format', 'string'],
    ['user', 'string'],
    ['metadata', 'object'],
  ])
  const format = body['encoding_format']
  if (format !== undefined && format !== null && format !== 'float' && format !== 'base64') {
    throw new GatewayError('bad_request', `Invalid value for 'encoding_format': expected 'float' or 'base64'.`, {
      param: 'encoding_format',
    })
  }
  if (body['stream'] === true) throw new GatewayError('bad_request', 'Embeddings are not streamed.', { param: 'stream' })
  return body as EmbeddingRequest
}
