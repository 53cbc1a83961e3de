import type { Deployment, Prices, RuntimeSettings, RuntimeSnapshot } from '../proto/deployment.ts'
import type { Mode } from '../proto/endpoints.ts'
import type { Catalog } from '../shared/catalog/catalog.ts'
import type { Sealer } from '../shared/config/secrets.ts'
import { isFree } from '../shared/cost.ts'
import { entryOf } from '../shared/entry.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Served } from '../shared/model-access.ts'
import { pricedCatalog } from '../shared/pricing.ts'
import { type RouteLimits, routeLimits } from './admission/route-limits.ts'
import type { Credential } from './credentials/credential.ts'
import { credentialOf } from './credentials/index.ts'
import type { Tokens } from './credentials/tokens.ts'
import { isHandled } from './handlers/handler.ts'
import type { Provider, Target } from './providers/provider.ts'
import { type AutoRouter, autoRouterOf } from './routing/auto/auto-router.ts'
import type { DeploymentState } from './routing/deployment-state.ts'
import { compileNames } from './routing/names.ts'

/** One way a call can go: a deployment with everything that can be decided before a call comes. */
export interface Route {
  readonly deployment: Deployment
  readonly provider: Provider
  /** Upstream model name; wildcards filled. */
  readonly model: string
  readonly target: Target
  /** Headers every request to it carries, the credential among them. */
  readonly headers: Readonly<Record<string, string>>
  /** What each request is proved with beside them; null = nothing. */
  readonly credential: Credential | null
  readonly apiBase: string | null
  /** Opened, for a module of the operator's that asks with it; of all others it is in the headers. */
  readonly key?: string | null
  /** The deployment's own, or the catalogue's for the model a wildcard was filled with. */
  readonly prices: Prices | null
  /** Why it cannot serve, found at compile time (no credential, no base URL). Null = it can. */
  readonly problem: string | null
  /** Expressions over `Name: value` of the request's headers that count as its tags; null = none. */
  readonly tagPatterns: readonly RegExp[] | null
  /** What its model can do, by LiteLLM's `supports_…` names without the prefix; null = not known. */
  readonly supports: ReadonlySet<string> | null
  /** Outlives this runtime: the same object for the same deployment id. */
  readonly state: DeploymentState
  /** What must be held before an attempt; null = nothing limits the deployment. */
  readonly limits: RouteLimits | null
  /** It is no deployment but a choice among groups, made for each call. */
  readonly auto?: AutoRouter
}

/** A model name resolved: the group it belongs to and the routes that serve it. */
export interface Resolution {
  group: string
  routes: readonly Route[]
  /** The routes as access rules see them. */
  served: readonly Served[]
}

export interface RouterRuntime {
  readonly revision: number
  readonly settings: RuntimeSettings
  readonly routes: readonly Route[]
  /** Some model is explicitly free: a key whose budget is spent may still call that one. */
  readonly anyFree: boolean
  /** Resolves a name in LiteLLM's order (surface reference §5.1), or null. A team's own deployments are only found with its id. */
  resolve(model: string, teamId?: string | null): Resolution | null
  /** What `model_group_alias` makes of a name: the target, or the name itself. */
  aliased(model: string): string
  /** List prices of a model that need not be deployed; null = none are known. */
  prices(provider: string, model: string): Prices | null
}

export interface CompileDeps {
  providers: { get(name: string): Provider | undefined }
  sealer: Sealer
  env: Readonly<Record<string, string | undefined>>
  catalog: Pick<Catalog, 'prices' | 'facts'>
  states: { of(deploymentId: string): DeploymentState }
  /** Absent where nothing is to be fetched. */
  tokens?: Tokens
}

/**
 * Builds the runtime once per snapshot: wildcards compiled and sorted, credentials opened, headers made, so that a call only
 * looks up.
 */
export function compileRuntime(snapshot: RuntimeSnapshot, given: CompileDeps): RouterRuntime {
  const deps = { ...given, catalog: pricedCatalog(given.catalog, snapshot.pricing), settings: snapshot.settings }
  const names = compileNames(snapshot.deployments, (deployment, model) => compileRoute(deployment, model, deps))
  const { settings } = snapshot
  const aliases = settings.modelGroupAlias
  const aliased = (model: string): string => entryOf(aliases, model) ?? model

  return {
    revision: snapshot.revision,
    settings,
    routes: names.routes,
    anyFree: names.routes.some(({ prices }) => prices !== null && isFree(prices)),
    aliased,
    prices: (provider, model) => deps.catalog.prices(provider, model),
    resolve: (model, teamId = null) => names.byId(model, teamId) ?? names.find(aliased(model), teamId),
  }
}

