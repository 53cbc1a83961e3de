import { createHash } from 'node:crypto'
import type { Prices } from '../../proto/deployment.ts'
import { nanoOf, scaleDecimal } from '../money.ts'
import { canonicalJson } from './canonical-json.ts'

type TokenPrice = 'input' | 'output' | 'cacheRead' | 'cacheWrite' | 'cacheWrite1h' | 'reasoning' | 'audioInput' | 'audioOutput'
type Fields = Readonly<Record<string, unknown>>

/** LiteLLM's price fields, dollars per token → ours. Of two names for one price the first one given counts. */
const TOKEN_FIELDS: readonly (readonly [string, TokenPrice])[] = [
  ['input_cost_per_token', 'input'],
  ['output_cost_per_token', 'output'],
  ['cache_read_input_token_cost', 'cacheRead'],
  ['input_cost_per_token_cache_hit', 'cacheRead'],
  ['cache_creation_input_token_cost', 'cacheWrite'],
  ['cache_creation_input_token_cost_above_1hr', 'cacheWrite1h'],
  ['output_cost_per_reasoning_token', 'reasoning'],
  ['input_cost_per_audio_token', 'audioInput'],
  ['output_cost_per_audio_token', 'audioOutput'],
]

/** `input_cost_per_token_above_128k_tokens`: thousands of input tokens above which another price holds. */
const TIER = /^(.+)_above_(\d+)k_tokens$/

/** Prices of tools, by what is called rather than by token. */
export const TOOL_PRICES: readonly string[] = ['search_context_cost_per_query', 'file_search_cost_per_1k_calls']

/** Prices of the input side: the operator who sets the input price means all of it, and so with the output. */
const INPUT_SIDE: readonly TokenPrice[] = ['input', 'cacheRead', 'cacheWrite', 'cacheWrite1h', 'audioInput']
const OUTPUT_SIDE: readonly TokenPrice[] = ['output', 'reasoning', 'audioOutput']

/** Dollars per token × 10^15 = nano-dollars per million tokens. */
const PER_TOKEN = 15

/**
 * The prices of a deployment: those set under `litellm_params`, then `model_info`, over the catalogue's. Setting the input (output)
 * price replaces every catalogue price of that side, tiers included: the catalogue's cache price belongs to the catalogue's input
 * price, and a model set to 0 must not cost anything. Null when nothing is known.
 *
 * Throws RangeError for a price that is not a decimal.
 */
export function deploymentPrices(params: Fields, info: Fields, listed: Prices | null): Prices | null {
  const own = ownPrices({ ...present(info), ...present(params) })
  if (own === null) return listed
  const { rateVersion: _, tiers: listedTiers, ...rest } = listed ?? { rateVersion: '' }
  const replaced = new Set([...(own.input === undefined ? [] : INPUT_SIDE), ...(own.output === undefined ? [] : OUTPUT_SIDE)])
  const prices: Omit<Prices, 'rateVersion'> = { ...without(rest, replaced), ...own }
  const tiers = mergedTiers(listedTiers ?? [], own.tiers ?? [], replaced)
  if (tiers.length > 0) prices.tiers = tiers
  const digest = createHash('sha256').update(canonicalJson(prices)).digest('hex').slice(0, 12)
  return { ...prices, rateVersion: `config:${digest}` }
}

/** Whether the name of a parameter is a price per token above a threshold, which must be a decimal. */
export function isTierName(name: string): boolean {
  return TIER.test(name)
}

function ownPrices(fields: Fields): Omit<Prices, 'rateVersion'> | null {
  const prices: Omit<Prices, 'rateVersion'> = tokenPrices(fields, '')
  const thresholds = new Set(Object.keys(fields).flatMap((name) => TIER.exec(name)?.[2] ?? []))
  const tiers = [...thresholds]
    .map((thousands) => ({ above: Number(thousands) * 1000, ...tokenPrices(fields, `_above_${thousands}k_tokens`) }))
    .sort((a, b) => a.above - b.above)
  if (tiers.length > 0) prices.tiers = tiers
  const perRequest = fields['input_cost_per_request'] ?? fields['input_cost_per_query']
  if (isDecimal(perRequest)) prices.perRequest = nanoOf(perRequest)
  const perToolCall = toolPrices(fields)
  if (Object.keys(perToolCall).length > 0) prices.perToolCall = perToolCall
  return Object.keys(prices).length === 0 ? null : prices
}

function tokenPrices(fields: Fields, suffix: string): Partial<Record<TokenPrice, number>> {
  const prices: Partial<Record<TokenPrice, number>> = {}
  for (const [theirs, ours] of TOKEN_FIELDS) {
    const value = fields[theirs + suffix]
    if (isDecimal(value)) prices[ours] ??= Number(scaleDecimal(value, PER_TOKEN))
  }
  return prices
}

/** Web search has three prices by context size; the medium one, OpenAI's default, counts. */
function toolPrices(fields: Fields): Record<string, number> {
  const prices: Record<string, number> = {}
  const search = fields['search_context_cost_per_query']
  const medium = typeof search === 'object' && search !== null ? (search as Fields)['search_context_size_medium'] : undefined
  if (isDecimal(medium)) prices['web_search'] = nanoOf(medium)
  const files = fields['file_search_cost_per_1k_calls']
  if (isDecimal(files)) prices['file_search'] = Number(scaleDecimal(files, 6))
  return prices
}

function mergedTiers(
  listed: NonNullable<Prices['tiers']>,
  own: NonNullable<Prices['tiers']>,
  replaced: ReadonlySet<TokenPrice>,
): NonNullable<Prices['tiers']> {
  const tiers = new Map<number, NonNullable<Prices['tiers']>[number]>()
  for (const tier of listed) {
    const kept = without(tier, replaced)
    if (Object.keys(kept).length > 1) tiers.set(tier.above, kept)
  }
  for (const tier of own) tiers.set(tier.above, { ...tiers.get(tier.above), ...tier })
  return [...tiers.values()].sort((a, b) => a.above - b.above)
}

function without<T extends object>(prices: T, names: ReadonlySet<string>): T {
  return Object.fromEntries(Object.entries(prices).filter(([name]) => !names.has(name))) as T
}

function present(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}

function isDecimal(value: unknown): value is string | number {
  return typeof value === 'number' || typeof value === 'string'
}
