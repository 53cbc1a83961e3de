import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import { nanoOf } from '../../shared/money.ts'
import { invalid, isStrings } from '../dialects/request-fields.ts'

/**
 * What one request asks of routing: OpenRouter's `provider` object and model suffixes, LiteLLM's fallback fields, Portkey's config. Null
 * fields = nothing asked. Made once per call by `request-routing.ts`.
 */
export interface Preferences {
  /** `model: "x:floor"` is price, `x:nitro` throughput; `provider.sort`. */
  sort: 'price' | 'latency' | 'throughput' | null
  /** Providers (or deployment ids) in the order they are tried; others only with `allowFallbacks`. */
  order: readonly string[] | null
  only: readonly string[] | null
  ignore: readonly string[] | null
  allowFallbacks: boolean
  /** Deployments must support every parameter of the request. */
  requireParameters: boolean
  /** Nano-dollars per million tokens. */
  maxPrice: { prompt: number | null; completion: number | null } | null
}

export const NO_PREFERENCES: Preferences = Object.freeze({
  sort: null,
  order: null,
  only: null,
  ignore: null,
  allowFallbacks: true,
  requireParameters: false,
  maxPrice: null,
})

/** Names of one list; each is compared with every deployment of the group. */
const NAMES_MAX = 100
const SORTS = ['price', 'latency', 'throughput'] as const
const FIELDS = ['sort', 'order', 'only', 'ignore', 'allow_fallbacks', 'require_parameters', 'max_price']
/** OpenRouter's fields that say nothing about which of our deployments serves: they are for OpenRouter. */
const OTHERS: ReadonlySet<string> = new Set(['data_collection', 'zdr', 'quantizations', 'enforce_distillable_text'])

/** Reads OpenRouter's `provider` object. Throws GatewayError `bad_request` naming the field that is wrong. */
export function readPreferences(provider: Readonly<Record<string, unknown>>): Preferences {
  for (const name in provider) {
    if (FIELDS.includes(name) || OTHERS.has(name)) continue
    throw new GatewayError('bad_request', `Unknown field 'provider.${name}'. Known ones: ${FIELDS.join(', ')}.`, {
      param: `provider.${name}`,
    })
  }
  return {
    sort: sortOf(provider['sort']),
    order: namesOf(provider, 'order'),
    only: namesOf(provider, 'only'),
    ignore: namesOf(provider, 'ignore'),
    allowFallbacks: flagOf(provider, 'allow_fallbacks') ?? true,
    requireParameters: flagOf(provider, 'require_parameters') ?? false,
    maxPrice: maxPriceOf(provider['max_price']),
  }
}

function sortOf(value: unknown): Preferences['sort'] {
  if (value === undefined || value === null) return null
  const sort = SORTS.find((known) => known === value)
  if (sort === undefined) throw invalid('provider.sort', `string out of ${SORTS.join(', ')}`, value)
  return sort
}

function namesOf(provider: Readonly<Record<string, unknown>>, name: string): readonly string[] | null {
  const value = provider[name]
  if (value === undefined || value === null) return null
  if (!isStrings(value)) throw invalid(`provider.${name}`, 'list of strings', value)
  if (value.length === 0) return null
  if (value.length > NAMES_MAX)
    throw new GatewayError('bad_request', `Invalid 'provider.${name}': at most ${NAMES_MAX} names.`, {
      param: `provider.${name}`,
    })
  // `deepinfra/turbo` is one endpoint of a provider: to want it is to want the provider, to ignore it is not to ignore all of it.
  return value.flatMap((given) => {
    const called = providerName(given)
    const slash = called.indexOf('/')
    return slash < 1 || name === 'ignore' ? [called] : [called, called.slice(0, slash)]
  })
}

function flagOf(provider: Readonly<Record<string, unknown>>, name: string): boolean | null {
  const value = provider[name]
  if (value === undefined || value === null) return null
  if (typeof value !== 'boolean') throw invalid(`provider.${name}`, 'boolean', value)
  return value
}

function maxPriceOf(value: unknown): Preferences['maxPrice'] {
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw invalid('provider.max_price', 'object', value)
  for (const name in value) {
    if (name === 'prompt' || name === 'completion') continue
    throw new GatewayError('bad_request', `Unknown field 'provider.max_price.${name}'. Known ones: prompt, completion.`, {
      param: `provider.max_price.${name}`,
    })
  }
  return { prompt: priceOf(value, 'prompt'), completion: priceOf(value, 'completion') }
}

/** Dollars per million tokens, a number or a decimal text → nano-dollars. */
function priceOf(prices: Readonly<Record<string, unknown>>, name: string): number | null {
  const value = prices[name]
  if (value === undefined || value === null) return null
  const place = `provider.max_price.${name}`
  let nano = Number.NaN
  if (typeof value === 'number' || typeof value === 'string') {
    try {
      nano = nanoOf(value)
    } catch {
      // Named below.
    }
  }
  if (!(nano >= 0)) throw invalid(place, 'price in dollars per million tokens, 0 or more', value)
  return nano
}

/** How names of providers compare: `Google-Vertex` of one list is `google_vertex` of another. Ids of deployments stay recognisable. */
export function providerName(name: string): string {
  return name.toLowerCase().replaceAll('-', '_')
}
