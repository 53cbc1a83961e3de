import { createHash } from 'node:crypto'
import { type Deployment, type RuntimeSettings, UNKNOWN_KEYS } from '../../proto/deployment.ts'
import type { Mode } from '../../proto/endpoints.ts'
import { type Catalog, createCatalog } from '../catalog/catalog.ts'
import { PROVIDERS } from '../catalog/providers.ts'
import { GatewayError } from '../errors.ts'
import { nanoOf } from '../money.ts'
import { fieldNames } from '../schema.ts'
import { cacheOf } from './cache.ts'
import { canonicalJson } from './canonical-json.ts'
import {
  type Config,
  type Credential,
  checkModelEntry,
  type DeploymentParams,
  deploymentParamsSchema,
  type ModelEntry,
  type ModelInfo,
} from './config.ts'
import { foundProviders } from './found.ts'
import { handlersOf } from './handlers.ts'
import { isPriceName, KNOWN_PARAMS, OPENAI_PARAMS } from './known.ts'
import { passThroughOf } from './pass-through.ts'
import { deploymentPrices } from './prices.ts'
import { type Environment, formatPath, resolveReferences } from './references.ts'
import { policyOf, routingOf } from './routing.ts'
import { headersOfQuery } from './rule-query.ts'
import type { Sealer } from './secrets.ts'
import { BARE_WILDCARDS, targetOf } from './target.ts'

export { foundProviders } from './found.ts'

export interface DeploymentOptions {
  /** Prices and limits; default a catalogue of its own. */
  catalog?: Catalog
  /** Where `litellm_credential_name` is looked up. */
  credentials?: readonly Credential[]
  fromDatabase?: boolean
  /** Providers that the configuration adds to the table. */
  providers?: readonly string[]
  /** Those of them that get every parameter as a setting. */
  handled?: readonly string[]
  /** `litellm_settings.drop_params`: holds where the deployment does not say. */
  dropParams?: boolean
}

/** Seconds a call may take when nothing else is said (LiteLLM's documented default). */
const DEFAULT_TIMEOUT = 600
/** Seconds of silence inside a stream: longer than any provider thinks without sending a ping. */
const DEFAULT_STALL_TIMEOUT = 300
const DEFAULT_RETRIES = 2
/** Output tokens reserved for a call that names no limit: most answers are shorter, and a stream that grows past it reserves more. */
const DEFAULT_HOLD_OUTPUT = 4096
/** Megabytes of a request body: long contexts with images and audio fit. */
const DEFAULT_REQUEST_SIZE = 128

/** `model_info.mode` as LiteLLM writes it (surface reference §4.2). */
const MODES: Readonly<Record<string, Mode>> = {
  chat: 'chat',
  responses: 'chat',
  completion: 'completion',
  embedding: 'embedding',
  rerank: 'rerank',
  moderation: 'moderation',
  image_generation: 'image',
  image_edit: 'image_edit',
  audio_speech: 'speech',
  audio_transcription: 'transcription',
}

/** Parameters that hold secrets: sealed wherever they end up. */
const SECRET_PARAM = /(secret|password|token|credentials|_key)$/

/**
 * Every deployment of the configuration, in its order. Entries of a provider that is not served yet are left out (loading warned of
 * them); an entry for `*` becomes one for every provider found in the environment.
 */
export function deploymentsOf(
  config: Config,
  env: Environment,
  sealer: Sealer,
  options: Pick<DeploymentOptions, 'catalog'> = {},
): Deployment[] {
  const catalog = options.catalog ?? createCatalog()
  const environment = { ...env, ...config.environment_variables }
  const weighted = new Set(
    config.model_list.filter((entry) => entry.litellm_params.weight != null).map((entry) => entry.model_name),
  )
  const seen = new Map<string, number>()
  return config.model_list.flatMap((entry) =>
    expand(entry, environment).flatMap((single) => {
      const { model, custom_llm_provider } = single.litellm_params
      if (targetOf(model, custom_llm_provider, catalog, ownNames(config)).kind === 'unserved') return []
      const deployment = deploymentOf(single, environment, sealer, {
        catalog,
        credentials: config.credential_list,
        providers: ownNames(config),
        handled: handledNames(config),
        dropParams: config.litellm_settings.drop_params ?? false,
      })
      const fromFile = withFileEnvironment(deployment, config, sealer)
      // Where one deployment of a group has a weight, one without counts as 0 (surface reference §5.3).
      if (weighted.has(single.model_name) && single.litellm_params.weight == null) fromFile.weight = 0
      // The same entry twice is two deployments: the second id says which one it is.
      const times = (seen.get(fromFile.id) ?? 0) + 1
      seen.set(fromFile.id, times)
      return times === 1 ? [fromFile] : [{ ...fromFile, id: sha256(`${fromFile.id}#${times}`) }]
    }),
  )
}

