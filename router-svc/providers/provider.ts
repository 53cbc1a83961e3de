import type { Deployment } from '../../proto/deployment.ts'
import type { Mode } from '../../proto/endpoints.ts'
import type { TokenUsage } from '../../proto/usage.ts'
import type { GatewayError } from '../../shared/errors.ts'
import type { SseEvent } from '../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Usage } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { CountResponse } from '../canonical/count.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import type { ImageEditRequest, ImageRequest, ImageResponse, ImageVariationRequest } from '../canonical/image.ts'
import type { ModerationRequest, ModerationResponse } from '../canonical/moderation.ts'
import type { RerankRequest, RerankResponse } from '../canonical/rerank.ts'
import type { SpeechRequest, SpeechResponse } from '../canonical/speech.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../canonical/transcription.ts'
import type { ResponsesAdapter } from './responses/native.ts'

/**
 * What upstreams speak. Everything here is pure: values in, values out; time, ids and credentials are arguments or are applied
 * around it. A mode a provider lacks is absent, and the router answers "unsupported endpoint" from that.
 */
export interface Provider {
  readonly name: string
  /** How the credential is applied. */
  readonly auth: Auth
  /** Without trailing slash; null when the operator must give `api_base`. */
  readonly base: string | null
  /** Environment variables that hold the key, first set wins; and the ones that hold the base URL. */
  readonly keyNames: readonly string[]
  readonly baseNames?: readonly string[]
  /** Environment variables that hold the API version of deployments that name none. */
  readonly versionNames?: readonly string[]
  readonly chat?: Adapter<ChatRequest, ChatResponse, ChatChunk>
  /** The same chats in the words of OpenAI's Responses API, for clients that speak it. */
  readonly responses?: ResponsesAdapter
  readonly completion?: Adapter<CompletionRequest, CompletionResponse, CompletionChunk>
  readonly embedding?: Adapter<EmbeddingRequest, EmbeddingResponse, never>
  readonly rerank?: Adapter<RerankRequest, RerankResponse, never>
  readonly moderation?: Adapter<ModerationRequest, ModerationResponse, never>
  readonly image?: Adapter<ImageRequest, ImageResponse, never>
  readonly image_edit?: Adapter<ImageEditRequest, ImageResponse, never>
  readonly image_variation?: Adapter<ImageVariationRequest, ImageResponse, never>
  readonly speech?: Adapter<SpeechRequest, SpeechResponse, never>
  readonly transcription?: Adapter<TranscriptionRequest, TranscriptionResponse, never>
  readonly translation?: Adapter<TranscriptionRequest, TranscriptionResponse, never>
  /** Where absent, chats are counted here. */
  readonly count_tokens?: Adapter<ChatRequest, CountResponse, never>
  /** Sessions over a WebSocket, in the events of OpenAI's Realtime API. */
  readonly realtime?: RealtimeAdapter
  /** Reads an answer of status ≥ 400 (or an error object inside a 200). The one place that provider's error text is understood. */
  decodeError(status: number, headers: Headers, body: string): GatewayError
  /** How it goes on with an answer whose beginning it is given; null or absent = only if told to. `request`: without the beginning. */
  prefill?(target: Target, request: ChatRequest): Prefill | null
  /** Chooses between hosts of a model itself, by the `provider` object of a request. */
  readonly ownRouting?: true
  /** Stands for a choice among groups, made for each call (routing/auto): nothing is ever sent to it. */
  readonly chooses?: true
  /** Answers itself, without a network: the mock. */
  readonly local?: true
  /** How it serves one model, where its models speak different protocols. Asked once a route; absent = all alike, by the name they have. */
  serve?(
    model: string,
    deployment: Pick<Deployment, 'baseModel' | 'settings' | 'info'> & Partial<Pick<Deployment, 'apiBase'>>,
  ): ServedModel
}

export interface ServedModel {
  /** Null = the provider that was asked. */
  provider: Provider | null
  /** The name upstream, without what chose the protocol. */
  model: string
}

