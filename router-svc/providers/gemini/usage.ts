import { entryOf } from '../../../shared/entry.ts'
import type { Usage } from '../../canonical/chat.ts'
import { count, type Fields, isFields, objects, text } from './wire.ts'

/** Fields that get their own place; the rest is copied. */
const PLACED = new Set([
  'promptTokenCount',
  'candidatesTokenCount',
  'responseTokenCount',
  'thoughtsTokenCount',
  'toolUsePromptTokenCount',
  'cachedContentTokenCount',
  'totalTokenCount',
  'promptTokensDetails',
  'toolUsePromptTokensDetails',
  'candidatesTokensDetails',
  'responseTokensDetails',
  'cacheTokensDetails',
  'serviceTier',
])

/** Documents are priced as the pictures or the text they are read as; the service counts them as neither. */
const MODALITIES: Readonly<Record<string, string>> = {
  TEXT: 'text_tokens',
  IMAGE: 'image_tokens',
  AUDIO: 'audio_tokens',
  VIDEO: 'video_tokens',
  DOCUMENT: 'document_tokens',
}

/**
 * `usageMetadata` as canonical usage: what tools read is part of the prompt, thoughts are part of the answer. `searches`: grounded
 * searches to bill.
 */
export function decodeUsage(raw: Fields, searches = 0): Usage {
  const thoughts = count(raw['thoughtsTokenCount'])
  const given = count(raw['promptTokenCount'])
  const prompt = given + count(raw['toolUsePromptTokenCount'])
  const candidates = count(raw['candidatesTokenCount'] ?? raw['responseTokenCount'])
  // Some versions count thoughts among the candidates' tokens: their total tells.
  const inside = thoughts > 0 && candidates >= thoughts && prompt + candidates === raw['totalTokenCount']
  const completion = inside ? candidates : candidates + thoughts
  const cached = count(raw['cachedContentTokenCount'])
  const usage: Usage = {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: {
      cached_tokens: cached,
      ...byModality(raw['promptTokensDetails'], raw['toolUsePromptTokensDetails']),
    },
  }
  const cache = byModality(raw['cacheTokensDetails'])
  if (usage.prompt_tokens_details && Object.keys(cache).length > 0) usage.prompt_tokens_details['cached_tokens_details'] = cache
  const details = byModality(raw['candidatesTokensDetails'] ?? raw['responseTokensDetails'])
  if (thoughts > 0) details['reasoning_tokens'] = thoughts
  if (Object.keys(details).length > 0) usage.completion_tokens_details = details
  if (cached > 0) usage.cache_read_input_tokens = cached
  if (searches > 0) usage.server_tool_use = { web_search_requests: searches }
  for (const [field, value] of Object.entries(raw)) if (value !== null && !PLACED.has(field)) usage[field] = value
  return usage
}

/** The tier that answered, in the words of requests: `SERVICE_TIER_FLEX` and `flex` are one. */
export function tierOf(raw: Fields): string | undefined {
  const tier = text(raw['serviceTier'])
    .toLowerCase()
    .replace(/^service_tier_/, '')
  return tier === '' || tier === 'unspecified' ? undefined : tier
}

function byModality(...lists: unknown[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { modality, tokenCount } of lists.flatMap(objects)) {
    const name = entryOf(MODALITIES, text(modality))
    if (name !== undefined && count(tokenCount) > 0) counts[name] = (counts[name] ?? 0) + count(tokenCount)
  }
  return counts
}

/** Later counts of a stream are cumulative and win; a null says nothing. Changes `into`. */
export function mergeUsage(into: Fields, later: unknown): void {
  if (!isFields(later)) return
  for (const [field, value] of Object.entries(later)) if (value !== null) into[field] = value
}
