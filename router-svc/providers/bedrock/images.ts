import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { numeric } from '../../../shared/numeric.ts'
import type { ImageEditRequest, ImageRequest, ImageVariationRequest } from '../../canonical/image.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { type AnyImageRequest, type Asked, base64Of, imageAdapter, type Made } from '../images/adapter.ts'
import { failure, objectIn } from '../images/answers.ts'
import { imageFields, ratioOf, sides } from '../images/parameters.ts'
import { STABILITY_RATIOS, STABILITY_STRENGTH } from '../images/stability.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { decodeError } from './errors.ts'
import { invokeRequest, isForService } from './invoke.ts'
import { namesOf } from './models.ts'
import { type Fields, isFields, text } from './wire.ts'

/** Images through InvokeModel, in the words of each model's maker. */
interface Family {
  /** Images of one request. */
  limit: number
  /** OpenAI's parameters it has no counterpart to. */
  unsupported: readonly string[]
  body(fields: Fields, count: number, target: Target): Fields
}

/** Amazon's Titan and Nova Canvas: one of several tasks. */
const AMAZON: Family = {
  limit: 5,
  unsupported: ['style', 'output_format'],
  body({ prompt, size, quality, image, mask, ...fields }, count) {
    const images = filesOf(image)
    const { taskType = taskOf(images, mask), negative_prompt: negative, ...given } = fields
    const { imageGenerationConfig: config, cfg_scale: scale, cfgScale = scale, seed, ...rest } = given
    const params = entryOf(PARAMS, String(taskType))
    const generation: Fields = {
      numberOfImages: count,
      ...sides(size),
      ...(quality === undefined ? {} : { quality: qualityOf(quality) }),
      ...(cfgScale === undefined ? {} : { cfgScale }),
      ...(seed === undefined ? {} : { seed }),
      ...(isFields(config) ? config : {}),
    }
    const about = params === undefined ? {} : { [params]: paramsOf(params, { prompt, negative, images, mask }, rest[params]) }
    return { ...rest, taskType, ...about, imageGenerationConfig: generation }
  },
}

/** Where what a task is about stands. */
const PARAMS: Readonly<Record<string, string>> = {
  TEXT_IMAGE: 'textToImageParams',
  INPAINTING: 'inPaintingParams',
  OUTPAINTING: 'outPaintingParams',
  IMAGE_VARIATION: 'imageVariationParams',
  COLOR_GUIDED_GENERATION: 'colorGuidedGenerationParams',
  BACKGROUND_REMOVAL: 'backgroundRemovalParams',
}

function taskOf(images: readonly UploadedFile[], mask: unknown): string {
  if (images.length === 0) return 'TEXT_IMAGE'
  return mask === undefined ? 'IMAGE_VARIATION' : 'INPAINTING'
}

interface About {
  prompt: unknown
  negative: unknown
  images: UploadedFile[]
  mask: unknown
}

function paramsOf(params: string, { prompt, negative, images, mask }: About, given: unknown): Fields {
  const [first] = images
  const image: Fields = {}
  if (params === 'imageVariationParams') image['images'] = images.map(({ bytes }) => base64Of(bytes))
  else if (first !== undefined) image[params.startsWith('color') ? 'referenceImage' : 'image'] = base64Of(first.bytes)
  const [masking] = filesOf([mask])
  return {
    ...(prompt === undefined || params === 'backgroundRemovalParams' ? {} : { text: prompt }),
    ...(negative === undefined ? {} : { negativeText: negative }),
    ...image,
    ...(masking === undefined ? {} : { maskImage: base64Of(masking.bytes) }),
    ...(isFields(given) ? given : {}),
  }
}

/** Stability's models of the third generation, and its services that edit. */
const STABILITY: Family = {
  limit: 1,
  unsupported: ['quality', 'style=vivid', 'style=natural'],
  body({ prompt, size, image, mask, ...fields }, _count, target) {
    const [first] = filesOf(image)
    const [masking] = filesOf([mask])
    const generates = /sd3|stable-image-(?:core|ultra)/.test(namesOf(target))
    const ratio = ratioOf(size, STABILITY_RATIOS)
    if (first === undefined)
      return {
        prompt,
        ...(generates && /sd3/.test(namesOf(target)) ? { mode: 'text-to-image' } : {}),
        ...(ratio === undefined ? {} : { aspect_ratio: ratio }),
        ...fields,
      }
    return {
      ...(prompt === undefined ? {} : { prompt }),
      ...(generates ? { mode: 'image-to-image', strength: STABILITY_STRENGTH } : {}),
      image: base64Of(first.bytes),
      ...(masking === undefined ? {} : { mask: base64Of(masking.bytes) }),
      ...fields,
    }
  },
}

