import { FAILURE_KINDS } from '../../proto/routing.ts'
import { fits } from '../model-access.ts'
import { fieldNames } from '../schema.ts'
import type { Finding, Findings } from './inspect.ts'
import { nearest } from './nearest.ts'
import type { Path } from './references.ts'
import { cacheExtras, cacheParameters, strategyArguments } from './routing-shapes.ts'

/** LiteLLM's parameters of caches that Turnpike's have no use for. */
const UNUSED_CACHE_PARAMETERS = new Set(
  `max_connections cache_kwargs ssl_cert_reqs ssl_check_hostname redis_startup_nodes service_name sentinel_nodes sentinel_password
  gcp_service_account gcp_ssl_ca_certs redis_flush_size qdrant_api_base qdrant_api_key qdrant_collection_name qdrant_quantization_config
  qdrant_semantic_cache_embedding_model qdrant_semantic_cache_vector_size s3_api_version gcs_bucket_name gcs_path
  gcs_path_service_account azure_account_url azure_blob_container`.split(/\s+/),
)

/** What a schema cannot see of routing: groups that do not exist, misspelt names inside settings, settings that need another. */
export function inspectRouting(findings: Findings, tree: Record<string, unknown>): void {
  const served = servedNames(tree)
  for (const { path, name } of referredGroups(tree)) {
    if (served.has(name)) continue
    findings.warnings.push({ path, message: `no model_name "${name}" is configured${didYouMean(name, served.groups)}` })
  }
  for (const { path, value, known, unused } of namedParts(tree)) {
    for (const name of Object.keys(mappingOf(value))) {
      if (known.includes(name)) continue
      if (unused?.has(name) === true)
        findings.notes.push({ path: [...path, name], message: 'has no effect in Turnpike', aboutName: true })
      else {
        const message = `"${name}" is not a known name${didYouMean(name, known) || '; it has no effect'}`
        findings.warnings.push({ path: [...path, name], message, aboutName: true })
      }
    }
  }
  strategy(findings, tree)
  cache(findings, tree)
}

/** Names a fallback may lead to: groups, aliases, ids and upstream names of deployments, and whatever a wildcard matches. */
function servedNames(tree: Record<string, unknown>): { groups: string[]; has(name: string): boolean } {
  const entries = listOf(tree['model_list']).map(mappingOf)
  const groups = texts(entries.map((entry) => entry['model_name']))
  const aliases = Object.keys(mappingOf(mappingOf(tree['router_settings'])['model_group_alias']))
  const others = texts(
    entries.flatMap((entry) => {
      const info = mappingOf(entry['model_info'])
      return [info['id'], info['team_public_model_name'], mappingOf(entry['litellm_params'])['model']]
    }),
  )
  const names = new Set([...groups, ...aliases, ...others])
  const patterns = groups.filter((group) => group.includes('*'))
  return { groups, has: (name) => names.has(name) || patterns.some((pattern) => fits(pattern, name)) }
}

/** Every place where a setting names a model group to go to. */
function referredGroups(tree: Record<string, unknown>): { path: Path; name: string }[] {
  const found: { path: Path; name: string }[] = []
  const add = (path: Path, value: unknown): void => {
    const name = typeof value === 'string' ? value : mappingOf(value)['model']
    if (typeof name === 'string' && name !== '') found.push({ path, name })
  }
  for (const section of ['litellm_settings', 'router_settings'] as const) {
    const settings = mappingOf(tree[section])
    for (const name of ['fallbacks', 'context_window_fallbacks', 'content_policy_fallbacks']) {
      for (const [index, mapping] of listOf(settings[name]).entries()) {
        for (const [group, targets] of Object.entries(mappingOf(mapping))) {
          if (group !== '*') add([section, name, index, group], group)
          for (const [at, target] of listOf(targets).entries()) add([section, name, index, group, at], target)
        }
      }
    }
    for (const [index, target] of listOf(settings['default_fallbacks']).entries())
      add([section, 'default_fallbacks', index], target)
  }
  for (const [alias, target] of Object.entries(mappingOf(mappingOf(tree['router_settings'])['model_group_alias'])))
    add(['router_settings', 'model_group_alias', alias], target)
  for (const [index, rule] of listOf(mappingOf(tree['turnpike_settings'])['routing_rules']).entries())
    add(['turnpike_settings', 'routing_rules', index, 'then'], mappingOf(rule)['then'])
  for (const [index, entry] of listOf(tree['model_list']).entries()) {
    const mirror = mappingOf(mappingOf(entry)['litellm_params'])['silent_model']
    add(['model_list', index, 'litellm_params', 'silent_model'], mirror)
  }
  return found
}

