import { type Identity, MASTER_KEY_ALIAS, MASTER_USER_ID, type UserRole } from '../../proto/identity.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Memberships } from '../sql/memberships.ts'

/**
 * Who may call a management route:
 *   public   anybody
 *   key      whoever holds a valid key; the handler narrows to what is theirs
 *   write    keys that may manage their own things: not the viewers
 *   read     whoever may read everything: proxy admins and admin viewers, also where reading is a POST
 *   admin    proxy admins; admin viewers too where the route only reads
 */
export type Access = 'public' | 'key' | 'write' | 'read' | 'admin'

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
    '/health',
    '/key/list',
    '/user/filter/ui',
  ],
  key_management_routes: ['/key/*', '/team/daily/activity', '/spend/logs'],
  self_managed_routes: [
    '/team/member_add',
    '/team/member_delete',
    '/team/member_update',
    '/team/permissions_list',
    '/team/permissions_update',
    '/team/daily/activity',
    '/user/daily/activity',
    '/model/new',
    '/model/update',
    '/model/delete',
  ],
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
  } else if (identity.role === 'proxy_admin_viewer' && (access === 'read' || method === 'GET')) {
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

/** Whether the caller's role lets it write at all. Viewers may not, unless a team or an organization is theirs to run. */
export function mayWrite(identity: Identity): boolean {
  return identity.role === 'proxy_admin' || identity.role === 'internal_user'
}

/** Whether `actor` runs an organization: a proxy admin, or an `org_admin` of it. Pure. */
export function runsOrganization(actor: Identity, memberships: Memberships, organizationId: string | null): boolean {
  return isAdmin(actor) || (organizationId !== null && memberships.organizations.get(organizationId) === 'org_admin')
}

/** Whether `actor` runs a team: whoever runs its organization, or an admin of the team. Pure. */
export function runsTeam(
  actor: Identity,
  memberships: Memberships,
  team: { team_id: string; organization_id: string | null },
): boolean {
  return memberships.teams.get(team.team_id) === 'admin' || runsOrganization(actor, memberships, team.organization_id)
}

/** Whether `actor` may look at a team: its members, whoever runs it, whoever reads everything. Pure. */
export function seesTeam(
  actor: Identity,
  memberships: Memberships,
  team: { team_id: string; organization_id: string | null },
): boolean {
  return readsAll(actor) || memberships.teams.has(team.team_id) || runsTeam(actor, memberships, team)
}

/** Whether `actor` may look at an organization: its members, and whoever reads everything. Pure. */
export function seesOrganization(actor: Identity, memberships: Memberships, organizationId: string): boolean {
  return readsAll(actor) || memberships.organizations.has(organizationId)
}

/** What plain members of a team may do with its keys where the team does not say (surface reference §1.7). */
export const MEMBER_PERMISSIONS: readonly string[] = ['/key/info', '/key/health']

/** Whether a member of a team may call `permission` (a route) for keys of the team; team admins always. Pure. */
export function memberMay(memberships: Memberships, teamId: string, permission: string): boolean {
  const role = memberships.teams.get(teamId)
  if (role === 'admin') return true
  return role === 'user' && (memberships.permissions.get(teamId) ?? MEMBER_PERMISSIONS).includes(permission)
}

/** The owners of a key, as far as rights depend on them. `organization_id` is the key's own, else that of its team. */
export interface KeyOwners {
  token: string
  user_id: string | null
  team_id: string | null
  organization_id: string | null
}

/** Whether `actor` runs the team or the organization that a key belongs to. Pure. */
export function runsKey(actor: Identity, memberships: Memberships, key: KeyOwners): boolean {
  if (key.team_id === null) return runsOrganization(actor, memberships, key.organization_id)
  return runsTeam(actor, memberships, { team_id: key.team_id, organization_id: key.organization_id })
}

/** Whether `actor` may look at a key: its own, those it runs, and keys of programs of a team that lets its members. Pure. */
export function seesKey(actor: Identity, memberships: Memberships, key: KeyOwners): boolean {
  if (readsAll(actor) || owns(actor, key) || runsKey(actor, memberships, key)) return true
  return key.user_id === null && key.team_id !== null && memberMay(memberships, key.team_id, '/key/info')
}

/**
 * Whether `actor` may do `permission` (a route) to a key: a person to their own unless they are a viewer, whoever runs it, and members
 * of a team that lets them to keys of its programs. A key without a user is a program's: it changes nothing. Pure.
 */
export function changesKey(actor: Identity, memberships: Memberships, key: KeyOwners, permission: string): boolean {
  if (isAdmin(actor)) return true
  if (actor.userId === null) return false
  if (runsKey(actor, memberships, key) || (mayWrite(actor) && owns(actor, key))) return true
  return mayWrite(actor) && key.user_id === null && key.team_id !== null && memberMay(memberships, key.team_id, permission)
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
