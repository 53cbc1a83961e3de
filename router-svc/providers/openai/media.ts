import type { Mode } from '../../../proto/endpoints.ts'
import type { MediaRow } from '../../../shared/catalog/media.ts'
import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { fireworksImages } from '../images/fireworks.ts'
import type { Provider } from '../provider.ts'
import { imageAdapter } from './images.ts'
import { moderationAdapter } from './moderation.ts'
import { type RequestEncoder, requestEncoder } from './request.ts'
import { rerankAdapter } from './rerank.ts'
import type { ErrorReader } from './response.ts'
import { speechAdapter } from './speech.ts'
import { transcriptionAdapter } from './transcription.ts'

type MediaMode = Exclude<Mode, 'chat' | 'completion' | 'embedding' | 'count_tokens'>
/** Another way to the same endpoints: Azure's addresses. */
export type Readdress = (mode: Mode, encoder: RequestEncoder) => RequestEncoder

/** The adapters for images, sounds, moderation and rankings a provider has. */
export function mediaAdapters(
  row: ProviderRow,
  media: MediaRow | undefined,
  readError: ErrorReader,
  readdress: Readdress = (_mode, encoder) => encoder,
): Pick<Provider, MediaMode> {
  if (media === undefined) return {}
  const encoderOf = (mode: MediaMode) => readdress(mode, mediaEncoder(mode, row, media))
  const own = media.workflows ? fireworksImages(readError) : null
  const makers: { [M in MediaMode]: () => Provider[M] } = {
    image: () => own?.image ?? imageAdapter('image', media, encoderOf('image'), readError),
    image_edit: () => own?.image_edit ?? imageAdapter('image_edit', media, encoderOf('image_edit'), readError),
    image_variation: () => imageAdapter('image_variation', media, encoderOf('image_variation'), readError),
    speech: () => speechAdapter(encoderOf('speech'), readError),
    transcription: () => transcriptionAdapter('transcription', media, encoderOf('transcription'), readError),
    translation: () => transcriptionAdapter('translation', media, encoderOf('translation'), readError),
    moderation: () => moderationAdapter(encoderOf('moderation'), readError),
    rerank: () => rerankAdapter(media, encoderOf('rerank'), readError),
  }
  const modes = media.modes.filter((mode): mode is MediaMode => Object.hasOwn(makers, mode))
  return Object.fromEntries(modes.map((mode) => [mode, makers[mode]()])) as Pick<Provider, MediaMode>
}

/** The encoder of a row whose parameters are those of this endpoint, not a chat's. */
export function mediaEncoder(mode: MediaMode, row: ProviderRow, media: MediaRow): RequestEncoder {
  const { protocol, base, keys, version, headers, addressing } = row
  const { add, ...rules } = media.rules?.[mode] ?? {}
  const path = media.paths?.[mode]
  const whole = path?.startsWith('https:') ? path : undefined
  const plain = requestEncoder(mode, {
    protocol,
    base,
    keys,
    ...rules,
    ...(version === undefined ? {} : { version }),
    ...(headers === undefined ? {} : { headers }),
    ...(addressing === undefined ? {} : { addressing }),
    // Hosts of their own know models by their bare names.
    ...(row.modelPrefix === undefined || whole !== undefined ? {} : { modelPrefix: row.modelPrefix }),
    ...(path === undefined || whole !== undefined ? {} : { paths: { [mode]: path } }),
  })
  const shape: RequestEncoder['shape'] = (request, target) =>
    plain.shape(add === undefined ? request : { ...add, ...request }, target)
  const wrap: RequestEncoder['wrap'] = (target, body) => {
    const sent = plain.wrap(target, body)
    // Another server in the provider's place has its own.
    if (whole === undefined || target.base !== row.base) return sent
    return { ...sent, url: whole.replace('{model}', pathOf(target.model, media)) }
  }
  return { shape, wrap, encode: (request, target) => wrap(target, JSON.stringify(shape(request, target))) }
}

/** A model's name inside an address: its slashes are part of the path, and NVIDIA writes dots as underscores there. */
function pathOf(model: string, { ranking }: MediaRow): string {
  const name = ranking === 'passages' ? model.replaceAll('.', '_') : model
  return name.split('/').map(encodeURIComponent).join('/')
}
