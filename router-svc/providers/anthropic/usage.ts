import type { Usage } from '../../canonical/chat.ts'
import { type Fields, isFields } from './wire.ts'

/** Fields that get their own place; the rest (iterations, inference_geo, speed, …) is copied. */
const PLACED = new Set([
  'input_tokens',
  'output_tokens',
  'cache_creation',
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'output_tokens_details',
  'service_tier',
])

/** Canonical usage of counts whose input leaves cache reads and writes out. */
export function cachedUsage(counts: { input: number; read: number; written: number; output: number }): Usage {
  const { input, read, written, output } = counts
  const prompt = input + read + written
  return {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: read, cache_write_tokens: written, cache_creation_tokens: written },
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
  }
}

/**
 * Anthropic's counts as canonical usage: `input_tokens` leaves cache reads and writes out, `prompt_tokens` includes them. Thinking is
 * inside `output_tokens`; it is told apart only when the provider does.
 */
export function decodeUsage(raw: Fields): Usage {
  const read = count(raw['cache_read_input_tokens'])
  const written = count(raw['cache_creation_input_tokens'])
  const usage = cachedUsage({ input: count(raw['input_tokens']), read, written, output: count(raw['output_tokens']) })
  const split = raw['cache_creation']
  if (isFields(split) && usage.prompt_tokens_details) {
    const hour = Math.min(written, count(split['ephemeral_1h_input_tokens']))
    usage.prompt_tokens_details.cache_creation_token_details = {
      // In a stream only the total is brought up to date at the end: what is not known to live an hour lives five minutes.
      ephemeral_5m_input_tokens: written - hour,
      ephemeral_1h_input_tokens: hour,
    }
  }
  const output = raw['output_tokens_details']
  if (isFields(output) && typeof output['thinking_tokens'] === 'number') {
    usage.completion_tokens_details = { reasoning_tokens: output['thinking_tokens'] }
  }
  for (const [field, value] of Object.entries(raw)) if (value !== null && !PLACED.has(field)) usage[field] = value
  return usage
}

/** Later counts of a stream are cumulative and win; a null says nothing. Changes `into`. */
export function mergeUsage(into: Fields, later: unknown): void {
  if (!isFields(later)) return
  for (const [field, value] of Object.entries(later)) if (value !== null) into[field] = value
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0
}