/** Those that modules of the operator's answer for. */
function handledNames({ litellm_settings: { custom_provider_map: map } }: Config): string[] {
  return (map ?? []).map(({ provider }) => provider)
}

/** Names of providers that the configuration adds to the table. */
export function ownNames(config: Config): string[] {
  return [...Object.keys(config.turnpike_settings.providers ?? {}), ...handledNames(config)]
}

/**
 * One `model_list` entry: references resolved, checked, parameters put where `sortParams` says.
 *
 * Throws GatewayError `bad_request` with every problem: a field of the wrong type, a provider that is unknown or not served, a price
 * that is no decimal, a variable that a stored entry may not read.
 */
export function deploymentOf(given: unknown, env: Environment, sealer: Sealer, options: DeploymentOptions = {}): Deployment {
  const entry = checkedEntry(given, env, options.fromDatabase ?? false)
  const catalog = options.catalog ?? createCatalog()
  const params = withCredential(entry.litellm_params, options.credentials ?? [])
  const info: ModelInfo = entry.model_info ?? {}
  const target = targetOf(params.model, params.custom_llm_provider, catalog, options.providers)
  if (target.kind === 'unknown') throw new GatewayError('bad_request', `litellm_params.model ${target.problem}.`)
  if (target.kind === 'unserved') {
    throw new GatewayError('bad_request', `litellm_params.model: the provider "${target.provider}" is not served yet.`)
  }

  const { provider, model } = target
  const sorted = sortParams(params, provider, sealer, options.handled?.includes(provider) ?? false)
  const baseModel = params.base_model ?? info.base_model ?? null
  const known = pricedAs(baseModel, provider, model, catalog)
  const facts = catalog.facts(known.provider, known.model)
  const base = params.api_base ?? params.base_url ?? null
  const key = params.api_key ?? null
  return {
    id: info.id ?? sha256(canonicalJson([entry.model_name, params])),
    modelGroup: entry.model_name,
    provider,
    model,
    apiBase: base === null ? null : base.replace(/\/+$/, ''),
    apiKey: key === null || key === '' ? null : sealer.seal(key),
    organization: params.organization ?? null,
    apiVersion: params.api_version ?? null,
    weight: params.weight ?? 1,
    ...routingFields(params, info),
    rpm: params.rpm ?? null,
    tpm: params.tpm ?? null,
    maxParallelRequests: params.max_parallel_requests ?? null,
    ...(params.default_api_key_rpm_limit == null ? {} : { keyRpm: params.default_api_key_rpm_limit }),
    ...(params.default_api_key_tpm_limit == null ? {} : { keyTpm: params.default_api_key_tpm_limit }),
    ...(params.max_budget == null
      ? {}
      : { budget: { limit: nanoOf(params.max_budget), duration: params.budget_duration ?? null } }),
    order: params.order ?? null,
    tags: params.tags ?? [],
    timeout: milliseconds(params.timeout),
    streamTimeout: milliseconds(params.stream_timeout),
    maxRetries: params.num_retries ?? params.max_retries ?? null,
    defaults: sorted.defaults,
    extraHeaders: { ...params.headers, ...params.extra_headers },
    extraBody: { ...sorted.extraBody, ...params.extra_body },
    dropParams: params.drop_params ?? options.dropParams ?? false,
    additionalDropParams: params.additional_drop_params ?? [],
    allowedOpenaiParams: params.allowed_openai_params ?? [],
    mockResponse: params.mock_response ?? null,
    mode: modeOf(info.mode) ?? facts?.mode ?? null,
    baseModel,
    accessGroups: info.access_groups ?? [],
    info: { ...info },
    prices: pricesOf(params, info, known, catalog),
    ...(baseModel === null ? {} : { pricedAs: known }),
    maxInputTokens: info.max_input_tokens ?? facts?.maxInputTokens ?? null,
    maxOutputTokens: info.max_output_tokens ?? info.max_tokens ?? facts?.maxOutputTokens ?? null,
    blocked: info.blocked ?? false,
    fromDatabase: options.fromDatabase ?? false,
    settings: sorted.settings,
  }
}

