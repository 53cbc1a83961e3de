import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Prices } from '../proto/deployment.ts'
import { NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import { createCatalog } from './catalog/catalog.ts'
import { type Cost, costOf } from './cost.ts'
import { divideHalfEven } from './money.ts'

const DOLLAR = 1_000_000_000
const NOVEMBER_2026 = Date.UTC(2026, 10, 21)
const catalog = createCatalog({ now: () => NOVEMBER_2026 })

const usage = (fields: Partial<TokenUsage>): TokenUsage => ({ ...NO_TOKENS, ...fields })
const prices = (fields: Partial<Prices>): Prices => ({ rateVersion: 'test', ...fields })

function parts({ total: _, ...rest }: Cost): number {
  return Object.values(rest).reduce((sum, part) => sum + part, 0)
}

describe('costOf', () => {
  // $2 in, $8 out, $0.50 cache read, $2.50 and $4 cache write, $12 reasoning, $40 and $80 audio per million tokens.
  const all = prices({
    input: 2 * DOLLAR,
    output: 8 * DOLLAR,
    cacheRead: 0.5 * DOLLAR,
    cacheWrite: 2.5 * DOLLAR,
    cacheWrite1h: 4 * DOLLAR,
    reasoning: 12 * DOLLAR,
    audioInput: 40 * DOLLAR,
    audioOutput: 80 * DOLLAR,
  })

  it('prices every part of the input once', () => {
    const cost = costOf(usage({ input: 1000, cacheRead: 400, cacheWrite: 100, cacheWrite1h: 50, audioInput: 10 }), all)
    expect(cost).toEqual({
      ...costOf(NO_TOKENS, prices({})),
      input: 880_000, // 1000 − 400 − 100 − 50 − 10 = 440 tokens × 2000
      cacheRead: 200_000, // 400 × 500
      cacheWrite: 250_000, // 100 × 2500
      cacheWrite1h: 200_000, // 50 × 4000
      audioInput: 400_000, // 10 × 40,000
      total: 1_930_000,
    })
  })

  it('prices every part of the output once', () => {
    const cost = costOf(usage({ output: 300, reasoning: 100, audioOutput: 50 }), all)
    expect(cost.output).toBe(1_200_000) // 150 × 8000
    expect(cost.reasoning).toBe(1_200_000) // 100 × 12,000
    expect(cost.audioOutput).toBe(4_000_000) // 50 × 80,000
    expect(cost.total).toBe(6_400_000)
  })

  it('bills cached, audio and reasoning tokens at the plain price when they have none of their own', () => {
    const plain = prices({ input: 2 * DOLLAR, output: 8 * DOLLAR })
    const counted = usage({
      input: 100,
      cacheRead: 40,
      cacheWrite: 20,
      cacheWrite1h: 10,
      audioInput: 5,
      output: 30,
      reasoning: 20,
      audioOutput: 5,
    })
    expect(costOf(counted, plain).total).toBe(100 * 2000 + 30 * 8000)
  })

  it('takes the price of a short cache write for a long one that has none', () => {
    expect(costOf(usage({ input: 10, cacheWrite1h: 10 }), prices({ input: DOLLAR, cacheWrite: 2 * DOLLAR })).total).toBe(20_000)
  })

  it('keeps a price of 0 apart from a missing one', () => {
    expect(costOf(usage({ input: 10, cacheRead: 10 }), prices({ input: DOLLAR, cacheRead: 0 })).total).toBe(0)
    expect(costOf(usage({ input: 10, cacheRead: 10 }), prices({ input: DOLLAR })).total).toBe(10_000)
    expect(costOf(usage({ input: 10, output: 10 }), prices({ output: DOLLAR })).total).toBe(10_000)
  })

  it('prices the whole call by the highest tier its input passes, and not at the threshold itself', () => {
    const tiered = prices({
      input: 3 * DOLLAR,
      output: 15 * DOLLAR,
      cacheRead: 0.3 * DOLLAR,
      tiers: [
        { above: 200_000, input: 6 * DOLLAR, output: 22.5 * DOLLAR },
        { above: 400_000, input: 9 * DOLLAR },
      ],
    })
    expect(costOf(usage({ input: 200_000, output: 10 }), tiered).total).toBe(600_000_000 + 150_000)
    expect(costOf(usage({ input: 200_001, output: 10 }), tiered).total).toBe(1_200_006_000 + 225_000)
    // Above the second: input by it, output by the base price, because a tier that is silent changes nothing.
    expect(costOf(usage({ input: 400_001, output: 10 }), tiered).total).toBe(3_600_009_000 + 150_000)
    // The cache price is the base's, which no tier replaces.
    expect(costOf(usage({ input: 200_001, cacheRead: 200_001 }), tiered).total).toBe(60_000_300)
  })

  it('adds the price per request and per tool call', () => {
    const cost = costOf(
      usage({ toolCalls: { web_search: 3, unknown_tool: 9 } }),
      prices({ perRequest: 5, perToolCall: { web_search: 10_000_000 } }),
    )
    expect(cost).toMatchObject({ request: 5, toolUse: 30_000_000, total: 30_000_005 })
  })

  it('rounds half to even, each component once', () => {
    // Half a nano-dollar per token: 1 → 0.5 → 0, 3 → 1.5 → 2, 5 → 2.5 → 2.
    const half = prices({ input: 500_000 })
    expect([1, 2, 3, 5].map((input) => costOf(usage({ input }), half).total)).toEqual([0, 1, 2, 2])
  })

  it('stays exact where the product passes 2^53', () => {
    // $600 per million × 999,999 tokens: the product is 6×10^17.
    expect(costOf(usage({ output: 999_999 }), prices({ output: 600 * DOLLAR })).total).toBe(599_999_400_000)
  })

  it('bills the parts when a provider reports more of them than the whole', () => {
    expect(costOf(usage({ input: 10, cacheRead: 50, output: 5, reasoning: 9 }), all).total).toBe(50 * 500 + 9 * 12_000)
  })

  it('takes counts that are no positive integers for none', () => {
    for (const wrong of [-1, Number.NaN, 1.5, Number.POSITIVE_INFINITY]) {
      expect(costOf(usage({ input: wrong, output: wrong, cacheRead: wrong }), all).total).toBe(0)
    }
  })
})

// Usage as providers reported it in recorded answers, prices of November 2026 in nano-dollars per token.
describe('costOf with list prices', () => {
  const cases: [provider: string, model: string, counted: Partial<TokenUsage>, nano: number, by: string][] = [
    ['openai', 'gpt-4o-2024-08-06', { input: 235, output: 13 }, 717_500, '235 × 2500 + 13 × 10,000'],
    ['openai', 'text-embedding-3-small', { input: 7 }, 140, '7 × 20'],
    ['openai', 'gpt-4.1-nano-2025-04-14', { input: 515, output: 6 }, 53_900, '515 × 100 + 6 × 400'],
    ['openai', 'gpt-4o-mini-2024-07-18', { input: 27, output: 283 }, 173_850, '27 × 150 + 283 × 600'],
    ['openai', 'gpt-5-nano-2025-08-07', { input: 153, output: 471, reasoning: 448 }, 196_050, '153 × 50 + 471 × 400'],
    ['openai', 'gpt-3.5-turbo-instruct:20230824-v2', { input: 14, output: 16 }, 53_000, '14 × 1500 + 16 × 2000'],
    ['openai', 'gpt-5-2025-08-07', { input: 1348, output: 624, reasoning: 384 }, 7_925_000, '1348 × 1250 + 624 × 10,000'],
    ['openai', 'gpt-5.4-nano-2026-03-17', { input: 110, output: 51 }, 85_750, '110 × 200 + 51 × 1250'],
    [
      'anthropic',
      'claude-3-5-sonnet-20240620',
      { input: 1169, cacheRead: 1165, output: 224 },
      3_721_500,
      '4 × 3000 + 1165 × 300 + 224 × 15,000',
    ],
    [
      'anthropic',
      'claude-sonnet-4-6',
      { input: 9339, cacheRead: 9116, cacheWrite: 219, output: 156 },
      5_908_050,
      '4 × 3000 + 9116 × 300 + 219 × 3750 + 156 × 15,000',
    ],
    [
      'anthropic',
      'claude-haiku-4-5-20251001',
      { input: 11_642, output: 141, toolCalls: { web_search: 1 } },
      22_347_000,
      '11,642 × 1000 + 141 × 5000 + 1 search × 10,000,000',
    ],
    ['anthropic', 'claude-haiku-4-5-20251001', { input: 80, output: 755, reasoning: 456 }, 3_855_000, '80 × 1000 + 755 × 5000'],
    ['anthropic', 'claude-opus-4-8', { input: 13, output: 11 }, 340_000, '13 × 5000 + 11 × 25,000'],
    ['anthropic', 'claude-3-opus-20240229', { input: 17, output: 220 }, 16_755_000, '17 × 15,000 + 220 × 75,000'],
  ]

  it.each(cases)('%s/%s %j costs %i nano-dollars (%s)', (provider, model, counted, nano) => {
    const listed = catalog.prices(provider, model)
    if (listed === null) throw new Error('no price is listed')
    expect(costOf(usage(counted), listed).total).toBe(nano)
  })
})

describe('costOf for any usage and prices', () => {
  const tokens = fc.integer({ min: 0, max: 5_000_000 })
  const price = fc.option(fc.integer({ min: 0, max: 700 * DOLLAR }), { nil: undefined })
  const anyUsage = fc.record({
    input: tokens,
    output: tokens,
    cacheRead: tokens,
    cacheWrite: tokens,
    cacheWrite1h: tokens,
    reasoning: tokens,
    audioInput: tokens,
    audioOutput: tokens,
    estimated: fc.boolean(),
  })
  const tokenPrices = {
    input: price,
    output: price,
    cacheRead: price,
    cacheWrite: price,
    cacheWrite1h: price,
    reasoning: price,
    audioInput: price,
    audioOutput: price,
  }
  const anyPrices = fc
    .record(tokenPrices)
    .map((fields) => prices(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))))

  /** The same rules, each written out in BigInt. */
  function oracle(counted: TokenUsage, listed: Prices): bigint {
    const at = (count: number, each: number | undefined): bigint => divideHalfEven(BigInt(count) * BigInt(each ?? 0), 1_000_000n)
    const text = Math.max(0, counted.input - counted.cacheRead - counted.cacheWrite - counted.cacheWrite1h - counted.audioInput)
    const answer = Math.max(0, counted.output - counted.reasoning - counted.audioOutput)
    return (
      at(text, listed.input) +
      at(counted.cacheRead, listed.cacheRead ?? listed.input) +
      at(counted.cacheWrite, listed.cacheWrite ?? listed.input) +
      at(counted.cacheWrite1h, listed.cacheWrite1h ?? listed.cacheWrite ?? listed.input) +
      at(counted.audioInput, listed.audioInput ?? listed.input) +
      at(answer, listed.output) +
      at(counted.reasoning, listed.reasoning ?? listed.output) +
      at(counted.audioOutput, listed.audioOutput ?? listed.output)
    )
  }

  it('is a whole number, never negative, and the sum of its components', () => {
    fc.assert(
      fc.property(anyUsage, anyPrices, (counted, listed) => {
        const cost = costOf(counted, listed)
        expect(Object.values(cost).every((part) => Number.isSafeInteger(part) && part >= 0)).toBe(true)
        expect(parts(cost)).toBe(cost.total)
      }),
    )
  })

  it('equals exact integer arithmetic', () => {
    fc.assert(
      fc.property(anyUsage, anyPrices, (counted, listed) => BigInt(costOf(counted, listed).total) === oracle(counted, listed)),
    )
  })

  it('adds up over calls when prices leave nothing to round and no tier is crossed', () => {
    // Whole nano-dollars per token: a price that is a multiple of 1,000,000.
    const whole = fc.integer({ min: 0, max: 100_000 }).map((value) => value * 1_000_000)
    fc.assert(
      fc.property(tokens, tokens, tokens, tokens, whole, whole, (inputA, inputB, outputA, outputB, input, output) => {
        const listed = prices({ input, output })
        const together = costOf(usage({ input: inputA + inputB, output: outputA + outputB }), listed).total
        const apart =
          costOf(usage({ input: inputA, output: outputA }), listed).total +
          costOf(usage({ input: inputB, output: outputB }), listed).total
        expect(together).toBe(apart)
      }),
    )
  })

  it('never costs less for more tokens', () => {
    fc.assert(
      fc.property(tokens, tokens, anyPrices, (input, more, listed) => {
        expect(costOf(usage({ input: input + more }), listed).total).toBeGreaterThanOrEqual(
          costOf(usage({ input }), listed).total,
        )
      }),
    )
  })

  it('stays a sum of exact integers for absurd counts', () => {
    const absurd = usage({ input: Number.MAX_SAFE_INTEGER, output: Number.MAX_SAFE_INTEGER, toolCalls: { web_search: 1e9 } })
    const cost = costOf(absurd, prices({ input: 700 * DOLLAR, output: 700 * DOLLAR, perToolCall: { web_search: DOLLAR } }))
    expect(Number.isSafeInteger(cost.total)).toBe(true)
    expect(parts(cost)).toBe(cost.total)
  })
})
