import { GatewayError } from '../../../shared/errors.ts'
import type { ImageRequest } from '../../canonical/image.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { imageAdapter, type Made } from './adapter.ts'
import { imageBytes } from './answers.ts'
import { imageFields, pathOf, sides } from './parameters.ts'

/**
 * Text to image by Hugging Face's task protocol, which its own inference service and endpoints of operators share; the answer is the image.
 * `router`: the address of the router where that is who is asked, else null.
 */
export function huggingfaceImages(
  router: (target: Target) => string | null,
  readError: Provider['decodeError'],
): Pick<Provider, 'image'> {
  const read = (answer: UpstreamAnswer): Made => {
    const bytes = imageBytes(answer)
    if (bytes === null) throw readError(200, answer.headers, Buffer.from(answer.body).toString('utf8'))
    return { images: [bytes] }
  }
  const encode = (request: ImageRequest, target: Target): UpstreamRequest => {
    const { prompt, size, ...given } = imageFields(request, target, { unsupported: ['quality', 'style', 'output_format'] })
    const parameters = { ...sides(size), ...given }
    const body = { inputs: prompt, ...(Object.keys(parameters).length === 0 ? {} : { parameters }) }
    const root = router(target)
    const sent = postJson(root === null ? target.base : `${root}/hf-inference/models/${pathOf(modelOf(target))}`, body)
    return { ...sent, headers: { ...sent.headers, accept: 'image/png' } }
  }
  return { image: imageAdapter<ImageRequest>('image', { limit: () => 1, read, encode }) }
}

/** Throws `bad_request` for a model another service is to run: each has its own way there, and a provider of its own here. */
function modelOf({ model }: Target): string {
  const parts = model.split('/')
  if (parts.length < 3) return model
  if (parts[0] === 'hf-inference') return parts.slice(1).join('/')
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: images of ${parts[0]} are not asked for through Hugging Face: use that provider itself.`,
    { param: 'model' },
  )
}
