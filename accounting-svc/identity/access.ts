import { type Identity, MASTER_KEY_ALIAS, MASTER_USER_ID, type UserRole } from '../../proto/identity.ts'
import { GatewayError } from '../../shared/errors.ts'

/**
 * Who may call a management route:
 *   public   anybody
 *   key      whoever holds a valid key; the handler narrows to what is theirs
 *   write    keys that may manage their own things: not the viewers
 *   admin    proxy admins; admin viewers too where the route only reads
 */
export type Access = 'public' | 'key' | 'write' | 'admin'

const ROLES: ReadonlySet<string> = new Set<UserRole>([
  'proxy_admin',
  'proxy_admin_viewer',
  'internal_user',
  'internal_user_viewer',
  'team',
  'customer',
])

/** A role as stored; a key without a user, or with a role nobody knows, may do what an internal user may. */
export function roleOf(stored: string | null | undefined): UserRole {
  return stored != null && ROLES.has(stored) ? (stored as UserRole) : 'internal_user'
}

/** Route group names usable in `allowed_routes` (surface reference §0.1), as far as accounting serves them. `*` ends a prefix. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  info_routes: [
    '/key/info',
    '/key/health',
    '/team/info',
    '/team/list',
    '/v2/team/list',
    '/organization/list',
    '/team/available',
    '/user/info',
    '/v2/user/info',
    '/model/info',
    '/v1/model/info',
    '/v2/model/info',
    '/v2/key/info',
    '/model_group/info',
    '/key/list',
    '/user/filter/ui',
  ],
  key_management_routes: ['/key/*', '/team/daily/activity', '/spend/logs'],
  management_routes: ['/key/*', '/user/*', '/team/*', '/model/*', '/jwt/*', '/team/daily/activity', '/spend/logs'],
  spend_tracking_routes: ['/spend/*', '/cost/estimate'],
  global_spend_tracking_routes: ['/global/spend*'],
}

/** Whether a key's `allowed_routes` let it call `path`. An empty list lets it call what its role may. */
export function routeAllowed(allowedRoutes: readonly string[], path: string): boolean {
  if (allowedRoutes.length === 0) return true
  return allowedRoutes.some((entry) => (GROUPS[entry] ?? [entry]).some((pattern) => fits(pattern, path)))
}

function fits(pattern: string, path: string): boolean {
  if (pattern.endsWith('*')) return path.startsWith(pattern.slice(0, -1))
  return path === pattern || path.startsWith(`${pattern}/`)
}

/** Throws GatewayError `route_denied` or `admin_only` when `identity` may not call the route. */
export function requireAccess(identity: Identity, access: Access, method: string, path: string): void {
  if (isAdmin(identity)) return
  if (!routeAllowed(identity.allowedRoutes, path)) {
    throw new GatewayError(
      'route_denied',
      `Virtual key is not allowed to call this route. Only allowed to call routes: [${identity.allowedRoutes.map((route) => `'${route}'`).join(', ')}]. Tried to call route: ${path}`,
    )
  }
  if (access === 'public' || access === 'key') return
  if (access === 'write') {
    if (identity.role === 'internal_user') return
  } else if (identity.role === 'proxy_admin_viewer' && method === 'GET') {
    return
  }
  throw adminOnly(identity, path)
}

/** The refusal of a route or a thing that only a proxy admin may touch. */
export function adminOnly(identity: Identity, path: string): GatewayError {
  return new GatewayError(
    'admin_only',
    `Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route=${path}. Your role=${identity.role}. Your user_id=${masked(identity.userId)}`,
  )
}

export function isAdmin(identity: Identity): boolean {
  return identity.role === 'proxy_admin'
}

/** Whether `identity` may read everything, not just what is its own. */
export function readsAll(identity: Identity): boolean {
  return identity.role === 'proxy_admin' || identity.role === 'proxy_admin_viewer'
}

/** Whether the key at `row` is the caller's own: the same key, or one of the same user. */
export function owns(identity: Identity, row: { token: string; user_id: string | null }): boolean {
  return row.token === identity.keyHash || (identity.userId !== null && row.user_id === identity.userId)
}

/** The name that goes into created_by and updated_by. */
export function actorOf(identity: Identity): string {
  if (identity.userId !== null) return identity.userId
  return identity.keyHash === MASTER_KEY_ALIAS ? MASTER_USER_ID : identity.keyName
}

function masked(userId: string | null): string {
  if (userId === null) return 'None'
  return userId.length <= 4 ? '****' : `${userId.slice(0, 2)}****${userId.slice(-2)}`
}
