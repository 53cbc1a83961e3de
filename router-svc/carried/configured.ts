import type { ConfiguredEndpoint } from '../../proto/carried.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { GatewayError } from '../../shared/errors.ts'
import { mayCall } from '../../shared/model-access.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, Carrier, Finder, Meter } from './carrier.ts'
import { checkedRest, passedHeaders, readFields } from './pass-through-request.ts'
import { usageMeter } from './usage-meter.ts'
import { cohereReader, geminiReader, openaiReader, type UsageReader } from './usage-readers.ts'

/** Targets whose usage and prices are known by their host. */
const HOSTS: Readonly<Record<string, readonly [provider: string, reader: () => UsageReader]>> = {
  'api.openai.com': ['openai', openaiReader],
  'api.anthropic.com': ['anthropic', openaiReader],
  'api.mistral.ai': ['mistral', openaiReader],
  'api.cohere.com': ['cohere', cohereReader],
  'api.cohere.ai': ['cohere', cohereReader],
  'generativelanguage.googleapis.com': ['gemini', geminiReader],
}
/** In the ledger, of a target that is no known provider's or has a price of its own. */
const NAME = 'pass_through_endpoint'
/** Speaks of errors as most servers do. */
const ANYBODY = 'custom_openai'

/** Endpoints of the operator's own (`general_settings.pass_through_endpoints`): native bytes to a target, with headers and a price it was given. */
export const configured: Carrier = {
  async choose(request, find) {
    const endpoint = endpointOf(request, find)
    const named = (await fieldsOf(request, endpoint, find))?.['model']
    const route = routeTo(endpoint, typeof named === 'string' ? named : '', find)
    if (typeof named !== 'string' || named === '') return { route, model: endpoint.path, modelGroup: endpoint.path }
    const served = [{ provider: route.deployment.provider, model: named, accessGroups: [] }]
    if (endpoint.auth && !mayCall(request.identity, [named, find.runtime.aliased(named)], served)) {
      throw new GatewayError('model_denied', `The model '${named}' is not available for this API key.`, { param: 'model' })
    }
    return { route, model: named, modelGroup: named }
  },
  async serve(request, { route }) {
    const { target } = route
    const endpoint = target.settings[NAME] as ConfiguredEndpoint
    const headers = { ...clientHeaders(request, endpoint), ...(target.settings['headers'] as Record<string, string>) }
    const upstream = { method: request.method, url: urlOf(request, endpoint), headers, body: request.body }
    return { kind: 'forward', upstream, meter: meterOf(endpoint) }
  },
}

/** The body's, where they may matter: a target may speak in forms of its own, unless its model is checked or billed. */
async function fieldsOf(request: CarriedRequest, { auth, cost, target }: ConfiguredEndpoint, find: Finder) {
  const isBilled = cost === 0 && HOSTS[new URL(target).hostname] !== undefined
  return isBilled || (auth && !find.anyModel) ? readFields(request) : request.json()
}

function endpointOf({ params }: CarriedRequest, { runtime }: Finder): ConfiguredEndpoint {
  const found = runtime.settings.configuredEndpoints?.find(({ id }) => id === params['endpoint'])
  if (found === undefined) throw new GatewayError('not_found', 'This pass-through endpoint is no longer configured.')
  return found
}

/** What the target needs, opened here; the request's own part follows when it is sent. */
function routeTo(endpoint: ConfiguredEndpoint, model: string, find: Finder): Route {
  const known = endpoint.cost > 0 ? undefined : HOSTS[new URL(endpoint.target).hostname]
  const route = find.bare(known?.[0] ?? ANYBODY, endpoint.target)
  const name = known?.[0] ?? NAME
  const headers = Object.fromEntries(Object.entries(endpoint.headers).map(([header, value]) => [header, find.open(value)]))
  return {
    ...route,
    model,
    provider: { ...route.provider, name },
    deployment: { ...route.deployment, id: `pass-through/${endpoint.id}` },
    target: { ...route.target, settings: { [NAME]: endpoint, headers } },
    prices:
      endpoint.cost > 0
        ? { rateVersion: 'cost_per_request', perRequest: endpoint.cost }
        : known === undefined
          ? null
          : find.runtime.prices(name, model),
  }
}

/** Where a request goes and where it ends is not the client's to say. */
const OURS = /^(?:host|connection|content-length|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.+)?$/

/** Without `forward_headers` a target hears what the body is, and what was meant for it by `x-pass-…`. */
function clientHeaders(request: CarriedRequest, { forwardHeaders }: ConfiguredEndpoint): Record<string, string> {
  const all = passedHeaders(request)
  const passed: Record<string, string> = {}
  for (const name in all) {
    if (name.startsWith('x-pass-')) {
      const meant = name.slice('x-pass-'.length)
      if (!OURS.test(meant)) passed[meant] = all[name] as string
    } else if (forwardHeaders || name === 'content-type' || name === 'accept') passed[name] = all[name] as string
  }
  return passed
}

/** The client's parameters take the place of the target's, or join them (`merge_query_params`); defaults fill what nobody gave. */
function urlOf({ params, query }: CarriedRequest, { target, mergeQuery, query: defaults }: ConfiguredEndpoint): string {
  const url = new URL(target)
  const rest = checkedRest(params['rest'] ?? '')
  if (rest !== '') url.pathname = url.pathname.replace(/\/$/, '') + rest
  const asked = new URLSearchParams(query)
  if (query !== '' && !mergeQuery) url.search = query
  else {
    for (const name of new Set(asked.keys())) url.searchParams.delete(name)
    for (const [name, value] of asked) url.searchParams.append(name, value)
  }
  for (const [name, value] of Object.entries(defaults)) if (!url.searchParams.has(name)) url.searchParams.set(name, value)
  return url.href
}

/** Every answer costs what a request costs, also one without usage. */
function meterOf({ target, cost }: ConfiguredEndpoint): Meter {
  const inner = usageMeter((HOSTS[new URL(target).hostname]?.[1] ?? openaiReader)())
  return {
    head: (headers) => inner.head?.(headers),
    see: inner.see,
    usage: () => inner.usage() ?? (cost > 0 ? { ...NO_TOKENS } : null),
    get model() {
      return inner.model ?? null
    },
  }
}
