import { GatewayError, googleErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import type { Dialect } from './dialect.ts'
import { type Fields, fieldsOf, listOf, textOf } from './gemini/wire.ts'
import { checkModel, invalid } from './request-fields.ts'

const EMBEDDINGS = {
  mode: 'embedding',
  protocol: null,
  streamType: 'text/event-stream',
  encodeStream: (): never => {
    throw new GatewayError('unsupported_endpoint', 'Embeddings are not streamed.', { param: 'stream' })
  },
  encodeError: (error: GatewayError) => JSON.stringify(googleErrorBody(error)),
} as const

/** Google's `:embedContent`: one content. */
export const geminiEmbedding: Dialect<EmbeddingRequest, EmbeddingResponse, never> = {
  ...EMBEDDINGS,
  name: 'gemini-embedding',
  decodeRequest: (body) => requestOf(body, [body], ''),
  encodeResponse: ({ data, usage }) => JSON.stringify({ embedding: { values: data[0]?.embedding ?? [] }, ...counted(usage) }),
}

/** Google's `:batchEmbedContents`: one vector a content, all of them made alike. */
export const geminiEmbeddingBatch: Dialect<EmbeddingRequest, EmbeddingResponse, never> = {
  ...EMBEDDINGS,
  name: 'gemini-embedding-batch',
  decodeRequest(body) {
    const { requests } = body
    if (!Array.isArray(requests) || requests.length === 0) throw invalid('requests', 'non-empty list', requests)
    return requestOf(body, requests, 'requests')
  },
  encodeResponse: ({ data, usage }) =>
    JSON.stringify({ embeddings: data.map(({ embedding }) => ({ values: embedding })), ...counted(usage) }),
}

function counted({ prompt_tokens: tokens }: EmbeddingResponse['usage']): Fields {
  return tokens > 0 ? { usageMetadata: { promptTokenCount: tokens } } : {}
}

/** `list`: what the vectors are asked with, each under `place`. Throws GatewayError `bad_request` naming what is wrong. */
function requestOf(body: Fields, list: readonly unknown[], place: string): EmbeddingRequest {
  checkModel(body)
  const request: EmbeddingRequest = { model: body['model'] as string, input: [] }
  for (const name in body) if (isGatewayField(name, body[name])) request[name] = body[name]
  const inputs: string[] = []
  let first = ''
  for (const [index, one] of list.entries()) {
    const at = place === '' ? '' : `${place}[${index}]`
    if (!isObject(one)) throw invalid(at, 'object', one)
    const { content, outputDimensionality: dimensions, taskType, title, embedContentConfig } = fieldsOf(one)
    inputs.push(inputOf(content, at === '' ? 'content' : `${at}.content`))
    const config = fieldsOf(embedContentConfig)
    const options = { dimensions: dimensions ?? config['outputDimensionality'], taskType, title, ...config }
    const told = JSON.stringify(options)
    if (index === 0) {
      first = told
      const { dimensions: size, outputDimensionality: _size, ...native } = options as Fields
      if (size !== undefined && (!Number.isInteger(size) || (size as number) <= 0))
        throw invalid(at === '' ? 'outputDimensionality' : `${at}.outputDimensionality`, 'positive integer', size)
      if (size !== undefined) request.dimensions = size as number
      request['gemini'] = JSON.parse(JSON.stringify(native))
    } else if (told !== first) {
      throw new GatewayError('bad_request', `${at} asks for another kind of vector than the first: send it by itself.`, {
        param: at,
      })
    }
  }
  return { ...request, input: inputs }
}

/** The text of a content, or its picture. */
function inputOf(content: unknown, place: string): string {
  if (!isObject(content)) throw invalid(place, 'object', content)
  const parts = listOf(content['parts'])
  if (parts.length === 0) throw invalid(`${place}.parts`, 'non-empty list', content['parts'])
  const [only] = parts
  if (parts.length === 1 && only?.['inlineData'] !== undefined) {
    const { mimeType, data } = fieldsOf(only['inlineData'])
    return `data:${textOf(mimeType)};base64,${textOf(data)}`
  }
  return parts
    .map((part, index) => {
      const text = part['text']
      if (typeof text !== 'string') throw invalid(`${place}.parts[${index}].text`, 'string', text)
      return text
    })
    .join('\n')
}
