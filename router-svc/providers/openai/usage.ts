import type { Usage } from '../../canonical/chat.ts'
import { isFields } from '../json.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * Usage as some provider wrote it → canonical usage, or null when there is none in it. Lenient: counts may have Anthropic's names
 * (`input_tokens`), details those of the Responses and Realtime APIs, cache reads may sit at the top level under any of the four names in
 * use, a total may stand in for a missing part, and a transcription may be counted in seconds. Fields we do not know survive.
 */
export function readUsage(raw: unknown): Usage | null {
  if (!isFields(raw)) return null
  const total = count(raw['total_tokens'])
  let prompt = count(raw['prompt_tokens']) ?? count(raw['input_tokens'])
  let completion = count(raw['completion_tokens']) ?? count(raw['output_tokens'])
  if (prompt === undefined && completion === undefined && total === undefined && count(raw['seconds']) === undefined) return null
  prompt ??= Math.max(0, (total ?? 0) - (completion ?? 0))
  completion ??= Math.max(0, (total ?? prompt) - prompt)

  const promptDetails = detailsOf(raw, PROMPT_DETAILS)
  const completionDetails = detailsOf(raw, COMPLETION_DETAILS)
  const cached = count(promptDetails?.['cached_tokens']) ?? cachedApart(raw)
  const reasoning = count(completionDetails?.['reasoning_tokens']) ?? count(raw['reasoning_tokens'])
  // xAI leaves reasoning out of the completion, Mistral audio out of the prompt: the total tells.
  const hidden = (total ?? 0) - prompt - completion
  if (hidden > 0 && reasoning === hidden) completion += hidden
  else if (hidden > 0 && count(promptDetails?.['audio_tokens']) === hidden) prompt += hidden

  const usage: Usage = { ...raw, prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
  if (total !== undefined && total > usage.total_tokens) usage.total_tokens = total
  if (promptDetails !== undefined || cached !== undefined) {
    usage.prompt_tokens_details = { ...promptDetails, ...(cached === undefined ? {} : { cached_tokens: cached }) }
  }
  if (completionDetails !== undefined || reasoning !== undefined) {
    usage.completion_tokens_details = {
      ...completionDetails,
      ...(reasoning === undefined ? {} : { reasoning_tokens: reasoning }),
    }
  }
  return usage
}

/** Chat, Responses, Realtime and transcriptions, Writer. */
const PROMPT_DETAILS = ['prompt_tokens_details', 'input_tokens_details', 'input_token_details', 'prompt_token_details'] as const
const COMPLETION_DETAILS = [
  'completion_tokens_details',
  'output_tokens_details',
  'output_token_details',
  'completion_token_details',
] as const

function detailsOf(raw: Fields, names: readonly string[]): Fields | undefined {
  for (const name of names) {
    const details = raw[name]
    if (isFields(details)) return details
  }
  return undefined
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

/** A token count, or undefined: nothing negative, nothing that is no number. Fractions (seen from estimating clones) are rounded. */
function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
}
