import type { TokenUsage } from '../../proto/usage.ts'
import { isObject } from '../../shared/json-object.ts'
import { nanoOf, scaleDecimal } from '../../shared/money.ts'
import type { Usage } from './chat.ts'

type Fields = Readonly<Record<string, unknown>>

/** What providers call their standard tier. */
const STANDARD = new Set(['default', 'standard', 'standard_only', 'auto', 'on_demand'])
/** Regions that cost nothing extra. */
const ANYWHERE = new Set(['global', 'not_available'])

/**
 * Canonical usage → what is billed. `input` includes cache reads and writes, `output` includes reasoning; a provider whose prompt
 * count is smaller than its cache counts leaves them out of it, so they are added. `cacheWrite` is the five-minute part.
 * `tier`: the service tier that the answer named beside its usage.
 */
export function tokensOf(usage: Usage, tier?: unknown): TokenUsage {
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
  const tokens: TokenUsage = {
    input: cache > input ? input + cache : input,
    output: count(usage.completion_tokens) ?? 0,
    cacheRead,
    cacheWrite,
    cacheWrite1h,
    reasoning: count(completion?.['reasoning_tokens']) ?? 0,
    audioInput: count(prompt?.['audio_tokens']) ?? 0,
    audioOutput: count(completion?.['audio_tokens']) ?? 0,
    estimated: false,
  }
  if (prompt !== undefined) {
    put(tokens, 'imageInput', prompt['image_tokens'])
    put(tokens, 'videoInput', prompt['video_tokens'])
    const cached = fields(prompt['cached_tokens_details'])
    put(tokens, 'audioCacheRead', cached?.['audio_tokens'])
    put(tokens, 'imageCacheRead', cached?.['image_tokens'])
    if (cached === undefined) shareCache(tokens)
  }
  if (completion !== undefined) {
    put(tokens, 'imageOutput', completion['image_tokens'])
    put(tokens, 'videoOutput', completion['video_tokens'])
  }
  // An answer of three plain numbers has nothing else to look for.
  for (const name in usage) {
    if (USAGE_FIELDS.has(name)) continue
    addOthers(tokens, usage)
    break
  }
  const named = serviceTier(usage['speed']) ?? serviceTier(tier ?? usage['service_tier'])
  if (named !== undefined) tokens.serviceTier = named
  return tokens
}

/** Fields of canonical usage with a meaning of their own; what else a provider told is its own. */
export const USAGE_FIELDS: ReadonlySet<string> = new Set([
  'prompt_tokens',
  'completion_tokens',
  'total_tokens',
  'prompt_tokens_details',
  'completion_tokens_details',
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
])

function put(
  tokens: TokenUsage,
  field: 'imageInput' | 'imageOutput' | 'videoInput' | 'videoOutput' | 'audioCacheRead' | 'imageCacheRead' | 'citation',
  value: unknown,
): void {
  const found = count(value)
  if (found !== undefined && found > 0) tokens[field] = found
}

/**
 * A provider that does not say of what kind its cached tokens are may have counted an image twice: as image and as cached. What the parts
 * have too much is that.
 */
function shareCache(tokens: TokenUsage): void {
  const image = tokens.imageInput ?? 0
  if (image === 0 && tokens.audioInput === 0) return
  const { cacheRead, audioInput } = tokens
  const parts = cacheRead + tokens.cacheWrite + tokens.cacheWrite1h + audioInput + image + (tokens.videoInput ?? 0)
  const double = Math.min(cacheRead, parts - tokens.input)
  if (double <= 0) return
  put(tokens, 'imageCacheRead', Math.min(double, image))
  put(tokens, 'audioCacheRead', Math.min(Math.max(0, double - image), audioInput))
}

