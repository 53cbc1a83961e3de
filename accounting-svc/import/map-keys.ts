import { scopes } from '../../proto/limits.ts'
import type { SourceRow } from '../sql/import-source.ts'
import { type Candidate, idOf, needsOf, soleOwner, Unfit } from './candidate.ts'
import { limitsOf, type MapContext, permissionOf, resetOf, stampsOf, windowsOf } from './map-owners.ts'
import { budgetNano, countOf, durationOf, jsonOf, listOf, momentOf, objectOf, spentNano, textOf } from './values.ts'

/** What keys are said of by other rows. */
export interface KeyContext extends MapContext {
  /** Organizations of teams. */
  teams: ReadonlyMap<string, string | null>
  /** Aliases of keys made before: an alias is one key's only. */
  taken: Set<string>
}

const HASH = /^[0-9a-f]{64}$/
/** Keys of the dashboard's sessions are of this team. */
const SESSIONS = 'litellm-dashboard'

export function mapKey(row: SourceRow<'keys'>, context: KeyContext): Candidate {
  const token = hashOf(row.token)
  if (row.team_id === SESSIONS) throw new Unfit('it is a session of the dashboard')
  const [userId, teamId] = [textOf(row.user_id), textOf(row.team_id)]
  const [organizationId, projectId] = [textOf(row.organization_id), textOf(row.project_id)]
  const budgetId = textOf(row.budget_id)
  const duration = durationOf(row.budget_duration)
  const models = objectOf(row.model_max_budget)
  const windows = windowsOf(row.budget_limits)
  const alias = aliasOf(textOf(row.key_alias), context)
  return {
    table: 'keys',
    id: token,
    needs: needsOf({ users: userId, teams: teamId, organizations: organizationId, projects: projectId, budgets: budgetId }),
    owner: {
      ...soleOwner('key', scopes.key(token), spentNano(row.spend)),
      userId,
      teamId,
      organizationId: organizationId ?? (teamId === null ? null : (context.teams.get(teamId) ?? null)),
      projectId,
      window: { duration, budgetId, resetAt: row.budget_reset_at ?? resetOf(budgetId, context), models, windows },
    },
    row: {
      token,
      key_name: maskedName(row.key_name),
      key_alias: alias,
      max_budget_nano: budgetNano(row.max_budget),
      expires: momentOf(row.expires),
      models: listOf(row.models),
      aliases: objectOf(row.aliases),
      config: objectOf(row.config),
      permissions: objectOf(row.permissions),
      metadata: objectOf(row.metadata),
      user_id: userId,
      team_id: teamId,
      organization_id: organizationId,
      project_id: projectId,
      agent_id: textOf(row.agent_id),
      budget_id: budgetId,
      budget_duration: duration,
      budget_limits: windows,
      model_max_budget: models,
      budget_fallbacks: objectOf(row.budget_fallbacks),
      ...limitsOf(row),
      blocked: row.blocked,
      allowed_cache_controls: listOf(row.allowed_cache_controls),
      allowed_routes: listOf(row.allowed_routes),
      policies: listOf(row.policies),
      access_group_ids: listOf(row.access_group_ids),
      router_settings: jsonOf(row.router_settings),
      object_permission: permissionOf(row.object_permission_id, context),
      soft_budget_cooldown: row.soft_budget_cooldown ?? false,
      auto_rotate: row.auto_rotate ?? false,
      rotation_interval: durationOf(row.rotation_interval),
      rotation_count: countOf(row.rotation_count) ?? 0,
      last_rotation_at: momentOf(row.last_rotation_at),
      key_rotation_at: momentOf(row.key_rotation_at),
      last_active: momentOf(row.last_active),
      ...stampsOf(row, context),
    },
  }
}

/** The alias, unless an older key has it: LiteLLM has not always kept aliases apart. */
function aliasOf(alias: string | null, { taken }: Pick<KeyContext, 'taken'>): string | null {
  if (alias === null || taken.has(alias)) return null
  taken.add(alias)
  return alias
}

/** The first and last characters of a key, as LiteLLM keeps them; whatever is more than that is cut to it. */
function maskedName(name: string | null): string {
  if (name === null || name === '') return 'sk-...'
  return /^.{0,6}\.\.\..{0,6}$/.test(name) ? name : 'sk-...'
}

/** Throws Unfit, without saying the token, for one that is no hash: it may be the key itself. */
function hashOf(token: string | null): string {
  if (token === null || !HASH.test(token)) throw new Unfit('its token is no SHA-256 in hex')
  return token
}

/** A hash that was rotated away and works on; what no longer does is left behind. */
export function mapDeprecatedKey(row: SourceRow<'deprecatedKeys'>, now: number): Candidate {
  const token = hashOf(row.token)
  const active = hashOf(row.active_token_id)
  if (row.revoke_at === null || row.revoke_at <= now) throw new Unfit('its grace is over')
  return {
    table: 'deprecated_keys',
    id: token,
    needs: needsOf({ keys: active }),
    owner: null,
    row: { token, active_token: active, revoke_at: momentOf(row.revoke_at) },
  }
}

export function mapJwtMapping(row: SourceRow<'jwtMappings'>, context: MapContext): Candidate {
  const id = idOf(row.id)
  const token = hashOf(row.token)
  if (textOf(row.jwt_claim_name) === null || row.jwt_claim_value === null) throw new Unfit('it names no claim')
  return {
    table: 'jwt_key_mappings',
    id,
    needs: needsOf({ keys: token }),
    owner: null,
    row: {
      id,
      jwt_claim_name: row.jwt_claim_name,
      jwt_claim_value: row.jwt_claim_value,
      token,
      description: row.description,
      is_active: row.is_active ?? true,
      ...stampsOf(row, context),
    },
  }
}
