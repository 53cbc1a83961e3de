import type { Identity } from '../../proto/identity.ts'
import type { Config } from '../../shared/config/config.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { KeyRow, TeamOfKeys } from '../sql/keys.ts'
import type { Memberships } from '../sql/memberships.ts'
import { adminOnly, isAdmin, mayWrite, memberMay, runsOrganization, runsTeam } from './access.ts'
import { badRequest } from './budgets.ts'
import type { KeyFields } from './key-fields.ts'

/** Two to 255 characters with a letter or digit at both ends. */
const ALIAS = /^[A-Za-z0-9]([A-Za-z0-9_\-/.@]{0,253}[A-Za-z0-9])$/

/** Throws GatewayError `bad_request` for an alias that `enable_key_alias_format_validation` forbids. */
export function requireAlias(alias: unknown, config: Config): void {
  if (config.litellm_settings.enable_key_alias_format_validation !== true || typeof alias !== 'string') return
  if (ALIAS.test(alias)) return
  throw badRequest(
    'key_alias',
    'Invalid key_alias format. It must be 2-255 characters, begin and end with a letter or digit, and hold only letters, digits and _ - / . @',
  )
}

/**
 * What a caller asked for a new key → the fields it gets: theirs, and no wider than they are. Whoever runs the team may make keys for its
 * members. Throws GatewayError `admin_only`.
 */
export function requireMayGenerate(
  asked: KeyFields,
  actor: Identity,
  memberships: Memberships,
  team: TeamOfKeys | null,
  path: string,
): KeyFields {
  if (isAdmin(actor)) return asked
  // A key without a user is a program's: it makes no other keys.
  if (actor.userId === null) throw adminOnly(actor, path)
  const teamId = asked['team_id'] as string | null | undefined
  const runs = team !== null && runsTeam(actor, memberships, team)
  if (!runs && !mayWrite(actor)) throw adminOnly(actor, path)
  if (teamId != null && !runs && !memberMay(memberships, teamId, path)) throw notPermitted(memberships, actor, teamId, path)
  if (asked['user_id'] != null && asked['user_id'] !== actor.userId && !runs) throw adminOnly(actor, path)
  refuseRaise(asked, actor, memberships, runs, path)
  return asked
}

/** Throws GatewayError `admin_only` for what only an admin may set on a key: who pays for it, and what has been spent. */
export function refuseRaise(fields: KeyFields, actor: Identity, memberships: Memberships, runs: boolean, path: string): void {
  if (isAdmin(actor)) return
  if (fields['spend'] != null) throw adminOnly(actor, `${path} (spend)`)
  if (fields['budget_id'] != null && !runs) throw adminOnly(actor, `${path} (budget_id)`)
  const organizationId = fields['organization_id'] as string | null | undefined
  if (organizationId != null && !runsOrganization(actor, memberships, organizationId)) {
    throw adminOnly(actor, `${path} (organization_id)`)
  }
}

function notPermitted(memberships: Memberships, actor: Identity, teamId: string, path: string): GatewayError {
  if (!memberships.teams.has(teamId)) return adminOnly(actor, path)
  return new GatewayError(
    'admin_only',
    `Authentication Error, Team member does not have permissions for endpoint: ${path}. Team=${teamId}. A team admin may grant it with /team/permissions_update.`,
    { type: 'team_member_permission_error' },
  )
}

/**
 * `key_generation_settings` and `default_team_disabled`. Throws GatewayError `bad_request` for a key that may not be made so; status 403
 * where it is the caller who may not.
 */
export function requireGenerationSettings(
  fields: KeyFields,
  actor: Identity,
  memberships: Memberships,
  config: Config,
  team: TeamOfKeys | null,
): void {
  const settings = config.litellm_settings.key_generation_settings
  const teamId = fields['team_id'] as string | null | undefined
  if (teamId == null) {
    if (config.general_settings.default_team_disabled === true) {
      throw badRequest('team_id', 'Keys without a team are disabled (default_team_disabled): name a team_id.')
    }
    const rules = settings?.personal_key_generation
    requireParams(rules?.required_params, fields)
    const roles = rules?.allowed_user_roles
    if (roles != null && !isAdmin(actor) && !roles.includes(actor.role)) {
      throw restricted(`Personal key creation has been restricted by admin. Allowed roles=${roles}. Your role=${actor.role}`)
    }
    return
  }
  if (settings == null) return
  if (team === null) throw badRequest('team_id', `Team ${teamId} does not exist.`)
  const rules = settings.team_key_generation
  requireParams(rules?.required_params, fields)
  const roles = rules?.allowed_team_member_roles
  const role = memberships.teams.get(teamId)
  if (roles != null && !isAdmin(actor) && !(role !== undefined && roles.includes(role))) {
    throw restricted(
      `Team key creation has been restricted by admin. Allowed team member roles=${roles}. Your role=${role ?? 'none'}`,
    )
  }
}

function requireParams(names: readonly string[] | null | undefined, fields: KeyFields): void {
  const missing = (names ?? []).filter((name) => fields[name] == null)
  if (missing.length > 0) throw badRequest(missing[0] as string, `Required params are missing: ${missing.join(', ')}.`)
}

function restricted(message: string): GatewayError {
  return new GatewayError('bad_request', message, { status: 403, type: 'auth_error' })
}

/** Limits as a team, an organization or a key has them. */
export interface Throughput {
  tpm_limit: number | null
  rpm_limit: number | null
  metadata: Record<string, unknown>
}

/**
 * Whether a key whose throughput is guaranteed fits beside the others of its parent, whose sum must not exceed what the parent may.
 * Throws GatewayError `bad_request`. `parent` is `team` or `organization`.
 */
export function requireThroughput(
  key: Pick<KeyRow, 'tpm_limit' | 'rpm_limit' | 'metadata'>,
  others: readonly Pick<KeyRow, 'tpm_limit' | 'rpm_limit' | 'metadata'>[],
  limits: Throughput,
  parent: string,
): void {
  for (const unit of ['tpm', 'rpm'] as const) {
    if (!guarantees(key, unit)) continue
    const peers = others.filter((other) => guarantees(other, unit))
    const name = `${unit}_limit` as const
    requireSum(
      unit,
      key[name],
      peers.map((peer) => peer[name]),
      limits[name],
      parent,
    )
    const perModel = numbers(key.metadata[`model_${name}`])
    for (const [model, limit] of Object.entries(perModel)) {
      const most = numbers(limits.metadata[`model_${name}`])[model] ?? limits[name]
      const given = peers.map((peer) => numbers(peer.metadata[`model_${name}`])[model] ?? null)
      requireSum(unit, limit, given, most, `${parent} (model ${model})`)
    }
  }
}

function guarantees(key: Pick<KeyRow, 'metadata'>, unit: 'tpm' | 'rpm'): boolean {
  return key.metadata[`${unit}_limit_type`] === 'guaranteed_throughput'
}

function requireSum(
  unit: 'tpm' | 'rpm',
  asked: number | null,
  given: readonly (number | null)[],
  most: number | null,
  parent: string,
): void {
  if (asked === null || most === null) return
  const allocated = given.reduce<number>((sum, limit) => sum + (limit ?? 0), 0)
  if (allocated + asked <= most) return
  const name = unit.toUpperCase()
  throw badRequest(
    `${unit}_limit`,
    `Allocated ${name} limit=${allocated} + Key ${name} limit=${asked} is greater than ${parent} ${name} limit=${most}`,
  )
}

function numbers(value: unknown): Record<string, number> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).map(([name, limit]) => [name, Number(limit)]))
}
