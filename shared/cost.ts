import type { Prices } from '../proto/deployment.ts'
import type { TokenUsage } from '../proto/usage.ts'
import { divideHalfEven } from './money.ts'

/** What one attempt cost, integer nano-dollars. `total` is exactly the sum of the other fields. */
export interface Cost {
  total: number
  /** Input tokens that were neither read from nor written to a cache, nor audio. */
  input: number
  /** Output tokens that were neither reasoning nor audio. */
  output: number
  cacheRead: number
  cacheWrite: number
  cacheWrite1h: number
  reasoning: number
  audioInput: number
  audioOutput: number
  /** Tool calls the provider bills apart. */
  toolUse: number
  /** The price per request. */
  request: number
}

/** Prices are per this many tokens. */
const PER = 1_000_000

/**
 * A component never exceeds this many nano-dollars ($562,949), so that the sum of all ten stays an exact integer. A call that
 * would pass it was counted wrongly by its provider.
 */
const MOST = Math.floor(Number.MAX_SAFE_INTEGER / 16)

type TokenPrices = Pick<
  Prices,
  'input' | 'output' | 'cacheRead' | 'cacheWrite' | 'cacheWrite1h' | 'reasoning' | 'audioInput' | 'audioOutput'
>

/**
 * The cost of one attempt: tokens × prices, each component rounded once, half to even, to the nano-dollar. Pure; never
 * negative, whatever a provider reports. Shared by the router (header, hold, settle) and accounting (the truth).
 *
 * `usage.input` includes cached and audio tokens and `usage.output` includes reasoning and audio: they are taken out before the
 * plain price applies. A provider that reports more parts than the whole is billed for the parts.
 */
export function costOf(usage: TokenUsage, prices: Prices): Cost {
  const tier = crossedTier(usage.input, prices)
  const price = (name: keyof TokenPrices): number | undefined => tier?.[name] ?? prices[name]
  const plainInput = price('input') ?? 0
  const plainOutput = price('output') ?? 0
  // Without a cache price the provider has no discount (or surcharge) to apply: a cached token costs what any token costs. Taking
  // it as free would hand out budget that is then billed.
  const cacheWritePrice = price('cacheWrite') ?? plainInput

  const cacheRead = count(usage.cacheRead)
  const cacheWrite = count(usage.cacheWrite)
  const cacheWrite1h = count(usage.cacheWrite1h)
  const audioInput = count(usage.audioInput)
  const reasoning = count(usage.reasoning)
  const audioOutput = count(usage.audioOutput)
  const plainInputTokens = Math.max(0, count(usage.input) - cacheRead - cacheWrite - cacheWrite1h - audioInput)
  const plainOutputTokens = Math.max(0, count(usage.output) - reasoning - audioOutput)

  const cost: Cost = {
    total: 0,
    input: tokensAt(plainInputTokens, plainInput),
    output: tokensAt(plainOutputTokens, plainOutput),
    cacheRead: tokensAt(cacheRead, price('cacheRead') ?? plainInput),
    cacheWrite: tokensAt(cacheWrite, cacheWritePrice),
    cacheWrite1h: tokensAt(cacheWrite1h, price('cacheWrite1h') ?? cacheWritePrice),
    reasoning: tokensAt(reasoning, price('reasoning') ?? plainOutput),
    audioInput: tokensAt(audioInput, price('audioInput') ?? plainInput),
    audioOutput: tokensAt(audioOutput, price('audioOutput') ?? plainOutput),
    toolUse: toolUse(usage, prices),
    request: Math.min(MOST, prices.perRequest ?? 0),
  }
  cost.total =
    cost.input +
    cost.output +
    cost.cacheRead +
    cost.cacheWrite +
    cost.cacheWrite1h +
    cost.reasoning +
    cost.audioInput +
    cost.audioOutput +
    cost.toolUse +
    cost.request
  return cost
}

/** The highest tier whose threshold the input passes; it prices the whole call, not only what is above (surface reference §11.2). */
function crossedTier(input: number, prices: Prices): TokenPrices | undefined {
  let crossed: TokenPrices | undefined
  if (prices.tiers !== undefined) {
    for (const tier of prices.tiers) if (input > tier.above) crossed = tier
  }
  return crossed
}

/** `tokens × price / 1,000,000`, half to even. Plain numbers while the product is exact (nearly always), BigInt beyond. */
function tokensAt(tokens: number, price: number): number {
  if (tokens === 0 || price === 0) return 0
  const product = tokens * price
  if (product > Number.MAX_SAFE_INTEGER) {
    const exact = divideHalfEven(BigInt(tokens) * BigInt(price), BigInt(PER))
    return exact > BigInt(MOST) ? MOST : Number(exact)
  }
  const rest = product % PER
  const quotient = (product - rest) / PER
  const up = rest > PER / 2 || (rest === PER / 2 && quotient % 2 === 1)
  return up ? quotient + 1 : quotient
}

function toolUse(usage: TokenUsage, prices: Prices): number {
  if (usage.toolCalls === undefined || prices.perToolCall === undefined) return 0
  let sum = 0
  for (const [name, calls] of Object.entries(usage.toolCalls)) sum += count(calls) * (prices.perToolCall[name] ?? 0)
  return Math.min(MOST, sum)
}

/** Token counts come from providers: what is not a positive integer counts as none. */
function count(tokens: number): number {
  return Number.isSafeInteger(tokens) && tokens > 0 ? tokens : 0
}
