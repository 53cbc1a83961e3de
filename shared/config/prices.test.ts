import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../cost.ts'
import { isActingPrice } from './price-fields.ts'
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

  it('reads prices of media, units and tools', () => {
    const prices = deploymentPrices(
      {
        input_cost_per_image_token: 3e-6,
        output_cost_per_image_token: 3e-5,
        cache_read_input_audio_token_cost: 4e-7,
        citation_cost_per_token: 2e-6,
        output_cost_per_image: 0.04,
        output_cost_per_image_above_1024_and_1024_pixels: 0.08,
        input_cost_per_pixel: '2.4414e-10',
        input_cost_per_audio_per_second: 0.0001,
        output_cost_per_video_per_second: 0.5,
        input_cost_per_character: 1.5e-5,
        ocr_cost_per_page: 0.001,
        input_cost_per_query: 0.002,
        code_interpreter_cost_per_session: 0.03,
        search_context_cost_per_query: {
          search_context_size_low: 0.03,
          search_context_size_medium: 0.035,
          search_context_size_high: 0.05,
        },
      },
      {},
      null,
    )
    expect(prices).toMatchObject({
      imageInput: 3 * DOLLAR,
      imageOutput: 30 * DOLLAR,
      audioCacheRead: 0.4 * DOLLAR,
      citation: 2 * DOLLAR,
      perUnit: {
        image_out: 40_000 * DOLLAR,
        'image_out:above_1024_and_1024_pixels': 80_000 * DOLLAR,
        pixel_in: 244_140,
        audio_ms_in: 100_000_000,
        video_ms_out: 500 * DOLLAR,
        character_in: 15 * DOLLAR,
        page: 1000 * DOLLAR,
        query: 2000 * DOLLAR,
      },
      perToolCall: {
        code_interpreter: 30_000_000,
        'web_search:low': 30_000_000,
        web_search: 35_000_000,
        'web_search:high': 50_000_000,
      },
    })
  })

  it('reads prices per second as those of audio, and of the time of what has no length', () => {
    expect(deploymentPrices({ input_cost_per_second: 0.0002 }, {}, null)).toMatchObject({
      perUnit: { audio_ms_in: 200_000_000 },
      perElapsed: 200_000_000,
    })
  })

  it('reads service tiers, with thresholds, and regions', () => {
    const fields = {
      input_cost_per_token: 2e-6,
      input_cost_per_token_priority: 4e-6,
      input_cost_per_token_above_200k_tokens_priority: 8e-6,
      input_cost_per_token_batches: 1e-6,
      cache_read_input_token_cost_flex: 1e-7,
      regional_processing_uplift_multiplier_eu: 1.1,
    }
    expect(deploymentPrices({ ...fields, api_base: 'https://eu.api.openai.com/v1' }, {}, null)).toMatchObject({
      serviceTiers: {
        priority: { input: 4 * DOLLAR, tiers: [{ above: 200_000, input: 8 * DOLLAR }] },
        batch: { input: DOLLAR },
        flex: { cacheRead: 0.1 * DOLLAR },
      },
      regions: { eu: 1_100_000 },
      region: 'eu',
    })
    expect(deploymentPrices({ ...fields, api_base: 'https://api.openai.com/v1' }, {}, null)).not.toHaveProperty('region')
  })

  it('reads ranges as prices and tiers', () => {
    const tiered_pricing = [
      { range: [0, 32_000], input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 },
      { range: [32_000, 128_000], input_cost_per_token: 3e-6 },
    ]
    expect(deploymentPrices({ tiered_pricing }, {}, null)).toMatchObject({
      input: DOLLAR,
      output: 2 * DOLLAR,
      tiers: [{ above: 32_000, input: 3 * DOLLAR }],
    })
    expect(() => deploymentPrices({ tiered_pricing: [{ range: 'all' }] }, {}, null)).toThrow(/tiered_pricing\[0\]/)
  })

  it('believes the operator over what a provider reports, and over everything else where both prices are 0', () => {
    const reported: Prices = { ...LISTED, reported: true, perUnit: { image_out: 5 } }
    expect(deploymentPrices({ input_cost_per_token: 1e-6 }, {}, reported)).not.toHaveProperty('reported')
    expect(deploymentPrices({ cache_read_input_token_cost: 1e-7 }, {}, reported)).toMatchObject({ reported: true })
    const free = deploymentPrices({ input_cost_per_token: 0, output_cost_per_token: 0 }, {}, reported)
    expect(free).toEqual({ input: 0, output: 0, rateVersion: expect.any(String) })
  })

  it.each([
    ['input_cost_per_token', -1],
    ['output_cost_per_image', '12 dollars'],
    ['output_cost_per_image', 10],
    ['regional_processing_uplift_multiplier_eu', 'more'],
  ])('refuses %s %s, naming it', (name, value) => {
    expect(() => deploymentPrices({ [name]: value }, {}, null)).toThrow(new RegExp(name))
  })
})

describe('isActingPrice', () => {
  it('knows the prices that charge something, by their whole names', () => {
    for (const name of [
      'input_cost_per_token',
      'cache_creation_input_token_cost_above_1hr_above_200k_tokens',
      'output_cost_per_token_above_272k_tokens_flex',
      'output_cost_per_image_above_512_and_512_pixels_and_premium_image',
      'input_cost_per_video_per_second_above_15s_interval',
      'tiered_pricing',
      'regional_processing_uplift_multiplier_us',
    ]) {
      expect(isActingPrice(name), name).toBe(true)
    }
    for (const name of [
      'input_dbu_cost_per_token',
      'vector_store_cost_per_gb_per_day',
      'output_cost_per_character',
      'temperature',
    ]) {
      expect(isActingPrice(name), name).toBe(false)
    }
  })
})
