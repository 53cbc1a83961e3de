import { type ConditionalPrice, calcPrice, findProvider, type ModelInfo, type ModelPrice } from '@pydantic/genai-prices'
import type { Prices, PriceTier } from '../../proto/deployment.ts'
import type { Mode } from '../../proto/endpoints.ts'
import type { Unit } from '../../proto/usage.ts'
import { type Clock, systemClock } from '../clock.ts'
import { divideHalfEven, scaleDecimal } from '../money.ts'
import { OVERLAY, OVERLAY_VERSION, type OverlayPrices, type OverlayRow, REPORTING, SERVICES } from './overlay.ts'
import { PROVIDERS } from './providers.ts'

export interface Facts {
  maxInputTokens: number | null
  maxOutputTokens: number | null
  mode: Mode | null
  /** LiteLLM's `supports_…` names without the prefix. */
  supports: string[]
}

/** What is known of upstream models: list prices and limits. Provider names are those of the provider table. */
export interface Catalog {
  /** Ends up beside every price, so that a ledger row can be priced again. */
  readonly version: string
  /**
   * List prices; null when none is known (which is not the same as free). `at` (Unix milliseconds) picks the prices of that moment,
   * also where they depend on the time of day. Without it: today's prices, and of those that depend on the time of day the
   * ones that hold outside every window.
   */
  prices(provider: string, model: string, at?: number): Prices | null
  facts(provider: string, model: string): Facts | null
  /** Names of the provider's models that have a list price or known limits; empty where none is known. */
  models(provider: string): readonly string[]
  /** The provider that makes a model of this name (`grok-4` → `xai`); null when the name does not tell. */
  maker(model: string): string | null
}

/** The installed package; it does not export its own version. */
const LIBRARY_VERSION = '0.1.8'

/** Names that differ between the provider table and the library. Those that are equal are listed too: there is no list to ask. */
const LIBRARY_IDS: Readonly<Record<string, string>> = {
  anthropic: 'anthropic',
  anthropic_text: 'anthropic',
  azure: 'azure',
  azure_ai: 'azure',
  azure_text: 'azure',
  bedrock: 'aws',
  bedrock_converse: 'aws',
  cerebras: 'cerebras',
  cloudflare: 'cloudflare',
  codestral: 'mistral',
  cohere: 'cohere',
  cohere_chat: 'cohere',
  deepseek: 'deepseek',
  fireworks_ai: 'fireworks',
  gemini: 'google',
  groq: 'groq',
  minimax: 'minimax',
  mistral: 'mistral',
  moonshot: 'moonshotai',
  novita: 'novita',
  openai: 'openai',
  openrouter: 'openrouter',
  ovhcloud: 'ovhcloud',
  perplexity: 'perplexity',
  'text-completion-codestral': 'mistral',
  'text-completion-openai': 'openai',
  together_ai: 'together',
  vertex_ai: 'google',
  vertex_ai_beta: 'google',
  voyage: 'voyageai',
  xai: 'x-ai',
  zai: 'zai',
}

/** The provider that sells its own models under their bare names, by the library's id. */
const MAKERS: Readonly<Record<string, string>> = {
  anthropic: 'anthropic',
  cohere: 'cohere',
  deepseek: 'deepseek',
  fireworks: 'fireworks_ai',
  google: 'gemini',
  minimax: 'minimax',
  mistral: 'mistral',
  moonshotai: 'moonshot',
  openai: 'openai',
  voyageai: 'voyage',
  'x-ai': 'xai',
}

/** The library's price names → ours, all dollars per million tokens. */
const TOKEN_PRICES = [
  ['input_mtok', 'input'],
  ['output_mtok', 'output'],
  ['cache_read_mtok', 'cacheRead'],
  ['cache_write_mtok', 'cacheWrite'],
  ['cache_write_1h_mtok', 'cacheWrite1h'],
  ['output_reasoning_mtok', 'reasoning'],
  ['input_audio_mtok', 'audioInput'],
  ['output_audio_mtok', 'audioOutput'],
  ['cache_audio_read_mtok', 'audioCacheRead'],
  ['input_image_mtok', 'imageInput'],
  ['output_image_mtok', 'imageOutput'],
  ['cache_image_read_mtok', 'imageCacheRead'],
  ['input_video_mtok', 'videoInput'],
  ['output_video_mtok', 'videoOutput'],
  ['output_citation_mtok', 'citation'],
] as const

/** What is counted in units: the library's names, dollars, → nano-dollars per million units, as a factor. */
const UNIT_PRICES: readonly (readonly [name: string, unit: Unit, toNanoPerMillion: readonly [power: number, divisor: bigint]])[] =
  [
    // Of an hour to milliseconds: × 10^9 × 10^6 ÷ 3,600,000.
    ['audio_hours', 'audio_ms_in', [10, 36n]],
    ['input_audio_hours', 'audio_ms_in', [10, 36n]],
    ['output_audio_hours', 'audio_ms_out', [10, 36n]],
    ['audio_seconds', 'audio_ms_in', [12, 1n]],
    ['input_audio_seconds', 'audio_ms_in', [12, 1n]],
    ['output_audio_seconds', 'audio_ms_out', [12, 1n]],
    ['rerank_searches_kcount', 'query', [12, 1n]],
  ]

