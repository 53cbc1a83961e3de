import { scopes } from '../../proto/limits.ts'
import type { SourceRow } from '../sql/import-source.ts'
import { type Candidate, idOf, needsOf, soleOwner, Unfit } from './candidate.ts'
import { budgetNano, countOf, durationOf, jsonOf, listOf, momentOf, objectOf, spentNano, textOf } from './values.ts'

/** What rows of other tables say of a row. */
export interface MapContext {
  /** When the import runs, ISO 8601: for rows without a time of their own. */
  now: string
  /** Object permissions by id. */
  permissions: ReadonlyMap<string, Record<string, unknown>>
  /** Budget rows by id: when their windows close. */
  budgets: ReadonlyMap<string, SourceRow<'budgets'>>
  /** Team model aliases by id. */
  aliases: ReadonlyMap<string, Record<string, unknown>>
}

interface Limited {
  max_parallel_requests: string | null
  tpm_limit: string | null
  rpm_limit: string | null
}

interface Stamped {
  created_at?: number | null
  created_by?: string | null
  updated_at?: number | null
  updated_by?: string | null
}

export function limitsOf(row: Limited): Record<string, number | null> {
  return {
    max_parallel_requests: countOf(row.max_parallel_requests),
    tpm_limit: countOf(row.tpm_limit),
    rpm_limit: countOf(row.rpm_limit),
  }
}

export function stampsOf(row: Stamped, { now }: Pick<MapContext, 'now'>): Record<string, string | null> {
  const created = momentOf(row.created_at ?? null) ?? now
  return {
    created_at: created,
    created_by: row.created_by ?? null,
    updated_at: momentOf(row.updated_at ?? null) ?? created,
    updated_by: row.updated_by ?? null,
  }
}

export function permissionOf(
  id: string | null,
  { permissions }: Pick<MapContext, 'permissions'>,
): Record<string, unknown> | null {
  return id === null ? null : (permissions.get(id) ?? null)
}

/** The further windows of a budget as stored; null for none. */
export function windowsOf(value: unknown): unknown {
  const parsed = jsonOf(value)
  return Array.isArray(parsed) && parsed.length > 0 ? parsed : null
}

export function resetOf(budgetId: string | null, { budgets }: Pick<MapContext, 'budgets'>): number | null {
  return budgetId === null ? null : (budgets.get(budgetId)?.budget_reset_at ?? null)
}

/** The window of an owner that has no limits but those of a budget row. */
export function budgetWindow(budgetId: string | null, context: Pick<MapContext, 'budgets'>) {
  return { budgetId, resetAt: resetOf(budgetId, context) }
}

export function mapBudget(row: SourceRow<'budgets'>, context: MapContext): Candidate {
  const id = idOf(row.budget_id)
  return {
    table: 'budgets',
    id,
    needs: [],
    owner: null,
    row: {
      budget_id: id,
      max_budget_nano: budgetNano(row.max_budget),
      soft_budget_nano: budgetNano(row.soft_budget),
      ...limitsOf(row),
      model_max_budget: objectOf(row.model_max_budget),
      budget_duration: durationOf(row.budget_duration),
      allowed_models: listOf(row.allowed_models),
      ...stampsOf(row, context),
    },
  }
}

export function mapOrganization(row: SourceRow<'organizations'>, context: MapContext): Candidate {
  const id = idOf(row.organization_id)
  const budgetId = textOf(row.budget_id)
  return {
    table: 'organizations',
    id,
    needs: needsOf({ budgets: budgetId }),
    owner: {
      ...soleOwner('organization', scopes.organization(id), spentNano(row.spend), budgetWindow(budgetId, context)),
      organizationId: id,
    },
    row: {
      organization_id: id,
      organization_alias: row.organization_alias,
      budget_id: budgetId,
      metadata: objectOf(row.metadata),
      models: listOf(row.models),
      object_permission: permissionOf(row.object_permission_id, context),
      ...stampsOf(row, context),
    },
  }
}

export function mapUser(row: SourceRow<'users'>, context: MapContext): Candidate {
  const id = idOf(row.user_id)
  const duration = durationOf(row.budget_duration)
  const models = objectOf(row.model_max_budget)
  const windows = windowsOf(row.budget_limits)
  return {
    table: 'users',
    id,
    needs: [],
    owner: {
      ...soleOwner('user', scopes.user(id), spentNano(row.spend), { duration, resetAt: row.budget_reset_at, models, windows }),
      userId: id,
    },
    row: {
      user_id: id,
      user_alias: row.user_alias,
      user_email: textOf(row.user_email),
      user_role: textOf(row.user_role),
      sso_user_id: textOf(row.sso_user_id),
      organization_id: textOf(row.organization_id),
      models: listOf(row.models),
      metadata: objectOf(row.metadata),
      max_budget_nano: budgetNano(row.max_budget),
      budget_duration: duration,
      budget_limits: windows,
      model_max_budget: models,
      ...limitsOf(row),
      allowed_cache_controls: listOf(row.allowed_cache_controls),
      policies: listOf(row.policies),
      object_permission: permissionOf(row.object_permission_id, context),
      ...stampsOf(row, context),
    },
  }
}

