import { describe, expect, it } from 'vitest'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../cost.ts'
import { createCatalog } from './catalog.ts'

const DOLLAR = 1_000_000_000
const catalog = createCatalog()

function costs(model: string, units: Record<string, number>, provider = 'openai'): number {
  const prices = catalog.prices(provider, model)
  if (prices === null) throw new Error(`${model} has no price`)
  return costOf({ ...NO_TOKENS, units }, prices).total
}

describe('images, sounds and characters', () => {
  it.each([
    ['dall-e-2', '256x256:standard', 0.016],
    ['dall-e-2', '512x512:standard', 0.018],
    ['dall-e-2', '1024x1024:standard', 0.02],
    ['dall-e-3', '1024x1024:standard', 0.04],
    ['dall-e-3', '1024x1024:hd', 0.08],
    ['dall-e-3', '1792x1024:standard', 0.08],
    ['dall-e-3', '1024x1792:hd', 0.12],
  ])('%s makes an image of %s for %f dollars', (model, variant, dollars) => {
    expect(costs(model, { [`image_out:${variant}`]: 3, pixel_out: 3 * 1024 * 1024 })).toBe(Math.round(3 * dollars * DOLLAR))
    expect(costs(model, { [`image_out:${variant}`]: 1 }, 'azure')).toBe(Math.round(dollars * DOLLAR))
  })

  it('are read aloud by the character and heard by the second', () => {
    expect(costs('tts-1', { character_in: 1000 })).toBe(0.015 * DOLLAR)
    expect(costs('tts-1-hd', { character_in: 1000 })).toBe(0.03 * DOLLAR)
    expect(costs('whisper-1', { audio_ms_in: 60_000 })).toBe(0.006 * DOLLAR)
    expect(costs('whisper', { audio_ms_in: 60_000 }, 'azure')).toBe(0.006 * DOLLAR)
  })

  it.each([
    ['deepgram', 'nova-3', { audio_ms_in: 60_000 }, 0.0043],
    ['deepgram', 'aura-2-thalia-en', { character_in: 1000 }, 0.03],
    ['elevenlabs', 'scribe_v1', { audio_ms_in: 3_600_000 }, 0.22],
    ['elevenlabs', 'eleven_multilingual_v2', { character_in: 1000, credit: 1000 }, 0.18],
    ['aws_polly', 'neural', { character_in: 1_000_000 }, 16],
    ['cohere', 'rerank-v3.5', { query: 2 }, 0.004],
    ['bedrock', 'amazon.rerank-v1:0', { query: 3 }, 0.003],
  ] as const)('cost at %s (%s) what its page says', (provider, model, units, dollars) => {
    expect(costs(model, units, provider) / DOLLAR).toBeCloseTo(dollars, 4)
  })

  it('are ranked by the token where that is how they are sold, and a search is not billed beside', () => {
    const prices = catalog.prices('voyage', 'rerank-2.5')
    if (prices === null) throw new Error('no price')
    expect(costOf({ ...NO_TOKENS, input: 1_000_000, units: { query: 1 } }, prices).total).toBe(0.05 * DOLLAR)
  })

  it('are billed once where an operator prices images under either name, or by the pixel', () => {
    const usage = { ...NO_TOKENS, units: { 'image_out:1024x1024:standard': 2, pixel_out: 2 * 1024 * 1024 } }
    const at = (perUnit: Record<string, number>) => costOf(usage, { rateVersion: 'r', perUnit }).total
    const dollars = (value: number) => value * DOLLAR * 1_000_000
    expect(at({ image_in: dollars(0.5) })).toBe(DOLLAR)
    expect(at({ image_out: dollars(0.25), image_in: dollars(9), pixel_out: dollars(9) })).toBe(DOLLAR / 2)
    expect(at({ pixel_in: dollars(0.000001) })).toBe(2_097_152_000)
    expect(at({})).toBe(0)
  })

  it('cost what either side of a price by the second says', () => {
    const usage = { ...NO_TOKENS, units: { audio_ms_in: 2000 } }
    expect(costOf(usage, { rateVersion: 'r', perUnit: { audio_ms_out: 1_000_000_000 } }).total).toBe(2_000_000)
  })
})
