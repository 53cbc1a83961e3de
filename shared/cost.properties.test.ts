import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Prices, PriceTier } from '../proto/deployment.ts'
import { NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import { type Cost, costOf, worstCost } from './cost.ts'
import { divideHalfEven } from './money.ts'

const DOLLAR = 1_000_000_000

const usage = (fields: Partial<TokenUsage>): TokenUsage => ({ ...NO_TOKENS, ...fields })
const prices = (fields: Partial<Prices>): Prices => ({ rateVersion: 'test', ...fields })

function parts({ total: _, ...rest }: Cost): number {
  return Object.values(rest).reduce((sum, part) => sum + part, 0)
}

function present(fields: object): Partial<Prices> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

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
    imageInput: tokens,
    imageOutput: tokens,
    videoInput: tokens,
    videoOutput: tokens,
    citation: tokens,
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
    imageInput: price,
    imageOutput: price,
    videoInput: price,
    videoOutput: price,
    citation: price,
  }
  const anyPrices = fc.record(tokenPrices).map((fields) => prices(present(fields)))

  /** The same rules, each written out in BigInt. */
  function oracle(counted: TokenUsage, listed: Prices): bigint {
    const at = (count: number, each: number | undefined): bigint => divideHalfEven(BigInt(count) * BigInt(each ?? 0), 1_000_000n)
    const { imageInput = 0, imageOutput = 0, videoInput = 0, videoOutput = 0 } = counted
    const cached = counted.cacheRead + counted.cacheWrite + counted.cacheWrite1h
    const text = Math.max(0, counted.input - cached - counted.audioInput - imageInput - videoInput)
    const answer = Math.max(0, counted.output - counted.reasoning - counted.audioOutput - imageOutput - videoOutput)
    return (
      at(text, listed.input) +
      at(counted.cacheRead, listed.cacheRead ?? listed.input) +
      at(counted.cacheWrite, listed.cacheWrite ?? listed.input) +
      at(counted.cacheWrite1h, listed.cacheWrite1h ?? listed.cacheWrite ?? listed.input) +
      at(counted.audioInput, listed.audioInput ?? listed.input) +
      at(answer, listed.output) +
      at(counted.reasoning, listed.reasoning ?? listed.output) +
      at(counted.audioOutput, listed.audioOutput ?? listed.output) +
      at(imageInput, listed.imageInput ?? listed.input) +
      at(imageOutput, listed.imageOutput ?? listed.output) +
      at(videoInput, listed.videoInput ?? listed.input) +
      at(videoOutput, listed.videoOutput ?? listed.output) +
      at(counted.citation ?? 0, listed.citation)
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

  it('charges every token once, however they are split into parts', () => {
    const part = fc.integer({ min: 0, max: 10_000 })
    const whole = prices({ input: 1_000_000, output: 1_000_000 })
    fc.assert(
      fc.property(fc.array(part, { minLength: 12, maxLength: 12 }), (sizes) => {
        const [plain = 0, read = 0, write = 0, hour = 0, audio = 0, image = 0, video = 0, answer = 0, thought = 0, said = 0] =
          sizes
        const [audioCached = 0, imageCached = 0] = sizes.slice(10)
        const input = plain + read + write + hour + audio + image + video + audioCached + imageCached
        const counted = usage({
          input,
          cacheRead: read + audioCached + imageCached,
          cacheWrite: write,
          cacheWrite1h: hour,
          audioInput: audio + audioCached,
          audioCacheRead: audioCached,
          imageInput: image + imageCached,
          imageCacheRead: imageCached,
          videoInput: video,
          output: answer + thought + said,
          reasoning: thought,
          audioOutput: said,
        })
        // At one nano-dollar a token, the cost is the number of tokens.
        expect(costOf(counted, whole).total).toBe(input + answer + thought + said)
      }),
    )
  })

  it('takes off and adds shares to the nano-dollar, and is never negative', () => {
    const share = fc.integer({ min: 0, max: 1_000_000 })
    fc.assert(
      fc.property(
        anyUsage,
        anyPrices,
        share,
        fc.integer({ min: 0, max: 3_000_000 }),
        tokens,
        (counted, listed, discount, margin, fixed) => {
          const base = BigInt(costOf(counted, listed).total)
          const left = base - divideHalfEven(base * BigInt(discount), 1_000_000n)
          const cost = costOf(counted, { ...listed, discount, margin, marginFixed: fixed })
          expect(BigInt(cost.total)).toBe(left + divideHalfEven(left * BigInt(margin), 1_000_000n) + BigInt(fixed))
          expect(parts(cost)).toBe(cost.total)
          expect(cost.total).toBeGreaterThanOrEqual(0)
        },
      ),
    )
  })

  it('never costs more than what is held for it, but for the rounding of parts', () => {
    const step = fc.record({ above: fc.integer({ min: 0, max: 200_000 }), ...tokenPrices })
    const tiered = fc.tuple(anyPrices, fc.array(step, { maxLength: 3 })).map(([base, steps]) => ({
      ...base,
      tiers: steps.toSorted((a, b) => a.above - b.above).map((one) => present(one) as PriceTier),
    }))
    const count = fc.integer({ min: 0, max: 50_000 })
    fc.assert(
      fc.property(tiered, count, count, count, count, (listed, plain, write, answer, thought) => {
        const counted = usage({ input: plain + write, cacheWrite: write, output: answer + thought, reasoning: thought })
        const held = worstCost(listed, { inputTokens: plain + write, outputTokens: answer + thought })
        // Four parts, each rounded by half a nano-dollar at most.
        expect(costOf(counted, listed).total).toBeLessThanOrEqual(held + 2)
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
