import { isDeepStrictEqual } from 'node:util'
import type { Config } from '../../shared/config/config.ts'
import { overridesOf } from '../../shared/config/routing.ts'
import { mayUse } from '../../shared/model-access.ts'
import { dollars, dollarsOrNull, nanoField } from '../dollars.ts'
import type { BudgetRow } from '../sql/budgets.ts'
import type { MemberView } from '../sql/team-members.ts'
import type { TeamRow, TeamView } from '../sql/teams.ts'
import { type BudgetFields, badRequest, budgetObject } from './budgets.ts'
import { changedMetadata } from './field-columns.ts'
import { hideCallbackSecrets } from './team-callbacks.ts'

/** What a client sends to make or change a team, already checked against its schema (routes/teams.ts). */
export type TeamFields = Record<string, unknown>

/** Columns whose value is stored as it is sent. Null puts the default back. */
const PLAIN = [
  'team_alias',
  'organization_id',
  'budget_duration',
  'budget_limits',
  'models',
  'model_aliases',
  'model_max_budget',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'blocked',
  'team_member_permissions',
  'default_team_member_models',
  'router_settings',
  'policies',
  'access_group_ids',
  'object_permission',
  'default_estimated_output_tokens',
  'default_estimated_output_tokens_per_model',
] as const satisfies readonly (keyof TeamRow)[]

/** Columns that may not be null: what null means for them. */
const EMPTY: Partial<Record<(typeof PLAIN)[number], unknown>> = {
  models: [],
  model_aliases: {},
  model_max_budget: {},
  blocked: false,
  default_team_member_models: [],
  policies: [],
  access_group_ids: [],
}

/** Fields without a column: LiteLLM keeps them inside `metadata`, and clients that read them back look there. */
const IN_METADATA = [
  'model_rpm_limit',
  'model_tpm_limit',
  'mcp_rpm_limit',
  'rpm_limit_type',
  'tpm_limit_type',
  'tags',
  'guardrails',
  'prompts',
  'disable_global_guardrails',
  'allowed_passthrough_routes',
  'allowed_vector_store_indexes',
  'secret_manager_settings',
  'team_member_key_duration',
  'enforced_file_expires_after',
  'enforced_batch_output_expires_after',
] as const

/** Limits of members who have none of their own → fields of the budget row that holds them. */
const MEMBER_BUDGET = {
  team_member_budget: 'max_budget',
  team_member_budget_duration: 'budget_duration',
  team_member_rpm_limit: 'rpm_limit',
  team_member_tpm_limit: 'tpm_limit',
} as const

/**
 * The columns that `fields` set. A `metadata` that is sent replaces `present`; fields that are kept inside it are put into what is
 * there then. Throws GatewayError `bad_request` for an amount that cannot be counted and for router settings
 * that do not exist.
 */
export function teamColumns(fields: TeamFields, present: Record<string, unknown> = {}): Partial<TeamRow> {
  const columns: Record<string, unknown> = {}
  for (const name of PLAIN) {
    if (fields[name] !== undefined) columns[name] = fields[name] ?? EMPTY[name] ?? null
  }
  if (fields['router_settings'] != null) overridesOf(fields['router_settings'])
  if (fields['max_budget'] !== undefined) columns['max_budget_nano'] = nanoField(fields['max_budget'], 'max_budget')
  if (fields['soft_budget'] !== undefined) columns['soft_budget_nano'] = nanoField(fields['soft_budget'], 'soft_budget')
  const metadata = changedMetadata(fields['metadata'], fields, IN_METADATA, present)
  if (metadata !== null) columns['metadata'] = metadata
  return columns as Partial<TeamRow>
}

/** What `fields` say of the budget of members who have none of their own. */
export function memberBudgetFields(fields: TeamFields): BudgetFields {
  return Object.fromEntries(
    Object.entries(MEMBER_BUDGET).flatMap(([from, to]) => (fields[from] === undefined ? [] : [[to, fields[from]]])),
  )
}

/** The fields of a new team, filled where they are empty from `default_team_params` of the configuration. */
export function withTeamDefaults(fields: TeamFields, config: Config): TeamFields {
  const result: TeamFields = { ...fields }
  for (const [name, value] of Object.entries(config.litellm_settings.default_team_params ?? {})) {
    if (value != null && isEmpty(result[name])) result[name] = value
  }
  return result
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}

