import type { RuntimeSettings } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, STRATEGIES } from '../../proto/routing.ts'
import { type Config, configSchema } from '../../shared/config/config.ts'
import { check, sentenceOf } from '../../shared/schema.ts'
import { changeableNames, type SectionName } from './changeable.ts'
import type { Configuration } from './configuration.ts'

/** One setting of the router as /router/fields describes it. */
export interface RouterField {
  field_name: string
  /** String, Integer, Float, Boolean, List or Dictionary: LiteLLM's words. */
  field_type: string
  field_description: string
  field_default: unknown
  options: readonly string[] | null
  section: SectionName
}

const OF_TURNPIKE = ['midstream_failover', 'hedge_after', 'outlier_ejection', 'routing_rules'] as const

/** What holds where nothing is set, as a file would say it. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  routing_strategy: DEFAULT_ROUTING.strategy,
  num_retries: 2,
  retry_after: 0,
  timeout: 600,
  max_fallbacks: DEFAULT_ROUTING.maxFallbacks,
  cooldown_time: DEFAULT_ROUTING.cooldownTime / 1000,
  disable_cooldowns: false,
  enable_pre_call_checks: false,
  optional_pre_call_checks: [],
  deployment_affinity_ttl_seconds: DEFAULT_ROUTING.affinityTtl / 1000,
  enable_tag_filtering: false,
  tag_filtering_match_any: true,
  enable_health_check_routing: false,
  health_check_ignore_transient_errors: false,
  midstream_failover: true,
  outlier_ejection: false,
}

/** What each strategy does, for dashboards. */
export const STRATEGY_DESCRIPTIONS: Readonly<Record<(typeof STRATEGIES)[number], string>> = {
  'simple-shuffle': 'At random, by weight, else by requests per minute, else by tokens per minute, else evenly.',
  'least-busy': 'The deployment with the fewest calls running.',
  'latency-based-routing': 'The fastest per output token; for streams, the first to begin.',
  'usage-based-routing': 'The fewest tokens in the running minute, within its limits.',
  'usage-based-routing-v2': 'The same, counted exactly over all routers.',
  'cost-based-routing': 'The cheapest.',
  'throughput-based-routing': 'The most output tokens per second.',
  custom: 'A module of the operator’s.',
}

export function routerFields(): RouterField[] {
  const field = (section: SectionName, name: string): RouterField => ({
    field_name: name,
    field_type: typeOf(section, name),
    field_description: sentenceOf(configSchema, [section, name]) ?? '',
    field_default: DEFAULTS[name] ?? null,
    options: name === 'routing_strategy' ? STRATEGIES : null,
    section,
  })
  return [
    ...changeableNames('router_settings').map((name) => field('router_settings', name)),
    ...OF_TURNPIKE.map((name) => field('turnpike_settings', name)),
  ]
}

/** The word for what a field takes, found by offering it one of each. */
function typeOf(section: SectionName, name: string): string {
  const takes = (value: unknown): boolean => check(configSchema.shape[section], { [name]: value }).ok
  if (takes(true)) return 'Boolean'
  if (takes(0.5)) return 'Float'
  if (takes(1)) return 'Integer'
  if (takes([])) return 'List'
  return takes({}) ? 'Dictionary' : 'String'
}

/** Values in force, by name, as a file would say them. Nothing here is secret: addresses and passwords are none of the fields. */
export function routerValues(configuration: Pick<Configuration, 'current'>, settings: RuntimeSettings): Record<string, unknown> {
  const config: Config = configuration.current()
  const inForce: Record<string, unknown> = {
    num_retries: settings.numRetries,
    retry_after: settings.retryAfter / 1000,
    timeout: settings.timeout / 1000,
    stream_timeout: settings.streamTimeout / 1000,
  }
  return Object.fromEntries(
    routerFields().map(({ field_name: name, field_default: otherwise, section }) => {
      const own = (config[section] as Record<string, unknown>)[name]
      const shared = section === 'router_settings' ? (config.litellm_settings as Record<string, unknown>)[name] : undefined
      return [name, inForce[name] ?? own ?? shared ?? otherwise]
    }),
  )
}
