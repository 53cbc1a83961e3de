import type { ResponsesRequest } from './responses.ts'

/**
 * The one internal form of a chat, a superset of OpenAI's Chat Completions: what an OpenAI client sends IS canonical, and unknown
 * fields survive at every level. Field meanings: OpenAI API reference; extensions as LiteLLM names them (surface reference §7.2).
 */

export interface TextPart {
  type: 'text'
  text: string
  cache_control?: CacheControl
  [field: string]: unknown
}
export interface ImagePart {
  type: 'image_url'
  image_url: { url: string; detail?: string; format?: string } | string
  cache_control?: CacheControl
  [field: string]: unknown
}
export interface AudioPart {
  type: 'input_audio'
  input_audio: { data: string; format: string }
  [field: string]: unknown
}
export interface FilePart {
  type: 'file'
  file: { file_id?: string; file_data?: string; filename?: string; format?: string }
  cache_control?: CacheControl
  [field: string]: unknown
}
/** A part of a kind this version does not know; passed on where the provider speaks the same protocol. */
export interface OtherPart {
  type: string
  [field: string]: unknown
}
export type ContentPart = TextPart | ImagePart | AudioPart | FilePart | OtherPart

export interface CacheControl {
  type: 'ephemeral'
  ttl?: '5m' | '1h'
}

export interface ToolCall {
  id: string
  type: 'function' | 'custom' | string
  function?: { name: string; arguments: string }
  custom?: { name: string; input: string }
  [field: string]: unknown
}

/** Anthropic thinking blocks, replayed unchanged: the signature is only valid with the exact text. */
export interface ThinkingBlock {
  type: 'thinking' | 'redacted_thinking'
  thinking?: string
  signature?: string
  data?: string
  cache_control?: CacheControl
}

export interface Message {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | 'function' | string
  content?: string | ContentPart[] | null
  name?: string
  tool_calls?: ToolCall[]
  tool_call_id?: string
  function_call?: { name: string; arguments: string }
  reasoning_content?: string | null
  thinking_blocks?: ThinkingBlock[]
  cache_control?: CacheControl
  [field: string]: unknown
}

export interface Tool {
  type: 'function' | string
  function?: { name: string; description?: string; parameters?: Record<string, unknown>; strict?: boolean | null }
  cache_control?: CacheControl
  [field: string]: unknown
}

export type ToolChoice = 'none' | 'auto' | 'required' | { type: string; function?: { name: string }; [field: string]: unknown }

export interface ChatRequest {
  model: string
  messages: Message[]
  stream?: boolean | null
  stream_options?: { include_usage?: boolean; [field: string]: unknown } | null
  max_tokens?: number | null
  max_completion_tokens?: number | null
  temperature?: number | null
  top_p?: number | null
  n?: number | null
  stop?: string | string[] | null
  seed?: number | null
  tools?: Tool[]
  tool_choice?: ToolChoice | null
  parallel_tool_calls?: boolean | null
  response_format?: {
    type: string
    json_schema?: { name?: string; schema?: Record<string, unknown>; strict?: boolean | null; description?: string }
    [field: string]: unknown
  } | null
  reasoning_effort?: string | null
  thinking?: { type: string; budget_tokens?: number; [field: string]: unknown } | null
  user?: string | null
  /**
   * Set when the client speaks Anthropic's protocol: its top-level fields without a canonical place (`top_k`, `output_config`, `mcp_servers`, …),
   * for providers of that protocol. Content blocks and tools without one stand among the canonical ones as they are. Providers of other
   * protocols get the request of plain-chat.ts.
   */
  anthropic?: Record<string, unknown>
  /**
   * Set when the client speaks Gemini's protocol: its fields without a canonical place, and those a provider of that protocol must get to the
   * letter (`tools`, `toolConfig`, most of `generationConfig`); what canonical fields say beside them is for others (plain-gemini.ts).
   */
  gemini?: Record<string, unknown>
  /** Set when the client speaks OpenAI's Responses API. Providers that do not get the request of plain-responses.ts. */
  responses?: ResponsesClient
  metadata?: Record<string, unknown> | null
  service_tier?: string | null
  [field: string]: unknown
}

/** What a client of the Responses API asked, beyond what has a canonical place. */
export interface ResponsesClient {
  /** The request as it came. */
  body: ResponsesRequest
  /** Id of an answer that the gateway makes, and what the ids of its items begin with; null = made of the answer's own. */
  id: string | null
  key: string | null
  /** Items and parts of the input that a chat cannot hold: where they stand, and their type. */
  unplaced: { place: string; type: string }[]
}

/** Usage in OpenAI's shape with LiteLLM's additions. `prompt_tokens` includes cache reads and writes, `completion_tokens` reasoning. */
export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details?: {
    cached_tokens?: number
    audio_tokens?: number
    text_tokens?: number
    image_tokens?: number
    cache_write_tokens?: number
    cache_creation_tokens?: number
    cache_creation_token_details?: { ephemeral_5m_input_tokens?: number; ephemeral_1h_input_tokens?: number }
    [field: string]: unknown
  } | null
  completion_tokens_details?: {
    reasoning_tokens?: number
    audio_tokens?: number
    text_tokens?: number
    accepted_prediction_tokens?: number
    rejected_prediction_tokens?: number
    [field: string]: unknown
  } | null
  cache_creation_input_tokens?: number
  cache_read_input_tokens?: number
  server_tool_use?: Record<string, number>
  [field: string]: unknown
}

export interface ResponseMessage {
  role: 'assistant' | string
  content: string | null
  refusal?: string | null
  tool_calls?: ToolCall[]
  reasoning_content?: string
  thinking_blocks?: ThinkingBlock[]
  annotations?: unknown[]
  provider_specific_fields?: Record<string, unknown>
  [field: string]: unknown
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call' | string

export interface ChatResponse {
  id: string
  object: 'chat.completion'
  created: number
  model: string
  choices: {
    index: number
    message: ResponseMessage
    finish_reason: FinishReason | null
    logprobs?: unknown
    [field: string]: unknown
  }[]
  usage?: Usage
  service_tier?: string
  system_fingerprint?: string
  [field: string]: unknown
}

export interface ToolCallDelta {
  index: number
  id?: string
  type?: string
  function?: { name?: string; arguments?: string }
  [field: string]: unknown
}

export interface ChatDelta {
  role?: string
  content?: string | null
  refusal?: string | null
  tool_calls?: ToolCallDelta[]
  reasoning_content?: string
  thinking_blocks?: ThinkingBlock[]
  provider_specific_fields?: Record<string, unknown>
  [field: string]: unknown
}

export interface ChatChunk {
  id: string
  object: 'chat.completion.chunk'
  created: number
  model: string
  choices: { index: number; delta: ChatDelta; finish_reason: FinishReason | null; logprobs?: unknown; [field: string]: unknown }[]
  usage?: Usage | null
  service_tier?: string
  system_fingerprint?: string
  [field: string]: unknown
}
