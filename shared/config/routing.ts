import {
  DEFAULT_ROUTING,
  type EjectionSettings,
  FAILURE_KINDS,
  type FailoverSettings,
  type FailurePolicy,
  type FallbackLists,
  type FallbackTarget,
  type HealthCheckSettings,
  type RoutingOverrides,
  type RoutingSettings,
  STRATEGIES,
} from '../../proto/routing.ts'
import { GatewayError } from '../errors.ts'
import { check, flag, numeric, z } from '../schema.ts'
import type { Config } from './config.ts'
import { formatPath } from './references.ts'
import { failover, failurePolicy, fallbackLists, fallbackTargets, modelAliases } from './routing-shapes.ts'

/**
 * `router_settings`, and what `litellm_settings` says where it is silent, as routers use them: seconds are milliseconds, LiteLLM's lists of
 * single mappings are mappings. Pure.
 */
export function routingOf(config: Config): RoutingSettings {
  const { litellm_settings: calls, router_settings: router, turnpike_settings: own } = config
  const base = DEFAULT_ROUTING
  const latency = router.routing_strategy_args ?? {}
  return {
    strategy: router.routing_strategy ?? base.strategy,
    strategyModule: own.routing_strategy_module ?? null,
    latencyTtl: milliseconds(latency.ttl) ?? base.latencyTtl,
    latencyListSize: latency.max_latency_list_size ?? base.latencyListSize,
    latencyBuffer: latency.lowest_latency_buffer ?? base.latencyBuffer,
    retryPolicy: policyOf(router.retry_policy, 'Retries'),
    groupRetryPolicy: groupPolicies(router.model_group_retry_policy),
    fallbacks: {
      general: {
        ...everyGroup(router.default_fallbacks ?? calls.default_fallbacks),
        ...(listsOf(router.fallbacks ?? calls.fallbacks) ?? {}),
      },
      contextWindow: listsOf(router.context_window_fallbacks ?? calls.context_window_fallbacks),
      contentPolicy: listsOf(router.content_policy_fallbacks ?? calls.content_policy_fallbacks),
    },
    maxFallbacks: router.max_fallbacks ?? base.maxFallbacks,
    allowedFails: router.allowed_fails ?? calls.allowed_fails ?? null,
    allowedFailsPolicy: policyOf(router.allowed_fails_policy, 'AllowedFails'),
    cooldownTime: milliseconds(router.cooldown_time) ?? base.cooldownTime,
    disableCooldowns: router.disable_cooldowns ?? false,
    preCallChecks: router.enable_pre_call_checks ?? false,
    optionalChecks: [...new Set(router.optional_pre_call_checks ?? [])],
    affinityTtl: milliseconds(router.deployment_affinity_ttl_seconds) ?? base.affinityTtl,
    groupChecks: { ...router.model_group_affinity_config },
    tagFiltering: router.enable_tag_filtering ?? false,
    tagMatchAny: router.tag_filtering_match_any ?? true,
    defaultMaxParallel: router.default_max_parallel_requests ?? null,
    defaultPriority: router.default_priority ?? null,
    health: healthOf(config),
    failover: failoverOf(own.midstream_failover),
    ejection: ejectionOf(own.outlier_ejection),
    hedgeAfter: milliseconds(own.hedge_after),
    conditions: (own.routing_rules ?? []).map(({ models, when, then }) => ({ models: models ?? [], when, then })),
  }
}

function healthOf({ general_settings: general, router_settings: router }: Config): HealthCheckSettings {
  const interval = milliseconds(general.health_check_interval) ?? DEFAULT_ROUTING.health.interval
  return {
    background: general.background_health_checks ?? false,
    interval,
    concurrency: general.health_check_concurrency ?? DEFAULT_ROUTING.health.concurrency,
    groups: general.background_health_check_model_groups ?? null,
    routing: router.enable_health_check_routing ?? general.enable_health_check_routing ?? false,
    // LiteLLM: two intervals.
    staleness: milliseconds(router.health_check_staleness_threshold ?? general.health_check_staleness_threshold) ?? 2 * interval,
    ignoreTransient: router.health_check_ignore_transient_errors ?? general.health_check_ignore_transient_errors ?? false,
  }
}

function failoverOf(given: Config['turnpike_settings']['midstream_failover']): FailoverSettings {
  if (given == null) return { ...DEFAULT_ROUTING.failover }
  if (typeof given === 'boolean') return { ...DEFAULT_ROUTING.failover, enabled: given }
  const max = given.max ?? DEFAULT_ROUTING.failover.max
  return { enabled: max > 0, max }
}

