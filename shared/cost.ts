import type { Prices, PriceTier, ServiceTierPrices, TokenPrices } from '../proto/deployment.ts'
import type { TokenUsage } from '../proto/usage.ts'
import { divideHalfEven } from './money.ts'

/**
 * What one attempt cost, integer nano-dollars. `total` is exactly the sum of the other fields and never negative; of those only
 * `discount` is ever negative.
 */
export interface Cost {
  total: number
  /** Input tokens that have no place below. */
  input: number
  /** Output tokens that have no place below. */
  output: number
  cacheRead: number
  cacheWrite: number
  cacheWrite1h: number
  reasoning: number
  audioInput: number
  audioOutput: number
  audioCacheRead: number
  audioCacheWrite: number
  imageInput: number
  imageOutput: number
  imageCacheRead: number
  videoInput: number
  videoOutput: number
  citation: number
  /** Images, seconds, characters, pages, … */
  units: number
  /** Tool calls the provider bills apart. */
  toolUse: number
  /** The price per request. */
  request: number
  /** What the provider itself says the call cost; then everything above is 0. */
  reported: number
  /** 0 or negative. */
  discount: number
  margin: number
}

export interface CostOptions {
  /** `priority`, `flex`, `batch`; beats the one usage names. Tiers without prices of their own cost what the standard one does. */
  tier?: string | undefined
  /** Milliseconds the attempt took. */
  elapsed?: number | undefined
}

/** Prices are per this many tokens or units, and multipliers are parts of it. */
const PER = 1_000_000

/**
 * A component never exceeds this many nano-dollars ($281,474), so that the sum of them all stays an exact integer. A call that
 * would pass it was counted wrongly by its provider.
 */
const MOST = Math.floor(Number.MAX_SAFE_INTEGER / 32)

/** Batches cost half where no price for them is known: what every provider with a batch API charges (surface reference §11.1). */
const BATCH: ServiceTierPrices = { multiplier: 500_000 }

const NO_OPTIONS: CostOptions = {}
const NO_TIERS: readonly PriceTier[] = []

/**
 * The cost of one attempt: tokens and units × prices, each component rounded once, half to even, to the nano-dollar. Pure; never
 * negative, whatever a provider reports. Shared by the router (header, hold, settle) and accounting (the truth).
 *
 * Parts are taken out of `usage.input` and `usage.output` before the plain price applies. A provider that reports more parts than
 * the whole is billed for the parts.
 */
export function costOf(usage: TokenUsage, prices: Prices, options: CostOptions = NO_OPTIONS): Cost {
  const cost = noCost()
  if (prices.reported === true && usage.reportedCost !== undefined) cost.reported = Math.min(MOST, count(usage.reportedCost))
  else {
    priceTokens(cost, usage, ratesOf(usage, prices, options.tier ?? usage.serviceTier))
    if (usage.units !== undefined && prices.perUnit !== undefined) cost.units = unitsAt(usage.units, prices.perUnit)
    if (usage.toolCalls !== undefined && prices.perToolCall !== undefined)
      cost.toolUse = callsAt(usage.toolCalls, prices.perToolCall)
    if (prices.perElapsed !== undefined && options.elapsed !== undefined && !hasLength(usage)) {
      cost.units = Math.min(MOST, cost.units + priced(count(options.elapsed), prices.perElapsed))
    }
    cost.request = Math.min(MOST, prices.perRequest ?? 0)
  }
  cost.total = sumOf(cost)
  if (prices.discount !== undefined || prices.margin !== undefined || prices.marginFixed !== undefined) adjust(cost, prices)
  return cost
}

/** Whether a model is free by explicit prices of 0 (then budgets do not hold it up), which a model without known prices is not. */
export function isFree(prices: Prices | null | undefined): boolean {
  if (prices == null || prices.input !== 0 || prices.output !== 0) return false
  if ((prices.perRequest ?? 0) > 0 || (prices.perElapsed ?? 0) > 0 || (prices.marginFixed ?? 0) > 0) return false
  return noneOf(prices.perUnit) && noneOf(prices.perToolCall)
}

function noneOf(prices: Readonly<Record<string, number>> | undefined): boolean {
  return prices === undefined || Object.values(prices).every((price) => price === 0)
}

