import { isObject } from '../../../shared/json-object.ts'
import type { FinishReason, Usage } from '../../canonical/chat.ts'
import { USAGE_FIELDS } from '../../canonical/usage.ts'

type Fields = Record<string, unknown>

/**
 * Fields of a message that an Anthropic provider's answer kept beside its content, and that have places of their own in it; and those of another
 * protocol (`output_items` of the Responses API), which have none.
 */
export const PLACED: ReadonlySet<string> = new Set([
  'content_blocks',
  'citations',
  'stop_reason',
  'stop_sequence',
  'output_items',
])

/** Canonical usage in Anthropic's counts: `input_tokens` leaves cache reads and writes out. `tier`: the one that served, where it is known. */
export function encodeUsage(usage: Usage, tier?: string): Fields {
  const prompt = usage.prompt_tokens_details
  const read = count(prompt?.cached_tokens ?? usage.cache_read_input_tokens)
  const written = count(prompt?.cache_creation_tokens ?? prompt?.cache_write_tokens ?? usage.cache_creation_input_tokens)
  const input = count(usage.prompt_tokens)
  const encoded: Fields = {
    // Some providers leave the cache out of their prompt count themselves.
    input_tokens: input >= read + written ? input - read - written : input,
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: count(usage.completion_tokens),
  }
  const split = prompt?.cache_creation_token_details
  if (split !== undefined && split !== null) encoded['cache_creation'] = split
  const thinking = usage.completion_tokens_details?.reasoning_tokens
  if (typeof thinking === 'number') encoded['output_tokens_details'] = { thinking_tokens: thinking }
  for (const name in usage) if (!USAGE_FIELDS.has(name) && usage[name] !== null) encoded[name] = usage[name]
  if (tier !== undefined) encoded['service_tier'] = tier === 'default' ? 'standard' : tier
  return encoded
}

/** Citations as clients know them: what other vendors cite has another form, and no place here. */
export function citationsIn(kept: Readonly<Fields>): Fields[] {
  const all = Array.isArray(kept['citations']) ? (kept['citations'].flat() as unknown[]) : []
  return all.filter((one): one is Fields => isObject(one) && typeof one['type'] === 'string' && one['type'].endsWith('_location'))
}

const STOPS: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
}

/**
 * Anthropic's stop reason. `own`: the one the provider gave, where the canonical reason does not say all of it. Others have further words for
 * what a filter stopped (`guardrail_intervened`), and clients know one.
 */
export function stopReason(finish: FinishReason | null, calls: boolean, own: unknown): string {
  if (typeof own === 'string' && finish !== 'content_filter') return own
  const reason = STOPS[finish ?? 'stop'] ?? 'end_turn'
  return reason === 'end_turn' && calls ? 'tool_use' : reason
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.round(value) : 0
}