function ejectionOf(given: Config['turnpike_settings']['outlier_ejection']): EjectionSettings {
  const base = DEFAULT_ROUTING.ejection
  if (given == null || typeof given === 'boolean') return { ...base, enabled: given ?? base.enabled }
  return {
    enabled: given.enabled ?? true,
    failureShare: given.failure_share ?? base.failureShare,
    minimumCalls: given.minimum_calls ?? base.minimumCalls,
    window: milliseconds(given.window) ?? base.window,
    base: milliseconds(given.base) ?? base.base,
    maximum: milliseconds(given.maximum) ?? base.maximum,
    ramp: milliseconds(given.ramp) ?? base.ramp,
    maxEjected: given.max_ejected ?? base.maxEjected,
  }
}

type WrittenTarget = string | ({ model: string } & Record<string, unknown>)
type WrittenLists = readonly Readonly<Record<string, readonly WrittenTarget[]>>[] | null | undefined

/** LiteLLM's list of mappings; of several lists for one group the first counts, as there. Null where there is no list at all. */
export function listsOf(written: WrittenLists): Record<string, FallbackTarget[]> | null {
  const lists: Record<string, FallbackTarget[]> = {}
  for (const mapping of written ?? []) {
    for (const [group, targets] of Object.entries(mapping)) {
      if (!Object.hasOwn(lists, group)) lists[group] = targets.map(targetOf)
    }
  }
  return Object.keys(lists).length === 0 ? null : lists
}

function everyGroup(targets: readonly WrittenTarget[] | null | undefined): Record<string, FallbackTarget[]> {
  return targets == null || targets.length === 0 ? {} : { '*': targets.map(targetOf) }
}

function targetOf(target: WrittenTarget): FallbackTarget {
  if (typeof target === 'string') return { model: target }
  const { model, ...overrides } = target
  return Object.keys(overrides).length === 0 ? { model } : { model, overrides }
}

/** `{TimeoutErrorRetries: 3}` → `{TimeoutError: 3}`. */
export function policyOf(written: Record<string, unknown> | null | undefined, ending: 'Retries' | 'AllowedFails'): FailurePolicy {
  const policy: FailurePolicy = {}
  for (const kind of FAILURE_KINDS) {
    const value = written?.[`${kind}${ending}`]
    if (typeof value === 'number') policy[kind] = value
  }
  return policy
}

function groupPolicies(written: Record<string, Record<string, unknown>> | null | undefined): Record<string, FailurePolicy> {
  return Object.fromEntries(Object.entries(written ?? {}).map(([group, policy]) => [group, policyOf(policy, 'Retries')]))
}

/** `router_settings` of a key or a team. Null counts as absent, in LiteLLM's clients too. */
const overrideFields = {
  routing_strategy: z.enum(STRATEGIES, { error: `expected one of ${STRATEGIES.join(', ')}` }),
  num_retries: numeric({ min: 0, integer: true }),
  timeout: numeric({ min: 0 }),
  stream_timeout: numeric({ min: 0 }),
  retry_after: numeric({ min: 0 }),
  retry_policy: failurePolicy('Retries'),
  model_group_retry_policy: z.record(z.string(), failurePolicy('Retries')),
  fallbacks: fallbackLists(),
  default_fallbacks: fallbackTargets(),
  context_window_fallbacks: fallbackLists(),
  content_policy_fallbacks: fallbackLists(),
  max_fallbacks: numeric({ min: 0, integer: true }),
  model_group_alias: modelAliases(),
  enable_tag_filtering: flag(),
  tag_filtering_match_any: flag(),
  cooldown_time: numeric({ min: 0 }),
  allowed_fails: numeric({ min: 0, integer: true }),
  midstream_failover: failover(),
  hedge_after: numeric({ min: 0 }),
  cache_similarity: numeric({ min: 0, max: 1 }),
  cache_namespace: z.string(),
}

const overridesSchema = z.object(overrideFields).partial()
type WrittenOverrides = z.output<typeof overridesSchema>

/** Names that `router_settings` of a key or a team may hold. */
export const OVERRIDE_NAMES: readonly string[] = Object.keys(overrideFields)

/**
 * What a key's or a team's `router_settings` change. Throws GatewayError `bad_request` that names every field that is wrong, or not one a
 * key or a team may have.
 */
