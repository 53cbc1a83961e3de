import type { DialectName } from '../../proto/endpoints.ts'
import { anthropic } from './anthropic.ts'
import type { Dialect } from './dialect.ts'
import { gemini } from './gemini.ts'
import { geminiEmbedding, geminiEmbeddingBatch } from './gemini-embedding.ts'
import { openaiSpeech, openaiTranscription, openaiTranslation } from './openai-audio.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiCompletion } from './openai-completion.ts'
import { openaiEmbedding } from './openai-embedding.ts'
import { openaiImage, openaiImageEdit, openaiImageVariation } from './openai-image.ts'
import { openaiModeration } from './openai-moderation.ts'
import { openaiResponses } from './openai-responses.ts'
import { rerank } from './rerank.ts'
import { anthropicCount, geminiCount } from './token-count.ts'

export type AnyDialect = Dialect<unknown, unknown, unknown, string | Uint8Array>

/** What clients speak. Request, Response and Chunk are those of the dialect's mode, which the caller takes from the endpoint. */
export const dialects: Readonly<Record<DialectName, AnyDialect>> = {
  'openai-chat': openaiChat as Dialect,
  'openai-completion': openaiCompletion as Dialect,
  'openai-embedding': openaiEmbedding as Dialect,
  anthropic: anthropic as Dialect,
  gemini: gemini as Dialect,
  'anthropic-count': anthropicCount as Dialect,
  'gemini-count': geminiCount as Dialect,
  'gemini-embedding': geminiEmbedding as Dialect,
  'gemini-embedding-batch': geminiEmbeddingBatch as Dialect,
  'openai-responses': openaiResponses as Dialect,
  rerank: rerank as Dialect,
  'openai-moderation': openaiModeration as Dialect,
  'openai-image': openaiImage as Dialect,
  'openai-image-edit': openaiImageEdit as Dialect,
  'openai-image-variation': openaiImageVariation as Dialect,
  'openai-speech': openaiSpeech as AnyDialect,
  'openai-transcription': openaiTranscription as Dialect,
  'openai-translation': openaiTranslation as Dialect,
}