/**
 * How the beginning of an answer is marked, the last message being the assistant's: `native`: not at all. `prefix`: by `prefix: true`; `echo`:
 * the same, and the answer begins with it again. `partial`: by `partial: true`. `final`: by fields of the request (vLLM).
 */
export type Prefill = 'native' | 'prefix' | 'echo' | 'partial' | 'final'

/**
 * How a stream is cut into events: server-sent events; one JSON document a line (Ollama, Gemini without `alt=sse`); AWS's binary frames;
 * not at all, every piece being text of the answer; `loose`: by lines of whatever comes, which the decoder tells apart.
 */
export type Framing = 'sse' | 'lines' | 'aws' | 'raw' | 'loose'

/** `bearer`: `authorization: Bearer K`. `header`: `<name>: <prefix>K`. `none`: sent only when a key is configured and `name` is set. */
export type Auth =
  | { type: 'bearer'; optional?: true }
  /** `bearerPrefix`: keys that begin so are OAuth tokens and go as `authorization: Bearer` after all. */
  | { type: 'header'; name: string; prefix?: string; bearerPrefix?: string; optional?: true }
  | { type: 'none' }
  /** By router-svc/credentials: signatures over requests, tokens that expire. */
  | { type: 'made'; kind: CredentialKind }

/** One file each in router-svc/credentials. */
export type CredentialKind =
  | 'aws-bedrock'
  | 'aws-mantle'
  | 'aws-sagemaker'
  | 'aws-polly'
  | 'google'
  | 'azure'
  | 'watsonx'
  | 'databricks'
  | 'snowflake'
  | 'cloudflare'
  | 'cursor'
  | 'langfuse'
  | 'predibase'
  | 'github-copilot'
  | 'gigachat'
  | 'sap'
  | 'oci'
  | 'aws-agentcore'
  | 'aws-agent'
  | 'azure-agents'

/** The protocols whose bytes may pass through when client and provider speak the same one. */
export type Protocol = 'openai-chat' | 'openai-completion' | 'openai-embedding' | 'gemini' | 'anthropic' | 'openai-responses'

/** Response headers, names lower case; a list joined by `, `. */
export type Headers = Readonly<Record<string, string>>

/** What an adapter may know of where the call goes. */
export interface Target {
  provider: string
  /** Upstream model name, wildcards filled. */
  model: string
  /** The model behind it, where its name does not tell (`base_model`). */
  baseModel?: string | null
  /** Resolved base URL, no trailing slash. */
  base: string
  apiVersion: string | null
  dropParams: boolean
  additionalDropParams: readonly string[]
  allowedOpenaiParams: readonly string[]
  /** `model_info` and settings of the deployment (max output tokens, headers such as anthropic-beta, …). */
  maxOutputTokens: number | null
  settings: Readonly<Record<string, unknown>>
  /** Allow-listed client headers (`anthropic-beta`, …). */
  clientHeaders: Readonly<Record<string, string>>
}

/** The exact HTTP request to send, without the credential. */
export interface UpstreamRequest {
  method: 'POST' | 'GET' | 'PUT' | 'DELETE'
  /** Absolute URL. */
  url: string
  headers: Record<string, string>
  body: string | Uint8Array
  /** The address came in an answer: no credential goes there, and nothing that is not of the internet is asked. */
  publicOnly?: true
}

/** Where a session goes on that a client opens; its messages pass unchanged. */
export interface RealtimeAdapter {
  /** `query`: the client's. Throws GatewayError. */
  open(request: { query: Readonly<Record<string, string>>; headers: Headers }, target: Target): SocketUpstream
}

/** A socket to be opened, without the credential. */
export interface SocketUpstream {
  /** Absolute, `https:`. */
  url: string
  headers: Record<string, string>
  protocols: string[]
}

