import { createHash } from 'node:crypto'
import type { Prices, PriceTier, ServiceTierPrices, TokenPrices } from '../../proto/deployment.ts'
import { isObject } from '../json-object.ts'
import { nanoOf, scaleDecimal } from '../money.ts'
import { canonicalJson } from './canonical-json.ts'
import {
  ELAPSED_FIELDS,
  fieldOf,
  INPUT_SIDE,
  OUTPUT_SIDE,
  RANGES_FIELD,
  REGION_FIELD,
  REQUEST_FIELD,
  SEARCH_FIELD,
  SEARCH_SIZES,
  TOKEN_FIELDS,
  TOOL_FIELDS,
  UNIT_FIELDS,
  unitVariant,
} from './price-fields.ts'

type Fields = Readonly<Record<string, unknown>>
type OwnPrices = Omit<Prices, 'rateVersion'>

/** Powers of ten: dollars per token, or per unit, → nano-dollars per million of them; dollars → nano-dollars; a factor → parts per million. */
const PER_MILLION = 15
const NANO = 9
const PARTS = 6

const NOTHING_LISTED: Prices = { rateVersion: '' }

/**
 * The prices of a deployment: those set under `litellm_params`, then `model_info`, over the catalogue's. Setting the input (output)
 * price replaces every catalogue price of that side, tiers included: the catalogue's cache price belongs to the catalogue's input
 * price, and a model set to 0 must not cost anything. Null when nothing is known.
 *
 * Throws RangeError for a price that is not a decimal, is negative, or is more than can be counted exactly.
 */
export function deploymentPrices(params: Fields, info: Fields, listed: Prices | null): Prices | null {
  const fields = { ...present(info), ...present(params) }
  const own = ownPrices(fields)
  const region = regionOf(fields['api_base'] ?? fields['base_url'])
  const here = region !== undefined && (own?.regions ?? listed?.regions) !== undefined
  if (own === null) return here && listed !== null ? { ...listed, region } : listed
  const prices = overListed(own, listed)
  if (here) prices.region = region
  return { ...prices, rateVersion: rateVersion('config', prices) }
}

/** Prices given as LiteLLM's fields alone, over `listed`; `source` begins their version. Null when the fields hold none. Throws RangeError. */
export function pricesOfFields(source: string, given: Fields, listed: Prices | null): Prices | null {
  const own = ownPrices(present(given))
  if (own === null) return null
  const prices = overListed(own, listed)
  return { ...prices, rateVersion: rateVersion(source, prices) }
}

/** Equal prices have one version, other prices another. */
function rateVersion(source: string, prices: OwnPrices): string {
  return `${source}:${createHash('sha256').update(canonicalJson(prices)).digest('hex').slice(0, 12)}`
}

function overListed(own: OwnPrices, listed: Prices | null): OwnPrices {
  // Free means free: nothing the catalogue knows (searches, images) may cost anything then.
  const free = own.input === 0 && own.output === 0
  const { rateVersion: _, tiers: listedTiers, serviceTiers: listedService, ...rest } = (free ? null : listed) ?? NOTHING_LISTED
  const replaced = new Set([...(own.input === undefined ? [] : INPUT_SIDE), ...(own.output === undefined ? [] : OUTPUT_SIDE)])
  const prices: OwnPrices = { ...without(rest, replaced), ...own }
  // Who sets a price means it, whatever the provider says its call cost.
  if (replaced.size > 0) delete prices.reported
  if (rest.perToolCall !== undefined) prices.perToolCall = { ...rest.perToolCall, ...own.perToolCall }
  if (rest.perUnit !== undefined) prices.perUnit = { ...rest.perUnit, ...own.perUnit }
  const tiers = mergedTiers(listedTiers ?? [], own.tiers ?? [], replaced)
  if (tiers.length > 0) prices.tiers = tiers
  const service = mergedService(listedService ?? {}, own.serviceTiers ?? {}, replaced)
  if (Object.keys(service).length > 0) prices.serviceTiers = service
  return prices
}

