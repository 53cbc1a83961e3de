import type { Mode } from '../../proto/endpoints.ts'
import type { ErrorCode } from '../../proto/errors.ts'
import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import type { GatewayError } from '../../shared/errors.ts'
import { cloudflareImages } from './images/cloudflare.ts'
import { fieldsIn, isFields, sourceOf } from './json.ts'
import { decodeListedError, listedError } from './listed-errors.ts'
import { chatVariant, embeddingVariant, madeProvider, reclassified, type Variant } from './openai-variant.ts'
import type { Adapter, Provider, Target } from './provider.ts'
import { cloudflareSounds } from './sound/cloudflare.ts'

/** Its numbers, which say more than the statuses they come with. */
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  '10000': 'provider_authentication',
  '7000': 'provider_not_found',
  '7003': 'provider_not_found',
  '5006': 'provider_bad_request',
  '5007': 'provider_not_found',
  // What an account has free in a day is used up; nothing comes back within minutes.
  '3036': 'provider_quota',
  '3040': 'provider_rate_limited',
}

/**
 * Cloudflare's Workers AI, by its endpoints in OpenAI's form: the native route (`/run/{model}`) has no tools, no penalties and no counts that all
 * models share.
 */
export function cloudflare(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const errorIn = (source: string) =>
    source.includes('"errors"') && listedError(source) !== null ? readError(200, {}, source) : null
  const variant: Variant = { row, readError, errorIn, url: addressOf }
  return {
    ...madeProvider(name, row, 'cloudflare', readError),
    chat: unwrapped(chatVariant(variant)),
    embedding: unwrapped(embeddingVariant(variant)),
    ...cloudflareSounds(readError),
    ...cloudflareImages(readError),
  }
}

const ROUTES: Partial<Readonly<Record<Mode, string>>> = { chat: '/chat/completions', embedding: '/embeddings' }

/** Operators give the account's address, LiteLLM's with `/run`, or the one of OpenAI's form. */
function addressOf({ base }: Target, mode: Mode): string {
  const root = base.replace(/\/(?:run|v1)$/, '')
  return `${root}/v1${ROUTES[mode]}`
}

function decodeError(provider: string, status: number, headers: Readonly<Record<string, string>>, body: string): GatewayError {
  const error = decodeListedError(provider, status, headers, body)
  const code = error.providerCode === undefined ? undefined : entryOf(BY_CODE, error.providerCode)
  return code === undefined ? error : reclassified(error, provider, code)
}

/** Its API puts answers into `{result, success, errors}`; those in OpenAI's form mostly come bare. */
function unwrapped<Request, Response, Chunk>(plain: Adapter<Request, Response, Chunk>): Adapter<Request, Response, Chunk> {
  return {
    ...plain,
    decodeResponse(bytes, headers, context) {
      const source = sourceOf(bytes)
      if (!source.includes('"success"')) return plain.decodeResponse(bytes, headers, context)
      return plain.decodeResponse(resultIn(source) ?? bytes, headers, context)
    },
  }
}

function resultIn(source: string): Uint8Array | null {
  const result = fieldsIn(source)?.['result']
  return isFields(result) ? Buffer.from(JSON.stringify(result)) : null
}
