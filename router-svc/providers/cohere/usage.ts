import type { Usage } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { count } from './wire.ts'

/**
 * Counts of a chat, or null when there are none. There are two: `tokens` has what the model read, a template of a thousand tokens and more
 * included; `billed_units` is what Cohere charges, and what its own OpenAI-compatible endpoint reports. Money follows the second, so it is
 * the usage; the first and the cached tokens (part of it, without a price of their own) survive beside it.
 */
export function decodeUsage(raw: unknown): Usage | null {
  if (!isFields(raw)) return null
  const billed = isFields(raw['billed_units']) ? raw['billed_units'] : {}
  const read = isFields(raw['tokens']) ? raw['tokens'] : {}
  const isBilled = count(billed['input_tokens']) !== undefined || count(billed['output_tokens']) !== undefined
  const counts = isBilled ? billed : read
  const prompt = count(counts['input_tokens'])
  const completion = count(counts['output_tokens'])
  if (prompt === undefined && completion === undefined) return null
  const usage: Usage = { ...raw, ...totals(prompt ?? 0, completion ?? 0) }
  const details: Fields = {}
  const cached = count(raw['cached_tokens'])
  if (!isBilled && cached !== undefined) details['cached_tokens'] = Math.min(cached, usage.prompt_tokens)
  const image = count(read['image_tokens']) ?? 0
  if (image > 0) details['image_tokens'] = Math.min(image, usage.prompt_tokens)
  if (Object.keys(details).length > 0) usage.prompt_tokens_details = details
  const reasoning = count(read['reasoning_tokens'])
  if (reasoning !== undefined) {
    usage.completion_tokens_details = { reasoning_tokens: Math.min(reasoning, usage.completion_tokens) }
  }
  return usage
}

/** Counts of an embedding: `meta.billed_units`, images counted in tokens among them. */
export function decodeEmbeddingUsage(meta: unknown): Usage {
  const billed = isFields(meta) && isFields(meta['billed_units']) ? meta['billed_units'] : {}
  const image = count(billed['image_tokens']) ?? 0
  const usage: Usage = totals((count(billed['input_tokens']) ?? 0) + image, 0)
  if (image > 0) usage.prompt_tokens_details = { image_tokens: image }
  return usage
}

function totals(prompt: number, completion: number): Usage {
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}
