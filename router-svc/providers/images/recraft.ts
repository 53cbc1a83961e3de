import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import type { Fields } from '../json.ts'
import { formParts, multipart } from '../multipart.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer } from '../provider.ts'
import { imageAdapter, type Made } from './adapter.ts'
import { imagesIn, objectIn } from './answers.ts'
import { imageFields } from './parameters.ts'
import { imageProvider } from './provider.ts'

/** Its own styles have other names than OpenAI's two. */
const UNSUPPORTED = ['quality', 'style=vivid', 'style=natural']
/** How far an image made from another may go from it; it must be said. */
const STRENGTH = 0.2
/** A thousandth of a dollar each (https://www.recraft.ai/docs/api-reference/getting-started); nano-dollars. */
const API_UNIT = 1_000_000

/** Recraft: OpenAI's form with more members; its answers tell what they cost. */
export function recraft(name: string, row: ProviderRow): Provider {
  const image = imageAdapter<ImageRequest>('image', {
    read,
    encode: (request, target, count) =>
      postJson(`${baseOf(target)}/images/generations`, { model: target.model, ...fieldsOf(request, target, count) }),
  })
  const edit = imageAdapter<ImageEditRequest>('image_edit', { read, encode: encodeEdit })
  return imageProvider(name, row, { image, image_edit: edit })
}

function encodeEdit(request: ImageEditRequest, target: Target, count: number) {
  const { image, mask, ...fields } = fieldsOf(request, target, count)
  const masked = mask !== undefined
  const form: Fields = { model: target.model, image, ...(masked ? { mask } : { strength: STRENGTH }), ...fields }
  const { contentType, body } = multipart(formParts(form))
  const url = `${baseOf(target)}/images/${masked ? 'inpaint' : 'imageToImage'}`
  return { method: 'POST' as const, url, headers: { 'content-type': contentType }, body }
}

function fieldsOf(request: ImageRequest, target: Target, count: number): Fields {
  const fields = imageFields(request, target, { unsupported: UNSUPPORTED })
  if (request.response_format) fields['response_format'] = request.response_format
  if (request.n) fields['n'] = count
  return fields
}

/** Operators give its address with or without the version. */
function baseOf({ base }: Target): string {
  return base.endsWith('/v1') ? base : `${base}/v1`
}

function read(answer: UpstreamAnswer): Made {
  const { data, image, credits, created: _, ...fields } = objectIn(answer)
  const images = Array.isArray(data)
    ? data.map((entry) =>
        typeof entry === 'object' && entry !== null && 'b64_json' in entry ? (entry as Made['images'][number]) : one(entry),
      )
    : imagesIn(image)
  const cost = typeof credits === 'number' && credits >= 0 ? { cost: Math.round(credits * API_UNIT) } : {}
  return { images, fields: { ...fields, ...(credits === undefined ? {} : { credits }) }, ...cost }
}

function one(entry: unknown): Made['images'][number] {
  const [image] = imagesIn(entry)
  return { ...(typeof entry === 'object' ? (entry as Fields) : {}), ...image }
}
