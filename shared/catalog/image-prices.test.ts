import { describe, expect, it } from 'vitest'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../cost.ts'
import { createCatalog } from './catalog.ts'

const DOLLAR = 1_000_000_000
const catalog = createCatalog()

describe('an image', () => {
  it.each([
    ['black_forest_labs', 'flux-pro-1.1', 'image_out:1024x1024:standard', 0.04],
    ['black_forest_labs', 'flux-pro-1.1-ultra', 'image_out:1024x1024:hd', 0.06],
    ['fal_ai', 'fal-ai/flux/schnell', 'image_out:1024x768:standard', 0.003],
    ['recraft', 'recraftv2', 'image_out:1024x1024:standard', 0.022],
    ['runwayml', 'gen4_image', 'image_out:1920x1080:standard', 0.08],
    ['runwayml', 'gen4_image', 'image_out:1280x720:standard', 0.05],
    ['stability', 'sd3.5-large-turbo', 'image_out:1024x1024:standard', 0.04],
    ['gemini', 'imagen-4.0-fast-generate-001', 'image_out:1024x1024:standard', 0.02],
    ['vertex_ai', 'imagen-3.0-generate-002', 'image_out:1024x1024:standard', 0.04],
    ['bedrock', 'amazon.titan-image-generator-v1', 'image_out', 0.008],
    ['bedrock', 'amazon.titan-image-generator-v1', 'image_out:above_512_and_512_pixels_and_premium_image', 0.012],
    ['bedrock', 'amazon.nova-canvas-v1:0', 'image_out:premium_image', 0.06],
    ['bedrock', 'stability.stable-diffusion-xl-v1', 'image_out:more_than_50_steps', 0.08],
  ])('of %s %s as %s costs %f dollars', (provider, model, unit, dollars) => {
    const prices = catalog.prices(provider, model)
    if (prices === null) throw new Error('no price')
    expect(costOf({ ...NO_TOKENS, units: { [unit]: 2, pixel_out: 99 } }, prices).total).toBe(Math.round(2 * dollars * DOLLAR))
  })

  it('costs what its vendor said, where it says so', () => {
    const prices = catalog.prices('recraft', 'recraftv3')
    if (prices === null) throw new Error('no price')
    expect(costOf({ ...NO_TOKENS, units: { image_out: 1 }, reportedCost: 35_000_000 }, prices).total).toBe(35_000_000)
  })

  it('of Gemini is not billed beside its tokens', () => {
    expect(catalog.prices('gemini', 'gemini-2.5-flash-image')?.perUnit).toBeUndefined()
  })
})