/** Tools billed by the call: the library's names, dollars per thousand calls, → the names usage carries. */
const TOOL_PRICES = [
  ['web_searches_kcount', 'web_search'],
  ['storage_searches_kcount', 'file_search'],
  ['social_searches_kcount', 'x_search'],
] as const

/** Nano-dollars in a dollar, and in a thousandth, as powers of ten. */
const NANO = 9
const NANO_PER_THOUSANDTH = 6

/** Remembered look-ups. Model names can come from clients (wildcards), so the memory is bounded. */
const REMEMBERED = 2000

export function createCatalog(clock: Pick<Clock, 'now'> = systemClock): Catalog {
  const version = `genai-prices@${LIBRARY_VERSION}+overlay-${OVERLAY_VERSION}`
  const found = new Map<string, Entry>()
  const converted = new WeakMap<ModelPrice, Partial<Prices> | null>()

  function find(provider: string, name: string): Entry {
    const key = `${provider}/${name}`
    let entry = found.get(key)
    if (entry === undefined) {
      entry = { model: libraryModel(provider, name), row: rowOf(OVERLAY, provider, name), service: serviceOf(provider, name) }
      if (found.size >= REMEMBERED) found.clear()
      found.set(key, entry)
    }
    return entry
  }

  function convert(price: ModelPrice): Partial<Prices> | null {
    let prices = converted.get(price)
    if (prices === undefined) {
      prices = libraryPrices(price)
      converted.set(price, prices)
    }
    return prices
  }

  return {
    version,
    prices(provider, name, at) {
      const { model, row, service } = find(provider, name)
      const listed = model === null ? null : convert(pricesAt(model.prices, at, clock))
      const added = row?.prices === undefined ? null : overlayPrices(row.prices)
      // Re-sellers mark what they give away in the name, and the library leaves its prices out.
      if (listed === null && added === null) {
        if (name.endsWith(':free')) return { input: 0, output: 0, rateVersion: version }
        return REPORTING.has(provider) ? { reported: true, rateVersion: version } : null
      }
      return { ...listed, ...added, ...service, rateVersion: version }
    },
    facts(provider, name) {
      const { model, row } = find(provider, name)
      if (row === null && model?.context_window === undefined) return null
      return {
        maxInputTokens: row?.maxInputTokens ?? model?.context_window ?? null,
        maxOutputTokens: row?.maxOutputTokens ?? null,
        mode: row?.mode ?? null,
        supports: row?.supports ?? [],
      }
    },
    models(provider) {
      const library = LIBRARY_IDS[provider]
      const sold = library === undefined ? [] : (findProvider({ providerId: library })?.models ?? []).map(({ id }) => id)
      const rows = OVERLAY.filter(({ providers }) => providers.includes(provider)).flatMap(({ models }) => models)
      return [...new Set([...sold, ...rows.filter((name) => !name.includes('*'))])]
    },
    maker(name) {
      const provider = findProvider({ modelId: name })
      return provider === undefined ? null : (MAKERS[provider.id] ?? null)
    },
  }
}

/** The library's own matcher decides which of its entries a name belongs to (prefixes, patterns, providers that re-sell others). */
function libraryModel(provider: string, name: string): ModelInfo | null {
  const providerId = LIBRARY_IDS[provider]
  if (providerId === undefined) return null
  const prefix = name.includes('/') ? undefined : PROVIDERS[provider]?.modelPrefix
  const full = prefix === undefined ? name.replace(BEFORE_AWS_MODEL, '') : prefix + name
  // The moment does not matter: only the entry is taken, the price is picked below.
  return calcPrice({}, full, { providerId, timestamp: new Date(0) })?.model ?? null
}

/** Where a model of Bedrock runs and how it is asked, written before its name (`us-west-2/anthropic.claude-…`, `converse/…`). */
const BEFORE_AWS_MODEL = /^(?:(?:[a-z]{2,4}(?:-[a-z]+)+-\d|converse|converse_like|invoke)\/)+/

interface Entry {
  model: ModelInfo | null
  row: OverlayRow | null
  /** What is known of its service tiers and regions, beside every price it has. */
  service: Partial<Prices> | null
}

/** The first row for a model. */
function rowOf<Row extends { providers: readonly string[]; models: readonly string[] }>(
  rows: readonly Row[],
  provider: string,
  name: string,
): Row | null {
  return rows.find((row) => row.providers.includes(provider) && row.models.some((pattern) => fits(pattern, name))) ?? null
}

