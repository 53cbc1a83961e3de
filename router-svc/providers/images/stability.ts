import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Fields, isFields, parsedInput, text } from '../json.ts'
import { formParts, multipart } from '../multipart.ts'
import { decodeError } from '../openai/error.ts'
import type { Headers, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { type Asked, imageAdapter, type Made, type Pending } from './adapter.ts'
import { failure, get, imageBytes, imageOf, objectIn } from './answers.ts'
import { imageFields, ratioOf } from './parameters.ts'
import { imageProvider } from './provider.ts'

export const STABILITY_RATIOS = ['1:1', '16:9', '9:16', '3:2', '2:3', '4:5', '5:4', '21:9', '9:21']
/** How far an image made from another may go from it, where it must be said and nobody did. */
export const STABILITY_STRENGTH = 0.7
const UNSUPPORTED = ['quality', 'style=vivid', 'style=natural']
const EVERY = 10_000

/** What edits an image, by what stands in the model's name, in the vendor's spelling and LiteLLM's. First match counts. */
const EDITS: readonly (readonly [RegExp, string])[] = [
  [/outpaint/, 'edit/outpaint'],
  [/inpaint/, 'edit/inpaint'],
  [/erase/, 'edit/erase'],
  [/search.*replace/, 'edit/search-and-replace'],
  [/search.*recolor/, 'edit/search-and-recolor'],
  [/replace-background/, 'edit/replace-background-and-relight'],
  [/remove-background/, 'edit/remove-background'],
  [/fast/, 'upscale/fast'],
  [/conservative/, 'upscale/conservative'],
  [/creative/, 'upscale/creative'],
  [/style-transfer/, 'control/style-transfer'],
  [/sketch/, 'control/sketch'],
  [/structure/, 'control/structure'],
  [/style/, 'control/style'],
]

/** Stability AI: forms in, one image a request out; the slow edits are jobs. */
export function stability(name: string, row: ProviderRow): Provider {
  const limit = () => 1
  const read = (answer: UpstreamAnswer, asked: Asked) => readAnswer(name, answer, asked)
  const readError: Provider['decodeError'] = (status, headers, body) => stabilityError(name, status, headers, body)
  const image = imageAdapter<ImageRequest>('image', { limit, read, encode: encodeNew })
  const edit = imageAdapter<ImageEditRequest>('image_edit', { limit, read, job: true, encode: encodeEdit })
  return imageProvider(name, row, { image, image_edit: edit }, readError)
}

function encodeNew(request: ImageRequest, target: Target): UpstreamRequest {
  const route = generating(target.model)
  return send(route, { ...shape(request, target), ...(route === 'sd3' ? { model: target.model } : {}) }, target)
}

function encodeEdit(request: ImageEditRequest, target: Target): UpstreamRequest {
  const { image, ...fields } = shape(request, target)
  const [first] = image as ImageEditRequest['image']
  const edit = EDITS.find(([pattern]) => pattern.test(target.model))?.[1]
  if (edit !== undefined) {
    const { aspect_ratio: _, ...others } = fields
    return send(edit, { image: first, ...others }, target)
  }
  const route = generating(target.model)
  // It keeps the sides of the image it gets.
  const { aspect_ratio: _, ...others } = fields
  const mode = route === 'sd3' ? { model: target.model, mode: 'image-to-image' } : {}
  return send(route, { image: first, strength: STABILITY_STRENGTH, ...mode, ...others }, target)
}

function shape(request: ImageRequest, target: Target): Fields {
  const { size, ...fields } = imageFields(request, target, { unsupported: UNSUPPORTED })
  const ratio = ratioOf(size, STABILITY_RATIOS)
  return ratio === undefined ? fields : { aspect_ratio: ratio, ...fields }
}

/** Throws `bad_request` for a model that only edits. */
function generating(model: string): string {
  if (/ultra/.test(model)) return 'ultra'
  if (/core/.test(model)) return 'core'
  if (/^(?:sd3|stable-diffusion-3)/.test(model)) return 'sd3'
  throw new GatewayError('bad_request', `litellm.BadRequestError: ${model} makes no images of its own: it edits them.`, {
    param: 'model',
  })
}

function send(route: string, fields: Fields, { base }: Target): UpstreamRequest {
  const root = base.replace(/\/v2beta$/, '')
  const path = route.includes('/') ? route : `generate/${route}`
  const { contentType, body } = multipart(formParts(fields))
  const headers = { 'content-type': contentType, accept: 'application/json' }
  return { method: 'POST', url: `${root}/v2beta/stable-image/${path}`, headers, body }
}

function readAnswer(name: string, answer: UpstreamAnswer, { target, job }: Asked): Made | Pending {
  const bytes = imageBytes(answer)
  if (bytes !== null) return { images: [bytes] }
  const { image, result, finish_reason: reason, id, ...fields } = objectIn(answer)
  if (reason === 'CONTENT_FILTERED') throw failure(name, 'The image was held back by the content filter', true)
  const found = text(image, text(result))
  if (found !== '')
    return { images: [imageOf(found)], fields: { provider_specific_fields: { ...fields, finish_reason: reason } } }
  if (job !== null && answer.status === 202) return { ...job, after: EVERY }
  if (target === null || typeof id !== 'string' || fields['errors'] !== undefined)
    throw stabilityError(name, 200, answer.headers, Buffer.from(answer.body).toString('utf8'))
  const next = get(`${target.base.replace(/\/v2beta$/, '')}/v2beta/results/${encodeURIComponent(id)}`)
  return { next: { ...next, headers: { accept: 'application/json' } }, after: EVERY }
}

/** `{id, name, errors: [...]}`. */
function stabilityError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const parsed = parsedInput(body)
  if (!isFields(parsed) || !Array.isArray(parsed['errors'])) return decodeError(provider, status, headers, body)
  const message = parsed['errors'].map(String).join(' ')
  if (parsed['name'] === 'content_moderation') return failure(provider, message, true, status)
  return decodeError(provider, status, headers, JSON.stringify({ error: { message, code: parsed['name'] } }))
}
