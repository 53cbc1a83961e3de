import { scopes } from '../../proto/limits.ts'
import { overridesOf } from '../../shared/config/routing.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import { dollars, dollarsOrNull, nanoField } from '../dollars.ts'
import { timeAfter } from '../ledger/budgets.ts'
import type { KeyRow, KeyView } from '../sql/keys.ts'
import type { Spends } from '../sql/limits.ts'
import { budgetObject } from './budgets.ts'
import { checkCacheControls } from './cache-controls.ts'
import { changedMetadata } from './field-columns.ts'
import { keyOwner, modelBudgets } from './limits.ts'

/** What a client sends to make or change a key, already checked against its schema (routes/keys.ts). Dollars, durations, names. */
export type KeyFields = Record<string, unknown>

/** A key as management routes take it, or the hash they take instead → hash. */
export function tokenOf(keyOrHash: string): string {
  return keyOrHash.startsWith('sk-') ? hashKey(keyOrHash) : keyOrHash
}

/** Columns whose value is stored as it is sent. Null puts the default back. */
const PLAIN = [
  'key_alias',
  'models',
  'aliases',
  'config',
  'permissions',
  'user_id',
  'team_id',
  'organization_id',
  'project_id',
  'agent_id',
  'budget_id',
  'budget_limits',
  'model_max_budget',
  'budget_fallbacks',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'blocked',
  'allowed_cache_controls',
  'allowed_routes',
  'policies',
  'access_group_ids',
  'router_settings',
  'object_permission',
  'throttle_on_budget_exceeded',
  'default_estimated_output_tokens',
  'default_estimated_output_tokens_per_model',
  'budget_duration',
  'auto_rotate',
  'rotation_interval',
] as const satisfies readonly (keyof KeyRow)[]

/** Columns that may not be null: what null means for them. */
const EMPTY: Partial<Record<(typeof PLAIN)[number], unknown>> = {
  models: [],
  aliases: {},
  config: {},
  permissions: {},
  model_max_budget: {},
  budget_fallbacks: {},
  allowed_cache_controls: [],
  allowed_routes: [],
  policies: [],
  access_group_ids: [],
  throttle_on_budget_exceeded: false,
  auto_rotate: false,
}

/** Fields without a column: LiteLLM keeps them inside `metadata`, and clients that read them back look there. */
export const IN_METADATA = [
  'model_rpm_limit',
  'model_tpm_limit',
  'mcp_rpm_limit',
  'rpm_limit_type',
  'tpm_limit_type',
  'tags',
  'guardrails',
  'prompts',
  'disable_global_guardrails',
  'enforced_params',
  'allowed_passthrough_routes',
  'allowed_vector_store_indexes',
  'temp_budget_increase',
  'temp_budget_expiry',
] as const

/** `key_type` is a short way of saying `allowed_routes`. */
const KEY_TYPES: Readonly<Record<string, string[]>> = {
  default: [],
  llm_api: ['llm_api_routes'],
  management: ['management_routes'],
  read_only: ['info_routes'],
}

/**
 * The columns that `fields` set. `metadata` is merged into `present` only through the fields kept inside it; a `metadata` that is
 * sent replaces it. Throws GatewayError `bad_request` for a duration or an amount that cannot be read, and for router settings or cache
 * controls that do not exist.
 */
