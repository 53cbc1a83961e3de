import type { Exchange } from './exchange.ts'

const EXPOSED = 'x-litellm-semantic-filter, x-litellm-semantic-filter-tools'
const METHODS = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'
const PREFLIGHT_AGE = '600'

/** CORS headers of an answer (WHATWG Fetch §3.2): any origin, credentials allowed. None without an `origin` header. */
export function corsHeaders(exchange: Exchange): Readonly<Record<string, string>> | null {
  const origin = exchange.headers['origin']
  if (origin === undefined) return null
  // With credentials `*` is not accepted by browsers, so the origin is named.
  return {
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': EXPOSED,
    vary: 'Origin',
  }
}

/** Answers a preflight request; false when this is none. */
export function answerPreflight(exchange: Exchange): boolean {
  if (exchange.method !== 'OPTIONS' || exchange.headers['origin'] === undefined) return false
  if (exchange.headers['access-control-request-method'] === undefined) return false
  const headers: Record<string, string> = {
    'content-type': 'text/plain; charset=utf-8',
    'access-control-allow-methods': METHODS,
    'access-control-max-age': PREFLIGHT_AGE,
  }
  const asked = exchange.headers['access-control-request-headers']
  if (asked !== undefined) headers['access-control-allow-headers'] = asked
  exchange.respond(200, headers, 'OK')
  return true
}