/** What binds the admins of a team, and so is not theirs to set: columns, and fields inside `metadata`. */
const BOUND_COLUMNS = [
  'max_budget_nano',
  'budget_duration',
  'budget_limits',
  'models',
  'model_aliases',
  'model_max_budget',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'blocked',
  'policies',
  'access_group_ids',
  'object_permission',
] as const satisfies readonly (keyof TeamRow)[]
const BOUND_METADATA = [
  'model_rpm_limit',
  'model_tpm_limit',
  'mcp_rpm_limit',
  'rpm_limit_type',
  'tpm_limit_type',
  'guardrails',
  'disable_global_guardrails',
  'allowed_passthrough_routes',
  'allowed_vector_store_indexes',
  'secret_manager_settings',
  'enforced_file_expires_after',
  'enforced_batch_output_expires_after',
] as const

/** Whether `columns` would change what a team may use or spend. Values sent back as they are do not. */
export function setsBound(team: TeamRow, columns: Partial<TeamRow>): boolean {
  const { metadata } = columns
  return (
    BOUND_COLUMNS.some((name) => columns[name] !== undefined && !isDeepStrictEqual(columns[name], team[name])) ||
    (metadata !== undefined && BOUND_METADATA.some((name) => !isDeepStrictEqual(metadata[name], team.metadata[name])))
  )
}

/** What an organization bounds its teams by. */
export interface OrganizationBounds {
  organization_id: string
  models: readonly string[]
  budget: BudgetRow | null
  /** Guaranteed to its other teams per minute, together. */
  guaranteed: { tpm_limit: number; rpm_limit: number }
}

/** Names that stand for what is above, or for nothing. */
const SPECIAL_MODELS: ReadonlySet<string> = new Set(['all-org-models', 'no-default-models'])

/**
 * Refuses a team that may do more than its organization: other models, larger limits, or a guarantee that the organization has
 * given to others already. Throws GatewayError `bad_request` that names the field.
 */
export function refuseBeyond(team: TeamRow, organization: OrganizationBounds): void {
  const { budget, organization_id: id } = organization
  const outside = team.models.find((name) => !SPECIAL_MODELS.has(name) && !mayUse(organization, name))
  if (outside !== undefined) throw badRequest('models', `models: '${outside}' is not among the models of organization ${id}.`)
  if (team.max_budget_nano !== null && budget?.max_budget_nano != null && team.max_budget_nano > budget.max_budget_nano) {
    throw badRequest('max_budget', `max_budget is more than that of organization ${id}.`)
  }
  for (const name of ['tpm_limit', 'rpm_limit'] as const) {
    const [asked, most] = [team[name], budget?.[name] ?? null]
    if (asked === null || most === null) continue
    if (asked > most) throw badRequest(name, `${name} is more than that of organization ${id}: ${most}.`)
    if (team.metadata[`${name}_type`] !== 'guaranteed_throughput') continue
    const left = most - organization.guaranteed[name]
    if (asked > left)
      throw badRequest(name, `${name} cannot be guaranteed: of the ${most} of organization ${id}, ${Math.max(0, left)} are left.`)
  }
}

/** A team as management routes show it. Secrets of its callbacks stay inside. */
export function teamObject(team: TeamView, memberBudget: BudgetRow | null): Record<string, unknown> {
  const { spend_nano, reset_at, members, max_budget_nano, soft_budget_nano, metadata, ...rest } = team
  return {
    ...rest,
    admins: members.filter(({ role }) => role === 'admin').map(({ user_id }) => user_id),
    members: members.map(({ user_id }) => user_id),
    members_with_roles: members,
    metadata: hideCallbackSecrets(metadata),
    max_budget: dollarsOrNull(max_budget_nano),
    soft_budget: dollarsOrNull(soft_budget_nano),
    spend: dollars(spend_nano),
    budget_reset_at: reset_at,
    model_id: null,
    litellm_model_table: Object.keys(rest.model_aliases).length === 0 ? null : { model_aliases: rest.model_aliases },
    team_member_budget_table: memberBudget === null ? null : budgetObject(memberBudget, null),
  }
}

/** A membership as management routes show it: `budget` is the member's own row, else the team's default. */
export function membershipObject(member: MemberView, budget: BudgetRow | null): Record<string, unknown> {
  return {
    team_id: member.team_id,
    user_id: member.user_id,
    user_email: member.user_email,
    role: member.role,
    spend: dollars(member.spend_nano),
    budget_id: budget?.budget_id ?? null,
    litellm_budget_table: budget === null ? null : budgetObject(budget, member.reset_at),
    allowed_models: member.allowed_models,
    temp_budget_increase: member.metadata['temp_budget_increase'] ?? null,
    temp_budget_expiry: member.metadata['temp_budget_expiry'] ?? null,
    created_at: member.created_at,
  }
}
