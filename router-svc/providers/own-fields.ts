import type { Mode } from '../../proto/endpoints.ts'
import type { MediaRules } from '../../shared/catalog/media.ts'
import { entryOf } from '../../shared/entry.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Fields } from './json.ts'
import { isAllowed, mayDrop } from './openai/parameters.ts'
import { requestEncoder } from './openai/request.ts'
import type { Target } from './provider.ts'

/**
 * The fields of a request as a service in words of its own is to get them: without what speaks to the gateway, what the rules refuse (GatewayError
 * `unsupported_parameter`), and renamed as they say.
 */
export function ownFields(mode: Mode, { add, ...rules }: MediaRules): (request: Readonly<Fields>, target: Target) => Fields {
  const { shape } = requestEncoder(mode, { protocol: 'openai', base: null, keys: [], ...rules })
  return (request, target) => shape(add === undefined ? request : { ...add, ...request }, target)
}

/**
 * The service's name for the sound format a client asks for (default mp3); one that is no name of OpenAI's is the service's own already. Null =
 * there is none, and it may be left out. Throws GatewayError `unsupported_parameter`.
 */
export function soundFormat<Format>(
  formats: Readonly<Record<string, Format>>,
  request: Readonly<Fields>,
  target: Target,
  otherwise: (own: string) => Format | null = () => null,
): Format | null {
  const asked = request['response_format'] ?? 'mp3'
  if (typeof asked === 'string') {
    const known = entryOf(formats, asked)
    if (known !== undefined) return known
    const own = OPENAI_FORMATS.test(asked) ? null : otherwise(asked)
    if (own !== null) return own
  }
  if (request['response_format'] === undefined || request['response_format'] === null || mayDrop(request, target)) return null
  if (isAllowed('response_format', request, target) && typeof asked === 'string') return otherwise(asked)
  throw new GatewayError(
    'unsupported_parameter',
    `litellm.UnsupportedParamsError: ${target.provider} does not make sound of the format ${JSON.stringify(asked)} (response_format), ` +
      `for model=${target.model}: it has ${Object.keys(formats).join(', ')}.`,
    { param: 'response_format' },
  )
}

const OPENAI_FORMATS = /^(?:mp3|opus|aac|flac|wav|pcm)$/

/** A voice by its name or id, where requests may hold an object of either; `names`: OpenAI's voices, for who asks for them. */
export function voiceOf({ voice }: Readonly<Fields>, names: Readonly<Record<string, string>>): string | null {
  const fields = typeof voice === 'object' && voice !== null ? (voice as Fields) : { id: voice }
  const found = [fields['voice_id'], fields['id'], fields['name']].find(
    (value) => typeof value === 'string' && value.trim() !== '',
  )
  if (found === undefined) return null
  const name = (found as string).trim()
  return entryOf(names, name.toLowerCase()) ?? name
}
