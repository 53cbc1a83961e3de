import type { Mode } from '../../proto/endpoints.ts'
import { MEDIA } from '../../shared/catalog/media.ts'
import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import { chunksOfAnswer } from '../cache/chunks-of-answer.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { CompletionRequest } from '../canonical/completion.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import type { ImageEditRequest, ImageRequest, ImageResponse, ImageVariationRequest } from '../canonical/image.ts'
import type { ModerationRequest, ModerationResponse } from '../canonical/moderation.ts'
import type { RerankRequest, RerankResponse } from '../canonical/rerank.ts'
import type { SpeechRequest } from '../canonical/speech.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../canonical/transcription.ts'
import { chatFromCompletion } from '../providers/completion-from-chat.ts'
import { decodeError } from '../providers/openai/error.ts'
import { mediaAdapters } from '../providers/openai/media.ts'
import { openai } from '../providers/openai.ts'
import type { Adapter, Headers, Provider } from '../providers/provider.ts'

/** What a function of a handler may know beside the request. */
export interface HandlerContext {
  /** The model behind the provider's name: `fast` of `my-provider/fast`. */
  readonly model: string
  /** Of the deployment; null = it has none. */
  readonly apiKey: string | null
  readonly apiBase: string | null
  /** The deployment's further parameters. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Aborted when the client leaves and when the call has taken too long. */
  readonly signal: AbortSignal
  /** The platform's, ended by `signal`. */
  readonly fetch: typeof fetch
}

type Answer<Request, Response> = (request: Request, context: HandlerContext) => Promise<Response> | Response

/** Fields that are filled where a handler leaves them out. */
type Loose<Response, Needed extends keyof Response> = Pick<Response, Needed> & { [field: string]: unknown }

/**
 * A provider written by the operator: requests and answers in OpenAI's form. A function that is absent is an endpoint it does not serve. A thrown
 * error's `status` (400 to 599) says what kind of failure it was; without one it counts as 500. Answers without `usage` are billed by an estimate.
 */
export interface Handler {
  completion?: Answer<ChatRequest, Loose<ChatResponse, 'choices'>>
  /** Absent = a stream is the whole answer in pieces. Complete when it returns. */
  stream?(request: ChatRequest, context: HandlerContext): AsyncIterable<Loose<ChatChunk, 'choices'>>
  embedding?: Answer<EmbeddingRequest, Loose<EmbeddingResponse, 'data'>>
  image?: Answer<ImageRequest, Loose<ImageResponse, 'data'>>
  imageEdit?: Answer<ImageEditRequest, Loose<ImageResponse, 'data'>>
  imageVariation?: Answer<ImageVariationRequest, Loose<ImageResponse, 'data'>>
  speech?: Answer<SpeechRequest, { audio: Uint8Array; contentType: string }>
  transcription?: Answer<TranscriptionRequest, Loose<TranscriptionResponse, 'text'>>
  translation?: Answer<TranscriptionRequest, Loose<TranscriptionResponse, 'text'>>
  moderation?: Answer<ModerationRequest, Loose<ModerationResponse, 'results'>>
  rerank?: Answer<RerankRequest, Loose<RerankResponse, 'results'>>
}

/** Which function serves a mode. */
const FUNCTIONS = {
  chat: 'completion',
  completion: 'completion',
  embedding: 'embedding',
  image: 'image',
  image_edit: 'imageEdit',
  image_variation: 'imageVariation',
  speech: 'speech',
  transcription: 'transcription',
  translation: 'translation',
  moderation: 'moderation',
  rerank: 'rerank',
} as const satisfies Partial<Record<Mode, keyof Handler>>

type Served = keyof typeof FUNCTIONS

/** Names a handler may have functions of. */
export const HANDLER_FUNCTIONS: readonly (keyof Handler)[] = [...new Set([...Object.values(FUNCTIONS), 'stream' as const])]

/** A provider whose answers are a handler's. */
export interface HandledProvider extends Provider {
  readonly local: true
  readonly handler: Handler
}

export function isHandled(provider: Provider): provider is HandledProvider {
  return 'handler' in provider
}

