import { isObject } from '../../../shared/json-object.ts'
import type { FinishReason, Usage } from '../../canonical/chat.ts'
import type { Fields } from './wire.ts'

const MODALITIES: readonly (readonly [string, string])[] = [
  ['TEXT', 'text_tokens'],
  ['IMAGE', 'image_tokens'],
  ['AUDIO', 'audio_tokens'],
  ['VIDEO', 'video_tokens'],
  ['DOCUMENT', 'document_tokens'],
]

/** Canonical usage in Google's counts: thoughts stand beside the answer's tokens, not among them. */
export function encodeUsage(usage: Usage, tier?: string): Fields {
  const prompt = count(usage.prompt_tokens)
  const completion = count(usage.completion_tokens)
  const thoughts = Math.min(completion, count(usage.completion_tokens_details?.reasoning_tokens))
  const cached = count(usage.prompt_tokens_details?.cached_tokens ?? usage.cache_read_input_tokens)
  const encoded: Fields = { promptTokenCount: prompt, candidatesTokenCount: completion - thoughts }
  if (thoughts > 0) encoded['thoughtsTokenCount'] = thoughts
  if (cached > 0) encoded['cachedContentTokenCount'] = cached
  encoded['totalTokenCount'] = prompt + completion
  put(encoded, 'promptTokensDetails', usage.prompt_tokens_details)
  put(encoded, 'cacheTokensDetails', usage.prompt_tokens_details?.['cached_tokens_details'])
  put(encoded, 'candidatesTokensDetails', usage.completion_tokens_details)
  if (tier !== undefined) encoded['serviceTier'] = tier === 'default' ? 'standard' : tier
  return encoded
}

function put(into: Fields, name: string, details: unknown): void {
  if (!isObject(details)) return
  const list = MODALITIES.flatMap(([modality, field]) => {
    const tokenCount = count(details[field])
    return tokenCount === 0 ? [] : [{ modality, tokenCount }]
  })
  if (list.length > 0) into[name] = list
}

const FINISH: Readonly<Record<string, string>> = { length: 'MAX_TOKENS', content_filter: 'SAFETY' }

/** Google's finish reason. `own`: the one a provider of its protocol gave, where the canonical reason does not say all of it. */
export function finishReason(reason: FinishReason | null, own: unknown): string {
  return typeof own === 'string' ? own : (FINISH[reason ?? 'stop'] ?? 'STOP')
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.round(value) : 0
}
