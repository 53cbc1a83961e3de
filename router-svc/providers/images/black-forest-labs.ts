import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Fields, isFields, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { type Asked, base64Of, imageAdapter, type Made, type Pending } from './adapter.ts'
import { failure, get, imageOf, objectIn } from './answers.ts'
import { imageFields, pathOf, ratioOf, sides } from './parameters.ts'
import { imageProvider } from './provider.ts'

const RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4', '3:2', '2:3', '21:9', '9:21']
/** Models that take a ratio in place of sides. */
const BY_RATIO = /ultra|kontext/
/** Models that take one image to work on under `image`, all others under `input_image`. */
const FILLS = /fill|expand|canny|depth/
const EVERY = 1500
/** A cent (https://docs.bfl.ai/quick_start/pricing); nano-dollars. */
const CREDIT = 10_000_000

/** Black Forest Labs: every image is a job, whose address says where it is asked for. */
export function blackForestLabs(name: string, row: ProviderRow): Provider {
  const protocol = {
    job: true,
    limit: () => 1,
    read: (answer: UpstreamAnswer, asked: Asked) => readAnswer(name, answer, asked),
  } as const
  const image = imageAdapter<ImageRequest>('image', { ...protocol, encode: (request, target) => encode(request, target) })
  const edit = imageAdapter<ImageEditRequest>('image_edit', {
    ...protocol,
    encode: (request, target) => encode(request, target, imagesOf(request, target)),
  })
  return imageProvider(name, row, { image, image_edit: edit })
}

function encode(request: ImageRequest, target: Target, images: Fields = {}): UpstreamRequest {
  const {
    size,
    quality,
    image: _,
    mask: __,
    ...fields
  } = imageFields(request, target, {
    unsupported: ['style', ...(/ultra/.test(target.model) ? [] : ['quality'])],
  })
  const byRatio = BY_RATIO.test(target.model)
  const ratio = byRatio ? ratioOf(size, RATIOS) : undefined
  const body: Fields = {
    ...(byRatio ? {} : sides(size)),
    ...(ratio === undefined ? {} : { aspect_ratio: ratio }),
    ...images,
    ...fields,
  }
  // As a photograph and not as an illustration.
  if (quality === 'hd' || quality === 'high') body['raw'] ??= true
  const base = target.base.replace(/\/v1$/, '')
  return postJson(`${base}/v1/${pathOf(target.model)}`, body)
}

function imagesOf({ image, mask }: ImageEditRequest, { model }: Target): Fields {
  const name = FILLS.test(model) ? 'image' : 'input_image'
  const images = image.map(({ bytes }, index) => [index === 0 ? name : `${name}_${index + 1}`, base64Of(bytes)])
  return { ...Object.fromEntries(images), ...(mask === null || mask === undefined ? {} : { mask: base64Of(mask.bytes) }) }
}

/** States: Pending, Queued, Processing, … → Ready, or Error, Failed, Request Moderated, Content Moderated, Task not found. */
function readAnswer(name: string, answer: UpstreamAnswer, { job }: Asked): Made | Pending {
  const body = objectIn(answer)
  const status = text(body['status'])
  const next = job?.next ?? (typeof body['polling_url'] === 'string' ? get(body['polling_url']) : null)
  const told = job?.told ?? { cost: body['cost'] }
  if (status === 'Ready') return madeOf(body, told)
  if (/moderated/i.test(status)) throw failure(name, status, true)
  if (/^(?:error|failed|task not found)$/i.test(status)) throw failure(name, reasonOf(body, status))
  if (next === null) {
    if (status === '') throw decodeError(name, 200, answer.headers, JSON.stringify(body))
    throw new GatewayError('provider_malformed', 'The answer does not say where the image is asked for.')
  }
  return { next, after: EVERY, told }
}

function madeOf({ result }: Fields, told: Fields): Made {
  const { sample, width, height, ...fields } = isFields(result) ? result : {}
  if (typeof sample !== 'string') throw new GatewayError('provider_malformed', 'The answer holds no image.')
  const { cost } = told
  return {
    images: [imageOf(sample)],
    fields: { provider_specific_fields: fields },
    ...(typeof width === 'number' ? { size: `${width}x${height}` } : {}),
    ...(typeof cost === 'number' && cost >= 0 ? { cost: Math.round(cost * CREDIT) } : {}),
  }
}

function reasonOf({ details, result }: Fields, status: string): string {
  const found = details ?? result
  if (found === null || found === undefined) return status
  return `${status}: ${typeof found === 'string' ? found : JSON.stringify(found)}`
}