/** Stable Diffusion XL, which counts steps. */
const DIFFUSION: Family = {
  limit: 1,
  unsupported: ['quality', 'style=vivid', 'style=natural', 'output_format', 'mask'],
  body({ prompt, size, image, style, negative_prompt: negative, ...fields }) {
    const [first] = filesOf(image)
    return {
      text_prompts: [
        { text: prompt ?? '', weight: 1 },
        ...(typeof negative === 'string' ? [{ text: negative, weight: -1 }] : []),
      ],
      ...(first === undefined ? sides(size) : { init_image: base64Of(first.bytes) }),
      ...(style === undefined ? {} : { style_preset: style }),
      ...fields,
    }
  },
}

/** First match counts. */
const FAMILIES: readonly (readonly [RegExp, Family])[] = [
  [/titan-image|nova-canvas/, AMAZON],
  [/stable-diffusion/, DIFFUSION],
  [/stability/, STABILITY],
]

/** Throws GatewayError `unsupported_endpoint` for a model that makes none. */
function familyOf(target: Target): Family {
  const names = namesOf(target).toLowerCase()
  for (const [pattern, family] of FAMILIES) if (pattern.test(names)) return family
  throw new GatewayError('unsupported_endpoint', `${target.model} on Bedrock makes no images.`, { param: 'model' })
}

const limit = (target: Target) => familyOf(target).limit

/** Images of every model that makes them. */
export const IMAGES: Pick<Provider, 'image' | 'image_edit' | 'image_variation'> = {
  image: imageAdapter<ImageRequest>('image', { limit, read, encode }),
  image_edit: imageAdapter<ImageEditRequest>('image_edit', { limit, read, encode }),
  image_variation: imageAdapter<ImageVariationRequest>('image_variation', { limit, read, encode }),
}

function encode(request: AnyImageRequest, target: Target, count: number): UpstreamRequest {
  const family = familyOf(target)
  const given = imageFields(request, target, { unsupported: family.unsupported })
  const fields = Object.fromEntries(Object.entries(given).filter(([name]) => !isForService(name)))
  return invokeRequest(family.body(fields, count, target), given, target)
}

function read(answer: UpstreamAnswer, { context: { request, model } }: Asked): Made {
  const body = objectIn(answer)
  const { images, artifacts, error, finish_reasons: reasons } = body
  if (typeof error === 'string' && error !== '')
    throw failure('bedrock', error, /blocked|filter|content|responsible/i.test(error))
  const held = Array.isArray(reasons) ? reasons.find((reason) => typeof reason === 'string' && reason !== '') : undefined
  if (held !== undefined) throw failure('bedrock', held, /filter/i.test(String(held)))
  if (Array.isArray(images))
    return {
      images: images.map((image) => ({ b64_json: text(image) })),
      ...(/titan-image|nova-canvas/.test(model) ? { variant: variantOf(request, model) } : {}),
    }
  if (Array.isArray(artifacts)) return fromArtifacts(artifacts.filter(isFields), request)
  throw decodeError(200, answer.headers, JSON.stringify(body))
}

/** The two there are, by any name for the better one. */
function qualityOf(quality: unknown): string {
  return /^(?:hd|high|premium)$/.test(String(quality)) ? 'premium' : 'standard'
}

/** Of Amazon's prices, by LiteLLM's names for them. Without a size it is 1024 by 1024. */
function variantOf(request: Readonly<Fields>, model: string): string {
  const limit = model.includes('titan-image-generator-v1') ? 512 : 1024
  const { width = 1024, height = 1024 } = sides(request['size'])
  const large = width * height > limit * limit ? `above_${limit}_and_${limit}_pixels` : ''
  const premium = qualityOf(request['quality']) === 'premium' ? 'premium_image' : ''
  return [large, premium].filter((part) => part !== '').join('_and_')
}

function fromArtifacts(artifacts: readonly Fields[], request: Readonly<Fields>): Made {
  if (artifacts.some(({ finishReason }) => finishReason === 'CONTENT_FILTERED'))
    throw failure('bedrock', 'The image was held back by the content filter', true)
  const steps = numeric(request['steps'] ?? 0)
  return {
    images: artifacts.map(({ base64 }) => ({ b64_json: text(base64) })),
    ...(steps > 50 ? { variant: 'more_than_50_steps' } : {}),
  }
}

function filesOf(value: unknown): UploadedFile[] {
  const list: unknown[] = Array.isArray(value) ? value : []
  return list.filter((entry): entry is UploadedFile => isFields(entry) && entry['bytes'] instanceof Uint8Array)
}