/** What a deployment says of its routing; absent = as the settings say. */
function routingFields(params: DeploymentParams, info: ModelInfo): Partial<Deployment> {
  const cooldown = milliseconds(info.cooldown_time ?? params.cooldown_time)
  const region =
    params.region_name ?? [params['aws_region_name'], params['vertex_location'], params['watsonx_region_name']].find(isText)
  return {
    ...(params.itpm == null ? {} : { itpm: params.itpm }),
    ...(params.otpm == null ? {} : { otpm: params.otpm }),
    ...(cooldown === null ? {} : { cooldownTime: cooldown }),
    ...(info.allowed_fails == null ? {} : { allowedFails: info.allowed_fails }),
    ...(info.allowed_fails_policy == null ? {} : { allowedFailsPolicy: policyOf(info.allowed_fails_policy, 'AllowedFails') }),
    ...(isText(region) ? { region } : {}),
    ...(params.silent_model == null ? {} : { mirror: params.silent_model }),
    ...(params.tag_regex == null || params.tag_regex.length === 0 ? {} : { tagPatterns: params.tag_regex }),
    ...(info.team_id == null ? {} : { team: { id: info.team_id, publicName: info.team_public_model_name ?? null } }),
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/** Variables that an entry of the database may name: whoever may add models must not be able to read the gateway's own secrets. */
const READABLE = /_(API_KEY|API_TOKEN|API_BASE|BASE_URL)$/

function checkedEntry(given: unknown, env: Environment, fromDatabase: boolean): ModelEntry {
  const hidden: string[] = []
  const listed = (name: string): boolean =>
    READABLE.test(name) ||
    Object.values(PROVIDERS).some((row) => [row.keys, row.bases, row.versions].some((names) => names?.includes(name)))
  const readable = fromDatabase ? withoutHidden(env, listed) : env
  const resolved = resolveReferences(given, readable, (_, name) => {
    if (env[name] !== undefined) hidden.push(name)
  })
  const checked = checkModelEntry(resolved)
  const problems = checked.ok ? [] : checked.problems.map(({ path, message }) => `${formatPath(path)}: ${message}`)
  problems.push(...hidden.map((name) => `a stored model may not read the environment variable ${name}`))
  if (!checked.ok || problems.length > 0) throw new GatewayError('bad_request', `The model is not valid: ${problems.join('; ')}.`)
  return checked.value
}

function withoutHidden(env: Environment, readable: (name: string) => boolean): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name]) => readable(name)))
}

/** The request-path settings: `router_settings` beats `litellm_settings`, seconds become milliseconds, megabytes bytes, secrets are sealed. */
export function settingsOf(config: Config, sealer: Sealer, env: Environment = {}): RuntimeSettings {
  const { litellm_settings: calls, router_settings: router, general_settings: general, turnpike_settings: own } = config
  const timeout = router.timeout ?? calls.request_timeout ?? DEFAULT_TIMEOUT
  const aliases = Object.entries(router.model_group_alias ?? {})
  const hidden = aliases.filter(([, target]) => typeof target !== 'string' && target.hidden === true).map(([name]) => name)
  return {
    numRetries: router.num_retries ?? calls.num_retries ?? DEFAULT_RETRIES,
    timeout: timeout * 1000,
    streamTimeout: (router.stream_timeout ?? timeout) * 1000,
    stallTimeout: (own.stall_timeout ?? DEFAULT_STALL_TIMEOUT) * 1000,
    retryAfter: (router.retry_after ?? 0) * 1000,
    modelGroupAlias: Object.fromEntries(
      aliases.map(([name, target]) => [name, typeof target === 'string' ? target : target.model]),
    ),
    ...(hidden.length === 0 ? {} : { hiddenAliases: hidden }),
    dropParams: calls.drop_params ?? false,
    alwaysIncludeStreamUsage: general.always_include_stream_usage ?? false,
    maxRequestBytes: Math.floor((general.max_request_size_mb ?? DEFAULT_REQUEST_SIZE) * 1024 * 1024),
    allowClientSideCredentials: general.allow_client_side_credentials ?? false,
    keyHeaderName: general.litellm_key_header_name?.toLowerCase() ?? null,
    requireAuthForMetrics: calls.require_auth_for_metrics_endpoint ?? false,
    allowedRoutes: (general.allowed_routes ?? []).map(groupName),
    publicRoutes: (general.public_routes ?? []).map(groupName),
    customerLimits: false,
    tagLimits: false,
    holdOutputTokens: own.hold_output_tokens ?? DEFAULT_HOLD_OUTPUT,
    countersAway: own.counters_away ?? 'refuse',
    ...addressesOf(general, own),
    ...(own.provider_object_ids === true ? { providerObjectIds: true as const } : {}),
    ...passThroughOf(general, sealer),
    ...handlersOf(calls.custom_provider_map),
    providerBudgets: [],
    enforcedParams: general.enforced_params ?? [],
    serviceAccountEnforcedParams: general.service_account_settings?.enforced_params ?? [],
    enforceUserParam: general.enforce_user_param ?? false,
    rejectClientTags: general.reject_clientside_metadata_tags ?? false,
    customerHeaders: customerHeaders(general),
    open: (general.master_key ?? '') === '',
    ...ruleHeadersOf(config),
    routing: routingOf(config),
    cache: cacheOf(config, sealer, env),
  }
}

