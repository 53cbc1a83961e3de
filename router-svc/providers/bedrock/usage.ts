import type { Usage } from '../../canonical/chat.ts'
import { cachedUsage } from '../anthropic/usage.ts'
import { type Fields, isFields } from './wire.ts'

/**
 * Converse's counts as canonical usage: `inputTokens` leaves cache reads and writes out, `prompt_tokens` includes them. Thinking is inside
 * `outputTokens` and never told apart.
 */
export function decodeUsage(raw: Fields): Usage {
  const read = count(raw['cacheReadInputTokens'])
  const written = count(raw['cacheWriteInputTokens'])
  const usage = cachedUsage({ input: count(raw['inputTokens']), read, written, output: count(raw['outputTokens']) })
  const hour = hourWrites(raw['cacheDetails'])
  if (hour > 0 && usage.prompt_tokens_details) {
    const ephemeral1h = Math.min(written, hour)
    usage.prompt_tokens_details.cache_creation_token_details = {
      ephemeral_5m_input_tokens: written - ephemeral1h,
      ephemeral_1h_input_tokens: ephemeral1h,
    }
  }
  const tools = raw['serverToolUsage']
  if (isFields(tools) && Object.keys(tools).length > 0) usage.server_tool_use = tools as Record<string, number>
  return usage
}

/** Tokens written to the cache for an hour; those for five minutes are the rest. */
function hourWrites(details: unknown): number {
  if (!Array.isArray(details)) return 0
  let tokens = 0
  for (const detail of details) if (isFields(detail) && detail['ttl'] === '1h') tokens += count(detail['inputTokens'])
  return tokens
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0
}
