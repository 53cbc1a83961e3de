import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Asked, imageAdapter, type Made, type Pending } from '../images/adapter.ts'
import { get, imagesIn, objectIn } from '../images/answers.ts'
import { dataUri, imageFields, ratioOf, sides } from '../images/parameters.ts'
import type { Fields } from '../json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { addressOf, createPrediction, failed, replicateError, statusOf } from './prediction.ts'

const RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4', '3:2', '2:3', '4:5', '5:4', '21:9', '9:21']
const EVERY = 1000

/** Models that say how large an image is by its sides, and by OpenAI's word; all others by a ratio. */
const BY_SIDES = /sdxl|stable-diffusion(?!-3)|playground|kandinsky|lcm/
const BY_SIZE = /recraft|dall-e/

/** What models call the images they work on; the first match counts. All others: `image`. */
const INPUTS: readonly (readonly [RegExp, string, 'one' | 'list'])[] = [
  [/kontext/, 'input_image', 'one'],
  [/gpt-image|flux-2/, 'input_images', 'list'],
  [/nano-banana|seedream|gemini/, 'image_input', 'list'],
]

/** Images are predictions: one each, for few models make several and none says so. */
export function replicateImages(name: string): Pick<Provider, 'image' | 'image_edit'> {
  const protocol = {
    job: true,
    limit: () => 1,
    read: (answer: UpstreamAnswer, asked: Asked) => readAnswer(name, answer, asked),
  } as const
  return {
    image: imageAdapter<ImageRequest>('image', { ...protocol, encode: (request, target) => encode(request, target) }),
    image_edit: imageAdapter<ImageEditRequest>('image_edit', {
      ...protocol,
      encode: (request, target) => encode(request, target, imagesOf(request, target)),
    }),
  }
}

function encode(request: ImageRequest, target: Target, images: Fields = {}): UpstreamRequest {
  const knows = /gpt-image/.test(target.model) ? ['background', 'moderation', 'output_compression', 'input_fidelity'] : []
  const {
    size,
    image: _,
    mask: __,
    ...fields
  } = imageFields(request, target, {
    unsupported: ['style=vivid', 'style=natural', ...(knows.length > 0 ? [] : ['quality'])],
    known: knows,
  })
  return createPrediction({ ...sizeOf(size, target.model), ...images, ...fields }, target, false)
}

function sizeOf(size: unknown, model: string): Fields {
  if (size === undefined) return {}
  if (BY_SIZE.test(model)) return { size }
  if (BY_SIDES.test(model)) return sides(size)
  return { aspect_ratio: ratioOf(size, RATIOS) }
}

function imagesOf({ image, mask }: ImageEditRequest, { model }: Target): Fields {
  const [, name, form] = INPUTS.find(([pattern]) => pattern.test(model)) ?? [null, 'image', 'one']
  const uris = image.map(dataUri)
  const named = form === 'list' ? [[name, uris]] : uris.map((uri, index) => [index === 0 ? name : `${name}_${index + 1}`, uri])
  return { ...Object.fromEntries(named), ...(mask === null || mask === undefined ? {} : { mask: dataUri(mask) }) }
}

function readAnswer(name: string, answer: UpstreamAnswer, { job }: Asked): Made | Pending {
  const prediction = objectIn(answer)
  const status = statusOf(prediction)
  if (status === 'succeeded') {
    const { output, metrics } = prediction
    return { images: imagesIn(output), ...(metrics === undefined ? {} : { fields: { provider_specific_fields: { metrics } } }) }
  }
  if (status === 'over') throw failed(name, prediction)
  const address = addressOf(prediction, 'get')
  if (job !== null) return job
  if (status === null || address === null) throw replicateError(name, 200, answer.headers, JSON.stringify(prediction))
  return { next: get(address), after: EVERY }
}