/** What few providers report, under names that each has for itself. */
function addOthers(tokens: TokenUsage, usage: Usage): void {
  put(tokens, 'citation', usage['citation_tokens'])
  const tools = toolCalls(usage)
  if (tools !== undefined) tokens.toolCalls = tools
  const seconds = usage['prompt_audio_seconds'] ?? usage['seconds']
  if (typeof seconds === 'number' && seconds > 0 && Number.isFinite(seconds)) {
    tokens.units = { audio_ms_in: Math.round(seconds * 1000) }
  }
  const reported = reportedCost(usage)
  if (reported !== undefined) tokens.reportedCost = reported
  const region = usage['inference_geo']
  if (typeof region === 'string' && !ANYWHERE.has(region)) tokens.region = region
  addCompactions(tokens, usage['iterations'])
}

/**
 * Anthropic's counts leave out the passes that shortened the context (https://platform.claude.com/docs/en/build-with-claude/compaction). Passes of
 * an adviser are another model's, at other prices, and not in them either: they are not billed here.
 */
function addCompactions(tokens: TokenUsage, iterations: unknown): void {
  if (!Array.isArray(iterations)) return
  for (const pass of iterations) {
    const counted = fields(pass)
    if (counted?.['type'] !== 'compaction') continue
    const read = count(counted['cache_read_input_tokens']) ?? 0
    const written = count(counted['cache_creation_input_tokens']) ?? 0
    const hour = Math.min(written, count(fields(counted['cache_creation'])?.['ephemeral_1h_input_tokens']) ?? 0)
    tokens.input += (count(counted['input_tokens']) ?? 0) + read + written
    tokens.output += count(counted['output_tokens']) ?? 0
    tokens.cacheRead += read
    tokens.cacheWrite += written - hour
    tokens.cacheWrite1h += hour
  }
}

/**
 * What the provider says the call cost, nano-dollars. OpenRouter gives dollars, and beside them what the upstream bills where the key is
 * the caller's own; Perplexity gives parts and a total; xAI gives ten-billionths of a dollar.
 */
function reportedCost(usage: Usage): number | undefined {
  const cost = usage['cost']
  if (typeof cost === 'number') {
    const upstream = usage['is_byok'] === true ? fields(usage['cost_details'])?.['upstream_inference_cost'] : undefined
    const nano = dollars(cost)
    return nano === undefined ? undefined : nano + (dollars(upstream) ?? 0)
  }
  const total = dollars(fields(cost)?.['total_cost'])
  if (total !== undefined) return total
  const ticks = usage['cost_in_usd_ticks']
  return typeof ticks === 'number' && Number.isSafeInteger(ticks) && ticks >= 0 ? Number(scaleDecimal(ticks, -1)) : undefined
}

function dollars(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value >= 0 && value < 1_000_000)) return undefined
  return nanoOf(value)
}

/**
 * Tools billed by the call: Anthropic's `server_tool_use: { web_search_requests: 2 }`, OpenRouter's and xAI's variants of it, Perplexity's
 * searches by the size of their context → `{ web_search: 2 }`.
 */
function toolCalls(usage: Usage): Record<string, number> | undefined {
  const calls: Record<string, number> = {}
  for (const used of [usage.server_tool_use, usage['server_tool_use_details'], usage['server_side_tool_usage_details']]) {
    for (const [name, value] of Object.entries(fields(used) ?? {})) {
      const match = TOOL.exec(name)
      const times = count(value)
      if (match?.[1] !== undefined && times !== undefined && times > 0) calls[match[1]] = times
    }
  }
  const searches = count(usage['num_search_queries'])
  const size = usage['search_context_size']
  if (typeof size === 'string') calls[`web_search:${size}`] = searches ?? 1
  else if (searches !== undefined && searches > 0) calls['web_search'] = searches
  const sources = count(usage['num_sources_used'])
  if (sources !== undefined && sources > 0) calls['search_source'] = sources
  return Object.keys(calls).length === 0 ? undefined : calls
}

/** `tool_calls_requested` and the like are no tools. */
const TOOL = /^(?!tool_)(\w+)_(?:requests|calls)$/

function serviceTier(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && !STANDARD.has(value) ? value.slice(0, 64) : undefined
}

function fields(value: unknown): Fields | undefined {
  return isObject(value) ? value : undefined
}

/** A token count, or undefined: nothing negative, nothing that is no number. Fractions (seen from estimating clones) are rounded. */
function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
}