export interface WorstOptions {
  tier?: string | undefined
  /** The request asks for cache entries that live an hour. */
  longCache?: boolean
  /** Audio or images go in or may come out. */
  media?: boolean
  /** What is billed by the unit, at most; a variant that is the provider's to choose is `auto`. */
  units?: Readonly<Record<string, number>>
}

/**
 * Nano-dollars to hold for a call of at most these tokens and units: the most it can cost by the prices per token, unit and request. What is
 * billed by the tool call, or by the time it takes, is not in it. Pure.
 */
export function worstCost(
  prices: Prices,
  { inputTokens, outputTokens }: { inputTokens: number; outputTokens: number },
  options: WorstOptions = NO_OPTIONS,
): number {
  const plain = options.tier === undefined && prices.region === undefined
  const rates = plain ? prices : tierRates(prices, 0, options.tier, prices.region)
  let input = dearestInput(rates, options)
  let output = dearestOutput(rates, options)
  // Every tier that may be crossed, not only the highest: the true count may be smaller, and a higher tier need not be dearer.
  for (const step of prices.tiers ?? NO_TIERS) {
    if (inputTokens <= step.above) break
    const crossed = plain ? step : tierRates(prices, step.above + 1, options.tier, prices.region)
    input = Math.max(input, dearestInput(crossed, options))
    output = Math.max(output, dearestOutput(crossed, options))
  }
  let base = pricedUp(inputTokens, input) + pricedUp(outputTokens, output) + (prices.perRequest ?? 0)
  if (options.units !== undefined && prices.perUnit !== undefined) base += worstUnits(options.units, prices.perUnit)
  if (prices.margin === undefined && prices.marginFixed === undefined) return base
  return base + pricedUp(base, prices.margin ?? 0) + (prices.marginFixed ?? 0)
}

function dearestInput(rates: TokenPrices, options: WorstOptions): number {
  let most = Math.max(rates.input ?? 0, rates.cacheWrite ?? 0)
  if (options.longCache === true) most = Math.max(most, rates.cacheWrite1h ?? 0)
  if (options.media === true) {
    most = Math.max(most, rates.audioInput ?? 0, rates.audioCacheWrite ?? 0, rates.imageInput ?? 0, rates.videoInput ?? 0)
  }
  return most
}

function dearestOutput(rates: TokenPrices, options: WorstOptions): number {
  const most = Math.max(rates.output ?? 0, rates.reasoning ?? 0)
  if (options.media !== true) return most
  return Math.max(most, rates.audioOutput ?? 0, rates.imageOutput ?? 0, rates.videoOutput ?? 0)
}

/** Fills in the components that count tokens. A part without a price of its own costs what plain tokens of its side cost. */
function priceTokens(cost: Cost, usage: TokenUsage, rates: TokenPrices): void {
  const plainInput = rates.input ?? 0
  const plainOutput = rates.output ?? 0
  const cacheRead = count(usage.cacheRead)
  const cacheWrite = count(usage.cacheWrite)
  const cacheWrite1h = count(usage.cacheWrite1h)
  const reasoning = count(usage.reasoning)
  const audioInput = count(usage.audioInput)
  const audioOutput = count(usage.audioOutput)
  let otherInput = cacheRead + cacheWrite + cacheWrite1h + audioInput
  let otherOutput = reasoning + audioOutput

  if (hasMedia(usage)) {
    const media = priceMedia(cost, usage, rates)
    otherInput += media.input
    otherOutput += media.output
    cost.cacheRead = priced(Math.max(0, cacheRead - media.cacheRead), rates.cacheRead ?? plainInput)
    cost.cacheWrite = priced(Math.max(0, cacheWrite - media.cacheWrite), rates.cacheWrite ?? plainInput)
    cost.audioInput = priced(Math.max(0, audioInput - media.audioCached), rates.audioInput ?? plainInput)
  } else {
    // Without a cache price the provider has no discount (or surcharge) to apply: a cached token costs what any token costs. Taking
    // it as free would hand out budget that is then billed.
    cost.cacheRead = priced(cacheRead, rates.cacheRead ?? plainInput)
    cost.cacheWrite = priced(cacheWrite, rates.cacheWrite ?? plainInput)
    cost.audioInput = priced(audioInput, rates.audioInput ?? plainInput)
  }
  cost.cacheWrite1h = priced(cacheWrite1h, rates.cacheWrite1h ?? rates.cacheWrite ?? plainInput)
  cost.input = priced(Math.max(0, count(usage.input) - otherInput), plainInput)
  cost.reasoning = priced(reasoning, rates.reasoning ?? plainOutput)
  cost.audioOutput = priced(audioOutput, rates.audioOutput ?? plainOutput)
  cost.output = priced(Math.max(0, count(usage.output) - otherOutput), plainOutput)
}

