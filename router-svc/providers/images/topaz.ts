import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageVariationRequest } from '../../canonical/image.ts'
import type { Fields } from '../json.ts'
import { formParts, multipart } from '../multipart.ts'
import { decodeError } from '../openai/error.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { imageAdapter, type Made } from './adapter.ts'
import { imageBytes } from './answers.ts'
import { imageFields, sides } from './parameters.ts'
import { imageProvider } from './provider.ts'

/** Topaz Labs: an image in, the same one better out. Its answer is the image's bytes. */
export function topaz(name: string, row: ProviderRow): Provider {
  const read = (answer: UpstreamAnswer): Made => {
    const image = imageBytes(answer)
    if (image !== null) return { images: [image] }
    throw decodeError(name, 200, answer.headers, Buffer.from(answer.body).toString('utf8'))
  }
  return imageProvider(name, row, {
    image_variation: imageAdapter<ImageVariationRequest>('image_variation', { limit: () => 1, read, encode }),
  })
}

function encode(request: ImageVariationRequest, target: Target): UpstreamRequest {
  const {
    image,
    size,
    output_format: format = 'jpeg',
    ...fields
  } = imageFields(request, target, { unsupported: ['quality', 'style'] })
  const [first, second] = image as ImageVariationRequest['image']
  if (second !== undefined)
    throw new GatewayError('bad_request', 'litellm.BadRequestError: image must be one image.', { param: 'image' })
  const { width, height } = sides(size)
  const asked: Fields = {
    model: target.model,
    image: first,
    output_width: width,
    output_height: height,
    output_format: format,
    ...fields,
  }
  const { contentType, body } = multipart(formParts(asked))
  const headers = { 'content-type': contentType, accept: `image/${format}` }
  return { method: 'POST', url: `${target.base}/image/v1/enhance`, headers, body }
}
