import type { Config } from '../../shared/config/config.ts'
import { GatewayError } from '../../shared/errors.ts'
import { timeAfter } from '../ledger/budgets.ts'
import type { KeyFields } from './key-fields.ts'

const DEFAULTED = [
  'max_budget',
  'user_id',
  'team_id',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'budget_duration',
  'models',
  'metadata',
] as const
const BOUNDED = ['max_budget', 'budget_duration', 'max_parallel_requests', 'tpm_limit', 'rpm_limit', 'duration'] as const

/**
 * The fields of a new key after the configuration had its say (surface reference §2.1): `default_key_generate_params` fills what is
 * empty; `upperbound_key_generate_params` fills what is missing and refuses what is larger with GatewayError `bad_request`.
 */
export function withConfigLimits(fields: KeyFields, config: Config, now: number): KeyFields {
  const { default_key_generate_params: defaults } = config.litellm_settings
  const result: KeyFields = { ...fields }
  for (const name of DEFAULTED) {
    if (empty(result[name]) && defaults?.[name] != null) result[name] = defaults[name]
  }
  return { ...result, ...bounded(result, BOUNDED, config, now) }
}

/**
 * The fields of a change after the configuration had its say: only what it names is held to `upperbound_key_generate_params`, and a
 * limit that it takes away becomes the most there is. Throws GatewayError `bad_request` for what is larger.
 */
export function withinBounds(fields: KeyFields, config: Config, now: number): KeyFields {
  const named = BOUNDED.filter((name) => fields[name] !== undefined)
  return { ...fields, ...bounded(fields, named, config, now) }
}

function bounded(fields: KeyFields, names: readonly (typeof BOUNDED)[number][], config: Config, now: number): KeyFields {
  const bounds = config.litellm_settings.upperbound_key_generate_params
  const result: KeyFields = {}
  for (const name of names) {
    const most = bounds?.[name]
    if (most == null) continue
    const value = fields[name]
    // "-1" stands for no end.
    if (empty(value) || value === '-1') result[name] = most
    else if (size(value, now) > size(most, now)) {
      throw new GatewayError('bad_request', `${name} is over max limit set in config - user_value=${value}; max_value=${most}`, {
        type: 'bad_request_error',
        param: name,
      })
    }
  }
  return result
}

function empty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.keys(value).length === 0
}

/** Durations compare by how far they reach. */
function size(value: unknown, now: number): number {
  const number = Number(value)
  return Number.isNaN(number) ? timeAfter(now, String(value)) - now : number
}