function hasMedia(usage: TokenUsage): boolean {
  return (
    usage.imageInput !== undefined ||
    usage.imageOutput !== undefined ||
    usage.audioCacheRead !== undefined ||
    usage.audioCacheWrite !== undefined ||
    usage.imageCacheRead !== undefined ||
    usage.videoInput !== undefined ||
    usage.videoOutput !== undefined ||
    usage.citation !== undefined
  )
}

/**
 * Images, video, quoted sources, and audio in caches. Says how many tokens of the whole it priced: those of a cache are counted under the
 * cache and under their kind, and must be taken out of the whole once.
 */
function priceMedia(
  cost: Cost,
  usage: TokenUsage,
  rates: TokenPrices,
): { input: number; output: number; cacheRead: number; cacheWrite: number; audioCached: number } {
  const plainInput = rates.input ?? 0
  const plainOutput = rates.output ?? 0
  const audioCacheRead = Math.min(count(usage.audioCacheRead), count(usage.cacheRead), count(usage.audioInput))
  const audioCacheWrite = Math.min(
    count(usage.audioCacheWrite),
    count(usage.cacheWrite),
    count(usage.audioInput) - audioCacheRead,
  )
  const imageInput = count(usage.imageInput)
  const imageCacheRead = Math.min(count(usage.imageCacheRead), count(usage.cacheRead) - audioCacheRead, imageInput)
  const imageOutput = count(usage.imageOutput)
  const videoInput = count(usage.videoInput)
  const videoOutput = count(usage.videoOutput)
  const audioPrice = rates.audioInput ?? plainInput
  const imagePrice = rates.imageInput ?? plainInput
  cost.audioCacheRead = priced(audioCacheRead, rates.audioCacheRead ?? audioPrice)
  cost.audioCacheWrite = priced(audioCacheWrite, rates.audioCacheWrite ?? audioPrice)
  cost.imageCacheRead = priced(imageCacheRead, rates.imageCacheRead ?? rates.cacheRead ?? imagePrice)
  cost.imageInput = priced(imageInput - imageCacheRead, imagePrice)
  cost.imageOutput = priced(imageOutput, rates.imageOutput ?? plainOutput)
  cost.videoInput = priced(videoInput, rates.videoInput ?? plainInput)
  cost.videoOutput = priced(videoOutput, rates.videoOutput ?? plainOutput)
  cost.citation = priced(count(usage.citation), rates.citation ?? 0)
  return {
    input: imageInput - imageCacheRead + videoInput - audioCacheRead - audioCacheWrite,
    output: imageOutput + videoOutput,
    cacheRead: audioCacheRead + imageCacheRead,
    cacheWrite: audioCacheWrite,
    audioCached: audioCacheRead + audioCacheWrite,
  }
}

/** The token prices that hold for a whole attempt: nearly always those that stand there. */
function ratesOf(usage: TokenUsage, prices: Prices, tier: string | undefined): TokenPrices {
  const region = usage.region ?? prices.region
  const input = usage.largestInput ?? usage.input
  if (tier !== undefined || region !== undefined) return tierRates(prices, input, tier, region)
  const crossed = crossedTier(input, prices.tiers)
  return crossed === undefined ? prices : { ...prices, ...crossed }
}

