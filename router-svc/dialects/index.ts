import type { DialectName } from '../../proto/endpoints.ts'
import { anthropic } from './anthropic.ts'
import type { Dialect } from './dialect.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiCompletion } from './openai-completion.ts'
import { openaiEmbedding } from './openai-embedding.ts'

/** What clients speak. Request, Response and Chunk are those of the dialect's mode, which the caller takes from the endpoint. */
export const dialects: Readonly<Record<DialectName, Dialect>> = {
  'openai-chat': openaiChat as Dialect,
  'openai-completion': openaiCompletion as Dialect,
  'openai-embedding': openaiEmbedding as Dialect,
  anthropic: anthropic as Dialect,
}
