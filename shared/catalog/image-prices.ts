import type { OverlayRow } from './overlay.ts'

const GOOGLE = ['gemini', 'vertex_ai', 'vertex_ai_beta']
const BEDROCK = ['bedrock', 'bedrock_converse']

/**
 * What images cost, in dollars, by the list of each vendor (https://docs.bfl.ai/quick_start/pricing, https://fal.ai/pricing,
 * https://platform.stability.ai/pricing, https://docs.dev.runwayml.com/guides/pricing, https://www.recraft.ai/docs/api-reference/pricing,
 * https://cloud.google.com/vertex-ai/generative-ai/pricing, https://aws.amazon.com/bedrock/pricing). Entered by hand and not checked against
 * a live page. Recraft and Black Forest Labs tell themselves what an answer cost, which counts before these.
 */
export const IMAGE_PRICES: readonly OverlayRow[] = [
  each(['black_forest_labs'], ['flux-pro-1.1-ultra*'], '0.06'),
  each(['black_forest_labs'], ['flux-pro-1.1*', 'flux-kontext-pro*'], '0.04'),
  each(['black_forest_labs'], ['flux-kontext-max*'], '0.08'),
  each(['black_forest_labs'], ['flux-pro*'], '0.05'),
  each(['black_forest_labs'], ['flux-dev*'], '0.025'),

  each(['fal_ai'], ['fal-ai/flux-pro/v1.1-ultra*', 'fal-ai/imagen4/preview/ultra*', 'fal-ai/ideogram/v3*'], '0.06'),
  each(['fal_ai'], ['fal-ai/flux-pro/v1.1*', 'fal-ai/flux-pro/kontext'], '0.04'),
  each(['fal_ai'], ['fal-ai/imagen4/preview/fast*'], '0.02'),
  each(
    ['fal_ai'],
    [
      'fal-ai/imagen4/preview*',
      'fal-ai/recraft/v3/text-to-image*',
      'fal-ai/stable-diffusion-v35-medium*',
      'bria/text-to-image/3.2*',
    ],
    '0.0398',
  ),
  each(['fal_ai'], ['fal-ai/bytedance/seedream/v3*', 'fal-ai/bytedance/dreamina/v3.1*'], '0.03'),
  each(['fal_ai'], ['fal-ai/flux/schnell*'], '0.003'),

  each(['recraft'], ['recraftv3_vector*', 'recraftv3_svg*'], '0.08'),
  each(['recraft'], ['recraftv3*'], '0.04'),
  each(['recraft'], ['recraftv2*'], '0.022'),

  each(['runwayml'], ['gen4_image_turbo*'], '0.02'),
  // Two classes: what is made of 720 lines costs less.
  {
    providers: ['runwayml'],
    models: ['gen4_image*'],
    mode: 'image',
    prices: {
      perUnit: {
        image_out: '0.08',
        ...Object.fromEntries(
          ['1280x720', '720x1280', '720x720', '960x720', '720x960', '1680x720'].map((size) => [`image_out:${size}`, '0.05']),
        ),
      },
    },
  },

  each(['stability'], ['sd3.5-large-turbo*', 'sd3-large-turbo*'], '0.04'),
  each(['stability'], ['sd3.5-medium*', 'sd3-medium*'], '0.035'),
  each(['stability'], ['sd3*'], '0.065'),
  each(['stability'], ['stable-image-ultra*', 'ultra*'], '0.08'),
  each(['stability'], ['stable-image-core*', 'core*'], '0.03'),

  each(GOOGLE, ['imagen-4.0-ultra*'], '0.06'),
  each(GOOGLE, ['imagen-4.0-fast*', 'imagen-3.0-fast*', 'imagegeneration*'], '0.02'),
  each(GOOGLE, ['imagen-4.0*', 'imagen-3.0*'], '0.04'),

  // By size and quality, named as LiteLLM's catalogue does.
  amazon('amazon.titan-image-generator-v1*', '512_and_512', ['0.008', '0.01', '0.01', '0.012']),
  amazon('amazon.titan-image-generator-v2*', '1024_and_1024', ['0.008', '0.01', '0.01', '0.012']),
  amazon('amazon.nova-canvas*', '1024_and_1024', ['0.04', '0.06', '0.06', '0.08']),
  each(BEDROCK, ['stability.sd3*'], '0.08'),
  each(BEDROCK, ['stability.stable-image-core*'], '0.04'),
  each(BEDROCK, ['stability.stable-image-ultra*'], '0.14'),
  {
    providers: BEDROCK,
    models: ['stability.stable-diffusion-xl*'],
    mode: 'image',
    prices: { perUnit: { image_out: '0.04', 'image_out:more_than_50_steps': '0.08' } },
  },
]

/** The same for every image. */
function each(providers: string[], models: string[], dollars: string): OverlayRow {
  return { providers, models, mode: 'image', prices: { perUnit: { image_out: dollars } } }
}

function amazon(
  model: string,
  pixels: string,
  prices: readonly [small: string, smallPremium: string, large: string, largePremium: string],
): OverlayRow {
  const [small, smallPremium, large, largePremium] = prices
  const perUnit = {
    image_out: small,
    'image_out:premium_image': smallPremium,
    [`image_out:above_${pixels}_pixels`]: large,
    [`image_out:above_${pixels}_pixels_and_premium_image`]: largePremium,
  }
  return { providers: BEDROCK, models: [model], mode: 'image', prices: { perUnit } }
}
