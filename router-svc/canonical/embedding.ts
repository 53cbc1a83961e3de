import type { Usage } from './chat.ts'

/** OpenAI's embeddings request and response; unknown fields survive. */
export interface EmbeddingRequest {
  model: string
  input: string | string[] | number[] | number[][]
  dimensions?: number
  encoding_format?: 'float' | 'base64'
  user?: string
  [field: string]: unknown
}

export interface EmbeddingResponse {
  object: 'list'
  data: { object: 'embedding'; index: number; embedding: number[] | string }[]
  model: string
  usage: Usage
  [field: string]: unknown
}
