import type { TokenUsage } from '../../proto/usage.ts'

/** How many tokens a chat would be read as. The request is the chat's own (canonical/chat.ts). */
export interface CountResponse {
  tokens: number
  /** Those of them that a cache holds. */
  cached?: number
  /** By modality, as Google says it: `{ modality: 'TEXT', tokenCount: 5 }`. */
  details?: readonly Readonly<Record<string, unknown>>[]
  /** Counting is free. */
  billing: Readonly<TokenUsage>
}
