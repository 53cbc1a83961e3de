/**
 * How calls are routed: what an operator sets (surface reference §4.4, §5), what a key, a team or a request may change of it, and what
 * routers tell each other. Times are milliseconds, money is nano-dollars per million tokens.
 */

/** LiteLLM's names of `routing_strategy`; `throughput-based-routing` is ours, `custom` a module of the operator's. */
export const STRATEGIES = [
  'simple-shuffle',
  'least-busy',
  'latency-based-routing',
  'usage-based-routing',
  'usage-based-routing-v2',
  'cost-based-routing',
  'throughput-based-routing',
  'custom',
] as const

export type StrategyName = (typeof STRATEGIES)[number]

/** Kinds of failure that policies count apart; LiteLLM's names without `Retries` and `AllowedFails`. */
export const FAILURE_KINDS = [
  'BadRequestError',
  'AuthenticationError',
  'TimeoutError',
  'RateLimitError',
  'ContentPolicyViolationError',
  'InternalServerError',
] as const

export type FailureKind = (typeof FAILURE_KINDS)[number]

/** A number for some kinds of failure: retries, or failures allowed before a cooldown. */
export type FailurePolicy = Partial<Record<FailureKind, number>>

/** Where a group's calls go when it fails, by group; `*` for every group that has no list of its own. */
export interface FallbackLists {
  general: Record<string, FallbackTarget[]>
  /** Null = no such list is configured, and the general one is used. */
  contextWindow: Record<string, FallbackTarget[]> | null
  contentPolicy: Record<string, FallbackTarget[]> | null
}

/** A model group, or a model group with fields of the request replaced. */
export interface FallbackTarget {
  model: string
  overrides?: Record<string, unknown>
}

/** Checks before a deployment is chosen (`optional_pre_call_checks`, surface reference §5.8). */
export const PRE_CALL_CHECKS = [
  'prompt_caching',
  'router_budget_limiting',
  'responses_api_deployment_check',
  'encrypted_content_affinity',
  'session_affinity',
  'deployment_affinity',
  'forward_client_headers_by_model_group',
  'enforce_model_rate_limits',
] as const

export type PreCallCheck = (typeof PRE_CALL_CHECKS)[number]

export interface RoutingSettings {
  strategy: StrategyName
  /** File of a custom strategy; null = none. */
  strategyModule: string | null
  /** Latency-based: how long a sample counts, how many are kept, and the share above the lowest that still counts as equal. */
  latencyTtl: number
  latencyListSize: number
  latencyBuffer: number
  retryPolicy: FailurePolicy
  groupRetryPolicy: Record<string, FailurePolicy>
  fallbacks: FallbackLists
  maxFallbacks: number
  /** Null with an empty policy = by failure rate (surface reference §5.5). */
  allowedFails: number | null
  allowedFailsPolicy: FailurePolicy
  cooldownTime: number
  disableCooldowns: boolean
  /** Context window, response format, region and rate room are checked before choosing. */
  preCallChecks: boolean
  optionalChecks: PreCallCheck[]
  affinityTtl: number
  /** Group → checks that hold for it beside `optionalChecks` (`model_group_affinity_config`). */
  groupChecks: Record<string, PreCallCheck[]>
  tagFiltering: boolean
  tagMatchAny: boolean
  /** Calls at once on a deployment that does not say; null = no limit. */
  defaultMaxParallel: number | null
  /** Priority of calls that name none; null = such calls do not wait for a deployment. */
  defaultPriority: number | null
  health: HealthCheckSettings
  failover: FailoverSettings
  /** Outliers: a deployment that fails far more often than its group is ejected for a while and returns gradually. */
  ejection: EjectionSettings
  /** A second attempt elsewhere when the first has not begun to answer after so long; null = never. */
  hedgeAfter: number | null
  /** Rules by metadata and headers, first match wins; the name asked for → another one. */
  conditions: RoutingRule[]
}

export interface HealthCheckSettings {
  background: boolean
  interval: number
  /** Checks at once. */
  concurrency: number
  /** Groups checked; null = all. */
  groups: string[] | null
  /** Unhealthy deployments are not chosen. */
  routing: boolean
  /** A result older than this is ignored. */
  staleness: number
  /** 429 and 408 are no sign of ill health. */
  ignoreTransient: boolean
}

/** A stream that dies after text was sent goes on elsewhere, where that is safe. */
export interface FailoverSettings {
  enabled: boolean
  /** Continuations of one answer at most. */
  max: number
}

export interface EjectionSettings {
  enabled: boolean
  /** Share of failures from which a deployment is ejected, and calls within the window it needs first. */
  failureShare: number
  minimumCalls: number
  window: number
  /** First ejection; each further one lasts longer, up to `maximum`. */
  base: number
  maximum: number
  /** Over how long its traffic returns to its full share. */
  ramp: number
  /** Share of a group that may be ejected at once. */
  maxEjected: number
}

/** When a request looks like this, it goes to another group. */
export interface RoutingRule {
  /** Model names asked for; empty = all. */
  models: string[]
  /** `{ "metadata.plan": { "$eq": "paid" }, "headers.x-region": "eu" }`; shared/config/rule-query.ts has the language. */
  when: Record<string, unknown>
  then: string
}