const TOKEN_PRICES = [
  'input',
  'output',
  'cacheRead',
  'cacheWrite',
  'cacheWrite1h',
  'reasoning',
  'audioInput',
  'audioOutput',
  'audioCacheRead',
  'audioCacheWrite',
  'imageInput',
  'imageOutput',
  'imageCacheRead',
  'videoInput',
  'videoOutput',
  'citation',
] as const satisfies readonly (keyof TokenPrices)[]

/** Prices of a service tier and a region, on the grid of all prices: whole nano-dollars per million tokens. */
function tierRates(prices: Prices, input: number, name: string | undefined, region: string | undefined): TokenPrices {
  const tier = name === undefined ? undefined : (prices.serviceTiers?.[name] ?? (name === 'batch' ? BATCH : undefined))
  const uplift = region === undefined ? PER : (prices.regions?.[region] ?? PER)
  const crossed = crossedTier(input, prices.tiers)
  const ownCrossed = crossedTier(input, tier?.tiers)
  const multiplier = tier?.multiplier ?? PER
  const rates: TokenPrices = {}
  for (const part of TOKEN_PRICES) {
    const own = ownCrossed?.[part] ?? (crossed?.[part] === undefined ? tier?.[part] : undefined)
    const standard = crossed?.[part] ?? prices[part]
    const price = own ?? (standard === undefined ? undefined : scaled(standard, multiplier))
    if (price !== undefined) rates[part] = scaled(price, uplift)
  }
  return rates
}

/** The highest tier whose threshold the input passes; it prices the whole call, not only what is above (surface reference §11.2). */
function crossedTier(input: number, tiers: readonly PriceTier[] | undefined): PriceTier | undefined {
  let crossed: PriceTier | undefined
  if (tiers !== undefined) {
    for (const tier of tiers) if (input > tier.above) crossed = tier
  }
  return crossed
}

/** Discount, then margin, each rounded once (surface reference §11.2, rule 7). */
function adjust(cost: Cost, prices: Prices): void {
  const off = scaled(cost.total, Math.min(PER, prices.discount ?? 0))
  cost.discount = off === 0 ? 0 : -off
  const left = cost.total - off
  cost.margin = Math.min(MOST, scaled(left, prices.margin ?? 0)) + Math.min(MOST, prices.marginFixed ?? 0)
  cost.total = left + cost.margin
}

/** `amount × parts / 1,000,000`, half to even. */
function scaled(amount: number, parts: number): number {
  if (parts === PER) return amount
  if (amount * parts <= Number.MAX_SAFE_INTEGER) return priced(amount, parts)
  return Number(divideHalfEven(BigInt(amount) * BigInt(parts), BigInt(PER)))
}

/** `amount × price / 1,000,000`, half to even. Plain numbers while the product is exact (nearly always), BigInt beyond. */
function priced(amount: number, price: number): number {
  if (amount === 0 || price === 0) return 0
  const product = amount * price
  if (product > Number.MAX_SAFE_INTEGER) {
    const exact = divideHalfEven(BigInt(amount) * BigInt(price), BigInt(PER))
    return exact > BigInt(MOST) ? MOST : Number(exact)
  }
  // Not `%`: of numbers above 2^31 it takes 30 ns. The quotient may come out one too high, the product of it is exact either way.
  let quotient = Math.floor(product / PER)
  let rest = product - quotient * PER
  if (rest < 0) {
    quotient -= 1
    rest += PER
  }
  const up = rest > PER / 2 || (rest === PER / 2 && quotient % 2 === 1)
  return Math.min(MOST, up ? quotient + 1 : quotient)
}

/** Whether usage says itself how long the audio or video of a call is. */
function hasLength({ units }: TokenUsage): boolean {
  return units !== undefined && Object.keys(units).some((name) => /^(audio|video)_ms_/.test(name))
}

/** The same rounded up, for what is held. */
function pricedUp(amount: number, price: number): number {
  return Math.min(MOST, Math.ceil((amount * price) / PER))
}

/**
 * Units × prices per million of them, each rounded once. What is told in two units is billed once: images by their number, and by their pixels
 * only where a number has no price.
 */
function unitsAt(units: Readonly<Record<string, number>>, prices: Readonly<Record<string, number>>): number {
  let sum = 0
  const names = Object.keys(units)
  const counted = names.some((name) => name.startsWith('image_out') && unitPrice(name, prices) !== undefined)
  for (const name of names) {
    if (counted && name.startsWith('pixel_out')) continue
    sum += priced(count(units[name]), unitPrice(name, prices) ?? 0)
  }
  return Math.min(MOST, sum)
}