/** A user of whom nothing is known but that it is a member. */
export function fillerUser(userId: string, email: string | null, context: MapContext): Candidate {
  const none = { user_alias: null, user_role: null, sso_user_id: null, organization_id: null, models: null, metadata: null }
  const limits = { max_budget: null, spend: null, max_parallel_requests: null, tpm_limit: null, rpm_limit: null }
  const windows = { budget_duration: null, budget_reset_at: null, budget_limits: null, model_max_budget: null }
  const rest = { allowed_cache_controls: null, policies: null, object_permission_id: null }
  const stamps = { created_at: null, created_by: null, updated_at: null, updated_by: null }
  const row = { user_id: userId, user_email: email, ...none, ...limits, ...windows, ...rest, ...stamps }
  return { ...mapUser(row, context), owner: null, filler: true }
}

/** LiteLLM keeps the default budget of a team's members among its metadata. */
const MEMBER_BUDGET = 'team_member_budget_id'

export function memberBudgetOf(row: SourceRow<'teams'>): string | null {
  const id = objectOf(row.metadata)[MEMBER_BUDGET]
  return typeof id === 'string' && id !== '' ? id : null
}

export function mapTeam(row: SourceRow<'teams'>, context: MapContext): Candidate {
  const id = idOf(row.team_id)
  const organizationId = textOf(row.organization_id)
  const memberBudget = memberBudgetOf(row)
  const { [MEMBER_BUDGET]: _, ...metadata } = objectOf(row.metadata)
  const duration = durationOf(row.budget_duration)
  const models = objectOf(row.model_max_budget)
  const windows = windowsOf(row.budget_limits)
  return {
    table: 'teams',
    id,
    needs: needsOf({ organizations: organizationId, budgets: memberBudget }),
    owner: {
      ...soleOwner('team', scopes.team(id), spentNano(row.spend), { duration, resetAt: row.budget_reset_at, models, windows }),
      teamId: id,
      organizationId,
    },
    row: {
      team_id: id,
      team_alias: row.team_alias,
      organization_id: organizationId,
      metadata,
      max_budget_nano: budgetNano(row.max_budget),
      soft_budget_nano: budgetNano(row.soft_budget),
      budget_duration: duration,
      budget_limits: windows,
      models: listOf(row.models),
      model_aliases: row.model_id === null ? {} : (context.aliases.get(row.model_id) ?? {}),
      model_max_budget: models,
      ...limitsOf(row),
      blocked: row.blocked ?? false,
      team_member_budget_id: memberBudget,
      // An empty list would take from members what none leaves them.
      team_member_permissions: row.team_member_permissions === null ? null : listOf(row.team_member_permissions),
      default_team_member_models: listOf(row.default_team_member_models),
      router_settings: jsonOf(row.router_settings),
      policies: listOf(row.policies),
      access_group_ids: listOf(row.access_group_ids),
      object_permission: permissionOf(row.object_permission_id, context),
      ...stampsOf(row, context),
    },
  }
}

export function mapProject(row: SourceRow<'projects'>, context: MapContext): Candidate {
  const id = idOf(row.project_id)
  const teamId = textOf(row.team_id)
  if (teamId === null) throw new Unfit('it is of no team')
  const budgetId = textOf(row.budget_id)
  const perModel = Object.entries({ model_rpm_limit: row.model_rpm_limit, model_tpm_limit: row.model_tpm_limit })
    .map(([name, value]) => [name, objectOf(value)] as const)
    .filter(([, value]) => Object.keys(value).length > 0)
  return {
    table: 'projects',
    id,
    needs: needsOf({ teams: teamId, budgets: budgetId }),
    owner: {
      ...soleOwner('project', scopes.project(id), spentNano(row.spend), budgetWindow(budgetId, context)),
      projectId: id,
      teamId,
    },
    row: {
      project_id: id,
      project_alias: row.project_alias,
      description: row.description,
      team_id: teamId,
      budget_id: budgetId,
      // Limits per model are enforced from there.
      metadata: { ...objectOf(row.metadata), ...Object.fromEntries(perModel) },
      models: listOf(row.models),
      blocked: row.blocked ?? false,
      object_permission: permissionOf(row.object_permission_id, context),
      ...stampsOf(row, context),
    },
  }
}

export function mapCustomer(row: SourceRow<'customers'>, context: MapContext): Candidate {
  const id = idOf(row.user_id)
  const budgetId = textOf(row.budget_id)
  return {
    table: 'customers',
    id,
    needs: needsOf({ budgets: budgetId }),
    owner: soleOwner('customer', scopes.customer(id), spentNano(row.spend), budgetWindow(budgetId, context)),
    row: {
      user_id: id,
      alias: row.alias,
      blocked: row.blocked ?? false,
      allowed_model_region: textOf(row.allowed_model_region),
      default_model: textOf(row.default_model),
      budget_id: budgetId,
      object_permission: permissionOf(row.object_permission_id, context),
      created_at: context.now,
      updated_at: context.now,
    },
  }
}

export function mapTag(row: SourceRow<'tags'>, context: MapContext): Candidate {
  const id = idOf(row.tag_name)
  const budgetId = textOf(row.budget_id)
  const { updated_by: _, ...stamps } = stampsOf(row, context)
  return {
    table: 'tags',
    id,
    needs: needsOf({ budgets: budgetId }),
    owner: soleOwner('tag', scopes.tag(id), spentNano(row.spend), budgetWindow(budgetId, context)),
    row: {
      tag_name: id,
      description: row.description,
      models: listOf(row.models),
      model_info: jsonOf(row.model_info),
      budget_id: budgetId,
      ...stamps,
    },
  }
}
