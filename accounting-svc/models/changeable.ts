import { type Config, configSchema } from '../../shared/config/config.ts'
import type { Findings } from '../../shared/config/inspect.ts'
import { inspectPassThrough } from '../../shared/config/pass-through.ts'
import { formatPath, referenceOf } from '../../shared/config/references.ts'
import { READ_AT_START } from '../../shared/config/reload.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { check, fieldNames } from '../../shared/schema.ts'

/** Sections whose fields may be set through the API, over the file. */
export const SECTIONS = ['litellm_settings', 'router_settings', 'general_settings', 'turnpike_settings'] as const
export type SectionName = (typeof SECTIONS)[number]

/** Fields read once, when a process starts, or that say where secrets and code come from: the file's alone. */
const FIXED: Readonly<Record<SectionName, readonly string[]>> = {
  litellm_settings: [...READ_AT_START.litellm_settings, 'custom_provider_map'],
  router_settings: [...READ_AT_START.router_settings, 'default_litellm_params'],
  general_settings: READ_AT_START.general_settings,
  turnpike_settings: [],
}

/** Of Turnpike's own section most is about single processes. */
const OWN: readonly string[] = [
  'midstream_failover',
  'hedge_after',
  'outlier_ejection',
  'routing_rules',
  'cache',
  'stall_timeout',
  'hold_output_tokens',
  'counters_away',
]

/** Names inside `cache_params` whose values are sealed where they are stored, and never shown. */
const CACHE_SECRETS: ReadonlySet<string> = new Set(['url', 'password', 's3_aws_secret_access_key', 's3_aws_session_token'])

const ENDPOINTS = 'pass_through_endpoints'

/** Names of a section that may change while the gateway runs. */
export function changeableNames(section: SectionName): string[] {
  if (section === 'turnpike_settings') return [...OWN]
  return fieldNames(configSchema.shape[section]).filter((name) => !FIXED[section].includes(name))
}

/**
 * One field as it was sent: checked and read (`"5"` is 5), or what is wrong with it, each with its path.
 */
export function readField(section: SectionName, name: string, value: unknown): { value: unknown } | { problems: string[] } {
  const path = `${section}.${name}`
  if (!fieldNames(configSchema.shape[section]).includes(name)) return { problems: [`${path} is not a setting of this gateway`] }
  if (!changeableNames(section).includes(name))
    return { problems: [`${path} cannot be changed while the gateway runs: set it in the configuration file`] }
  if (holdsReference(value)) return { problems: [`${path}: references to the environment stand in the configuration file only`] }
  const checked = check(configSchema.shape[section], { [name]: value })
  if (!checked.ok) return { problems: checked.problems.map((one) => `${formatPath([section, ...one.path])}: ${one.message}`) }
  const problems = name === ENDPOINTS ? endpointProblems(checked.value) : []
  return problems.length > 0 ? { problems } : { value: (checked.value as Record<string, unknown>)[name] }
}

/** Paths that would be in the way of the gateway's own. */
function endpointProblems(general: unknown): string[] {
  const findings: Findings = { problems: [], warnings: [], notes: [] }
  inspectPassThrough(findings, { general_settings: general })
  return findings.problems.map(({ path, message }) => `${formatPath(path)}: ${message}`)
}

/** A value as it is stored: the secrets of a cache and the headers of endpoints sealed. */
export function sealedField(name: string, value: unknown, sealer: Sealer): unknown {
  return eachSecret(name, value, (text) => sealer.seal(text))
}

/** The same as it is used. Throws GatewayError `internal` when it was sealed under another secret. */
export function openedField(name: string, value: unknown, sealer: Sealer): unknown {
  return eachSecret(name, value, (text) => sealer.open(text))
}

/** The same as it may be shown and logged. */
export function shownField(name: string, value: unknown): unknown {
  return eachSecret(name, value, () => '***')
}

function eachSecret(name: string, value: unknown, change: (text: string) => string): unknown {
  if (name === ENDPOINTS && Array.isArray(value)) return value.map((one: unknown) => withHeaders(one, change))
  if (name !== 'cache_params' || typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      CACHE_SECRETS.has(key) && typeof inner === 'string' ? change(inner) : inner,
    ]),
  )
}

/** Headers of an endpoint are what proves the gateway to its target. */
function withHeaders(endpoint: unknown, change: (text: string) => string): unknown {
  const headers = (endpoint as { headers?: unknown } | null)?.headers
  if (typeof headers !== 'object' || headers === null) return endpoint
  const changed = Object.fromEntries(Object.entries(headers).map(([header, text]) => [header, change(String(text))]))
  return { ...(endpoint as object), headers: changed }
}

function holdsReference(value: unknown): boolean {
  if (referenceOf(value) !== null) return true
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsReference)
}

/** `config` with these fields in place of its own. */
export function withFields(config: Config, fields: Partial<Record<SectionName, Record<string, unknown>>>): Config {
  const merged = { ...config }
  for (const section of SECTIONS) {
    const own = fields[section]
    if (own !== undefined) Object.assign(merged, { [section]: { ...config[section], ...own } })
  }
  return merged
}
