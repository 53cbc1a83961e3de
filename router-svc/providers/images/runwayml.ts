import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import { type Fields, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { runwaySpeech } from '../sound/runwayml.ts'
import { type Asked, imageAdapter, type Made, type Pending } from './adapter.ts'
import { failure, get, imagesIn, objectIn } from './answers.ts'
import { dataUri, imageFields, ratioOf } from './parameters.ts'
import { imageProvider } from './provider.ts'

/** Pixels, whatever it calls them; the first is LiteLLM's default. */
const RATIOS = [
  '1920:1080',
  '1080:1920',
  '1024:1024',
  '1360:768',
  '1080:1080',
  '1168:880',
  '1440:1080',
  '1080:1440',
  '1808:768',
  '2112:912',
  '1280:720',
  '720:1280',
  '720:720',
  '960:720',
  '720:960',
  '1680:720',
]
const EVERY = 2000

/** RunwayML's images: tasks. Their size is one of a list. */
export function runwayml(name: string, row: ProviderRow): Provider {
  const headers = row.headers ?? {}
  const protocol = {
    job: true,
    limit: () => 1,
    read: (answer: UpstreamAnswer, asked: Asked) => readAnswer(name, answer, asked, headers),
  } as const
  const image = imageAdapter<ImageRequest>('image', {
    ...protocol,
    encode: (request, target) => encode(request, target, headers),
  })
  const edit = imageAdapter<ImageEditRequest>('image_edit', {
    ...protocol,
    encode: (request, target) =>
      encode(request, target, headers, { referenceImages: request.image.map((file) => ({ uri: dataUri(file) })) }),
  })
  const provider = imageProvider(name, row, { image, image_edit: edit })
  return { ...provider, speech: runwaySpeech(row, provider.decodeError) }
}

function encode(
  request: ImageRequest,
  target: Target,
  headers: Readonly<Record<string, string>>,
  images: Fields = {},
): UpstreamRequest {
  const {
    prompt,
    size,
    image: _,
    ...fields
  } = imageFields(request, target, {
    unsupported: ['quality', 'style', 'output_format', 'mask'],
  })
  const ratio = pixelsOf(size)
  const sent = postJson(`${target.base}/text_to_image`, { model: target.model, promptText: prompt, ratio, ...images, ...fields })
  return { ...sent, headers: { ...sent.headers, ...headers } }
}

function pixelsOf(size: unknown): string {
  if (typeof size !== 'string') return RATIOS[0] as string
  const exact = size.replace('x', ':')
  return RATIOS.includes(exact) ? exact : (ratioOf(size, RATIOS) as string)
}

/** States: PENDING, THROTTLED, RUNNING → SUCCEEDED, FAILED, CANCELLED. */
function readAnswer(
  name: string,
  answer: UpstreamAnswer,
  { context, target, job }: Asked,
  headers: Readonly<Record<string, string>>,
): Made | Pending {
  const { id, status, output, failure: reason, failureCode, ...rest } = objectIn(answer)
  if (status === 'SUCCEEDED') return { images: imagesIn(output), size: pixelsOf(context.request['size']).replace(':', 'x') }
  if (status === 'FAILED' || status === 'CANCELLED') {
    const code = text(failureCode)
    throw failure(name, `${text(reason, text(status))}${code === '' ? '' : ` (${code})`}`, /SAFETY|MODERATION/i.test(code))
  }
  if (job !== null) return job
  if (typeof id !== 'string' || target === null)
    throw decodeError(name, 200, answer.headers, JSON.stringify({ id, status, ...rest }))
  return { next: { ...get(`${target.base}/tasks/${encodeURIComponent(id)}`), headers: { ...headers } }, after: EVERY }
}