/** What a key, a team or a request changes of the settings. Absent = as the settings say. */
export interface RoutingOverrides {
  strategy?: StrategyName
  numRetries?: number
  timeout?: number
  streamTimeout?: number
  retryAfter?: number
  retryPolicy?: FailurePolicy
  groupRetryPolicy?: Record<string, FailurePolicy>
  fallbacks?: Partial<FallbackLists>
  maxFallbacks?: number
  modelGroupAlias?: Record<string, string>
  tagFiltering?: boolean
  tagMatchAny?: boolean
  cooldownTime?: number
  allowedFails?: number
  /** Mid-stream failover for this key. */
  failover?: boolean
  hedgeAfter?: number | null
  /** Similarity from which this key takes an answer of the semantic cache; 0 to 1. */
  similarity?: number
  /** Namespace of the cache. */
  cacheNamespace?: string
}

/** The response cache (surface reference §8). */
export interface CacheSettings {
  type: 'memory' | 'redis' | 'disk' | 's3' | 'semantic'
  /** Cached unless a request says no, or only where a request asks. */
  defaultOn: boolean
  ttl: number
  namespace: string | null
  /** Modes that are cached. */
  modes: string[]
  /** Who shares answers: callers of one tenant (team, else user, else key), of one key, or everybody, which an operator must say. */
  tenancy: 'tenant' | 'key' | 'shared'
  /** Identical calls at the same time wait for the first one's answer. */
  singleFlight: boolean
  /** Milliseconds between the chunks of a replayed stream. */
  replayPace: number
  /** Entries and bytes kept in memory. */
  maxEntries: number
  maxBytes: number
  /** Groups that share answers (`caching_groups`). */
  groups: string[][]
  /** Parameters that are not OpenAI's count too. */
  providerParams: boolean
  directory: string | null
  /** Redis of its own; null = that of the counters. Sealed. */
  redisUrl: string | null
  s3: {
    bucket: string
    prefix: string
    region: string | null
    endpoint: string | null
    accessKeyId: string | null
    /** Sealed, both. */
    secretAccessKey: string | null
    sessionToken: string | null
  } | null
  semantic: {
    /** Least cosine similarity, 0 to 1. */
    threshold: number
    /** Model group that makes embeddings. */
    embeddingModel: string
    store: 'memory' | 'redis'
    index: string
  } | null
}

/** What one router tells the others on `tp.changed.routing`. At most once a second, but for cooldowns, which go at once. */
export interface RoutingNews {
  v: number
  routerId: string
  /** Deployment id → milliseconds for which it is not chosen; 0 = it is back. */
  cooldowns?: Record<string, number>
  /** Deployment id → ejected for so many milliseconds. */
  ejected?: Record<string, number>
  loads?: Record<string, DeploymentLoad>
  health?: Record<string, DeploymentHealth>
  /** An operator looks: every router answers with `reports` under this number, the last of them marked. */
  ask?: string
  reports?: DeploymentReport[]
  last?: true
}

/** What a router knows of a deployment, for operators. Times are seconds left, latencies milliseconds; null = no sample. */
export interface DeploymentReport {
  id: string
  inFlight: number
  cooldownSeconds: number
  ejectedSeconds: number
  /** Of its usual traffic, 0 to 1. */
  share: number
  unhealthy: boolean
  /** What the last background check said, if it failed. */
  error: string | null
  /** Per output token, to the first token of streams, and tokens per second. */
  latency: number | null
  firstToken: number | null
  throughput: number | null
  /** In the running minute. */
  requests: number
  tokens: number
  successes: number
  failures: number
}

/** What one router sends to a deployment. */
export interface DeploymentLoad {
  inFlight: number
  /** In the running minute of the wall clock, and which minute that is (Unix minutes). */
  minute: number
  requests: number
  tokens: number
  /** New samples since the last news: milliseconds per output token, and to the first token of a stream. */
  latencies?: number[]
  firstTokens?: number[]
}

export interface DeploymentHealth {
  healthy: boolean
  /** Milliseconds since it was checked. */
  age: number
  error?: string
}

export const DEFAULT_ROUTING: RoutingSettings = {
  strategy: 'simple-shuffle',
  strategyModule: null,
  latencyTtl: 3_600_000,
  latencyListSize: 10,
  latencyBuffer: 0,
  retryPolicy: {},
  groupRetryPolicy: {},
  fallbacks: { general: {}, contextWindow: null, contentPolicy: null },
  maxFallbacks: 5,
  allowedFails: null,
  allowedFailsPolicy: {},
  cooldownTime: 5_000,
  disableCooldowns: false,
  preCallChecks: false,
  optionalChecks: [],
  affinityTtl: 3_600_000,
  groupChecks: {},
  tagFiltering: false,
  tagMatchAny: true,
  defaultMaxParallel: null,
  defaultPriority: null,
  health: {
    background: false,
    interval: 300_000,
    concurrency: 4,
    groups: null,
    routing: false,
    staleness: 600_000,
    ignoreTransient: false,
  },
  failover: { enabled: true, max: 2 },
  ejection: {
    enabled: false,
    failureShare: 0.5,
    minimumCalls: 20,
    window: 30_000,
    base: 10_000,
    maximum: 300_000,
    ramp: 30_000,
    maxEjected: 0.5,
  },
  hedgeAfter: null,
  conditions: [],
}