function ownPrices(fields: Fields): OwnPrices | null {
  const prices: OwnPrices = tokenPrices(fields)
  const perRequest = decimal(fields, REQUEST_FIELD, NANO)
  if (perRequest !== undefined) prices.perRequest = perRequest
  put(prices, 'perToolCall', toolPrices(fields))
  put(prices, 'perUnit', unitPrices(fields))
  const elapsed = ELAPSED_FIELDS.map((name) => decimal(fields, name, PER_MILLION - 3)).filter((price) => price !== undefined)
  if (elapsed.length > 0) prices.perElapsed = elapsed.reduce((sum, price) => sum + price, 0)
  put(prices, 'regions', regionPrices(fields))
  return Object.keys(prices).length === 0 ? null : prices
}

/** Every price per token, at its threshold and in its service tier. */
function tokenPrices(fields: Fields): OwnPrices {
  const standard: ServiceTierPrices = {}
  const service: Record<string, ServiceTierPrices> = {}
  // In the order of the table, so that of two names for one price the first counts.
  const names = Object.keys(fields).sort((a, b) => rankOf(a) - rankOf(b))
  for (const name of names) {
    const field = fieldOf(name)
    const price = field === null ? undefined : decimal(fields, name, PER_MILLION)
    if (field === null || price === undefined) continue
    if (field.tier !== null) service[field.tier] ??= {}
    const set = service[field.tier ?? ''] ?? standard
    if (field.above === null) set[field.part] ??= price
    else stepOf(set, field.above)[field.part] ??= price
  }
  addRanges(standard, fields[RANGES_FIELD])
  const prices: OwnPrices = standard
  put(prices, 'serviceTiers', service)
  return prices
}

function rankOf(name: string): number {
  return TOKEN_FIELDS.findIndex(
    ([known]) => name.startsWith(known) && (name.length === known.length || name[known.length] === '_'),
  )
}

/** The tier above a threshold, made where it is missing; tiers stay sorted. */
function stepOf(set: ServiceTierPrices, above: number): PriceTier {
  set.tiers ??= []
  let step = set.tiers.find((tier) => tier.above === above)
  if (step === undefined) {
    step = { above }
    set.tiers.push(step)
    set.tiers.sort((a, b) => a.above - b.above)
  }
  return step
}

/** `tiered_pricing: [{ range: [0, 32000], input_cost_per_token: … }, …]`: the first range is the price, the others are tiers. */
function addRanges(set: ServiceTierPrices, ranges: unknown): void {
  if (ranges === undefined) return
  if (!Array.isArray(ranges)) throw new RangeError(`${RANGES_FIELD} is not a list`)
  for (const [index, entry] of ranges.entries()) {
    const from = isObject(entry) && Array.isArray(entry['range']) ? entry['range'][0] : undefined
    if (!isObject(entry) || typeof from !== 'number' || !Number.isSafeInteger(from) || from < 0) {
      throw new RangeError(`${RANGES_FIELD}[${index}] has no range of two whole numbers`)
    }
    const target: TokenPrices = from === 0 ? set : stepOf(set, from)
    for (const [name, part] of TOKEN_FIELDS) {
      const price = decimal(present(entry), name, PER_MILLION)
      if (price !== undefined) target[part] ??= price
    }
  }
}

/** Web search has three prices by context size; the medium one, OpenAI's default, holds where the size is not known. */
function toolPrices(fields: Fields): Record<string, number> {
  const prices: Record<string, number> = {}
  for (const [name, tool, calls] of TOOL_FIELDS) {
    const price = decimal(fields, name, NANO - calls)
    if (price !== undefined) prices[tool] = price
  }
  const search = fields[SEARCH_FIELD]
  if (isObject(search)) {
    for (const size of SEARCH_SIZES) {
      const price = decimal(present(search), `search_context_size_${size}`, NANO)
      if (price === undefined) continue
      if (size === 'medium') prices['web_search'] = price
      else prices[`web_search:${size}`] = price
    }
  } else {
    const price = decimal(fields, SEARCH_FIELD, NANO)
    if (price !== undefined) prices['web_search'] = price
  }
  return prices
}

