import type { ConfiguredEndpoint } from './carried.ts'
import type { Mode } from './endpoints.ts'
import type { Limit } from './limits.ts'
import type { CacheSettings, FailurePolicy, RoutingSettings } from './routing.ts'

/** Unknown keys an address may try at once, and again every second; `burst` 0 = any number. */
export interface UnknownKeyLimit {
  burst: number
  perSecond: number
}

export const UNKNOWN_KEYS: UnknownKeyLimit = { burst: 50, perSecond: 1 }

/** Parts of input and output that providers price apart, nano-dollars per million tokens. A missing one is "not priced", 0 is free. */
export interface TokenPrices {
  input?: number
  output?: number
  cacheRead?: number
  cacheWrite?: number
  cacheWrite1h?: number
  reasoning?: number
  audioInput?: number
  audioOutput?: number
  audioCacheRead?: number
  audioCacheWrite?: number
  imageInput?: number
  imageOutput?: number
  imageCacheRead?: number
  videoInput?: number
  videoOutput?: number
  citation?: number
}

/** Prices that replace others for the WHOLE call when its input tokens exceed `above`; of several the highest crossed counts. */
export type PriceTier = TokenPrices & { above: number }

/** Token prices of a service tier (`priority`, `flex`, `batch`). One it does not name is the standard one times `multiplier`. */
export interface ServiceTierPrices extends TokenPrices {
  /** Parts per million; absent = 1,000,000. */
  multiplier?: number
  tiers?: PriceTier[]
}

/**
 * Prices of one model in nano-dollars per million tokens (so that a price of $0.0375 per million stays an integer), per
 * request in nano-dollars. A missing field means "not priced", 0 means free. Everything here is an integer.
 */
export interface Prices extends TokenPrices {
  rateVersion: string
  /** Nano-dollars per request. */
  perRequest?: number
  /** Nano-dollars per tool call billed apart, by name; `name:variant` beats `name` (`web_search:high`). */
  perToolCall?: Record<string, number>
  /** Nano-dollars per MILLION units, by the names usage carries (proto/usage.ts); `name:variant` beats `name`. */
  perUnit?: Record<string, number>
  /** Nano-dollars per million milliseconds an attempt took; not for usage whose audio is priced by its length. */
  perElapsed?: number
  /** Sorted ascending (surface reference §11.2, rule 4). */
  tiers?: PriceTier[]
  serviceTiers?: Record<string, ServiceTierPrices>
  /** Parts per million of the token prices, by the region that served (`eu`, `us`); `region` where usage does not say. */
  regions?: Record<string, number>
  region?: string
  /** What the provider says a call cost beats these prices. */
  reported?: boolean
  /** Parts per million taken off the whole. */
  discount?: number
  /** Parts per million, and nano-dollars per call, added after the discount. */
  margin?: number
  marginFixed?: number
}

/** Taken off and added to whatever a call costs, as `Prices` has it. */
export type CostAdjustment = Pick<Prices, 'discount' | 'margin' | 'marginFixed'>

/** Prices set through the API for a provider's model. The newest that began before a call holds for it. */
export interface PriceOverride {
  provider: string
  model: string
  prices: Prices
  /** Unix milliseconds. */
  effectiveFrom: number
}

/** How models are priced that no deployment has prices for (those a wildcard stands for). */
export interface Pricing {
  /** Those in effect when this was published, one a model. */
  overrides: PriceOverride[]
  /** By provider; `global` holds the margin of all others. */
  adjustments: Record<string, CostAdjustment>
}

/** One way to serve a model group: LiteLLM's `model_list` entry, resolved and validated. */
export interface Deployment {
  /** `model_info.id`, or a SHA-256 over model group and parameters (stable between restarts). */
  id: string
  /** Public name; may hold `*`. Several deployments with one name are balanced. */
  modelGroup: string
  /** Key of the provider list: `openai`, `anthropic`, `groq`, `mock`, … */
  provider: string
  /** Upstream model name; may hold `*`, filled from what the group's wildcard matched. */
  model: string
  /** Null = the provider's own. No trailing slash. */
  apiBase: string | null
  /** Sealed by accounting (`sealed:…`), opened by the router. Null where none is needed or found. */
  apiKey: string | null
  organization: string | null
  apiVersion: string | null
  weight: number
  rpm: number | null
  tpm: number | null
  maxParallelRequests: number | null
  /** Per minute, for every key that has no limit of its own on this model. */
  keyRpm?: number
  keyTpm?: number
  /** Input and output tokens per minute. */
  itpm?: number
  otpm?: number
  /** Milliseconds out of rotation after a failure; 0 = never out. Absent = the settings'. */
  cooldownTime?: number
  allowedFails?: number
  allowedFailsPolicy?: FailurePolicy
  /** Where it runs, as far as configured (`eu-west-1`, `us`). */
  region?: string
  /** A model group that gets a copy of every call; its answers are only counted. */
  mirror?: string
  /** Patterns over `Name: value` of the request's headers that count as its tags. */
  tagPatterns?: string[]
  /** Only calls of this team see it, under this name (`model_info.team_id`, `team_public_model_name`). */
  team?: { id: string; publicName: string | null }
  /** Nano-dollars it may cost per window; null = for ever. */
  budget?: { limit: number; duration: string | null }
  order: number | null
  tags: string[]
  /** Milliseconds; null = the settings' default. */
  timeout: number | null
  streamTimeout: number | null
  maxRetries: number | null
  /** OpenAI parameters used where the client sent none. */
  defaults: Record<string, unknown>
  extraHeaders: Record<string, string>
  extraBody: Record<string, unknown>
  dropParams: boolean
  additionalDropParams: string[]
  allowedOpenaiParams: string[]
  mockResponse: string | null
  mode: Mode | null
  baseModel: string | null
  accessGroups: string[]
  /** Everything under `model_info`, returned by `/model/info`. */
  info: Record<string, unknown>
  /** Null = by the model a wildcard is filled with. */
  prices: Prices | null
  /** The model whose list prices hold, where that is another (`base_model`). */
  pricedAs?: { provider: string; model: string }
  /** Catalogue facts: context window and so on. */
  maxInputTokens: number | null
  maxOutputTokens: number | null
  blocked: boolean
  /** Served to who knows its name, and in no list of models: the self-test's. */
  hidden?: true
  /** Came from the database rather than the file. */
  fromDatabase: boolean
  /** Settings only this provider's adapter reads (mock pace and faults, anthropic version, …). */
  settings: Record<string, unknown>
}

