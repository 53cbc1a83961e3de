import type { TokenUsage } from '../../proto/usage.ts'

/** OpenAI's moderation; unknown fields survive. */
export interface ModerationRequest {
  model: string
  input: string | string[] | Record<string, unknown>[]
  [field: string]: unknown
}

export interface ModerationResponse {
  id: string
  model: string
  results: {
    flagged: boolean
    categories: Record<string, boolean | null>
    category_scores: Record<string, number | null>
    category_applied_input_types?: Record<string, string[]>
    [field: string]: unknown
  }[]
  /** Never shown to a client. */
  billing?: TokenUsage
  [field: string]: unknown
}
