import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { errorInside } from '../gemini/errors.ts'
import { camelCase } from '../gemini/parameters.ts'
import { type Fields, isFields, jsonValue, sourceOf } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { dropNamed } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { Adapter, Conversation, DecodeContext, Headers, Target, UpstreamRequest } from '../provider.ts'
import { createModels, GOOGLE_VERSION, methodUrl } from './address.ts'
import type { Model } from './models.ts'

const TRANSLATED = new Set(['model', 'input', 'dimensions', 'encoding_format', 'user', 'input_type', 'task_type', 'title'])

/** What other vendors call the use of a vector. */
const TASKS: Readonly<Record<string, string>> = {
  query: 'RETRIEVAL_QUERY',
  search_query: 'RETRIEVAL_QUERY',
  document: 'RETRIEVAL_DOCUMENT',
  passage: 'RETRIEVAL_DOCUMENT',
  search_document: 'RETRIEVAL_DOCUMENT',
}

/** Kinds of vectors a multimodal model gives, in the order they are told. */
const KINDS = ['textEmbedding', 'imageEmbedding', 'videoEmbeddings'] as const

/** What one kind of model is asked, and how many inputs at once. */
interface Kind {
  method: 'predict' | 'embedContent'
  limit: number
  body(inputs: readonly unknown[], given: Fields): Fields
}

const TEXT: Kind = { method: 'predict', limit: 250, body: textBody }
const SINGLE_TEXT: Kind = { ...TEXT, limit: 1 }
const MULTIMODAL: Kind = { method: 'predict', limit: 1, body: multimodalBody }
const CONTENT: Kind = { method: 'embedContent', limit: 1, body: contentBody }

/** Requests sent together, where a model takes one input each. */
const TOGETHER = 16

/**
 * Google's embedding models: texts by `predict`; pictures and films too where the model is multimodal; `embedContent` from the second Gemini of
 * them on. Inputs beyond what one request takes go in several. Throws `bad_request` for what the model cannot be asked.
 */
export function googleEmbedding(name: string): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const modelOf = createModels()

  const encode = (inputs: readonly unknown[], request: EmbeddingRequest, target: Target): UpstreamRequest => {
    const model = modelOf(target)
    const { method, body } = kindOf(model, target)
    const given: Fields = { ...request }
    dropNamed(given, request, target)
    return {
      method: 'POST',
      url: methodUrl(target, model, GOOGLE_VERSION, method),
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body(inputs, given)),
    }
  }

  function* inTurns(request: EmbeddingRequest, target: Target, context: DecodeContext): Conversation<EmbeddingResponse> {
    const inputs = inputsOf(request)
    const { limit } = kindOf(modelOf(target), target)
    const parts: UpstreamRequest[] = []
    for (let at = 0; at < inputs.length; at += limit) parts.push(encode(inputs.slice(at, at + limit), request, target))
    const answers: EmbeddingResponse[] = []
    for (let at = 0; at < parts.length; at += TOGETHER) {
      const before = [...answers]
      const got = yield {
        send: parts.slice(at, at + TOGETHER),
        used: (came) => {
          const now = came.flatMap((one) => (one === null ? [] : [decodeEmbedding(name, one.body, one.headers, context)]))
          return before.length + now.length === 0 ? null : tokensOf(joined([...before, ...now], context).usage)
        },
      }
      for (const { body, headers } of got) answers.push(decodeEmbedding(name, body, headers, context))
    }
    return joined(answers, context)
  }

  return {
    mode: 'embedding',
    encodeRequest: (request, target) => encode(inputsOf(request), request, target),
    decodeResponse: (body, headers, context) => decodeEmbedding(name, body, headers, context),
    converse: (request, target, context) =>
      inputsOf(request).length > kindOf(modelOf(target), target).limit ? inTurns(request, target, context) : null,
  }
}

function kindOf(model: Model, target: Target): Kind {
  const known = model.publisher === '' ? (target.baseModel ?? '') : model.id
  if (/gemini-embedding-(?:[2-9]|\d\d)(?!\d)/.test(known)) return CONTENT
  if (known.includes('multimodal')) return MULTIMODAL
  return known.includes('gemini-embedding') ? SINGLE_TEXT : TEXT
}

function inputsOf({ input }: EmbeddingRequest): readonly unknown[] {
  const inputs: readonly unknown[] = Array.isArray(input) ? input : [input]
  if (inputs.length === 0) throw refuse('input', 'must hold at least one text')
  // By the place in the whole request, not in the part of it that goes with one of several.
  for (const [index, value] of inputs.entries()) if (!isFields(value)) textAt(value, index)
  return inputs
}

function textBody(inputs: readonly unknown[], given: Fields): Fields {
  const { title } = given
  const task = taskOf(given)
  const instances = inputs.map((value, index) => ({
    content: textAt(value, index),
    ...(task === undefined ? {} : { task_type: task }),
    ...(typeof title === 'string' ? { title } : {}),
  }))
  return withParameters({ instances }, 'outputDimensionality', given)
}

function multimodalBody(inputs: readonly unknown[], given: Fields): Fields {
  return withParameters({ instances: inputs.map((value, index) => instanceOf(value, index)) }, 'dimension', given)
}