/** The most units can cost: rounded up, and at the dearest price of those a provider may bill them by. */
function worstUnits(units: Readonly<Record<string, number>>, prices: Readonly<Record<string, number>>): number {
  const names = Object.keys(units)
  const dearest = new Map(names.map((name) => [name, dearestPrice(name, prices)]))
  const counted = names.some((name) => name.startsWith('image_out') && unitPrice(name, prices) !== undefined)
  let sum = 0
  for (const [name, price] of dearest) {
    if (!(counted && name.startsWith('pixel_out'))) sum += pricedUp(count(units[name]), price)
  }
  return Math.min(MOST, sum)
}

/** A size, as usage names it; other variants (`premium_image`) are the provider's own words for what was asked in OpenAI's. */
const SIZE = /^\d+x\d+$/

function dearestPrice(name: string, prices: Readonly<Record<string, number>>): number {
  const [unit = '', ...asked] = name.split(':')
  let most = unitPrice(name, prices) ?? 0
  for (const known in prices) {
    const [knownUnit, ...parts] = known.split(':')
    if (knownUnit !== unit) continue
    const own = parts[0] !== undefined && !SIZE.test(parts[0])
    if (own || parts.every((part, at) => part === asked[at] || asked[at] === 'auto')) most = Math.max(most, prices[known] ?? 0)
  }
  return most
}

/** LiteLLM's catalogue prices images that are made, and sound that is heard, under either side's name; the unit's own wins. */
const OTHER_SIDE: Readonly<Record<string, string>> = { image_out: 'image_in', pixel_out: 'pixel_in', audio_ms_in: 'audio_ms_out' }

function unitPrice(name: string, prices: Readonly<Record<string, number>>): number | undefined {
  const own = knownPrice(name, prices)
  const other = OTHER_SIDE[name.split(':', 1)[0] as string]
  return own ?? (other === undefined ? undefined : prices[other])
}

function callsAt(calls: Readonly<Record<string, number>>, prices: Readonly<Record<string, number>>): number {
  let sum = 0
  for (const [name, times] of Object.entries(calls)) sum += count(times) * (knownPrice(name, prices) ?? 0)
  return Math.min(MOST, sum)
}

/** The price of `name:variant:variant`, else of the name with one variant less. */
function knownPrice(name: string, prices: Readonly<Record<string, number>>): number | undefined {
  for (let known = name; ; known = known.slice(0, known.lastIndexOf(':'))) {
    const price = prices[known]
    if (price !== undefined || !known.includes(':')) return price
  }
}

/** Counts come from providers: what is not a positive integer counts as none. */
function count(amount: number | undefined): number {
  return amount !== undefined && amount > 0 && Number.isSafeInteger(amount) ? amount : 0
}

function sumOf(cost: Cost): number {
  return (
    cost.input +
    cost.output +
    cost.cacheRead +
    cost.cacheWrite +
    cost.cacheWrite1h +
    cost.reasoning +
    cost.audioInput +
    cost.audioOutput +
    cost.audioCacheRead +
    cost.audioCacheWrite +
    cost.imageInput +
    cost.imageOutput +
    cost.imageCacheRead +
    cost.videoInput +
    cost.videoOutput +
    cost.citation +
    cost.units +
    cost.toolUse +
    cost.request +
    cost.reported
  )
}

function noCost(): Cost {
  return {
    total: 0,
    input: 0,
    output: 0,
    cacheRead: 0,
    cacheWrite: 0,
    cacheWrite1h: 0,
    reasoning: 0,
    audioInput: 0,
    audioOutput: 0,
    audioCacheRead: 0,
    audioCacheWrite: 0,
    imageInput: 0,
    imageOutput: 0,
    imageCacheRead: 0,
    videoInput: 0,
    videoOutput: 0,
    citation: 0,
    units: 0,
    toolUse: 0,
    request: 0,
    reported: 0,
    discount: 0,
    margin: 0,
  }
}
