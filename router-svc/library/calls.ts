import { type EndpointName, endpoint } from '../../proto/endpoints.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingResponse } from '../canonical/embedding.ts'
import type { ImageResponse } from '../canonical/image.ts'
import type { ModerationResponse } from '../canonical/moderation.ts'
import type { RerankResponse } from '../canonical/rerank.ts'
import type { ResponseEvent, ResponseObject } from '../canonical/responses.ts'
import type { TranscriptionResponse } from '../canonical/transcription.ts'
import type { Asked, Begun } from './desk.ts'
import { TurnpikeError } from './errors.ts'
import { bytes, collect, type EventStream, events } from './events.ts'
import { withReport } from './report.ts'
import type {
  ChatCall,
  CountTokensCall,
  EmbeddingCall,
  ImageCall,
  ImageEditCall,
  ImageVariationCall,
  MessagesCall,
  MessagesEvent,
  MessagesResponse,
  ModerationCall,
  RerankCall,
  ResponsesCall,
  SpeechCall,
  TextCompletionCall,
  TranscriptionCall,
} from './requests.ts'

/** A call that is answered whole, or in pieces with `stream: true`. */
export interface Streamed<Request, Answer, Piece> {
  (request: Request & { stream: true }): Promise<EventStream<Piece>>
  (request: Request & { stream?: false | null }): Promise<Answer>
  (request: Request): Promise<Answer | EventStream<Piece>>
}

/** A sound: whole, or as it comes with `stream: true`. */
export interface Sound<Audio> {
  audio: Audio
  /** `audio/mpeg`, … */
  contentType: string
}

/** The endpoints as functions. Each rejects with TurnpikeError, or with the reason of its signal. */
export interface Calls {
  /** Chat completions. */
  completion: Streamed<ChatCall, ChatResponse, ChatChunk>
  /** OpenAI's legacy completions. */
  textCompletion: Streamed<TextCompletionCall, CompletionResponse, CompletionChunk>
  /** OpenAI's Responses API. */
  responses: Streamed<ResponsesCall, ResponseObject, ResponseEvent>
  /** Anthropic's Messages API, answered by any model. */
  messages: Streamed<MessagesCall, MessagesResponse, MessagesEvent>
  /** How many tokens a request of `messages` has: counted by the provider where it does, else here. */
  countTokens(request: CountTokensCall): Promise<{ input_tokens: number }>
  embedding(request: EmbeddingCall): Promise<EmbeddingResponse>
  moderation(request: ModerationCall): Promise<ModerationResponse>
  rerank(request: RerankCall): Promise<RerankResponse>
  imageGeneration(request: ImageCall): Promise<ImageResponse>
  imageEdit(request: ImageEditCall): Promise<ImageResponse>
  imageVariation(request: ImageVariationCall): Promise<ImageResponse>
  /** Speech to text; formats that are plain text (`srt`, `vtt`, `text`) come as `{ text }`. */
  transcription(request: TranscriptionCall): Promise<TranscriptionResponse>
  /** Speech to English text. */
  translation(request: TranscriptionCall): Promise<TranscriptionResponse>
  /** Text to speech. */
  speech: {
    (request: SpeechCall & { stream: true }): Promise<Sound<EventStream<Uint8Array>>>
    (request: SpeechCall): Promise<Sound<Uint8Array>>
  }
}

/** Hands a call in: `body` is the request without what only this library reads. */
export type Open = (asked: Asked) => Promise<Begun>

type Fields = Record<string, unknown>

/** The functions over whatever opens calls. */
export function createCalls(open: Open): Calls {
  const begin = (name: EndpointName, request: Fields): Promise<Begun> => {
    const { signal, onCall, ...body } = request
    return open({
      endpoint: name,
      body,
      form: endpoint(name)?.body === 'form',
      signal: signal as Asked['signal'],
      onCall: onCall as Asked['onCall'],
    })
  }

  const whole = async (name: EndpointName, request: Fields): Promise<object> => {
    const begun = await begin(name, request)
    return withReport(parse(await collect(begun.stream), begun), begun.slot)
  }

  const either = async (name: EndpointName, request: Fields): Promise<object> => {
    if (request['stream'] !== true) return whole(name, request)
    const begun = await begin(name, request)
    return withReport(events(begun.stream), begun.slot)
  }

  const speech = async ({ stream: streamed, ...request }: Fields): Promise<Sound<Uint8Array | EventStream<Uint8Array>>> => {
    const begun = await begin('aspeech', request)
    const contentType = begun.head.headers['content-type'] ?? 'application/octet-stream'
    const audio = streamed === true ? bytes(begun.stream) : await collect(begun.stream)
    return withReport({ audio, contentType }, begun.slot)
  }

  // What comes back is what the dialect of the endpoint writes.
  return {
    completion: (request: Fields) => either('acompletion', request),
    textCompletion: (request: Fields) => either('atext_completion', request),
    responses: (request: Fields) => either('aresponses', request),
    messages: (request: Fields) => either('anthropic_messages', request),
    countTokens: (request: Fields) => whole('anthropic_count_tokens', request),
    embedding: (request: Fields) => whole('aembedding', request),
    moderation: (request: Fields) => whole('amoderation', request),
    rerank: (request: Fields) => whole('arerank', request),
    imageGeneration: (request: Fields) => whole('aimage_generation', request),
    imageEdit: (request: Fields) => whole('aimage_edit', request),
    imageVariation: (request: Fields) => whole('aimage_variation', request),
    transcription: (request: Fields) => whole('atranscription', request),
    translation: (request: Fields) => whole('atranslation', request),
    speech,
  } as unknown as Calls
}

function parse(body: Uint8Array, { head }: Begun): object {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  if (!(head.headers['content-type'] ?? '').includes('json')) return { text }
  const value: unknown = JSON.parse(text)
  if (typeof value === 'object' && value !== null) return value
  throw new TurnpikeError(new GatewayError('provider_malformed', 'The answer is no JSON object.'))
}
