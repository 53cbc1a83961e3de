import type { RuntimeSettings } from '../../proto/deployment.ts'
import type { Identity } from '../../proto/identity.ts'
import { GatewayError } from '../../shared/errors.ts'
import { routeAllowed } from './access.ts'
import { masterIdentity } from './publish.ts'

/** Stands in for the caller of a route that needs no key. */
export const NOBODY: Identity = Object.freeze({ ...masterIdentity(), role: 'customer', keyHash: '', keyName: '', userId: null })

/**
 * `general_settings.allowed_routes` and `public_routes`, for routes that need a key: the viewer who owns nothing where the operator made
 * `path` public, null where a key is needed. Throws GatewayError `route_denied` where `path` is not among the allowed ones.
 */
export function unlessPublic(settings: Pick<RuntimeSettings, 'allowedRoutes' | 'publicRoutes'>, path: string): Identity | null {
  if (!routeAllowed(settings.allowedRoutes, path)) {
    throw new GatewayError('route_denied', `Route ${path} is not among the allowed_routes of this gateway.`)
  }
  if (settings.publicRoutes.length === 0 || !routeAllowed(settings.publicRoutes, path)) return null
  return { ...NOBODY, role: 'internal_user_viewer' }
}