export function columnsOf(fields: KeyFields, now: number, present: Record<string, unknown> = {}): Partial<KeyRow> {
  const columns: Record<string, unknown> = {}
  for (const name of PLAIN) {
    if (fields[name] === undefined) continue
    columns[name] = fields[name] ?? EMPTY[name] ?? null
  }
  if (fields['router_settings'] != null) overridesOf(fields['router_settings'])
  if (fields['allowed_cache_controls'] != null) checkCacheControls(fields['allowed_cache_controls'])
  if (fields['max_budget'] !== undefined) columns['max_budget_nano'] = nanoField(fields['max_budget'], 'max_budget')
  if (fields['soft_budget'] !== undefined) columns['soft_budget_nano'] = nanoField(fields['soft_budget'], 'soft_budget')
  if (fields['duration'] !== undefined) columns['expires'] = expiry(fields['duration'], now)
  const routes = typeof fields['key_type'] === 'string' ? KEY_TYPES[fields['key_type']] : undefined
  if (routes !== undefined && routes.length > 0 && fields['allowed_routes'] == null) columns['allowed_routes'] = routes
  const metadata = metadataOf(fields, now, present)
  if (metadata !== null) columns['metadata'] = metadata
  return columns as Partial<KeyRow>
}

function metadataOf(fields: KeyFields, now: number, present: Record<string, unknown>): Record<string, unknown> | null {
  const metadata = changedMetadata(fields['metadata'] ?? undefined, fields, IN_METADATA, present)
  if (metadata === null) return null
  const until = fields['temp_budget_expiry']
  if ((fields['temp_budget_increase'] == null) !== (until == null)) {
    throw new GatewayError('bad_request', 'temp_budget_increase and temp_budget_expiry are only of use together: send both.', {
      type: 'bad_request_error',
    })
  }
  if (typeof until === 'string') metadata['temp_budget_expiry'] = moment(until, now)
  return metadata
}

/** A time given as such or as a duration from now, ISO 8601. */
function moment(text: string, now: number): string {
  const time = /^\d+(mo|[smhdw])$/.test(text.trim()) ? timeAfter(now, text) : Date.parse(text)
  if (Number.isNaN(time))
    throw new GatewayError('bad_request', 'temp_budget_expiry is neither a date nor a duration.', { type: 'bad_request_error' })
  return new Date(time).toISOString()
}

/** Null and "-1" mean never. */
function expiry(duration: unknown, now: number): Date | null {
  return duration === null || duration === '-1' ? null : new Date(timeAfter(now, String(duration)))
}

/** A key as management routes show it: every column but the hash, money in dollars. */
export function keyInfo(key: KeyView): Record<string, unknown> {
  const { token: _, owner_organization_id: __, spend_nano, max_budget_nano, soft_budget_nano, budget, ...rest } = key
  return {
    ...rest,
    spend: dollars(spend_nano),
    max_budget: dollarsOrNull(max_budget_nano),
    soft_budget: dollarsOrNull(soft_budget_nano),
    model_spend: {},
    litellm_budget_table: budget === null ? null : budgetObject(budget, key.budget_reset_at),
    object_permission_id: null,
  }
}

/** The same with what its models cost in their present windows. `spends` holds their scopes. */
export function keyInfoWithUsage(key: KeyView, spends: Spends): Record<string, unknown> {
  const { scope, own, budget } = keyOwner(key, key.budget, { keyParallel: null })
  const used = Object.entries(modelBudgets(own, budget)).flatMap(([model, entry]) => {
    const spent = spends[scopes.model(scope, model)]?.spent ?? 0
    return entry.budget === null ? [] : [{ model, spent: dollars(spent), budget: entry.budget, duration: entry.duration }]
  })
  return {
    ...keyInfo(key),
    model_spend: Object.fromEntries(used.map(({ model, spent }) => [model, spent])),
    model_max_budget_usage: Object.fromEntries(
      used.map(({ model, spent, budget: most, duration }) => [
        model,
        { current_spend: spent, budget_limit: dollars(most), time_period: duration },
      ]),
    ),
  }
}

/** The same with the hash and with the fields kept inside metadata beside it, as /key/generate answers. */
export function keyObject(key: KeyView): Record<string, unknown> {
  const inside = Object.fromEntries(IN_METADATA.map((name) => [name, key.metadata[name] ?? null]))
  return { ...inside, ...keyInfo(key), token: key.token, token_id: key.token }
}

/** What was asked for is said back, also where nothing is stored under that name. */
export function echo(fields: KeyFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
