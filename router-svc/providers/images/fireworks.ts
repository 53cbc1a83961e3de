import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Fields, isFields, text } from '../json.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { type Asked, imageAdapter, type Made, type Pending } from './adapter.ts'
import { imageBytes, imagesIn, objectIn } from './answers.ts'
import { dataUri, imageFields, pathOf, ratioOf, sides } from './parameters.ts'

const RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4', '3:2', '2:3', '4:5', '5:4', '21:9', '9:21']
const EVERY = 1000

/**
 * Images of Fireworks: FLUX by workflows, of which Kontext makes jobs; older models at a route of their own, by sides. The answer is the image.
 */
export function fireworksImages(readError: Provider['decodeError']): Pick<Provider, 'image' | 'image_edit'> {
  const protocol = {
    job: true,
    limit: () => 1,
    read: (answer: UpstreamAnswer, asked: Asked) => readAnswer(answer, asked, readError),
  } as const
  return {
    image: imageAdapter<ImageRequest>('image', { ...protocol, encode: (request, target) => encode(request, target) }),
    image_edit: imageAdapter<ImageEditRequest>('image_edit', {
      ...protocol,
      encode: (request, target) => encode(request, target, imagesOf(request)),
    }),
  }
}

function encode(request: ImageRequest, target: Target, images: Fields = {}): UpstreamRequest {
  const {
    size,
    image: _,
    ...fields
  } = imageFields(request, target, { unsupported: ['quality', 'style', 'output_format', 'mask'] })
  const byRatio = /flux/.test(target.model)
  const ratio = byRatio ? ratioOf(size, RATIOS) : undefined
  const sized = byRatio ? (ratio === undefined ? {} : { aspect_ratio: ratio }) : sides(size)
  const sent = postJson(addressOf(target), { ...sized, ...images, ...fields })
  return isJob(target) ? sent : { ...sent, headers: { ...sent.headers, accept: 'image/png' } }
}

function isJob({ model }: Target): boolean {
  return model.includes('kontext')
}

function addressOf(target: Target): string {
  const { base, model } = target
  const path = pathOf(model.startsWith('accounts/') ? model : `accounts/fireworks/models/${model}`)
  if (isJob(target)) return `${base}/workflows/${path}`
  return /flux/.test(model) ? `${base}/workflows/${path}/text_to_image` : `${base}/image_generation/${path}`
}

function imagesOf({ image }: ImageEditRequest): Fields {
  return Object.fromEntries(image.map((file, index) => [index === 0 ? 'input_image' : `input_image_${index + 1}`, dataUri(file)]))
}

/** States of jobs: Pending, … → Ready, or Error, Failed, … Moderated. */
function readAnswer(answer: UpstreamAnswer, { target, job }: Asked, readError: Provider['decodeError']): Made | Pending {
  const bytes = imageBytes(answer)
  if (bytes !== null) return { images: [bytes] }
  const body = objectIn(answer)
  const status = text(body['status'])
  if (status === 'Ready') return { images: imagesIn(isFields(body['result']) ? body['result']['sample'] : body['result']) }
  if (/moderated|error|failed|not found/i.test(status)) {
    const code = /moderated/i.test(status) ? 'content_policy_violation' : 'failed'
    throw readError(200, answer.headers, JSON.stringify({ error: { message: status, code } }))
  }
  if (job !== null) return job
  const id = text(body['request_id'])
  if (id === '' || target === null) throw readError(200, answer.headers, JSON.stringify(body))
  return { next: postJson(`${addressOf(target)}/get_result`, { id }), after: EVERY }
}
