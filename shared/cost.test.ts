import { describe, expect, it } from 'vitest'
import type { Prices } from '../proto/deployment.ts'
import { NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import { createCatalog } from './catalog/catalog.ts'
import { type Cost, costOf, isFree, worstCost } from './cost.ts'

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

describe('costOf of media, units and tools', () => {
  const media = prices({
    input: 2 * DOLLAR,
    output: 8 * DOLLAR,
    cacheRead: 0.5 * DOLLAR,
    audioInput: 40 * DOLLAR,
    audioCacheRead: 20 * DOLLAR,
    imageInput: 3 * DOLLAR,
    imageOutput: 30 * DOLLAR,
    imageCacheRead: 0.6 * DOLLAR,
    videoInput: 5 * DOLLAR,
    citation: DOLLAR,
  })

  it('prices images, video and quoted sources by their own prices, out of the whole', () => {
    const cost = costOf(usage({ input: 100, imageInput: 60, videoInput: 10, output: 50, imageOutput: 40, citation: 7 }), media)
    expect(cost).toMatchObject({
      input: 60_000, // 100 − 60 − 10 = 30 × 2000
      imageInput: 180_000, // 60 × 3000
      videoInput: 50_000, // 10 × 5000
      output: 80_000, // 10 × 8000
      imageOutput: 1_200_000, // 40 × 30,000
      citation: 7_000, // 7 × 1000
      total: 1_577_000,
    })
  })

  it('counts cached audio and images once, though usage has them under the cache and under their kind', () => {
    const counted = usage({ input: 100, cacheRead: 50, audioInput: 30, audioCacheRead: 20, imageInput: 25, imageCacheRead: 10 })
    expect(costOf(counted, media)).toMatchObject({
      input: 50_000, // 100 − 20 cached text − 30 audio − 25 images = 25 × 2000
      cacheRead: 10_000, // 50 − 20 − 10 = 20 × 500
      audioCacheRead: 400_000, // 20 × 20,000
      audioInput: 400_000, // 10 × 40,000
      imageCacheRead: 6_000, // 10 × 600
      imageInput: 45_000, // 15 × 3000
    })
  })

  it('prices units by the million, each name once, with its variant where that has a price', () => {
    const listed = prices({
      perUnit: {
        image_out: 40_000_000_000_000,
        'image_out:hd': 80_000_000_000_000,
        audio_ms_in: 100_000_000,
        character_in: 15_000_000_000,
      },
    })
    // $0.04 an image, $0.08 in high definition; $0.0001 a second; $15 per million characters.
    expect(costOf(usage({ units: { image_out: 2 } }), listed).units).toBe(80_000_000)
    expect(costOf(usage({ units: { 'image_out:hd': 1, 'image_out:1024x1024:low': 1 } }), listed).units).toBe(120_000_000)
    expect(costOf(usage({ units: { audio_ms_in: 1500, character_in: 10, page: 9 } }), listed).units).toBe(150_000 + 150_000)
  })

  it('prices a search by the size of its context where that has a price', () => {
    const listed = prices({ perToolCall: { web_search: 10_000_000, 'web_search:high': 12_000_000 } })
    expect(costOf(usage({ toolCalls: { 'web_search:high': 2, 'web_search:low': 1 } }), listed).toolUse).toBe(34_000_000)
  })

  it('prices the time an attempt takes, unless usage tells the length of what went in', () => {
    const listed = prices({ perElapsed: 200_000_000, perUnit: { audio_ms_in: 200_000_000 } })
    expect(costOf(usage({}), listed, { elapsed: 2500 }).total).toBe(500_000)
    expect(costOf(usage({ units: { audio_ms_in: 1000 } }), listed, { elapsed: 2500 }).total).toBe(200_000)
  })

  it('takes what the provider reports, where the prices say so', () => {
    const counted = usage({ input: 10, reportedCost: 12_345 })
    expect(costOf(counted, prices({ input: DOLLAR, reported: true }))).toMatchObject({
      input: 0,
      reported: 12_345,
      total: 12_345,
    })
    expect(costOf(counted, prices({ input: DOLLAR }))).toMatchObject({ input: 10_000, reported: 0, total: 10_000 })
    expect(costOf(usage({ input: 10 }), prices({ input: DOLLAR, reported: true })).total).toBe(10_000)
  })
})

describe('costOf with service tiers and regions', () => {
  const listed = prices({
    input: 2 * DOLLAR,
    output: 8 * DOLLAR,
    cacheRead: 0.5 * DOLLAR,
    tiers: [{ above: 1000, input: 4 * DOLLAR }],
    serviceTiers: {
      priority: { input: 3 * DOLLAR, output: 12 * DOLLAR, tiers: [{ above: 1000, input: 7 * DOLLAR }] },
      flex: { multiplier: 500_000 },
    },
    regions: { eu: 1_100_000 },
  })
  const counted = usage({ input: 100, cacheRead: 50, output: 10 })

  it.each([
    [undefined, 50 * 2000 + 50 * 500 + 10 * 8000],
    ['default', 50 * 2000 + 50 * 500 + 10 * 8000],
    ['priority', 50 * 3000 + 50 * 500 + 10 * 12_000],
    ['flex', (50 * 2000 + 50 * 500 + 10 * 8000) / 2],
    // No price of its own: half.
    ['batch', (50 * 2000 + 50 * 500 + 10 * 8000) / 2],
  ])('charges the tier %s %i', (tier, nano) => {
    expect(costOf(counted, listed, { tier }).total).toBe(nano)
    expect(costOf(tier === undefined ? counted : { ...counted, serviceTier: tier }, listed).total).toBe(nano)
  })

  it('charges a long call the long price of its tier, or else that of the standard one', () => {
    const long = usage({ input: 1001 })
    expect(costOf(long, listed).total).toBe(1001 * 4000)
    expect(costOf(long, listed, { tier: 'priority' }).total).toBe(1001 * 7000)
    expect(costOf(long, listed, { tier: 'flex' }).total).toBe(1001 * 2000)
  })

  it('adds the uplift of the region that served, or of the deployment’s', () => {
    const plain = 50 * 2000 + 50 * 500 + 10 * 8000
    expect(costOf({ ...counted, region: 'eu' }, listed).total).toBe((plain * 11) / 10)
    expect(costOf(counted, { ...listed, region: 'eu' }).total).toBe((plain * 11) / 10)
    expect(costOf({ ...counted, region: 'us' }, listed).total).toBe(plain)
  })
})

describe('costOf with a discount and a margin', () => {
  it('takes the discount off, then adds the margin to what is left', () => {
    const cost = costOf(usage({ input: 100 }), prices({ input: DOLLAR, discount: 50_000, margin: 100_000, marginFixed: 7 }))
    expect(cost).toMatchObject({ input: 100_000, discount: -5_000, margin: 9_507, total: 104_507 })
    expect(parts(cost)).toBe(cost.total)
  })

  it('applies both to what a provider reports', () => {
    const listed = prices({ reported: true, discount: 500_000, margin: 1_000_000 })
    expect(costOf(usage({ reportedCost: 10 }), listed).total).toBe(10)
  })
})

describe('isFree', () => {
  it('tells a model whose prices are 0 from one without prices', () => {
    expect(isFree(prices({ input: 0, output: 0 }))).toBe(true)
    expect(isFree(prices({}))).toBe(false)
    expect(isFree(null)).toBe(false)
    expect(isFree(prices({ input: 0, output: DOLLAR }))).toBe(false)
    expect(isFree(prices({ input: 0, output: 0, perRequest: 1 }))).toBe(false)
    expect(isFree(prices({ input: 0, output: 0, marginFixed: 1 }))).toBe(false)
    expect(isFree(prices({ input: 0, output: 0, perUnit: { image_out: 1 } }))).toBe(false)
    expect(isFree(prices({ input: 0, output: 0, perToolCall: { web_search: 0 } }))).toBe(true)
  })
})

describe('worstCost', () => {
  it('holds exactly what a plain call costs, where nothing is dearer', () => {
    expect(worstCost(prices({ input: 2 * DOLLAR, output: 8 * DOLLAR }), { inputTokens: 100, outputTokens: 10 })).toBe(280_000)
  })

  it('holds the dearest way: cache writes, reasoning, a crossed tier, the request, the margin', () => {
    const listed = prices({
      input: 2 * DOLLAR,
      output: 8 * DOLLAR,
      cacheWrite: 2.5 * DOLLAR,
      cacheWrite1h: 4 * DOLLAR,
      reasoning: 12 * DOLLAR,
      audioInput: 40 * DOLLAR,
      perRequest: 5,
      tiers: [{ above: 1000, input: 6 * DOLLAR }],
    })
    const tokens = { inputTokens: 100, outputTokens: 10 }
    expect(worstCost(listed, tokens)).toBe(250_000 + 120_000 + 5)
    expect(worstCost(listed, tokens, { longCache: true })).toBe(400_000 + 120_000 + 5)
    expect(worstCost(listed, tokens, { media: true })).toBe(4_000_000 + 120_000 + 5)
    expect(worstCost(listed, { inputTokens: 1001, outputTokens: 0 })).toBe(6_006_005)
    expect(worstCost({ ...listed, margin: 1_000_000, marginFixed: 1 }, tokens)).toBe(2 * 370_005 + 1)
    expect(worstCost({ ...listed, regions: { eu: 2_000_000 }, region: 'eu' }, tokens)).toBe(500_000 + 240_000 + 5)
  })
})
