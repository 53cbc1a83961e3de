import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../cost.ts'
import { deploymentPrices } from './prices.ts'

const DOLLAR = 1_000_000_000
const LISTED: Prices = {
  rateVersion: 'list',
  input: 3 * DOLLAR,
  output: 15 * DOLLAR,
  cacheRead: 0.3 * DOLLAR,
  cacheWrite: 3.75 * DOLLAR,
  perToolCall: { web_search: 10_000_000 },
  tiers: [{ above: 200_000, input: 6 * DOLLAR, output: 22.5 * DOLLAR }],
}

describe('deploymentPrices', () => {
  it('takes the catalogue’s when none are set', () => {
    expect(deploymentPrices({ model: 'openai/x' }, {}, LISTED)).toBe(LISTED)
    expect(deploymentPrices({}, {}, null)).toBeNull()
    expect(deploymentPrices({ input_cost_per_token: null }, {}, LISTED)).toBe(LISTED)
  })

  it('converts dollars per token exactly, as number, text or with exponent', () => {
    // As floats 5.5e-07 × 10¹⁵ may miss 550,000,000 by one.
    expect(deploymentPrices({ input_cost_per_token: 0.00000055, output_cost_per_token: '2.19e-06' }, {}, null)).toMatchObject({
      input: 550_000_000,
      output: 2_190_000_000,
    })
    expect(deploymentPrices({ input_cost_per_token: '0.000000000000001' }, {}, null)).toMatchObject({ input: 1 })
  })

  it('prefers litellm_params over model_info', () => {
    expect(
      deploymentPrices({ input_cost_per_token: 1e-6 }, { input_cost_per_token: 2e-6, output_cost_per_token: 3e-6 }, null),
    ).toMatchObject({
      input: DOLLAR,
      output: 3 * DOLLAR,
    })
  })

  it('makes a model set to 0 free, cached tokens and long inputs included', () => {
    const prices = deploymentPrices({ input_cost_per_token: 0, output_cost_per_token: 0 }, {}, LISTED)
    expect(prices).toMatchObject({ input: 0, output: 0 })
    expect(prices?.tiers).toBeUndefined()
    if (prices === null) throw new Error('no prices')
    expect(costOf({ ...NO_TOKENS, input: 500_000, cacheRead: 100_000, cacheWrite: 1000, output: 9000 }, prices).total).toBe(0)
  })

  it('replaces only the side that is set', () => {
    const prices = deploymentPrices({ input_cost_per_token: 1e-6 }, {}, LISTED)
    expect(prices).toMatchObject({ input: DOLLAR, output: 15 * DOLLAR, tiers: [{ above: 200_000, output: 22.5 * DOLLAR }] })
    expect(prices).not.toHaveProperty('cacheRead')
    expect(prices?.tiers?.[0]).not.toHaveProperty('input')
    expect(prices?.perToolCall).toEqual({ web_search: 10_000_000 })
  })

  it('sets a single price beside the catalogue’s others', () => {
    expect(deploymentPrices({ cache_read_input_token_cost: 1e-7 }, {}, LISTED)).toMatchObject({
      input: 3 * DOLLAR,
      cacheRead: 0.1 * DOLLAR,
      tiers: LISTED.tiers,
    })
    expect(deploymentPrices({ input_cost_per_token_cache_hit: 1e-7 }, {}, null)).toMatchObject({ cacheRead: 0.1 * DOLLAR })
  })

  it('reads tiers from names, sorted, and prices per request and per tool call', () => {
    const prices = deploymentPrices(
      {
        input_cost_per_token: 1e-6,
        input_cost_per_token_above_200k_tokens: 3e-6,
        output_cost_per_token_above_200k_tokens: 9e-6,
        input_cost_per_token_above_128k_tokens: 2e-6,
        cache_creation_input_token_cost_above_1hr: 4e-6,
        cache_creation_input_token_cost_above_1hr_above_200k_tokens: 8e-6,
        input_cost_per_request: '0.005',
        search_context_cost_per_query: { search_context_size_medium: 0.01 },
        file_search_cost_per_1k_calls: 2.5,
      },
      {},
      null,
    )
    expect(prices).toEqual({
      input: DOLLAR,
      cacheWrite1h: 4 * DOLLAR,
      tiers: [
        { above: 128_000, input: 2 * DOLLAR },
        { above: 200_000, input: 3 * DOLLAR, output: 9 * DOLLAR, cacheWrite1h: 8 * DOLLAR },
      ],
      perRequest: 5_000_000,
      perToolCall: { web_search: 10_000_000, file_search: 2_500_000 },
      rateVersion: expect.stringMatching(/^config:[0-9a-f]{12}$/),
    })
  })

  it('gives equal prices one version and other prices another', () => {
    const version = (price: string): string | undefined =>
      deploymentPrices({ input_cost_per_token: price }, {}, LISTED)?.rateVersion
    expect(version('0.000001')).toBe(version('1e-6'))
    expect(version('0.000001')).not.toBe(version('0.000002'))
  })

  it('refuses a price that is no decimal', () => {
    expect(() => deploymentPrices({ input_cost_per_token: 'cheap' }, {}, null)).toThrow(RangeError)
  })
})
