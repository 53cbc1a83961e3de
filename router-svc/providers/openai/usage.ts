import type { Usage } from '../../canonical/chat.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * Usage as some provider wrote it → canonical usage, or null when there is none in it. Lenient: counts may have Anthropic's names
 * (`input_tokens`), cache reads may sit at the top level under any of the four names in use, and a total may stand in for a missing
 * part. Fields we do not know survive.
 */
export function readUsage(raw: unknown): Usage | null {
  if (!isFields(raw)) return null
  const total = count(raw['total_tokens'])
  let prompt = count(raw['prompt_tokens']) ?? count(raw['input_tokens'])
  let completion = count(raw['completion_tokens']) ?? count(raw['output_tokens'])
  if (prompt === undefined && completion === undefined && total === undefined) return null
  prompt ??= Math.max(0, (total ?? 0) - (completion ?? 0))
  completion ??= Math.max(0, (total ?? prompt) - prompt)

  const usage: Usage = { ...raw, prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
  if (total !== undefined && total > usage.total_tokens) usage.total_tokens = total

  const promptDetails = fields(raw['prompt_tokens_details'])
  const cached = count(promptDetails?.['cached_tokens']) ?? cachedApart(raw)
  if (cached !== undefined) usage.prompt_tokens_details = { ...promptDetails, cached_tokens: cached }
  const completionDetails = fields(raw['completion_tokens_details'])
  const reasoning = count(completionDetails?.['reasoning_tokens']) ?? count(raw['reasoning_tokens'])
  if (reasoning !== undefined) usage.completion_tokens_details = { ...completionDetails, reasoning_tokens: reasoning }
  return usage
}

/** Cache reads outside `prompt_tokens_details`: DeepSeek, Moonshot, Mistral, and LiteLLM's own name. */
function cachedApart(raw: Fields): number | undefined {
  return (
    count(raw['prompt_cache_hit_tokens']) ??
    count(raw['cached_tokens']) ??
    count(raw['num_cached_tokens']) ??
    count(raw['cache_read_input_tokens'])
  )
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function fields(value: unknown): Fields | undefined {
  return isFields(value) ? value : undefined
}

/** A token count, or undefined: nothing negative, nothing that is no number. Fractions (seen from estimating clones) are rounded. */
function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
}
