import type { Identity } from '../../proto/identity.ts'
import { GatewayError } from '../../shared/errors.ts'

/** Groups of inference routes, and of what an edge says about models and health (surface reference §0.1). */
export const INFERENCE_GROUPS: readonly string[] = ['openai_routes', 'llm_api_routes']
export const ANTHROPIC_GROUPS: readonly string[] = ['anthropic_routes', 'llm_api_routes']
export const GOOGLE_GROUPS: readonly string[] = ['google_routes', 'llm_api_routes']
export const MODELS_GROUPS: readonly string[] = ['openai_routes', 'llm_api_routes', 'info_routes']
export const HEALTH_GROUPS: readonly string[] = ['info_routes']

const INFERENCE: ReadonlySet<readonly string[]> = new Set([INFERENCE_GROUPS, ANTHROPIC_GROUPS, GOOGLE_GROUPS])

/**
 * The identity, when it may call `path`, which belongs to `groups`, at `now` (Unix milliseconds). Throws GatewayError `blocked_key`,
 * `expired_key` or `route_denied` (surface reference §2.6).
 */
export function checkIdentity(identity: Identity, path: string, groups: readonly string[], now: number): Identity {
  if (identity.blocked) throw new GatewayError('blocked_key')
  if (identity.teamBlocked) {
    throw new GatewayError(
      'blocked_key',
      `Authentication Error, Team=${identity.teamId} is blocked. Update via \`/team/unblock\` if you're admin.`,
    )
  }
  if (identity.expires !== null && identity.expires <= now) {
    throw new GatewayError(
      'expired_key',
      `Authentication Error - Expired Key. Key Expiry time ${time(identity.expires)} and current time ${time(now)}`,
      { param: identity.keyName },
    )
  }
  const { allowedRoutes } = identity
  if (allowedRoutes.length > 0 && !routeAllowed(allowedRoutes, path, groups)) {
    const list = allowedRoutes.map((route) => `'${route}'`).join(', ')
    throw new GatewayError(
      'route_denied',
      `Virtual key is not allowed to call this route. Only allowed to call routes: [${list}]. Tried to call route: ${path}`,
    )
  }
  if (identity.role === 'proxy_admin_viewer' && INFERENCE.has(groups)) {
    throw new GatewayError('route_denied', `Role proxy_admin_viewer may not call inference routes. Tried to call route: ${path}`)
  }
  return identity
}

/** Whether a list of paths, which stand for what lies below them too, prefixes ending in `*` and group names covers `path`. */
export function routeAllowed(allowed: readonly string[], path: string, groups: readonly string[]): boolean {
  return allowed.some(
    (entry) =>
      entry === path ||
      groups.includes(entry) ||
      (entry.endsWith('*') ? path.startsWith(entry.slice(0, -1)) : path.startsWith(`${entry}/`)),
  )
}

function time(at: number): string {
  return new Date(at).toISOString()
}
