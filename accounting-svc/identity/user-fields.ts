import type { Config } from '../../shared/config/config.ts'
import { dollars, dollarsOrNull, nanoField } from '../dollars.ts'
import type { UserChanges, UserRow, UserView } from '../sql/users.ts'
import { changedMetadata } from './field-columns.ts'

/** What a client sends to make or change a user, already checked against its schema (routes/users.ts). */
export type UserFields = Record<string, unknown>

/** Columns whose value is stored as it is sent. Null puts the default back. */
const PLAIN = [
  'user_alias',
  'user_email',
  'user_role',
  'sso_user_id',
  'models',
  'budget_duration',
  'budget_limits',
  'model_max_budget',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'allowed_cache_controls',
  'policies',
  'object_permission',
] as const satisfies readonly (keyof UserRow)[]

/** Columns that may not be null: what null means for them. */
const EMPTY: Partial<Record<(typeof PLAIN)[number], unknown>> = {
  models: [],
  model_max_budget: {},
  allowed_cache_controls: [],
  policies: [],
}

/** Fields without a column: they are kept inside `metadata`, where whoever enforces them looks. */
const IN_METADATA = [
  'model_rpm_limit',
  'model_tpm_limit',
  'mcp_rpm_limit',
  'guardrails',
  'prompts',
  'permissions',
  'aliases',
] as const

/** Fields of a new user that are those of its first key as well. */
export const FOR_KEY = [
  'models',
  'duration',
  'key_alias',
  'aliases',
  'config',
  'permissions',
  'guardrails',
  'prompts',
  'allowed_cache_controls',
  'policies',
  'blocked',
  'metadata',
] as const

/**
 * The columns that `fields` set. A `metadata` that is sent replaces `present`; fields that are kept inside it are put into what is
 * there then. Throws GatewayError `bad_request` for an amount that cannot be counted.
 */
export function userColumns(fields: UserFields, present: Record<string, unknown> = {}): UserChanges {
  const columns: Record<string, unknown> = {}
  for (const name of PLAIN) {
    if (fields[name] !== undefined) columns[name] = fields[name] ?? EMPTY[name] ?? null
  }
  if (fields['max_budget'] !== undefined) columns['max_budget_nano'] = nanoField(fields['max_budget'], 'max_budget')
  const metadata = changedMetadata(fields['metadata'] ?? undefined, fields, IN_METADATA, present)
  if (metadata !== null) columns['metadata'] = metadata
  return columns as UserChanges
}

/**
 * The fields of a new user after the configuration had its say: `default_internal_user_params` fills what is empty for everybody but
 * proxy admins, the internal users' budget and its duration fill what is still missing for those who make calls of their own.
 */
export function withUserDefaults(fields: UserFields, config: Config): UserFields {
  const {
    default_internal_user_params: defaults,
    max_internal_user_budget,
    internal_user_budget_duration,
  } = config.litellm_settings
  const result: UserFields = { ...fields }
  if (fields['user_role'] === 'proxy_admin') return result
  for (const [name, value] of Object.entries(defaults ?? {})) {
    // What teams a user may join by themselves is asked for where they do.
    if (name !== 'available_teams' && value != null && isEmpty(result[name])) result[name] = value
  }
  if (result['user_role'] != null && result['user_role'] !== 'internal_user') return result
  if (isEmpty(result['max_budget']) && max_internal_user_budget != null) result['max_budget'] = max_internal_user_budget
  if (isEmpty(result['budget_duration']) && internal_user_budget_duration != null) {
    result['budget_duration'] = internal_user_budget_duration
  }
  return result
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}

/** A user as management routes show it: money in dollars, spend of the present window; nothing of the password. */
export function userInfo(row: UserView): Record<string, unknown> {
  const { spend_nano, max_budget_nano, reset_at, key_count: _, ...rest } = row
  return {
    ...rest,
    spend: dollars(spend_nano),
    max_budget: dollarsOrNull(max_budget_nano),
    budget_reset_at: reset_at,
    model_spend: {},
  }
}