/** What a deployment is where nothing is said beside its names: no limits, prices or credentials. */
export const PLAIN_DEPLOYMENT: Omit<Deployment, 'id' | 'modelGroup' | 'provider' | 'model'> = {
  apiBase: null,
  apiKey: null,
  organization: null,
  apiVersion: null,
  weight: 1,
  rpm: null,
  tpm: null,
  maxParallelRequests: null,
  order: null,
  tags: [],
  timeout: null,
  streamTimeout: null,
  maxRetries: null,
  defaults: {},
  extraHeaders: {},
  extraBody: {},
  dropParams: false,
  additionalDropParams: [],
  allowedOpenaiParams: [],
  mockResponse: null,
  mode: null,
  baseModel: null,
  accessGroups: [],
  info: {},
  prices: null,
  maxInputTokens: null,
  maxOutputTokens: null,
  blocked: false,
  fromDatabase: false,
  settings: {},
}

/** A module of the operator's that answers for a provider's name. */
export interface HandlerFile {
  provider: string
  /** Absolute, or relative to the folder routers are told. */
  path: string
  /** `default`, or another export's name. */
  export: string
}

/** Request-path settings, published with the deployments. */
export interface RuntimeSettings {
  numRetries: number
  /** Milliseconds for a whole attempt, to the first byte of a stream, and of silence inside one. */
  timeout: number
  streamTimeout: number
  stallTimeout: number
  /** Milliseconds base between retries. */
  retryAfter: number
  modelGroupAlias: Record<string, string>
  /** Aliases that stand in no list of models. */
  hiddenAliases?: string[]
  dropParams: boolean
  alwaysIncludeStreamUsage: boolean
  maxRequestBytes: number
  allowClientSideCredentials: boolean
  keyHeaderName: string | null
  requireAuthForMetrics: boolean
  allowedRoutes: string[]
  publicRoutes: string[]
  /** Whether any customer, and any tag, has a limit or is blocked: only then is accounting asked about those of a call. */
  customerLimits: boolean
  tagLimits: boolean
  /** Output tokens reserved for a call that does not limit them, unless its key or its model says less. */
  holdOutputTokens: number
  /** What happens to calls with limits while the counters are away. */
  countersAway: 'refuse' | 'allow'
  /** Budgets of providers and deployments (surface reference §5.9), by scope. */
  providerBudgets: Limit[]
  /** Dot paths every body must hold, and those only bodies of service accounts must. */
  enforcedParams: string[]
  serviceAccountEnforcedParams: string[]
  /** A body must name its `user`. */
  enforceUserParam: boolean
  /** Tags in bodies and headers are refused. */
  rejectClientTags: boolean
  /** Headers that name the customer (surface reference §3.4, rule 2), lower case. */
  customerHeaders: string[]
  /** Headers that routing rules read (`routing.conditions`), lower case; absent = none. */
  ruleHeaders?: string[]
  /** Absent: `UNKNOWN_KEYS`. */
  unknownKeys?: UnknownKeyLimit
  /** `x-forwarded-for` names the client: a proxy in front sets it. */
  useForwardedFor?: true
  /** No master key is set: every caller is a proxy admin (surface reference §0). */
  open: boolean
  routing: RoutingSettings
  /** Ids as providers give them may be used by everybody, not by proxy admins alone. */
  providerObjectIds?: true
  /** Clients of pass-through routes prove themselves to the provider, not to us. */
  clientCredentials?: true
  configuredEndpoints?: ConfiguredEndpoint[]
  /** Loaded by routers. From the configuration file alone: whoever may change settings could run code there. */
  handlers?: HandlerFile[]
  /** Null = answers are not cached. */
  cache: CacheSettings | null
}

/** The value of the runtime bucket under `runtime`: all a router and an edge need to serve. */
export interface RuntimeSnapshot {
  v: number
  /** Rises with every change. */
  revision: number
  deployments: Deployment[]
  settings: RuntimeSettings
  pricing?: Pricing
  /** What model groups with a wildcard stand for in lists, by the group. */
  expansions?: Record<string, string[]>
  /** Rows the configuration adds to the table of providers (shared/catalog/providers.ts), by name. */
  providers?: Record<string, object>
  /** Credentials for what providers serve beside their models, by what the settings name them for (`files`, `assistants`, …). */
  services?: { purpose: string; deployment: Deployment }[]
}
