import type { TokenPrices } from '../../proto/deployment.ts'
import type { Unit } from '../../proto/usage.ts'

export type TokenPrice = keyof TokenPrices

/** LiteLLM's price fields, dollars per token → ours. Of two names for one price the first one given counts. */
export const TOKEN_FIELDS: readonly (readonly [name: string, part: TokenPrice])[] = [
  ['input_cost_per_token', 'input'],
  ['output_cost_per_token', 'output'],
  ['cache_read_input_token_cost', 'cacheRead'],
  ['input_cost_per_token_cache_hit', 'cacheRead'],
  ['cache_creation_input_token_cost', 'cacheWrite'],
  ['cache_creation_input_token_cost_above_1hr', 'cacheWrite1h'],
  ['output_cost_per_reasoning_token', 'reasoning'],
  ['input_cost_per_audio_token', 'audioInput'],
  ['output_cost_per_audio_token', 'audioOutput'],
  ['cache_read_input_audio_token_cost', 'audioCacheRead'],
  ['cache_creation_input_audio_token_cost', 'audioCacheWrite'],
  ['input_cost_per_image_token', 'imageInput'],
  ['output_cost_per_image_token', 'imageOutput'],
  ['cache_read_input_image_token_cost', 'imageCacheRead'],
  ['input_cost_per_video_token', 'videoInput'],
  ['output_cost_per_video_token', 'videoOutput'],
  ['citation_cost_per_token', 'citation'],
]

/** Service tiers by the end of a field's name. */
export const TIER_SUFFIXES = { priority: '_priority', flex: '_flex', batch: '_batches' } as const

/** Prices of the input side: the operator who sets the input price means all of it, and so with the output. */
export const INPUT_SIDE: readonly TokenPrice[] = [
  'input',
  'cacheRead',
  'cacheWrite',
  'cacheWrite1h',
  'audioInput',
  'audioCacheRead',
  'audioCacheWrite',
  'imageInput',
  'imageCacheRead',
  'videoInput',
  'citation',
]
export const OUTPUT_SIDE: readonly TokenPrice[] = ['output', 'reasoning', 'audioOutput', 'imageOutput', 'videoOutput']

/** Fields in dollars per one unit; `scale` is the number of our units in one of theirs, as a power of ten (a second: 1000 milliseconds). */
export const UNIT_FIELDS: readonly (readonly [name: string, unit: Unit, scale: number])[] = [
  ['input_cost_per_image', 'image_in', 0],
  ['output_cost_per_image', 'image_out', 0],
  ['input_cost_per_pixel', 'pixel_in', 0],
  ['output_cost_per_pixel', 'pixel_out', 0],
  ['input_cost_per_audio_per_second', 'audio_ms_in', 3],
  ['input_cost_per_second', 'audio_ms_in', 3],
  ['output_cost_per_second', 'audio_ms_out', 3],
  ['input_cost_per_video_per_second', 'video_ms_in', 3],
  ['output_cost_per_video_per_second', 'video_ms_out', 3],
  ['input_cost_per_character', 'character_in', 0],
  ['output_cost_per_character', 'character_out', 0],
  ['ocr_cost_per_page', 'page', 0],
  ['annotation_cost_per_page', 'annotation_page', 0],
  ['ocr_cost_per_credit', 'credit', 0],
  ['input_cost_per_query', 'query', 0],
]

/** Dollars per second an attempt takes, for what reports no length of its own. */
export const ELAPSED_FIELDS: readonly string[] = ['input_cost_per_second', 'output_cost_per_second']

/** Tools by name, and the calls their price is for as a power of ten. */
export const TOOL_FIELDS: readonly (readonly [name: string, tool: string, calls: number])[] = [
  ['file_search_cost_per_1k_calls', 'file_search', 3],
  ['code_interpreter_cost_per_session', 'code_interpreter', 0],
]
/** `{ search_context_size_low: …, …_medium: …, …_high: … }`, dollars per search. */
export const SEARCH_FIELD = 'search_context_cost_per_query'
export const SEARCH_SIZES = ['low', 'medium', 'high'] as const

export const REQUEST_FIELD = 'input_cost_per_request'
export const RANGES_FIELD = 'tiered_pricing'
/** `…_eu`, `…_us`: factors of the token prices of a region. */
export const REGION_FIELD = /^regional_processing_uplift_multiplier_([a-z]+)$/

const UNIT_NAMES = UNIT_FIELDS.map(([name]) => name)
const VARIANT = new RegExp(`^(${UNIT_NAMES.join('|')})_(\\w+)$`)

/** A price of a variant of a unit: `output_cost_per_image_above_1024_and_1024_pixels` is `image_out:above_1024_and_1024_pixels`. */
export function unitVariant(name: string): { unit: Unit; scale: number; variant: string } | null {
  const match = VARIANT.exec(name)
  const field = UNIT_FIELDS.find(([known]) => known === match?.[1])
  if (match?.[2] === undefined || field === undefined || fieldOf(name) !== null) return null
  // Characters have tiers by the tokens of a call, which no usage reports together.
  if (TIER.test(name)) return null
  return { unit: field[1], scale: field[2], variant: match[2] }
}

/** `input_cost_per_token_above_128k_tokens`: thousands of input tokens above which another price holds. */
const TIER = /_above_(\d+)k_tokens/
const SUFFIX = /_(priority|flex|batches)$/

/** A price per token by its full name: which part, above which threshold, in which service tier. */
export interface TokenField {
  part: TokenPrice
  above: number | null
  tier: keyof typeof TIER_SUFFIXES | null
}

/** What a name says as a price per token, or null. */
export function fieldOf(name: string): TokenField | null {
  const suffix = SUFFIX.exec(name)?.[1]
  const rest = suffix === undefined ? name : name.slice(0, -suffix.length - 1)
  const step = TIER.exec(rest)
  const base = step === null ? rest : rest.replace(TIER, '')
  const field = TOKEN_FIELDS.find(([known]) => known === base)
  if (field === undefined) return null
  const tier = suffix === undefined ? null : suffix === 'batches' ? 'batch' : (suffix as 'priority' | 'flex')
  return { part: field[1], above: step?.[1] === undefined ? null : Number(step[1]) * 1000, tier }
}

const FIXED: ReadonlySet<string> = new Set([
  ...UNIT_NAMES,
  ...TOOL_FIELDS.map(([name]) => name),
  SEARCH_FIELD,
  REQUEST_FIELD,
  RANGES_FIELD,
])

/** Prices that need something no usage of today's endpoints says: they are read, and charge nothing there. */
const WITHOUT_USAGE = /^output_cost_per_character/

/** Whether a name is a price that acts. Others that look like prices (per gigabyte and day, in DBU) do not. */
export function isActingPrice(name: string): boolean {
  if (WITHOUT_USAGE.test(name)) return false
  return FIXED.has(name) || REGION_FIELD.test(name) || fieldOf(name) !== null || unitVariant(name) !== null
}