function contentBody(inputs: readonly unknown[], given: Fields): Fields {
  const { title } = given
  const task = taskOf(given)
  const body: Fields = { content: { parts: [partOf(inputs[0])] }, ...optionsOf(given) }
  if (task !== undefined) body['taskType'] = task
  if (typeof title === 'string') body['title'] = title
  if (typeof given['dimensions'] === 'number') body['outputDimensionality'] = given['dimensions']
  return body
}

/** Google's own parameters may be given in snake case, as its Python clients write them. */
function withParameters(body: Fields, dimensions: string, given: Fields): Fields {
  const parameters = optionsOf(given)
  if (typeof given['dimensions'] === 'number') parameters[dimensions] = given['dimensions']
  return Object.keys(parameters).length === 0 ? body : { ...body, parameters }
}

function optionsOf(given: Fields): Fields {
  const options: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || TRANSLATED.has(name) || isGatewayField(name, value)) continue
    options[camelCase(name)] = value
  }
  return options
}

function taskOf(given: Fields): string | undefined {
  const use = given['task_type'] ?? given['taskType'] ?? given['input_type']
  return typeof use === 'string' ? (entryOf(TASKS, use.toLowerCase()) ?? use.toUpperCase()) : undefined
}

/** A text, a picture or a film; or an instance as Google writes it. */
function instanceOf(value: unknown, index: number): Fields {
  if (isFields(value)) return value
  const given = textAt(value, index)
  const data = dataOf(given)
  if (data?.type.startsWith('video/')) return { video: { bytesBase64Encoded: data.base64 } }
  if (data !== null) return { image: { bytesBase64Encoded: data.base64 } }
  if (!given.startsWith('gs://')) return { text: given }
  return /\.(?:mp4|mov|mpe?g|avi|webm|wmv|flv)$/i.test(given) ? { video: { gcsUri: given } } : { image: { gcsUri: given } }
}

function partOf(value: unknown): Fields {
  const given = textAt(value, 0)
  const data = dataOf(given)
  return data === null ? { text: given } : { inlineData: { mimeType: data.type, data: data.base64 } }
}

function dataOf(uri: string): { type: string; base64: string } | null {
  const match = /^data:([^;,]+);base64,(.+)$/s.exec(uri)
  return match === null ? null : { type: match[1] as string, base64: match[2] as string }
}

function textAt(value: unknown, index: number): string {
  if (typeof value === 'string') return value
  throw refuse(`input[${index}]`, 'must be a text: Google takes no tokens')
}

/** Reads `predictions` of any kind of model, and the `embedding` of `embedContent`. Where nothing is counted, the router counts. */
function decodeEmbedding(name: string, body: Uint8Array, headers: Headers, context: DecodeContext): EmbeddingResponse {
  const source = sourceOf(body)
  const answer = jsonValue(source, 'The answer')
  if (errorInside(answer)) throw decodeError(name, 200, headers, source)
  if (!isFields(answer)) throw new GatewayError('provider_malformed', 'The answer is not a JSON object.')
  const predictions = Array.isArray(answer['predictions']) ? answer['predictions'].filter(isFields) : []
  const vectors = isFields(answer['embedding']) ? [answer['embedding']['values']] : predictions.flatMap(vectorsIn)
  if (vectors.length === 0) throw new GatewayError('provider_malformed', 'The answer holds no embeddings.')
  const base64 = context.request['encoding_format'] === 'base64'
  const tokens = predictions.reduce((sum, prediction) => sum + tokensIn(prediction), 0) || contentTokens(answer)
  return {
    object: 'list',
    data: vectors.map((values, index) => ({ object: 'embedding', index, embedding: vectorAs(values, base64) })),
    model: context.model,
    usage: { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens },
  }
}

/** Answers to the parts of one request, in their order. */
function joined(answers: readonly EmbeddingResponse[], context: DecodeContext): EmbeddingResponse {
  const tokens = answers.reduce((sum, { usage }) => sum + (usage?.prompt_tokens ?? 0), 0)
  return {
    object: 'list',
    data: answers.flatMap(({ data }) => data).map((entry, index) => ({ ...entry, index })),
    model: context.model,
    usage: { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens },
  }
}

function vectorsIn(prediction: Fields): unknown[] {
  const { embeddings } = prediction
  if (isFields(embeddings)) return [embeddings['values']]
  return KINDS.flatMap((kind) => {
    const found = prediction[kind]
    // A film has a vector for each of its parts.
    if (Array.isArray(found) && found.every(isFields)) return found.map((part) => part['embedding'])
    return found === undefined ? [] : [found]
  })
}

function tokensIn({ embeddings }: Fields): number {
  const statistics = isFields(embeddings) && isFields(embeddings['statistics']) ? embeddings['statistics'] : {}
  return typeof statistics['token_count'] === 'number' ? statistics['token_count'] : 0
}

function contentTokens(answer: Fields): number {
  const usage = isFields(answer['usageMetadata']) ? answer['usageMetadata'] : {}
  return Number(usage['promptTokenCount'] ?? 0) || 0
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
