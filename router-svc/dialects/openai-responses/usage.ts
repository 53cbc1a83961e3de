import type { Usage } from '../../canonical/chat.ts'
import type { ResponsesUsage } from '../../canonical/responses.ts'

/** Canonical usage under this protocol's names. */
export function encodeUsage(usage: Usage): ResponsesUsage {
  const prompt = usage.prompt_tokens_details
  const written = prompt?.cache_write_tokens ?? prompt?.cache_creation_tokens ?? usage.cache_creation_input_tokens
  const input = count(usage.prompt_tokens)
  const output = count(usage.completion_tokens)
  const details: NonNullable<ResponsesUsage['input_tokens_details']> = {
    cached_tokens: count(prompt?.cached_tokens ?? usage.cache_read_input_tokens),
    cache_write_tokens: count(written),
  }
  return {
    input_tokens: input,
    input_tokens_details: details,
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: count(usage.completion_tokens_details?.reasoning_tokens) },
    total_tokens: input + output,
  }
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.round(value) : 0
}
