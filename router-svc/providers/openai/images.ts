import { NO_TOKENS } from '../../../proto/usage.ts'
import type { MediaRow } from '../../../shared/catalog/media.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageEditRequest, ImageRequest, ImageResponse, ImageVariationRequest } from '../../canonical/image.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { type Fields, isFields, jsonObject, sourceOf } from '../json.ts'
import { formParts, multipart } from '../multipart.ts'
import type { Adapter, DecodeContext, Forwarded, Headers, Target, UpstreamRequest } from '../provider.ts'
import { forwardedEvents, forwardedWhole } from './forwarded-events.ts'
import { billedUnits, imageUnits, mediaTokens, sidesOf, withUnits } from './media-usage.ts'
import type { RequestEncoder } from './request.ts'
import type { ErrorReader } from './response.ts'

type AnyImageRequest = ImageRequest | ImageEditRequest | ImageVariationRequest
type ImageMode = 'image' | 'image_edit' | 'image_variation'

/** Images of OpenAI's protocol: JSON for new ones, forms for what begins with an image. */
export function imageAdapter<Request extends AnyImageRequest>(
  mode: ImageMode,
  media: MediaRow,
  encoder: RequestEncoder,
  readError: ErrorReader,
): Adapter<Request, ImageResponse, never> {
  return {
    mode,
    encodeRequest(request, target) {
      const body = encoder.shape(request, target)
      fitModel(body, target)
      fitWords(body, media)
      if (mode === 'image') return encoder.wrap(target, JSON.stringify(body))
      if (media.edits !== undefined) return encoder.wrap(target, JSON.stringify(editAsJson(body, media.edits)))
      return asForm(encoder, target, body)
    },
    decodeResponse: (body, headers, context) => decodeImages(body, headers, context, readError),
    forward: (headers, context) => forwardImages(headers, context, readError),
  }
}

/** The request as a form. */
export function asForm(encoder: RequestEncoder, target: Target, fields: Readonly<Fields>): UpstreamRequest {
  const { contentType, body } = multipart(formParts(fields))
  const sent = encoder.wrap(target, body)
  return { ...sent, headers: { ...sent.headers, 'content-type': contentType } }
}

/** GPT image models answer with base64 always and refuse to be asked for it. */
function fitModel(body: Fields, target: Target): void {
  if (/^(?:.*\/)?(?:gpt-image|chatgpt-image)/.test(target.baseModel ?? target.model)) {
    if (body['response_format'] === 'b64_json') delete body['response_format']
  }
}

/** The provider's words for sizes and forms. */
function fitWords(body: Fields, media: MediaRow): void {
  if (media.base64 !== undefined && body['response_format'] === 'b64_json') body['response_format'] = media.base64
  if (media.imageSize === undefined) return
  const sides = sidesOf(body['size'])
  if (sides === null) {
    if (body['size'] === 'auto') delete body['size']
    return
  }
  const [width, height] = sides
  delete body['size']
  if (media.imageSize === 'sides') Object.assign(body, { width, height })
  else body['image_size'] = { width, height }
}

function editAsJson({ image, mask, ...body }: Fields, form: 'references' | 'image'): Fields {
  const urls = (image as UploadedFile[]).map((file) => ({ type: 'image_url', url: dataUrl(file) }))
  if (form === 'references') {
    if (mask !== undefined && mask !== null) {
      throw new GatewayError('unsupported_parameter', 'This provider edits images without a mask.', { param: 'mask' })
    }
    return { ...body, input_references: urls.map(({ type, url }) => ({ type, image_url: { url } })) }
  }
  return urls.length === 1 ? { ...body, image: urls[0] } : { ...body, images: urls }
}

function dataUrl({ type, bytes }: UploadedFile): string {
  return `data:${type};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')}`
}

function decodeImages(body: Uint8Array, headers: Headers, context: DecodeContext, readError: ErrorReader): ImageResponse {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  const list = [answer['data'], answer['images'], answer['output']].find(Array.isArray) as unknown[] | undefined
  if (list === undefined) {
    if (answer['error'] !== undefined && answer['error'] !== null) throw readError(200, headers, source)
    throw new GatewayError('provider_malformed', 'The answer holds no images.')
  }
  const { images: _, output: __, ...rest } = answer
  const { created } = answer
  return {
    ...rest,
    created: typeof created === 'number' && created > 0 ? Math.floor(created) : context.created,
    data: list.map(imageOf),
    billing: billingOf(answer, list.length, context),
  }
}

/** Providers write an image as its address, its base64, or an object of either. */
function imageOf(raw: unknown): ImageResponse['data'][number] {
  if (typeof raw === 'string') return fromText(raw)
  if (!isFields(raw)) throw new GatewayError('provider_malformed', 'The answer holds an image that is none.')
  if (typeof raw['url'] === 'string' || typeof raw['b64_json'] === 'string') return raw
  const { image, image_url: address, image_base64: base64, ...rest } = raw
  const found = [image, base64, address, isFields(address) ? address['url'] : undefined].find(
    (value) => typeof value === 'string',
  )
  if (found === undefined) return raw
  return { ...rest, ...fromText(found as string) }
}

function fromText(text: string): { url: string } | { b64_json: string } {
  if (/^https?:/.test(text)) return { url: text }
  return { b64_json: text.replace(/^data:[^,]*,/, '') }
}

function billingOf(answer: Fields, count: number, { request }: DecodeContext) {
  const tokens = mediaTokens(answer['usage'], 'image_tokens')
  const units = imageUnits(count, request, answer)
  return tokens === null ? billedUnits(units) : withUnits(tokens, units)
}

function forwardImages(headers: Headers, context: DecodeContext, readError: ErrorReader): Forwarded | null {
  const { request } = context
  if (request['stream'] !== true) return null
  const type = headers['content-type'] ?? ''
  if (!type.includes('event-stream')) {
    return forwardedWhole(type, (body) => {
      const answer = decodeImages(body, headers, context, readError)
      return answer.billing ?? billedUnits({})
    })
  }
  return forwardedEvents(headers, {
    last: ['image_generation.completed', 'image_edit.completed'],
    readError,
    billed: (event) => {
      const tokens = mediaTokens(event['usage'], 'image_tokens')
      return tokens === null ? null : withUnits(tokens, imageUnits(1, request, event))
    },
    otherwise: (ends) => (ends === 0 ? { ...NO_TOKENS, estimated: true } : billedUnits(imageUnits(ends, request, {}))),
  })
}