function serviceOf(provider: string, name: string): Partial<Prices> | null {
  const row = rowOf(SERVICES, provider, name)
  const prices: Partial<Prices> = REPORTING.has(provider) ? { reported: true } : {}
  if (row?.tiers !== undefined) {
    const tiers = Object.entries(row.tiers).map(([tier, { multiplier, ...tokens }]) => [
      tier,
      { ...overlayTokens(tokens), ...(multiplier === undefined ? {} : { multiplier: partsPerMillion(multiplier) }) },
    ])
    prices.serviceTiers = Object.fromEntries(tiers)
  }
  if (row?.regions !== undefined) {
    prices.regions = Object.fromEntries(Object.entries(row.regions).map(([region, factor]) => [region, partsPerMillion(factor)]))
  }
  return Object.keys(prices).length === 0 ? null : prices
}

function fits(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

/** Later entries beat earlier ones, as in the library; the first holds when no condition does. */
function pricesAt(prices: ModelInfo['prices'], at: number | undefined, clock: Pick<Clock, 'now'>): ModelPrice {
  if (!Array.isArray(prices)) return prices
  const moment = at ?? clock.now()
  const holding = prices.findLast((entry) => holds(entry, moment, at !== undefined))
  return (holding ?? prices[0])?.prices ?? {}
}

function holds({ constraint }: ConditionalPrice, moment: number, timeOfDay: boolean): boolean {
  if (constraint === undefined) return true
  if (constraint.type === 'start_date') return moment >= Date.parse(constraint.start_date)
  if (!timeOfDay) return false
  const time = new Date(moment).toISOString().slice(11, 19)
  const start = constraint.start_time.slice(0, 8)
  const end = constraint.end_time.slice(0, 8)
  return start <= end ? time >= start && time < end : time >= start || time < end
}

/** Null when the library prices nothing we can count. */
function libraryPrices(price: ModelPrice): Partial<Prices> | null {
  const prices: Partial<Prices> = {}
  const thresholds = new Set<number>()
  for (const [theirs, ours] of TOKEN_PRICES) {
    const value = price[theirs]
    if (value === undefined) continue
    if (typeof value === 'number') {
      prices[ours] = perMillion(value)
    } else {
      prices[ours] = perMillion(value.base)
      for (const tier of value.tiers) thresholds.add(tier.start)
    }
  }
  const tiers = [...thresholds].sort((a, b) => a - b).map((above) => libraryTier(price, above))
  if (tiers.length > 0) prices.tiers = tiers

  const requests = price['requests_kcount']
  if (typeof requests === 'number') prices.perRequest = perCall(requests)
  const units: Record<string, number> = {}
  for (const [theirs, unit, [power, divisor]] of UNIT_PRICES) {
    const value = price[theirs]
    if (typeof value === 'number') units[unit] ??= Number(divideHalfEven(scaleDecimal(value, power), divisor))
  }
  if (Object.keys(units).length > 0) prices.perUnit = units
  const tools = TOOL_PRICES.flatMap(([theirs, ours]) => {
    const value = price[theirs]
    return typeof value === 'number' ? [[ours, perCall(value)] as const] : []
  })
  if (Object.keys(prices).length === 0) return null
  if (tools.length > 0) prices.perToolCall = Object.fromEntries(tools)
  return prices
}

function libraryTier(price: ModelPrice, above: number): PriceTier {
  const tier: PriceTier = { above }
  for (const [theirs, ours] of TOKEN_PRICES) {
    const value = price[theirs]
    if (typeof value !== 'object') continue
    const crossed = value.tiers.findLast((step) => step.start <= above)
    tier[ours] = perMillion(crossed?.price ?? value.base)
  }
  return tier
}

function overlayPrices(row: OverlayPrices): Partial<Prices> {
  const { tiers, perUnit, ...flat } = row
  const prices: Partial<Prices> = overlayTokens(flat)
  if (perUnit !== undefined) {
    prices.perUnit = Object.fromEntries(Object.entries(perUnit).map(([unit, dollars]) => [unit, perMillionUnits(dollars)]))
  }
  if (tiers !== undefined) prices.tiers = tiers.map(({ above, ...rest }) => ({ above, ...overlayTokens(rest) }))
  return prices
}

function overlayTokens(row: Omit<OverlayPrices, 'tiers' | 'perUnit'>): Partial<Omit<Prices, 'rateVersion' | 'tiers'>> {
  return Object.fromEntries(Object.entries(row).map(([name, dollars]) => [name, perMillion(dollars)]))
}

/** Dollars per million tokens → nano-dollars per million tokens. */
function perMillion(dollars: number | string): number {
  return Number(scaleDecimal(dollars, NANO))
}

/** Dollars per unit → nano-dollars per million units. */
function perMillionUnits(dollars: string): number {
  return Number(scaleDecimal(dollars, NANO + 6))
}

function partsPerMillion(factor: string): number {
  return Number(scaleDecimal(factor, 6))
}

/** Dollars per thousand calls → nano-dollars per call. */
function perCall(dollars: number | string): number {
  return Number(scaleDecimal(dollars, NANO_PER_THOUSANDTH))
}
