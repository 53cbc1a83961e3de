import { GatewayError } from '../../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { tokensOf as billedTokens } from '../../canonical/usage.ts'
import { jsonObject, sourceOf } from '../json.ts'
import { dropNamed, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import { vectorAs } from '../openai/response.ts'
import type { Adapter, Conversation, DecodeContext, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { decodeError } from './errors.ts'
import { invokeRequest, isForService } from './invoke.ts'
import { namesOf } from './models.ts'
import { type Fields, isFields, text } from './wire.ts'

/** Embeddings through InvokeModel, in the words of each model's maker. */
interface Family {
  /** Inputs one request takes. */
  limit: number
  /** OpenAI's parameters it has no counterpart to. */
  unsupported: readonly string[]
  body(inputs: readonly string[], request: EmbeddingRequest, rest: Fields): Fields
  /** Vectors in the order of the inputs; null = there are none. */
  vectors(answer: Fields): unknown[] | null
}

/** Inputs in one request to Cohere's models. */
const COHERE_LIMIT = 96
/** Requests sent together, where a model takes one input each. */
const TOGETHER = 16

const single = (answer: Fields): unknown[] | null => {
  if (Array.isArray(answer['embedding'])) return [answer['embedding']]
  // Where other types than floats alone were asked for.
  const byType = answer['embeddingsByType']
  return isFields(byType) ? [byType['float'] ?? Object.values(byType)[0]] : null
}

const TITAN_V1: Family = {
  limit: 1,
  unsupported: ['dimensions'],
  body: ([input = ''], _request, rest) => ({ inputText: input, ...rest }),
  vectors: single,
}

const TITAN_V2: Family = {
  limit: 1,
  unsupported: [],
  body: ([input = ''], { dimensions }, rest) => ({
    inputText: input,
    ...(dimensions === undefined ? {} : { dimensions }),
    ...rest,
  }),
  vectors: single,
}

const TITAN_IMAGE: Family = {
  limit: 1,
  unsupported: [],
  body: ([input = ''], { dimensions }, rest) => ({
    ...(isImage(input) ? { inputImage: base64Of(input) } : { inputText: input }),
    ...(dimensions === undefined ? {} : { embeddingConfig: { outputEmbeddingLength: dimensions } }),
    ...rest,
  }),
  vectors: single,
}

const COHERE: Family = {
  limit: COHERE_LIMIT,
  unsupported: [],
  body: (inputs, { dimensions }, rest) => ({
    // Pictures and text do not mix in one request.
    ...(inputs.every(isImage) ? { images: inputs, input_type: 'image' } : { texts: inputs, input_type: 'search_document' }),
    ...(dimensions === undefined ? {} : { output_dimension: dimensions }),
    ...rest,
  }),
  vectors: ({ embeddings }) => {
    if (Array.isArray(embeddings)) return embeddings
    if (!isFields(embeddings)) return null
    const first = embeddings['float'] ?? Object.values(embeddings)[0]
    return Array.isArray(first) ? first : null
  },
}

const NOVA: Family = {
  limit: 1,
  unsupported: [],
  body: ([input = ''], { dimensions }, { singleEmbeddingParams, embeddingPurpose, ...rest }) => ({
    taskType: 'SINGLE_EMBEDDING',
    singleEmbeddingParams: {
      embeddingPurpose: embeddingPurpose ?? 'GENERIC_INDEX',
      ...(dimensions === undefined ? {} : { embeddingDimension: dimensions }),
      ...(isImage(input)
        ? { image: { format: formatOf(input), source: { bytes: base64Of(input) } } }
        : { text: { truncationMode: 'END', value: input } }),
      ...(isFields(singleEmbeddingParams) ? singleEmbeddingParams : {}),
    },
    ...rest,
  }),
  vectors: ({ embeddings }) =>
    Array.isArray(embeddings) ? embeddings.map((entry) => (isFields(entry) ? entry['embedding'] : null)) : null,
}

/** First match counts. */
const FAMILIES: readonly (readonly [RegExp, Family])[] = [
  [/titan-embed-text-v1|titan-embed-g1/, TITAN_V1],
  [/titan-embed-image/, TITAN_IMAGE],
  [/titan-embed/, TITAN_V2],
  [/cohere/, COHERE],
  [/nova/, NOVA],
]

const PLACED = new Set(['model', 'input', 'dimensions', 'encoding_format', 'user'])

/** Embeddings of every model that has them; inputs beyond what one request takes go in several. */
export const EMBEDDING: Adapter<EmbeddingRequest, EmbeddingResponse, never> = {
  mode: 'embedding',
  encodeRequest(request, target) {
    const family = familyOf(target)
    return encode(family, inputsOf(request), request, target)
  },
  decodeResponse: (body, headers, context) => assembled([{ status: 200, headers, body }], null, context),
  converse(request, target, context) {
    const family = familyOf(target)
    const inputs = inputsOf(request)
    return inputs.length <= family.limit ? null : severally(family, inputs, { request, target, context })
  },
}

/** Throws GatewayError `unsupported_endpoint` for a model that makes none. */
function familyOf(target: Target): Family {
  const names = namesOf(target).toLowerCase()
  for (const [pattern, family] of FAMILIES) if (pattern.test(names)) return family
  throw new GatewayError('unsupported_endpoint', `${target.model} on Bedrock makes no embeddings that are served.`, {
    param: 'model',
  })
}

/** Throws GatewayError `bad_request` for tokens in place of text. */
function inputsOf({ input }: EmbeddingRequest): string[] {
  const inputs: unknown[] = Array.isArray(input) ? input : [input]
  if (inputs.length > 0 && inputs.every((entry) => typeof entry === 'string')) return inputs as string[]
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: input must be a string or a list of strings: models of Bedrock take no tokens.',
    { param: 'input' },
  )
}

function* severally(
  family: Family,
  inputs: readonly string[],
  { request, target, context }: { request: EmbeddingRequest; target: Target; context: DecodeContext },
): Conversation<EmbeddingResponse> {
  const sends: UpstreamRequest[] = []
  for (let at = 0; at < inputs.length; at += family.limit)
    sends.push(encode(family, inputs.slice(at, at + family.limit), request, target))
  const answers: UpstreamAnswer[] = []
  for (let at = 0; at < sends.length; at += TOGETHER) {
    const used = (came: readonly (UpstreamAnswer | null)[]) => {
      const told = [...answers, ...came.filter((answer) => answer !== null)]
      return told.length === 0 ? null : billedTokens(assembled(told, family, context).usage)
    }
    answers.push(...(yield { send: sends.slice(at, at + TOGETHER), used }))
  }
  return assembled(answers, family, context)
}

function encode(family: Family, inputs: readonly string[], request: EmbeddingRequest, target: Target): UpstreamRequest {
  const given: Fields = { ...request }
  dropNamed(given, request, target)
  refuseUnsupported(given, family.unsupported.map(parameterRule), request, target)
  const rest: Fields = {}
  const { input_type: configured } = target.settings
  if (family === COHERE && typeof configured === 'string') rest['input_type'] = configured
  for (const [name, value] of Object.entries(given))
    if (!PLACED.has(name) && !isForService(name) && value !== null && value !== undefined && !isGatewayField(name, value))
      rest[name] = value
  const dimensions = typeof given['dimensions'] === 'number' ? { dimensions: given['dimensions'] } : {}
  return invokeRequest(family.body(inputs, { model: request.model, input: request.input, ...dimensions }, rest), given, target)
}

/** Throws GatewayError `provider_malformed` for an answer without vectors. `family` null = of the model that answers. */
function assembled(answers: readonly UpstreamAnswer[], family: Family | null, context: DecodeContext): EmbeddingResponse {
  const base64 = context.request['encoding_format'] === 'base64'
  const data: EmbeddingResponse['data'] = []
  let tokens = 0
  for (const { headers, body } of answers) {
    const source = sourceOf(body)
    const answer = jsonObject(source, 'The answer')
    const vectors = vectorsOf(answer, family)
    if (vectors === null && (answer['message'] !== undefined || answer['__type'] !== undefined))
      throw decodeError(200, headers, source)
    if (vectors === null) throw new GatewayError('provider_malformed', "The provider's answer holds no embeddings.")
    for (const vector of vectors) data.push({ object: 'embedding', index: data.length, embedding: vectorAs(vector, base64) })
    tokens += tokensOf(answer, headers['x-amzn-bedrock-input-token-count'])
  }
  return {
    object: 'list',
    data,
    model: context.model,
    usage: { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens },
  }
}

function vectorsOf(answer: Fields, family: Family | null): unknown[] | null {
  if (family !== null) return family.vectors(answer)
  if (answer['embedding'] !== undefined || answer['embeddingsByType'] !== undefined) return single(answer)
  const { embeddings } = answer
  const first: unknown = Array.isArray(embeddings) ? embeddings[0] : null
  return isFields(first) ? NOVA.vectors(answer) : COHERE.vectors(answer)
}

function tokensOf(answer: Fields, header: string | undefined): number {
  const told = Number(header ?? answer['inputTextTokenCount'] ?? answer['inputTokenCount'] ?? 0)
  return Number.isFinite(told) ? told : 0
}

function isImage(input: string): boolean {
  return /^data:image\//.test(input)
}

function base64Of(uri: string): string {
  return uri.slice(uri.indexOf(',') + 1)
}

function formatOf(uri: string): string {
  const format = text(/^data:image\/([a-z]+)/.exec(uri)?.[1])
  return format === 'jpg' ? 'jpeg' : format
}
