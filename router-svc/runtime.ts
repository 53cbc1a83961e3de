import type { Deployment, Prices, RuntimeSettings, RuntimeSnapshot } from '../proto/deployment.ts'
import type { Mode } from '../proto/endpoints.ts'
import type { Catalog } from '../shared/catalog/catalog.ts'
import type { Sealer } from '../shared/config/secrets.ts'
import { isFree } from '../shared/cost.ts'
import type { Served } from '../shared/model-access.ts'
import { pricedCatalog } from '../shared/pricing.ts'
import { type RouteLimits, routeLimits } from './admission/route-limits.ts'
import type { Provider, Target } from './providers/provider.ts'
import type { DeploymentState } from './routing/deployment-state.ts'

/** One way a call can go: a deployment with everything that can be decided before a call comes. */
export interface Route {
  readonly deployment: Deployment
  readonly provider: Provider
  /** Upstream model name; wildcards filled. */
  readonly model: string
  readonly target: Target
  /** Headers every request to it carries, the credential among them. */
  readonly headers: Readonly<Record<string, string>>
  readonly apiBase: string | null
  /** The deployment's own, or the catalogue's for the model a wildcard was filled with. */
  readonly prices: Prices | null
  /** Why it cannot serve, found at compile time (no credential, no base URL). Null = it can. */
  readonly problem: string | null
  /** Outlives this runtime: the same object for the same deployment id. */
  readonly state: DeploymentState
  /** What must be held before an attempt; null = nothing limits the deployment. */
  readonly limits: RouteLimits | null
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
  /** Resolves a name in LiteLLM's order (surface reference §5.1), or null. */
  resolve(model: string): Resolution | null
  /** What `model_group_alias` makes of a name: the target, or the name itself. */
  aliased(model: string): string
}

export interface CompileDeps {
  providers: { get(name: string): Provider | undefined }
  sealer: Sealer
  env: Readonly<Record<string, string | undefined>>
  catalog: Pick<Catalog, 'prices' | 'facts'>
  states: { of(deploymentId: string): DeploymentState }
}

interface Pattern {
  name: string
  expression: RegExp
  deployments: Deployment[]
}

/** Filled wildcard routes kept, so that `openai/*` costs one regular expression per new model name, not per call. */
const WILDCARD_CACHE = 1_000

/**
 * Builds the runtime once per snapshot: wildcards compiled and sorted, credentials opened, headers made, so that a call only
 * looks up.
 */
export function compileRuntime(snapshot: RuntimeSnapshot, given: CompileDeps): RouterRuntime {
  const deps = { ...given, catalog: pricedCatalog(given.catalog, snapshot.pricing), settings: snapshot.settings }
  const exact = new Map<string, Resolution>()
  const byId = new Map<string, Resolution>()
  const byUpstream = new Map<string, Resolution>()
  const patterns: Pattern[] = []
  const routes: Route[] = []

  for (const [group, deployments] of groupBy(snapshot.deployments)) {
    if (group.includes('*')) {
      patterns.push({ name: group, expression: wildcard(group), deployments })
      continue
    }
    const compiled = deployments.map((deployment) => compileRoute(deployment, deployment.model, deps))
    routes.push(...compiled)
    exact.set(group, resolution(group, compiled))
    for (const route of compiled) {
      byId.set(route.deployment.id, resolution(group, [route]))
      const upstream = `${route.deployment.provider}/${route.deployment.model}`
      if (!byUpstream.has(upstream)) byUpstream.set(upstream, resolution(group, [route]))
    }
  }
  // Most specific first: longest pattern, then most literal characters.
  patterns.sort((a, b) => b.name.length - a.name.length || literals(b.name) - literals(a.name))

  const aliases = snapshot.settings.modelGroupAlias
  const filled = new Map<string, Resolution | null>()

  const matchWildcard = (model: string): Resolution | null => {
    let found = filled.get(model)
    if (found !== undefined) return found
    found = null
    for (const pattern of patterns) {
      const match = pattern.expression.exec(model)
      if (match === null) continue
      const captured = match.slice(1)
      found = resolution(
        pattern.name,
        pattern.deployments.map((deployment) => compileRoute(deployment, fill(deployment.model, captured, model), deps)),
      )
      break
    }
    if (filled.size >= WILDCARD_CACHE) filled.clear()
    filled.set(model, found)
    return found
  }

  const aliased = (model: string): string => (Object.hasOwn(aliases, model) ? (aliases[model] as string) : model)

  return {
    revision: snapshot.revision,
    settings: snapshot.settings,
    routes,
    anyFree: routes.some(({ prices }) => prices !== null && isFree(prices)),
    aliased,
    resolve(model) {
      const name = aliased(model)
      return exact.get(name) ?? byId.get(name) ?? matchWildcard(name) ?? byUpstream.get(name) ?? null
    },
  }
}