function unitPrices(fields: Fields): Record<string, number> {
  const prices: Record<string, number> = {}
  for (const [name, unit, scale] of UNIT_FIELDS) {
    const price = decimal(fields, name, PER_MILLION - scale)
    if (price !== undefined) prices[unit] ??= price
  }
  for (const name of Object.keys(fields)) {
    const found = unitVariant(name)
    const price = found === null ? undefined : decimal(fields, name, PER_MILLION - found.scale)
    if (found !== null && price !== undefined) prices[`${found.unit}:${found.variant}`] = price
  }
  return prices
}

function regionPrices(fields: Fields): Record<string, number> {
  const regions: Record<string, number> = {}
  for (const name of Object.keys(fields)) {
    const region = REGION_FIELD.exec(name)?.[1]
    const factor = region === undefined ? undefined : decimal(fields, name, PARTS)
    if (region !== undefined && factor !== undefined) regions[region] = factor
  }
  return regions
}

/** The region that an OpenAI host names (`https://eu.api.openai.com/v1`). */
function regionOf(base: unknown): string | undefined {
  return typeof base === 'string' ? /^https:\/\/(eu|us)\.api\.openai\.com(\/|$)/.exec(base)?.[1] : undefined
}

/** A decimal × 10^power as an integer; undefined when the field is absent. Throws RangeError naming the field. */
function decimal(fields: Fields, name: string, power: number): number | undefined {
  const value = fields[name]
  if (typeof value !== 'number' && typeof value !== 'string') return undefined
  try {
    const scaled = power === NANO ? nanoOf(value) : Number(scaleDecimal(value, power))
    if (scaled >= 0 && Number.isSafeInteger(scaled)) return scaled
  } catch {
    // Told of below, with its name.
  }
  throw new RangeError(`${name} is not a price that can be counted exactly: a decimal number of dollars, not negative`)
}

function put<Name extends keyof OwnPrices>(prices: OwnPrices, name: Name, value: NonNullable<OwnPrices[Name]>): void {
  if (Object.keys(value).length > 0) prices[name] = value
}

function mergedTiers(listed: readonly PriceTier[], own: readonly PriceTier[], replaced: ReadonlySet<string>): PriceTier[] {
  const tiers = new Map<number, PriceTier>()
  for (const tier of listed) {
    const kept = without(tier, replaced)
    if (Object.keys(kept).length > 1) tiers.set(tier.above, kept)
  }
  for (const tier of own) tiers.set(tier.above, { ...tiers.get(tier.above), ...tier })
  return [...tiers.values()].sort((a, b) => a.above - b.above)
}

function mergedService(
  listed: Readonly<Record<string, ServiceTierPrices>>,
  own: Readonly<Record<string, ServiceTierPrices>>,
  replaced: ReadonlySet<string>,
): Record<string, ServiceTierPrices> {
  const merged: Record<string, ServiceTierPrices> = {}
  for (const name of new Set([...Object.keys(listed), ...Object.keys(own)])) {
    const { tiers: listedTiers, ...known } = listed[name] ?? {}
    const { tiers: ownTiers, ...given } = own[name] ?? {}
    const set: ServiceTierPrices = { ...without(known, replaced), ...given }
    const tiers = mergedTiers(listedTiers ?? [], ownTiers ?? [], replaced)
    if (tiers.length > 0) set.tiers = tiers
    if (Object.keys(set).length > 0) merged[name] = set
  }
  return merged
}

function without<T extends object>(prices: T, names: ReadonlySet<string>): T {
  return Object.fromEntries(Object.entries(prices).filter(([name]) => !names.has(name))) as T
}

function present(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
