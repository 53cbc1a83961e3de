import type { ChatRequest } from '../canonical/chat.ts'
import type { CompletionRequest } from '../canonical/completion.ts'
import type { EmbeddingRequest } from '../canonical/embedding.ts'
import type { ImageRequest } from '../canonical/image.ts'
import type { ModerationRequest } from '../canonical/moderation.ts'
import type { RerankRequest } from '../canonical/rerank.ts'
import type { ResponsesRequest } from '../canonical/responses.ts'
import type { SpeechRequest } from '../canonical/speech.ts'
import type { TranscriptionRequest } from '../canonical/transcription.ts'
import type { FileInput } from './form.ts'
import type { CallReport } from './report.ts'

/** What every call takes beside the fields of its endpoint, with LiteLLM's names. Times are seconds. */
export interface CallFields {
  /** Ends the call, or its stream, with the signal's reason; the connection to the provider is closed. */
  signal?: AbortSignal
  /** Told of the call when it is over, before its promise or stream ends. */
  onCall?: (report: CallReport) => void
  /** Tries after the first; default 2. */
  num_retries?: number
  /** For the whole call, retries and fallbacks included. */
  timeout?: number
  /** To the first piece of a stream. */
  stream_timeout?: number
  /** Where to go on when a model fails: names, or `{ model, …fields that replace the request's }`. */
  fallbacks?: Fallback[]
  context_window_fallbacks?: Fallback[]
  content_policy_fallbacks?: Fallback[]
  /** An answer without asking anybody: its text, or the name of an error. */
  mock_response?: unknown
  /** For reports; never sent to a provider. */
  tags?: string[]
}

export type Fallback = string | ({ model: string } & DeploymentFields & Record<string, unknown>)

/** Where a call of the top-level functions goes and on whose account. With a router these are its `model_list`'s to say. */
export interface DeploymentFields {
  /** Default: the provider's environment variable (`OPENAI_API_KEY`, …). */
  api_key?: string
  api_base?: string
  api_version?: string
  organization?: string
  /** The provider, where the model's name does not begin with it. */
  custom_llm_provider?: string
  extra_headers?: Record<string, string>
  /** Leave out parameters that the provider does not support instead of refusing them. */
  drop_params?: boolean
  additional_drop_params?: string[]
  allowed_openai_params?: string[]
  /** Dollars per token, where the catalogue does not know or should not be asked. */
  input_cost_per_token?: number | string
  output_cost_per_token?: number | string
}

/** Fields that a call takes: those of the endpoint and of the library; with the top-level functions, those of a deployment, too. */
export type Call<Request> = Request & CallFields & DeploymentFields

export type ChatCall = Call<ChatRequest>
export type TextCompletionCall = Call<CompletionRequest>
export type EmbeddingCall = Call<EmbeddingRequest>
export type ModerationCall = Call<Omitted<ModerationRequest, 'model'> & { model?: string }>
export type RerankCall = Call<RerankRequest>
export type ResponsesCall = Call<ResponsesRequest>
export type SpeechCall = Call<SpeechRequest>
export type ImageCall = Call<ImageRequest>
export type ImageEditCall = Call<ImageRequest & { image: FileInput | FileInput[]; mask?: FileInput | null }>
export type ImageVariationCall = Call<Omitted<ImageRequest, 'prompt'> & { image: FileInput }>
export type TranscriptionCall = Call<Omitted<TranscriptionRequest, 'file'> & { file: FileInput }>

/** Anthropic's Messages request: its fields are Anthropic's own. */
export interface MessagesRequest {
  model: string
  max_tokens: number
  messages: { role: 'user' | 'assistant' | string; content: string | Record<string, unknown>[] }[]
  system?: string | Record<string, unknown>[]
  stream?: boolean
  tools?: Record<string, unknown>[]
  [field: string]: unknown
}

/** Anthropic's answer. */
export interface MessagesResponse {
  id: string
  type: 'message'
  role: 'assistant'
  model: string
  content: { type: string; text?: string; [field: string]: unknown }[]
  stop_reason: string | null
  stop_sequence?: string | null
  usage: { input_tokens: number; output_tokens: number; [field: string]: unknown }
  [field: string]: unknown
}

/** An event of Anthropic's stream: `message_start`, `content_block_delta`, … */
export interface MessagesEvent {
  type: string
  [field: string]: unknown
}

export type MessagesCall = Call<MessagesRequest>
export type CountTokensCall = Call<Omitted<MessagesRequest, 'max_tokens' | 'stream'>>

/** `Omit` that keeps the named fields of a type with an index signature. */
type Omitted<Type, Names extends string> = {
  [Name in keyof Type as Name extends Names ? never : Name]: Type[Name]
}
