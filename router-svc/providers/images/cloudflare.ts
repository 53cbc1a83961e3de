import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { isFields, text } from '../json.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { base64Of, imageAdapter, type Made } from './adapter.ts'
import { imageBytes, imageOf, objectIn } from './answers.ts'
import { imageFields, sides } from './parameters.ts'

const UNSUPPORTED = ['quality', 'style', 'output_format']

/** Images of Workers AI, by its native route: one a request, as bytes or as base64, as the model likes. */
export function cloudflareImages(readError: Provider['decodeError']): Pick<Provider, 'image' | 'image_edit'> {
  const limit = () => 1
  const read = (answer: UpstreamAnswer): Made => {
    const bytes = imageBytes(answer)
    if (bytes !== null) return { images: [bytes] }
    const body = objectIn(answer)
    const image = text((isFields(body['result']) ? body['result'] : body)['image'])
    if (image === '') throw readError(200, answer.headers, JSON.stringify(body))
    return { images: [imageOf(image)] }
  }
  return {
    image: imageAdapter<ImageRequest>('image', { limit, read, encode: (request, target) => encode(request, target) }),
    image_edit: imageAdapter<ImageEditRequest>('image_edit', {
      limit,
      read,
      encode: (request, target) => {
        const { image, mask } = request
        const masked = mask === null || mask === undefined ? {} : { mask_image: [...mask.bytes] }
        return encode(request, target, { image_b64: base64Of((image[0] as { bytes: Uint8Array }).bytes), ...masked })
      },
    }),
  }
}

function encode(request: ImageRequest, target: Target, images: Readonly<Record<string, unknown>> = {}): UpstreamRequest {
  const { size, image: _, mask: __, ...fields } = imageFields(request, target, { unsupported: UNSUPPORTED })
  const root = target.base.replace(/\/(?:run|v1)$/, '')
  return postJson(`${root}/run/${target.model}`, { ...sides(size), ...images, ...fields })
}