/** Headers that name the customer: the mapped ones of role `customer`, then the older single one. */
/** Edges pass on the headers that routing rules read. */
function ruleHeadersOf({ turnpike_settings }: Config): Pick<RuntimeSettings, 'ruleHeaders'> {
  const names = new Set((turnpike_settings.routing_rules ?? []).flatMap(({ when }) => headersOfQuery(when)))
  return names.size === 0 ? {} : { ruleHeaders: [...names] }
}

function customerHeaders(general: Config['general_settings']): string[] {
  const mapped = (general.user_header_mappings ?? []).filter((mapping) => mapping.litellm_user_role === 'customer')
  const names = mapped.map((mapping) => mapping.header_name)
  return [...names, ...(general.user_header_name ? [general.user_header_name] : [])].map((header) => header.toLowerCase())
}

/** Whose requests an edge slows, and by which address. */
function addressesOf(
  general: Config['general_settings'],
  { unknown_keys_burst: burst, unknown_keys_per_second: perSecond }: Config['turnpike_settings'],
): Pick<RuntimeSettings, 'unknownKeys' | 'useForwardedFor'> {
  const isLimited = typeof burst === 'number' || typeof perSecond === 'number'
  return {
    ...(isLimited ? { unknownKeys: { burst: burst ?? UNKNOWN_KEYS.burst, perSecond: perSecond ?? UNKNOWN_KEYS.perSecond } } : {}),
    ...(general.use_x_forwarded_for === true ? { useForwardedFor: true as const } : {}),
  }
}

/** LiteLLM's files name groups of routes as its code does: `LiteLLMRoutes.openai_routes`. */
function groupName(route: string): string {
  return route.replace(/^LiteLLMRoutes\./, '')
}

/**
 * Where a parameter goes that `config.ts` does not declare:
 * - OpenAI request parameters → `defaults`, used where the client sends none;
 * - names that are LiteLLM's or one provider's own (regions, cloud credentials, prices) → `settings`, read by that adapter, secrets
 *   sealed; and everything for the mock and for modules of the operator's, whose parameters all are their own;
 * - any other name → `extraBody`: a parameter of the provider (`top_k`, `num_ctx`) that we need not know to pass on.
 */
function sortParams(
  params: DeploymentParams,
  provider: string,
  sealer: Sealer,
  handled: boolean,
): { defaults: Record<string, unknown>; settings: Record<string, unknown>; extraBody: Record<string, unknown> } {
  const declared = new Set(fieldNames(deploymentParamsSchema))
  const defaults: Record<string, unknown> = {}
  const settings: Record<string, unknown> = {}
  const extraBody: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(params)) {
    if (declared.has(name) || value === null || value === undefined || isPriceName(name)) continue
    if (OPENAI_PARAMS.has(name)) defaults[name] = value
    else if (handled || KNOWN_PARAMS.has(name) || PROVIDERS[provider]?.protocol === 'mock')
      settings[name] = sealedParam(name, value, sealer)
    else extraBody[name] = value
  }
  return { defaults, settings, extraBody }
}

