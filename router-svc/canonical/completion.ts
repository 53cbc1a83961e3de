import type { FinishReason, Usage } from './chat.ts'

/** OpenAI's legacy text completion; unknown fields survive. */
export interface CompletionRequest {
  model: string
  prompt: string | string[] | number[] | number[][]
  stream?: boolean | null
  stream_options?: { include_usage?: boolean } | null
  max_tokens?: number | null
  user?: string | null
  [field: string]: unknown
}

export interface CompletionResponse {
  id: string
  object: 'text_completion'
  created: number
  model: string
  choices: { text: string; index: number; logprobs?: unknown; finish_reason: FinishReason | null; [field: string]: unknown }[]
  usage?: Usage | null
  [field: string]: unknown
}
/** A streamed piece has the same shape with partial `text`. */
export type CompletionChunk = CompletionResponse
