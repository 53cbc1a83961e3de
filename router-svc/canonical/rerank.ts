import type { TokenUsage } from '../../proto/usage.ts'

/** Cohere's rerank request, which other vendors' clients send too; unknown fields survive. */
export interface RerankRequest {
  model: string
  query: string
  documents: (string | Record<string, unknown>)[]
  top_n?: number | null
  rank_fields?: string[] | null
  return_documents?: boolean | null
  max_chunks_per_doc?: number | null
  max_tokens_per_doc?: number | null
  [field: string]: unknown
}

export interface RerankResult {
  /** Of the document in the request. */
  index: number
  relevance_score: number
  document?: { text: string; [field: string]: unknown }
  [field: string]: unknown
}

/** Results by score, highest first. */
export interface RerankResponse {
  id: string
  results: RerankResult[]
  meta?: {
    billed_units?: { search_units?: number; total_tokens?: number }
    tokens?: { input_tokens?: number; output_tokens?: number }
    [field: string]: unknown
  }
  /** What the provider bills: searches (unit `query`) or tokens. Never shown to a client. */
  billing?: TokenUsage
  [field: string]: unknown
}