/** Facts an adapter needs to make canonical answers and may not fetch itself. */
export interface DecodeContext {
  /** For answers whose protocol has none: response id, and Unix seconds. */
  id: string
  created: number
  model: string
  /** The canonical request: some answers can only be read knowing what was asked (the JSON tool trick). */
  request: Readonly<Record<string, unknown>>
}

export interface Adapter<Request, Response, Chunk> {
  readonly mode: Mode
  /** Set when the adapter's wire format is one clients speak too: enables the byte pass-through. */
  readonly protocol?: Protocol
  /** Takes what of Anthropic's protocol a canonical request may hold (canonical/chat.ts); all others get it in plain words (plain-chat.ts). */
  readonly takesAnthropic?: true
  /** The same of Gemini's protocol (plain-gemini.ts). */
  readonly takesGemini?: true
  /** Throws GatewayError `unsupported_parameter` naming it, or `bad_request`. Never changes `request`. */
  encodeRequest(request: Request, target: Target): UpstreamRequest
  /** Reads a 2xx body. Throws GatewayError `provider_malformed`, or the provider's error when the body is an error object. */
  decodeResponse(body: Uint8Array, headers: Headers, context: DecodeContext): Response
  /** Absent = server-sent events. The decoder gets an event a line (frame), its `event` empty (the frame's `:event-type`). */
  readonly framing?: Framing
  /** A decoder with its own state; absent when the mode never streams. */
  decodeStream?(context: DecodeContext): StreamDecoder<Chunk>
  /**
   * Whether the bytes of this answer (status < 400) are the client's as they come: sound, events that client and provider write alike.
   * Null = it is collected and decoded. Never asked where `encodeRequest` was not (`converse`).
   */
  forward?(headers: Headers, context: DecodeContext): Forwarded | null
  /**
   * For answers that take several requests: jobs that are polled, inputs beyond what one request may hold. Yields what to send next, gets the
   * answers (status < 400; a refusal ends the attempt through `decodeError`), returns the canonical answer, or the request whose answer is the
   * stream or the answer. Null = one request does, by `encodeRequest`.
   */
  converse?(request: Request, target: Target, context: DecodeContext): Conversation<Response> | null
}

/** Bytes on their way to the client, looked at only to bill them. */
export interface Forwarded {
  /** Of the answer to the client. */
  contentType: string
  /** Sees every part before it goes out; throws GatewayError where the provider tells of a failure in it. */
  see?(bytes: Uint8Array): void
  /** The bytes are not whole: called at the end of input, throws `provider_truncated`. */
  end?(): void
  /** What is billed, as far as it is known now. */
  usage(): TokenUsage
}

export type Conversation<Response> = Generator<Ask, Response | { last: UpstreamRequest }, UpstreamAnswer[]>

/** Requests sent together, after a pause. Answers come in their order. */
export interface Ask {
  send: UpstreamRequest[]
  /** Refusals are given too, instead of ending the attempt. */
  refusals?: true
  /** Milliseconds before they are sent; default 0. */
  after?: number
  /**
   * What is billed although the conversation ends here without its answer: for what came before, and for what came of these, in their order;
   * null = nothing came. Null = nothing is billed. May throw where an answer cannot be read.
   */
  used?(came: readonly (UpstreamAnswer | null)[]): TokenUsage | null
}

export interface UpstreamAnswer {
  status: number
  headers: Headers
  body: Uint8Array
}

/**
 * Server-sent events → canonical chunks, incremental. `push` throws GatewayError when the event is an error or cannot be read.
 * `end` is called at end of input: it throws `provider_truncated` unless the protocol's terminator was seen, or (for
 * OpenAI-compatible servers that close without `[DONE]`) every choice had its finish reason.
 */
export interface StreamDecoder<Chunk> {
  push(event: SseEvent): Chunk[]
  end(): Chunk[]
  /** The terminator was seen: what follows is ignored and the connection may be closed. */
  readonly done: boolean
  /** Usage told so far, for protocols that tell the input before the answer: better than an estimate when the stream breaks off. */
  readonly usage?: Usage | null
}
