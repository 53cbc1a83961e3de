import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { entryOf } from '../../../shared/entry.ts'
import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Fields, isFields, parsedInput, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { sidesOf } from '../openai/media-usage.ts'
import { postJson } from '../post-json.ts'
import type { Headers, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { falHearing } from '../sound/fal.ts'
import { type Asked, imageAdapter, type Made, type Pending } from './adapter.ts'
import { failure, get, imagesIn, objectIn } from './answers.ts'
import { dataUri, imageFields, pathOf, ratioOf } from './parameters.ts'
import { imageProvider } from './provider.ts'

/** Its names for sizes; others go as width and height. */
const SIZES: Readonly<Record<string, string>> = {
  '1024x1024': 'square_hd',
  '512x512': 'square',
  '1024x768': 'landscape_4_3',
  '768x1024': 'portrait_4_3',
  '1792x1024': 'landscape_16_9',
  '1024x1792': 'portrait_16_9',
  '1024x576': 'landscape_16_9',
  '576x1024': 'portrait_16_9',
}

/** Models that take a ratio in place of a size. */
const BY_RATIO = /ultra|imagen|kontext|nano-banana|gemini|bria\//
const RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4', '3:2', '2:3', '21:9']
const IMAGEN_RATIOS = RATIOS.slice(0, 5)
/** Models that take several images, always as a list. */
const LISTS = /\/edit(?:$|\/)|multi|nano-banana|seedream/

const EVERY = 1000

/** fal.ai: a body per model at an address per model. A base of its queue (`https://queue.fal.run`) makes jobs of them. */
export function fal(name: string, row: ProviderRow): Provider {
  const read = (answer: UpstreamAnswer, asked: Asked) => readAnswer(name, answer, asked)
  const image = imageAdapter<ImageRequest>('image', { read, encode: (request, target, count) => encode(request, target, count) })
  const edit = imageAdapter<ImageEditRequest>('image_edit', {
    read,
    encode: (request, target, count) => encode(request, target, count, imagesOf(request, target)),
  })
  const readError: Provider['decodeError'] = (status, headers, body) => falError(name, status, headers, body)
  return { ...imageProvider(name, row, { image, image_edit: edit }, readError), ...falHearing(readError) }
}

function encode(request: ImageRequest, target: Target, count: number, images: Fields = {}): UpstreamRequest {
  const {
    size,
    image: _,
    mask: __,
    ...fields
  } = imageFields(request, target, { unsupported: ['quality', 'style=vivid', 'style=natural'] })
  const body: Fields = { ...sizeOf(size, target.model), num_images: count, ...images, ...fields }
  // The image in the answer itself, and kept nowhere.
  if (request.response_format === 'b64_json') body['sync_mode'] ??= true
  return postJson(`${target.base}/${pathOf(target.model)}`, body)
}

function sizeOf(size: unknown, model: string): Fields {
  if (size === undefined) return {}
  if (BY_RATIO.test(model)) return { aspect_ratio: ratioOf(size, /imagen/.test(model) ? IMAGEN_RATIOS : RATIOS) }
  const named = typeof size === 'string' ? entryOf(SIZES, size) : undefined
  if (named !== undefined) return { image_size: named }
  const sides = sidesOf(size)
  return { image_size: sides === null ? size : { width: sides[0], height: sides[1] } }
}

function imagesOf({ image, mask }: ImageEditRequest, { model }: Target): Fields {
  const urls = image.map(dataUri)
  const [first] = urls
  const images = urls.length > 1 || LISTS.test(model) ? { image_urls: urls } : { image_url: first }
  return mask === null || mask === undefined ? images : { ...images, mask_url: dataUri(mask) }
}

function readAnswer(name: string, answer: UpstreamAnswer, { job }: Asked): Made | Pending {
  const body = objectIn(answer)
  const found = body['images'] ?? body['image']
  if (found !== undefined && found !== null) return madeOf(body, found)
  const response = text(body['response_url'], text(job?.told?.['response_url']))
  const status = text(body['status_url'], text(job?.told?.['status_url']))
  if (status !== '' && body['error'] === undefined && body['detail'] === undefined) {
    const done = body['status'] === 'COMPLETED'
    return { next: get(done ? response : status), after: done ? 0 : EVERY, told: { response_url: response, status_url: status } }
  }
  throw falError(name, 200, answer.headers, JSON.stringify(body))
}

function madeOf({ images: _, image: __, ...fields }: Fields, found: unknown): Made {
  const first: unknown = Array.isArray(found) ? found[0] : found
  const size = isFields(first) && Number(first['width']) > 0 ? `${first['width']}x${first['height']}` : undefined
  return { images: imagesIn(found), fields: { provider_specific_fields: fields }, size }
}

/** `{detail}`: a sentence, or a list of what was wrong where. */
function falError(name: string, status: number, headers: Headers, body: string) {
  const parsed = parsedInput(body)
  const detail = isFields(parsed) ? parsed['detail'] : undefined
  if (!Array.isArray(detail)) return decodeError(name, status, headers, body)
  const errors = detail.filter(isFields)
  const message = errors.map(({ loc, msg }) => `${Array.isArray(loc) ? `${loc.join('.')}: ` : ''}${text(msg)}`).join('; ')
  if (errors.some(({ type }) => type === 'content_policy_violation')) return failure(name, message, true, status)
  return decodeError(name, status, headers, JSON.stringify({ error: { message } }))
}