export function overridesOf(written: unknown): RoutingOverrides {
  const problems: string[] = []
  const fields = readOverrides(written, (text) => problems.push(text))
  if (problems.length > 0) {
    const param = /^router_settings[\w.]*/.exec(problems[0] as string)?.[0] ?? 'router_settings'
    throw new GatewayError('bad_request', `${problems.join('; ')}.`, { type: 'bad_request_error', param })
  }
  return compiledOverrides(fields)
}

/** The same of what is stored: a field that does not fit (of an import, of another version) is left out. */
export function storedOverrides(written: unknown): RoutingOverrides {
  return compiledOverrides(readOverrides(written, () => undefined))
}

function readOverrides(written: unknown, problem: (text: string) => void): WrittenOverrides {
  if (written === null || written === undefined) return {}
  if (typeof written !== 'object' || Array.isArray(written)) {
    problem('router_settings: expected a mapping')
    return {}
  }
  const fields: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(written)) {
    if (value === null || value === undefined) continue
    if (!Object.hasOwn(overrideFields, name)) {
      problem(`router_settings.${name} cannot be set for a key or a team; what can be is ${OVERRIDE_NAMES.join(', ')}`)
      continue
    }
    const checked = check(overrideFields[name as keyof typeof overrideFields], value)
    if (checked.ok) fields[name] = checked.value
    else
      for (const { path, message } of checked.problems) problem(`${formatPath(['router_settings', name, ...path])}: ${message}`)
  }
  return fields as WrittenOverrides
}

function compiledOverrides(fields: WrittenOverrides): RoutingOverrides {
  const general = { ...everyGroup(fields.default_fallbacks), ...(listsOf(fields.fallbacks) ?? {}) }
  const contextWindow = listsOf(fields.context_window_fallbacks)
  const contentPolicy = listsOf(fields.content_policy_fallbacks)
  const fallbacks: Partial<FallbackLists> = {
    // An empty list is a key's way of having no fallbacks.
    ...(fields.fallbacks === undefined && fields.default_fallbacks === undefined ? {} : { general }),
    ...(fields.context_window_fallbacks === undefined ? {} : { contextWindow }),
    ...(fields.content_policy_fallbacks === undefined ? {} : { contentPolicy }),
  }
  const aliases = Object.entries(fields.model_group_alias ?? {})
  return defined({
    strategy: fields.routing_strategy,
    numRetries: fields.num_retries,
    timeout: milliseconds(fields.timeout) ?? undefined,
    streamTimeout: milliseconds(fields.stream_timeout) ?? undefined,
    retryAfter: milliseconds(fields.retry_after) ?? undefined,
    retryPolicy: fields.retry_policy === undefined ? undefined : policyOf(fields.retry_policy, 'Retries'),
    groupRetryPolicy: fields.model_group_retry_policy === undefined ? undefined : groupPolicies(fields.model_group_retry_policy),
    fallbacks: Object.keys(fallbacks).length === 0 ? undefined : fallbacks,
    maxFallbacks: fields.max_fallbacks,
    modelGroupAlias:
      aliases.length === 0
        ? undefined
        : Object.fromEntries(aliases.map(([name, target]) => [name, typeof target === 'string' ? target : target.model])),
    tagFiltering: fields.enable_tag_filtering,
    tagMatchAny: fields.tag_filtering_match_any,
    cooldownTime: milliseconds(fields.cooldown_time) ?? undefined,
    allowedFails: fields.allowed_fails,
    failover: fields.midstream_failover === undefined ? undefined : failoverOf(fields.midstream_failover).enabled,
    hedgeAfter: milliseconds(fields.hedge_after) ?? undefined,
    similarity: fields.cache_similarity,
    cacheNamespace: fields.cache_namespace,
  })
}

/** Team's first, then the key's over it: what the key says counts, field by field. Undefined where neither says anything. */
export function mergedOverrides(team: unknown, key: unknown): RoutingOverrides | undefined {
  if ((team === null || team === undefined) && (key === null || key === undefined)) return undefined
  const [under, over] = [storedOverrides(team), storedOverrides(key)]
  const merged: RoutingOverrides = { ...under, ...over }
  if (under.fallbacks !== undefined && over.fallbacks !== undefined) merged.fallbacks = { ...under.fallbacks, ...over.fallbacks }
  return Object.keys(merged).length === 0 ? undefined : merged
}

type Optional<T> = { [Name in keyof T]?: T[Name] | undefined }

function defined(fields: Optional<RoutingOverrides>): RoutingOverrides {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as RoutingOverrides
}

function milliseconds(seconds: number | null | undefined): number | null {
  return seconds == null ? null : Math.round(seconds * 1000)
}