function sealedParam(name: string, value: unknown, sealer: Sealer): unknown {
  if (!SECRET_PARAM.test(name)) return value
  return sealer.seal(typeof value === 'string' ? value : JSON.stringify(value))
}

/** What the deployment does not give is filled from the credential it names. */
function withCredential(params: DeploymentParams, credentials: readonly Credential[]): DeploymentParams {
  const name = params.litellm_credential_name
  if (name === null || name === undefined) return params
  const credential = credentials.find((one) => one.credential_name === name)
  if (credential === undefined) throw new GatewayError('bad_request', `There is no credential named "${name}".`)
  return { ...credential.credential_values, ...present(params) }
}

/** Keys, base URLs and API versions that the file itself sets: the router's own environment does not have them. */
export function withFileEnvironment(deployment: Deployment, config: Config, sealer: Sealer): Deployment {
  const row = PROVIDERS[deployment.provider]
  const own = config.environment_variables
  const key = row?.keys.map((name) => own[name]).find((value) => value !== undefined && value !== '')
  const base = row?.bases?.map((name) => own[name]).find((value) => value !== undefined && value !== '')
  const version = row?.versions?.map((name) => own[name]).find((value) => value !== undefined && value !== '')
  return {
    ...deployment,
    apiKey: deployment.apiKey ?? (key === undefined ? null : sealer.seal(key)),
    apiBase: deployment.apiBase ?? base?.replace(/\/+$/, '') ?? null,
    apiVersion: deployment.apiVersion ?? version ?? null,
  }
}

/** `model: "*"` without a provider: one entry per provider found, and the bare names of their models. */
function expand(entry: ModelEntry, env: Environment): ModelEntry[] {
  const params = entry.litellm_params
  if (params.model !== '*' || (params.custom_llm_provider ?? '') !== '') return [entry]
  // With a base URL of its own it is one server that serves every name.
  if (params.api_base != null || params.base_url != null)
    return [{ ...entry, litellm_params: { ...params, custom_llm_provider: 'openai' } }]
  const found = foundProviders(env).map(({ name }) => name)
  const make = (name: string, model: string): ModelEntry => {
    const { id: _, ...info } = entry.model_info ?? {}
    return { ...entry, model_name: name, litellm_params: { ...params, model }, model_info: info }
  }
  if (entry.model_name !== '*') return found.map((name) => make(entry.model_name, `${name}/*`))
  const bare = BARE_WILDCARDS.filter(({ provider }) => found.includes(provider))
  return [
    ...found.map((name) => make(`${name}/*`, `${name}/*`)),
    ...bare.map(({ name, provider }) => make(name, `${provider}/${name}`)),
  ]
}

/** The model whose prices and limits hold: `base_model`, which may name its provider, else the upstream model. */
function pricedAs(
  baseModel: string | null,
  provider: string,
  model: string,
  catalog: Catalog,
): { provider: string; model: string } {
  // LiteLLM's way to ask for a protocol is no part of the model's name.
  if (baseModel === null) return { provider, model: model.replace(/^responses\//, '') }
  const target = targetOf(baseModel, null, catalog)
  if (target.kind === 'served') return target
  const slash = baseModel.indexOf('/')
  return slash > 0 ? { provider: baseModel.slice(0, slash), model: baseModel.slice(slash + 1) } : { provider, model: baseModel }
}

/** A wildcard has no list price: it has as many models as it matches. Prices set by the operator hold for all of them. */
function pricesOf(
  params: DeploymentParams,
  info: ModelInfo,
  known: { provider: string; model: string },
  catalog: Catalog,
): Deployment['prices'] {
  const many = known.model.includes('*') && PROVIDERS[known.provider]?.protocol !== 'mock'
  const listed = many ? null : catalog.prices(known.provider, known.model)
  try {
    return deploymentPrices(params, info, listed)
  } catch (error) {
    throw new GatewayError('bad_request', `A price is not valid: ${error instanceof Error ? error.message : 'unknown error'}.`)
  }
}

function modeOf(mode: string | null | undefined): Mode | null {
  return mode != null && Object.hasOwn(MODES, mode) ? (MODES[mode] as Mode) : null
}

function milliseconds(seconds: number | null | undefined): number | null {
  return seconds == null ? null : seconds * 1000
}

function present<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined)) as T
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
