import type { RuntimeSettings } from '../../proto/deployment.ts'
import { adminIdentity, type Identity } from '../../proto/identity.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Exchange } from '../exchange.ts'
import { checkIdentity, GOOGLE_GROUPS, routeAllowed } from './check-identity.ts'
import type { Identities } from './virtual-key.ts'

/** What of a request says who is calling, and what. */
export type Asking = Pick<Exchange, 'path' | 'query' | 'headers' | 'remoteAddress'>

/** Who is calling, and whether they may call this: throws or rejects with the error for the client. */
export type Authenticate = (exchange: Asking, groups: readonly string[]) => Identity | Promise<Identity>

/** After `x-litellm-api-key` and `authorization`, in this order (surface reference §0). */
const KEY_HEADERS = ['api-key', 'x-api-key', 'x-goog-api-key', 'ocp-apim-subscription-key']

/** Every header a key is looked for in. */
const PRESENTED = ['x-litellm-api-key', 'authorization', ...KEY_HEADERS]

/** Every header that may hold a credential: none of them travels with a call. */
export const CREDENTIAL_HEADERS: ReadonlySet<string> = new Set([
  'x-litellm-api-key',
  'litellm_user_api_key',
  'authorization',
  'cookie',
  ...KEY_HEADERS,
])

/** What every caller is while no master key is set. */
const ANYBODY: Identity = Object.freeze(adminIdentity('anonymous'))

/** Whoever calls a route that the operator made public: a user who may call that route. */
export function passerBy(path: string): Identity {
  return { ...ANYBODY, role: 'internal_user', userId: null, allowedRoutes: [path] }
}

function closedRoute(path: string): GatewayError {
  return new GatewayError('route_denied', `Route ${path} is not among the allowed_routes of this gateway.`)
}

/** Schemes in order; today virtual keys (the master key is one) and open access. `settings` reads the runtime as it is now. */
export function createAuthenticate(deps: {
  identities: Identities
  clock: Clock
  settings: () => RuntimeSettings | null
}): Authenticate {
  const { identities, clock } = deps
  return (exchange, groups) => {
    const settings = deps.settings()
    if (settings !== null) {
      const { allowedRoutes, publicRoutes } = settings
      if (allowedRoutes.length > 0 && !routeAllowed(allowedRoutes, exchange.path, groups)) throw closedRoute(exchange.path)
      if (settings.open) return ANYBODY
      if (publicRoutes.length > 0 && routeAllowed(publicRoutes, exchange.path, [])) return passerBy(exchange.path)
    }
    const key = settings?.keyHeaderName ?? null
    const identity = identities.resolve(
      credentialOf(key === null ? withQueryKey(exchange, groups) : exchange.headers, key),
      exchange,
    )
    if (!(identity instanceof Promise)) return checkIdentity(identity, exchange.path, groups, clock.now())
    return identity.then((found) => checkIdentity(found, exchange.path, groups, clock.now()))
  }
}

/** Google's clients may put their key into the address: there it counts last, and on their routes alone. */
function withQueryKey(
  { headers, query }: Pick<Asking, 'headers' | 'query'>,
  groups: readonly string[],
): Readonly<Record<string, string>> {
  if (groups !== GOOGLE_GROUPS || query === '' || PRESENTED.some((name) => (headers[name] ?? '') !== '')) return headers
  const key = new URLSearchParams(query).get('key')
  return key === null ? headers : { ...headers, 'x-goog-api-key': key }
}

/** The presented key. Throws GatewayError `no_credential` or `malformed_credential`. */
export function credentialOf(headers: Readonly<Record<string, string>>, keyHeaderName: string | null): string {
  if (keyHeaderName !== null) return presented(headers[keyHeaderName.toLowerCase()])
  const own = headers['x-litellm-api-key']
  if (own !== undefined && own !== '') return presented(own)
  const authorization = headers['authorization']
  if (authorization !== undefined && authorization !== '') {
    const key = bearer(authorization)
    if (key === null) throw new GatewayError('malformed_credential')
    return presented(key)
  }
  for (const name of KEY_HEADERS) {
    const value = headers[name]
    if (value !== undefined && value !== '') return presented(value)
  }
  throw new GatewayError('no_credential')
}

function presented(value: string | undefined): string {
  const key = value === undefined ? '' : (bearer(value) ?? value).trim()
  if (key === '') throw new GatewayError('no_credential')
  return key
}

/** What follows `Bearer `, in any case (RFC 9110 §11.1); null without it. */
function bearer(value: string): string | null {
  return value.length >= 7 && value[6] === ' ' && value.slice(0, 6).toLowerCase() === 'bearer' ? value.slice(7) : null
}
