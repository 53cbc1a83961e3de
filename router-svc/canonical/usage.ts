import type { TokenUsage } from '../../proto/usage.ts'
import type { Usage } from './chat.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * Canonical usage → what is billed. `input` includes cache reads and writes, `output` includes reasoning; a provider whose prompt
 * count is smaller than its cache counts leaves them out of it, so they are added. `cacheWrite` is the five-minute part.
 */
export function tokensOf(usage: Usage): TokenUsage {
  const prompt = fields(usage.prompt_tokens_details)
  const completion = fields(usage.completion_tokens_details)
  const cacheRead = count(prompt?.['cached_tokens']) ?? count(usage.cache_read_input_tokens) ?? 0
  const kept = fields(prompt?.['cache_creation_token_details'])
  const cacheWrite1h = count(kept?.['ephemeral_1h_input_tokens']) ?? 0
  const written =
    count(prompt?.['cache_creation_tokens']) ?? count(prompt?.['cache_write_tokens']) ?? count(usage.cache_creation_input_tokens)
  const cacheWrite = Math.max(0, (written ?? cacheWrite1h + (count(kept?.['ephemeral_5m_input_tokens']) ?? 0)) - cacheWrite1h)
  const cache = cacheRead + cacheWrite + cacheWrite1h
  const input = count(usage.prompt_tokens) ?? 0
  const reasoning = count(completion?.['reasoning_tokens']) ?? 0
  const tokens: TokenUsage = {
    input: cache > input ? input + cache : input,
    output: count(usage.completion_tokens) ?? 0,
    cacheRead,
    cacheWrite,
    cacheWrite1h,
    reasoning,
    audioInput: count(prompt?.['audio_tokens']) ?? 0,
    audioOutput: count(completion?.['audio_tokens']) ?? 0,
    estimated: false,
  }
  const tools = toolCalls(usage.server_tool_use)
  if (tools !== undefined) tokens.toolCalls = tools
  return tokens
}

/** `{ web_search_requests: 2 }` → `{ web_search: 2 }`. */
function toolCalls(used: unknown): Record<string, number> | undefined {
  const counted = fields(used)
  if (counted === undefined) return undefined
  const calls: Record<string, number> = {}
  for (const [name, value] of Object.entries(counted)) {
    const times = count(value)
    if (times !== undefined && times > 0) calls[name.replace(/_requests$/, '')] = times
  }
  return Object.keys(calls).length === 0 ? undefined : calls
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