function compileRoute(deployment: Deployment, asked: string, deps: CompileDeps & Pick<RuntimeSnapshot, 'settings'>): Route {
  const known = deps.providers.get(deployment.provider)
  // A client's word, where a carried call names one.
  if (known === undefined) throw new GatewayError('bad_request', `There is no provider ${JSON.stringify(deployment.provider)}.`)
  const served = known.serve?.(asked, deployment)
  const provider = served?.provider ?? known
  const model = served?.model ?? asked
  let base = deployment.apiBase ?? firstSet(deps.env, provider.baseNames ?? [])?.replace(/\/+$/, '') ?? provider.base
  const key = deployment.apiKey !== null ? deps.sealer.open(deployment.apiKey) : (firstSet(deps.env, provider.keyNames) ?? null)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(deployment.extraHeaders)) headers[name.toLowerCase()] = value
  if (deployment.organization !== null) headers['openai-organization'] = deployment.organization
  let problem: string | null = null
  let credential: Credential | null = null
  if (provider.local !== true) {
    const { auth } = provider
    if (base === null && auth.type !== 'made') problem = `no api_base is configured for ${deployment.provider}`
    if (auth.type === 'made') {
      const made = credentialOf(deployment, auth, { key, open: deps.sealer.open, env: deps.env, tokens: deps.tokens })
      if ('problem' in made) problem ??= made.problem
      else {
        credential = made
        base = base === null ? (made.base ?? null) : (made.baseOver?.(base) ?? base)
      }
      if (base === null) problem ??= `no api_base is configured for ${deployment.provider}`
    } else if (key === null) {
      if (auth.type !== 'none' && auth.optional !== true) {
        problem ??= `no API key is configured (api_key, or ${provider.keyNames[0] ?? 'an environment variable'})`
      }
    } else if (auth.type === 'header' && (auth.bearerPrefix === undefined || !key.startsWith(auth.bearerPrefix))) {
      headers[auth.name] = `${auth.prefix ?? ''}${key}`
    } else headers['authorization'] = `Bearer ${key}`
  }
  let auto: AutoRouter | undefined
  if (provider.chooses === true) {
    const read = autoRouterOf(deployment)
    if ('problem' in read) problem ??= read.problem
    else auto = read
  }
  const facts = deps.catalog.facts(deployment.provider, model)
  let tagPatterns: RegExp[] | null = null
  for (const pattern of deployment.tagPatterns ?? []) {
    try {
      tagPatterns = [...(tagPatterns ?? []), new RegExp(pattern)]
    } catch {
      problem ??= `tag_regex ${pattern} is not a regular expression`
    }
  }
  return {
    deployment,
    provider,
    model,
    headers,
    credential,
    apiBase: base,
    ...(isHandled(provider) ? { key } : {}),
    prices: deployment.prices ?? deps.catalog.prices(deployment.provider, model),
    problem,
    tagPatterns,
    supports: supportsOf(deployment, facts?.supports ?? []),
    state: deps.states.of(deployment.id),
    limits: routeLimits(deployment, provider.name, deps.settings),
    ...(auto === undefined ? {} : { auto }),
    target: {
      provider: deployment.provider,
      model,
      baseModel: deployment.baseModel ?? null,
      base: base ?? '',
      apiVersion: deployment.apiVersion ?? firstSet(deps.env, provider.versionNames ?? []) ?? null,
      dropParams: deployment.dropParams,
      additionalDropParams: deployment.additionalDropParams,
      allowedOpenaiParams: deployment.allowedOpenaiParams,
      maxOutputTokens: deployment.maxOutputTokens ?? facts?.maxOutputTokens ?? null,
      settings: isHandled(provider)
        ? openedSettings(deployment, deps.sealer)
        : credential?.settings === undefined
          ? deployment.settings
          : { ...credential.settings, ...deployment.settings },
      clientHeaders: {},
    },
  }
}

/** Secrets among the settings, as a module of the operator's gets them. */
function openedSettings({ settings }: Deployment, sealer: Sealer): Record<string, unknown> {
  const opened = Object.entries(settings).map(([name, value]) => [name, typeof value === 'string' ? sealer.open(value) : value])
  return Object.fromEntries(opened)
}

/** The catalogue's word, and the deployment's own (`model_info.supports_vision: false`) over it. */
function supportsOf({ info }: Deployment, known: readonly string[]): ReadonlySet<string> | null {
  const supports = new Set(known)
  let said = known.length > 0
  for (const name in info) {
    if (!name.startsWith(SUPPORTS) || typeof info[name] !== 'boolean') continue
    said = true
    if (info[name]) supports.add(name.slice(SUPPORTS.length))
    else supports.delete(name.slice(SUPPORTS.length))
  }
  return said ? supports : null
}

const SUPPORTS = 'supports_'

/** Whether a provider lacks a mode this call needs. */
export function serves(route: Route, mode: Mode): boolean {
  if (route.provider[mode] !== undefined) return true
  // A text completion is answered by a chat model through the bridge.
  // And tokens are counted here where the provider does not.
  return (mode === 'completion' || mode === 'count_tokens') && route.provider.chat !== undefined
}

function firstSet(env: Readonly<Record<string, string | undefined>>, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = env[name]
    if (value !== undefined && value !== '') return value
  }
  return undefined
}
