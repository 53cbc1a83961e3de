import type { Identity } from '../../proto/identity.ts'
import type { CacheSettings } from '../../proto/routing.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { Call } from '../call.ts'
import { invalid } from '../dialects/request-fields.ts'

/** What one call wants of the cache (surface reference §8.3). Times are milliseconds. */
export interface CacheControls {
  read: boolean
  write: boolean
  ttl: number
  /** Only younger answers will do; null = any. */
  maxAge: number | null
  namespace: string | null
}

const CONTROLS = ['ttl', 's-maxage', 'no-cache', 'no-store', 'namespace', 'use-cache'] as const

type Control = (typeof CONTROLS)[number]
type Asked = Partial<Record<Control, unknown>>

/** Goes into headers and names of files. */
const NAMESPACE = /^[\x21-\x7e]{1,128}$/

/**
 * Reads the field `cache` (and `ttl` beside it), the header `Cache-Control`, and what key and settings say where they are silent. Throws GatewayError
 * `bad_request` naming a malformed control, `cache_control_denied` naming one that this key may not use.
 */
export function cacheControls(call: Call, settings: CacheSettings): CacheControls {
  const asked = { ...fromHeader(call.message.headers['cache-control']), ...fromBody(call.parsed) }
  for (const control in asked) check(control as Control, asked[control as Control], call.identity)
  const used = (asked['use-cache'] as boolean | undefined) ?? settings.defaultOn
  return {
    read: used && asked['no-cache'] !== true,
    write: used && asked['no-store'] !== true,
    ttl: asked.ttl === undefined ? settings.ttl : (asked.ttl as number) * 1000,
    maxAge: asked['s-maxage'] === undefined ? null : (asked['s-maxage'] as number) * 1000,
    namespace: (asked.namespace as string | undefined) ?? namespaceOf(call, settings),
  }
}

function fromBody(parsed: Record<string, unknown>): Asked {
  const { cache, ttl } = parsed
  const asked: Asked = ttl === undefined || ttl === null ? {} : { ttl }
  if (cache === undefined || cache === null) return asked
  if (!isObject(cache)) throw invalid('cache', 'object', cache)
  for (const name in cache) {
    if (!CONTROLS.includes(name as Control)) {
      throw new GatewayError('bad_request', `Unknown cache control 'cache.${name}': there are ${CONTROLS.join(', ')}.`, {
        param: `cache.${name}`,
      })
    }
    if (cache[name] !== null && cache[name] !== undefined) asked[name as Control] = cache[name]
  }
  return asked
}

/** LiteLLM takes `s-maxage` of the header for the lifetime (surface reference §3.7). Directives for other caches are not ours. */
function fromHeader(header: string | undefined): Asked {
  const asked: Asked = {}
  if (header === undefined) return asked
  for (const directive of header.split(',')) {
    const [name = '', value = ''] = directive.trim().toLowerCase().split('=')
    if (name === 'no-cache' || name === 'no-store') asked[name] = true
    else if (name === 's-maxage') asked.ttl = /^\d+$/.test(value) ? Number(value) : value
  }
  return asked
}

function check(control: Control, value: unknown, identity: Identity): void {
  const place = `cache.${control}`
  switch (control) {
    case 'ttl':
      if (!isSeconds(value) || value === 0) throw invalid(place, 'positive number of seconds', value)
      break
    case 's-maxage':
      if (!isSeconds(value)) throw invalid(place, 'number of seconds', value)
      break
    case 'namespace':
      if (typeof value !== 'string' || !NAMESPACE.test(value))
        throw invalid(place, 'string of 1 to 128 printable characters without spaces', value)
      break
    default:
      if (typeof value !== 'boolean') throw invalid(place, 'boolean', value)
  }
  allow(control, place, identity)
}

/** Throws GatewayError `cache_control_denied`. */
function allow(control: Control, place: string, identity: Identity): void {
  const allowed = identity.cacheControls
  if (allowed === undefined || allowed.length === 0 || allowed.includes(control)) return
  throw new GatewayError(
    'cache_control_denied',
    `This key may not use the cache control '${control}'. It may use: ${allowed.join(', ')}.`,
    { param: place },
  )
}

/** Seconds, up to what milliseconds of Redis can hold by far. */
function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 1e9
}

/** `metadata.redis_namespace`, the key's or team's own, the settings'. */
function namespaceOf(call: Call, settings: CacheSettings): string | null {
  const named = call.options.metadata?.['redis_namespace']
  if (named === undefined || named === null || named === '') return call.identity.routing?.cacheNamespace ?? settings.namespace
  allow('namespace', 'metadata.redis_namespace', call.identity)
  if (typeof named === 'string' && NAMESPACE.test(named)) return named
  throw invalid('metadata.redis_namespace', 'string of 1 to 128 printable characters without spaces', named)
}