function compileRoute(deployment: Deployment, model: string, deps: CompileDeps & Pick<RuntimeSnapshot, 'settings'>): Route {
  const provider = deps.providers.get(deployment.provider)
  if (provider === undefined) throw new Error(`deployment ${deployment.id}: unknown provider ${deployment.provider}`)
  const base = deployment.apiBase ?? firstSet(deps.env, provider.baseNames ?? [])?.replace(/\/+$/, '') ?? provider.base
  const key = deployment.apiKey !== null ? deps.sealer.open(deployment.apiKey) : (firstSet(deps.env, provider.keyNames) ?? null)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(deployment.extraHeaders)) headers[name.toLowerCase()] = value
  if (deployment.organization !== null) headers['openai-organization'] = deployment.organization
  let problem: string | null = null
  if (provider.local !== true) {
    if (base === null) problem = `no api_base is configured for ${deployment.provider}`
    const { auth } = provider
    if (key === null) {
      if (auth.type !== 'none' && !(auth.type === 'bearer' && auth.optional === true)) {
        problem ??= `no API key is configured (api_key, or ${provider.keyNames[0] ?? 'an environment variable'})`
      }
    } else if (auth.type === 'header' && (auth.bearerPrefix === undefined || !key.startsWith(auth.bearerPrefix))) {
      headers[auth.name] = `${auth.prefix ?? ''}${key}`
    } else headers['authorization'] = `Bearer ${key}`
  }
  return {
    deployment,
    provider,
    model,
    headers,
    apiBase: base,
    prices: deployment.prices ?? deps.catalog.prices(deployment.provider, model),
    problem,
    state: deps.states.of(deployment.id),
    limits: routeLimits(deployment, provider.name, deps.settings),
    target: {
      provider: deployment.provider,
      model,
      base: base ?? '',
      apiVersion: deployment.apiVersion,
      dropParams: deployment.dropParams,
      additionalDropParams: deployment.additionalDropParams,
      allowedOpenaiParams: deployment.allowedOpenaiParams,
      maxOutputTokens: deployment.maxOutputTokens ?? deps.catalog.facts(deployment.provider, model)?.maxOutputTokens ?? null,
      settings: deployment.settings,
      clientHeaders: {},
    },
  }
}

/** Whether a provider lacks a mode this call needs. */
export function serves(route: Route, mode: Mode): boolean {
  if (route.provider[mode] !== undefined) return true
  // A text completion is answered by a chat model through the bridge.
  return mode === 'completion' && route.provider.chat !== undefined
}

function resolution(group: string, routes: Route[]): Resolution {
  return {
    group,
    routes,
    served: routes.map(({ deployment, model }) => ({
      provider: deployment.provider,
      model,
      accessGroups: deployment.accessGroups,
    })),
  }
}

function groupBy(deployments: readonly Deployment[]): Map<string, Deployment[]> {
  const groups = new Map<string, Deployment[]>()
  for (const deployment of deployments) {
    const group = groups.get(deployment.modelGroup)
    if (group === undefined) groups.set(deployment.modelGroup, [deployment])
    else group.push(deployment)
  }
  return groups
}

function wildcard(pattern: string): RegExp {
  return new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('(.*)')}$`,
    's',
  )
}

/** Fills the `*` of an upstream name, in order, with what the group's wildcards matched. `*` alone takes the name as given. */
function fill(model: string, captured: string[], requested: string): string {
  if (model === '*' && captured.length === 0) return requested
  let index = 0
  return model.replace(/\*/g, () => captured[index++] ?? requested)
}

function literals(pattern: string): number {
  return pattern.replaceAll('*', '').length
}

function firstSet(env: Readonly<Record<string, string | undefined>>, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = env[name]
    if (value !== undefined && value !== '') return value
  }
  return undefined
}