interface NamedPart {
  path: Path
  value: unknown
  known: readonly string[]
  unused?: ReadonlySet<string>
}

/** Mappings inside sections whose names are fixed. */
function namedParts(tree: Record<string, unknown>): NamedPart[] {
  const router = mappingOf(tree['router_settings'])
  const retries = FAILURE_KINDS.map((kind) => `${kind}Retries`)
  const fails = FAILURE_KINDS.map((kind) => `${kind}AllowedFails`)
  const at = (section: string, name: string): Pick<NamedPart, 'path' | 'value'> => ({
    path: [section, name],
    value: mappingOf(tree[section])[name],
  })
  const groups = Object.entries(mappingOf(router['model_group_retry_policy']))
  return [
    { ...at('router_settings', 'routing_strategy_args'), known: fieldNames(strategyArguments()) },
    { ...at('router_settings', 'retry_policy'), known: retries },
    { ...at('router_settings', 'allowed_fails_policy'), known: fails },
    ...groups.map(([group, value]) => ({ path: ['router_settings', 'model_group_retry_policy', group], value, known: retries })),
    ...listOf(tree['model_list']).map((entry, index) => ({
      path: ['model_list', index, 'model_info', 'allowed_fails_policy'],
      value: mappingOf(mappingOf(entry)['model_info'])['allowed_fails_policy'],
      known: fails,
    })),
    { ...at('litellm_settings', 'cache_params'), known: fieldNames(cacheParameters()), unused: UNUSED_CACHE_PARAMETERS },
    { ...at('turnpike_settings', 'cache'), known: fieldNames(cacheExtras()) },
  ]
}

function strategy(findings: Findings, tree: Record<string, unknown>): void {
  const custom = mappingOf(tree['router_settings'])['routing_strategy'] === 'custom'
  const module = mappingOf(tree['turnpike_settings'])['routing_strategy_module']
  if (custom && (module === undefined || module === null)) {
    const message = 'custom needs turnpike_settings.routing_strategy_module, the file of the strategy'
    findings.problems.push({ path: ['router_settings', 'routing_strategy'], message })
  }
}

function cache(findings: Findings, tree: Record<string, unknown>): void {
  const calls = mappingOf(tree['litellm_settings'])
  const params = mappingOf(calls['cache_params'])
  const path: Path = ['litellm_settings', 'cache_params']
  const on = calls['cache'] !== undefined && calls['cache'] !== null
  if (!on && Object.keys(params).length > 0) {
    findings.warnings.push({ path, message: 'nothing is cached without litellm_settings.cache: true', aboutName: true })
  }
  const need = (name: string, of: string): Finding[] =>
    params[name] === undefined || params[name] === null ? [{ path, message: `type ${of} needs ${name}` }] : []
  if (params['type'] === 's3') findings.problems.push(...need('s3_bucket_name', 's3'))
  const type = params['type']
  if (type === 'semantic' || type === 'redis-semantic') findings.problems.push(...need('similarity_threshold', type))
}

function didYouMean(name: string, names: readonly string[]): string {
  const near = nearest(name, names)
  return near.length > 0 ? `; did you mean ${near.join(' or ')}?` : ''
}

function texts(values: readonly unknown[]): string[] {
  return values.filter((value): value is string => typeof value === 'string')
}

function mappingOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
