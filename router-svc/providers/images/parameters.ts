import { entryOf } from '../../../shared/entry.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { type Fields, isFields } from '../json.ts'
import { sidesOf } from '../openai/media-usage.ts'
import { dropNamed, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import type { Target } from '../provider.ts'
import { type AnyImageRequest, base64Of } from './adapter.ts'

/** What only OpenAI's image models know, and nobody else has a word for. */
const OPENAI_ONLY = ['background', 'moderation', 'output_compression', 'partial_images', 'stream', 'input_fidelity'] as const

/** Values that ask for what happens anyway, so that nobody is refused for saying them. */
const DEFAULTS: Readonly<Record<string, readonly unknown[]>> = {
  size: ['auto'],
  quality: ['auto', 'standard'],
  background: ['auto'],
  moderation: ['auto'],
  partial_images: [0],
  stream: [false],
  output_compression: [100],
  input_fidelity: ['low'],
}

/** Of the conversation, or said about the call. */
const PLACED = new Set(['model', 'n', 'response_format', 'user', 'extra_body'])

/**
 * The members of a request a vendor gets, in OpenAI's words and its own; `n` and `response_format` apart. `unsupported`: of OpenAI's, beside those nobody
 * else has; `known`: those it has all the same. Throws GatewayError `unsupported_parameter` naming what cannot be honoured.
 */
export function imageFields(
  request: AnyImageRequest,
  target: Target,
  { unsupported = [], known = [] }: { unsupported?: readonly string[]; known?: readonly string[] } = {},
): Fields {
  const given: Fields = {}
  const extra = request['extra_body']
  for (const [name, value] of Object.entries({ ...request, ...(isFields(extra) ? extra : {}) })) {
    if (PLACED.has(name) || value === null || value === undefined || name === '__proto__') continue
    if (isGatewayField(name, value) || entryOf(DEFAULTS, name)?.includes(value) === true) continue
    given[name] = value
  }
  dropNamed(given, request, target)
  const refused = [...OPENAI_ONLY, ...unsupported].filter((name) => !known.includes(name)).map(parameterRule)
  refuseUnsupported(given, refused, request, target)
  return given
}

/** OpenAI's and LiteLLM's sizes whose ratio is another than their sides say. */
const NAMED_RATIOS: Readonly<Record<string, string>> = {
  '1792x1024': '16:9',
  '1024x1792': '9:16',
  '1280x896': '4:3',
  '896x1280': '3:4',
}

/** The ratio of `ratios` that is nearest to a size; a size that is no `WxH` as it is. */
export function ratioOf(size: unknown, ratios: readonly string[]): string | undefined {
  if (typeof size !== 'string') return undefined
  const named = entryOf(NAMED_RATIOS, size)
  if (named !== undefined && ratios.includes(named)) return named
  const sides = sidesOf(size)
  if (sides === null) return size
  const asked = Math.log(sides[0] / sides[1])
  const away = (ratio: string): number => {
    const [width = 1, height = 1] = ratio.split(':').map(Number)
    return Math.abs(asked - Math.log(width / height))
  }
  return ratios.reduce((best, ratio) => (away(ratio) < away(best) ? ratio : best))
}

/** Width and height where the size is one. */
export function sides(size: unknown): { width?: number; height?: number } {
  const found = sidesOf(size)
  return found === null ? {} : { width: found[0], height: found[1] }
}

export function dataUri({ type, bytes }: UploadedFile): string {
  return `data:${type};base64,${base64Of(bytes)}`
}

/** A model's name inside an address: its slashes are part of the path. */
export function pathOf(model: string): string {
  return model.split('/').map(encodeURIComponent).join('/')
}