/** What a handler answers is read as an answer of OpenAI's would be: leniently, and billed the same way. */
export function handledProvider(name: string, handler: Handler): HandledProvider {
  const row: ProviderRow = { protocol: 'openai', base: null, keys: [], keyless: true, modes: ['chat', 'completion', 'embedding'] }
  const readers: Provider = {
    ...openai(name, row),
    ...mediaAdapters(row, MEDIA['openai_like'], (status, headers, body) => decodeError(name, status, headers, body)),
  }
  const modes = (Object.keys(FUNCTIONS) as Served[]).filter((mode) => typeof handler[FUNCTIONS[mode]] === 'function')
  return {
    name,
    auth: { type: 'none' },
    base: null,
    keyNames: [],
    local: true,
    handler,
    decodeError: readers.decodeError,
    ...Object.fromEntries(modes.map((mode) => [mode, reader(mode === 'completion' ? 'chat' : mode, mode, readers)])),
  }
}

/** The part of an adapter that reads. Nothing names a protocol: no bytes pass through. */
function reader(from: Served, mode: Served, readers: Provider): Adapter<unknown, unknown, unknown> {
  const { decodeResponse, decodeStream } = readers[from] as Adapter<unknown, unknown, unknown>
  const refuse = (): never => {
    throw new GatewayError('internal', 'Nothing is sent to a handler.')
  }
  return { mode, encodeRequest: refuse, decodeResponse, ...(decodeStream === undefined ? {} : { decodeStream }) }
}

/** What a handler answered, as a provider's answer would have come. */
export interface HandledAnswer {
  body: Uint8Array
  headers: Headers
}

/** Asks for a whole answer. Rejects with whatever the handler throws, and with GatewayError `provider_malformed`. */
export async function askHandler(
  { name, handler }: HandledProvider,
  mode: Mode,
  request: Readonly<Record<string, unknown>>,
  context: HandlerContext,
): Promise<HandledAnswer> {
  const called = FUNCTIONS[mode as Served]
  const asked = mode === 'completion' ? chatFromCompletion(request as CompletionRequest) : request
  const answer: unknown = await (handler[called] as Answer<unknown, unknown>).call(handler, asked, context)
  if (typeof answer !== 'object' || answer === null) throw malformed(name, called, answer)
  if (mode !== 'speech') return { body: Buffer.from(JSON.stringify(answer)), headers: JSON_HEADERS }
  const { audio, contentType } = answer as { audio?: unknown; contentType?: unknown }
  if (!(audio instanceof Uint8Array)) throw new GatewayError('provider_malformed', `speech of ${name} gave no bytes as "audio".`)
  return { body: audio, headers: { 'content-type': typeof contentType === 'string' ? contentType : '' } }
}

const JSON_HEADERS: Headers = { 'content-type': 'application/json' }

/** Asks for a stream: each item the JSON of a chunk. Throws as `askHandler` does. */
export async function* streamHandler(
  { name, handler }: HandledProvider,
  mode: Mode,
  request: Readonly<Record<string, unknown>>,
  context: HandlerContext,
): AsyncGenerator<string> {
  const asked = (mode === 'completion' ? chatFromCompletion(request as CompletionRequest) : request) as ChatRequest
  if (handler.stream === undefined) {
    const { body } = await askHandler({ name, handler } as HandledProvider, 'chat', { ...asked, stream: false }, context)
    const answer = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>
    if (!Array.isArray(answer['choices']))
      throw new GatewayError('provider_malformed', `completion of ${name} gave no "choices".`)
    for (const chunk of chunksOfAnswer(answer)) yield JSON.stringify(chunk)
    return
  }
  const chunks: unknown = handler.stream(asked, context)
  if (typeof (chunks as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] !== 'function')
    throw new GatewayError('provider_malformed', `stream of ${name} gave nothing to iterate over; make it async function*.`)
  for await (const chunk of chunks as AsyncIterable<unknown>) {
    if (typeof chunk !== 'object' || chunk === null) throw malformed(name, 'stream', chunk)
    yield JSON.stringify(chunk)
  }
}

function malformed(name: string, called: string, answer: unknown): GatewayError {
  return new GatewayError(
    'provider_malformed',
    `${called} of ${name} gave ${answer === null ? 'null' : typeof answer}, not an object.`,
  )
}

/** Whatever a handler threw, in the words of a provider's refusal: by its `status`, and its `code` where clients of OpenAI know one. */
export function handlerError(thrown: unknown, provider: Provider): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const fields = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Readonly<Record<string, unknown>>
  const told = [fields['status'], fields['statusCode'], fields['status_code']].find((value) => typeof value === 'number')
  const status = typeof told === 'number' && Number.isInteger(told) && told >= 400 && told < 600 ? told : 500
  const message = thrown instanceof Error ? thrown.message : typeof thrown === 'string' ? thrown : 'The handler failed.'
  const code = typeof fields['code'] === 'string' ? fields['code'] : null
  return provider.decodeError(status, {}, JSON.stringify({ error: { message, type: null, code } }))
}
