import { GatewayError } from '../../shared/errors.ts'
import { mayCall } from '../../shared/model-access.ts'
import { estimate } from '../admission/estimate.ts'
import { isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedTools, CarriedUpstream, Carrier, Choice, Finder, Meter } from './carrier.ts'
import { mediaMeter } from './media-meter.ts'
import { passedHeaders, readFields, restOf, withQuery } from './pass-through-request.ts'
import { type Protocol, SITES, type Site } from './pass-through-sites.ts'
import { transcriptMeter } from './transcript-meter.ts'
import { usageMeter } from './usage-meter.ts'
import { bedrockReader, cohereReader, geminiReader, openaiReader, type UsageReader, watsonxReader } from './usage-readers.ts'

/** Native bytes both ways: path, query, body and headers as the client sent them, the credential ours, usage read as it goes by. */
export const passThrough: Carrier = {
  async choose(request, find) {
    const site = siteOf(request)
    const rest = restOf(request)
    if (request.ownCredentials === true) {
      // What cannot be read is between client and provider.
      const [named = null] = await modelsNamed(site, rest, request).catch(() => [])
      return ownCredentials(site, named, find)
    }
    const names = await modelsNamed(site, rest, request)
    const [named = null] = names
    refuseBlind(site, request, named)
    await refuseUnbooked(rest, request, named, find)
    for (const name of names) demand(name, routeFor(site, rest, name, find).route, request, find)
    const { route, group } = routeFor(site, rest, named, find)
    if (named === null) return { route, model: site.providers[0], modelGroup: site.providers[0] }
    return { route, model: route.model, modelGroup: group ?? named }
  },
  async serve(request, choice, tools) {
    const site = siteOf(request)
    const rest = upstreamRest(site, restOf(request), choice)
    const url = withQuery(site.url(choice.route, rest), request.query)
    if (!URL.canParse(url)) {
      throw new GatewayError('provider_authentication', `no api_base is configured for ${site.providers[0]}.`)
    }
    const upstream: CarriedUpstream = {
      method: request.method,
      url,
      headers: passedHeaders(request),
      body: request.body,
    }
    const meter = await meterOf(site, rest, request, choice, tools)
    return { kind: 'forward', upstream, ...(meter === null ? {} : { meter }) }
  },
}

function siteOf({ pattern }: CarriedRequest): Site {
  return SITES[pattern.slice(1, -'/{rest}'.length)] as Site
}

/** The model the path names, or every one that body and query do, the one that is billed first. */
async function modelsNamed(site: Site, rest: string, request: CarriedRequest): Promise<string[]> {
  const inPath = site.model?.exec(rest)?.[2]
  // Vertex's endpoint for OpenAI's clients, who name the model in the body.
  if (inPath !== undefined && inPath !== 'openapi') return [decoded(inPath)]
  const body = (await readFields(request)) ?? {}
  const { model, model_id: id, speech_model: heard, speech_models: others } = body
  const asked = new URLSearchParams(request.query).get('model')
  const places = [
    ...(site.protocol === 'watsonx' ? [id, model] : [model, id]),
    heard,
    ...(Array.isArray(others) ? others : []),
    asked,
  ]
  return [...new Set(places.filter((name): name is string => typeof name === 'string' && name !== ''))]
}

/** Throws GatewayError `model_denied`. */
function demand(named: string, { deployment, model }: Route, { identity }: CarriedRequest, { runtime }: Finder): void {
  const { provider, accessGroups } = deployment
  if (mayCall(identity, [named, runtime.aliased(named)], [{ provider, model, accessGroups }])) return
  throw new GatewayError('model_denied', `The model '${named}' is not available for this API key.`, { param: 'model' })
}

/** Forms of answers in which Google's usage can be read. */
const READ_FORMS = /^(?:json|sse|media)(?:;|$)/

/** Google leaves out of an answer what a client does not ask for, the usage too. Throws GatewayError `bad_request`. */
function refuseBlind(site: Site, { query, headers }: CarriedRequest, named: string | null): void {
  if (site.protocol !== 'gemini' || named === null) return
  for (const [parameter, value] of new URLSearchParams(query)) {
    const name = parameter.replace(/^\$/, '')
    if (name === 'fields' || name === 'callback' || (name === 'alt' && !READ_FORMS.test(value))) throw blind(parameter)
  }
  if (headers['x-goog-fieldmask'] !== undefined) throw blind('x-goog-fieldmask')
  if (/protobuf/i.test(headers['accept'] ?? '')) throw blind('accept')
}

function blind(param: string): GatewayError {
  return new GatewayError('bad_request', `${param} would hide from the gateway what the answer used: it is not supported here.`, {
    param,
  })
}

/** What is begun here costs later, and names its models where nobody looks. */
const LATER = /(?:^|\/)(?:batches|runs|batchPredictionJobs)\/*$|:(?:asyncBatch\w+|batchGenerateContent|predictLongRunning)$/i

/** Throws GatewayError `route_denied` for callers whose budget or models would not be held. */
async function refuseUnbooked(rest: string, request: CarriedRequest, named: string | null, find: Finder): Promise<void> {
  if (request.method !== 'POST') return
  const { identity, path } = request
  const background = /(?:^|\/)responses\/*$/i.test(rest) && (await readFields(request))?.['background'] === true
  if (!background && !LATER.test(rest)) return
  const isHeld = identity.maxBudget !== null || identity.limits.some(({ budget }) => budget != null)
  if (!isHeld && (named !== null || find.anyModel)) return
  throw new GatewayError(
    'route_denied',
    `${path} begins work that costs later, where nothing counts against the budget and the models of this key. Use the gateway's own endpoints (/v1/batches, /v1/responses).`,
  )
}

/**
 * Whose credential proves the call: of the provider's deployments the one at the place the path names, then one marked `use_in_pass_through`, then
 * the settings' (`files_settings`…), the model's own, the first, the environment. Prices are the model's, whoever pays for it.
 */
function routeFor(site: Site, rest: string, named: string | null, find: Finder): { route: Route; group: string | null } {
  const { routes } = find.runtime
  const own = routes.filter(({ deployment, problem }) => {
    return (
      site.providers.includes(deployment.provider) && problem === null && !deployment.blocked && deployment.team === undefined
    )
  })
  const serves = (route: Route): boolean => named !== null && (route.model === named || route.deployment.modelGroup === named)
  const rank = (route: Route): number => (site.fit?.(route, rest) ?? 0) * 4 + (isMarked(route) ? 2 : 0) + (serves(route) ? 1 : 0)
  let best: Route | null = null
  for (const route of own) if (rank(route) > 0 && (best === null || rank(route) > rank(best))) best = route
  const found = best ?? find.byProvider(site.providers[0], 'pass-through', site.providers)
  if (named === null) return { route: unpriced(found), group: null }
  if (serves(found)) return { route: found, group: found.deployment.modelGroup }
  // Another deployment of the same provider may serve the model: its prices and its name hold, the credential is the chosen one's.
  const known = own.find(serves)
  if (known !== undefined) {
    const borrowed = { headers: found.headers, credential: found.credential, apiBase: found.apiBase }
    return { route: { ...known, ...borrowed }, group: known.deployment.modelGroup }
  }
  const { provider } = found.deployment
  // A deployment for any model is that model's, too.
  const deployment = found.deployment.model.includes('*') ? found.deployment : unpriced(found).deployment
  const prices = deployment.prices ?? find.runtime.prices(provider, named)
  return { route: { ...found, deployment, model: named, prices }, group: null }
}

function isMarked({ deployment }: Route): boolean {
  return deployment.settings['use_in_pass_through'] === true
}

/** A deployment's credential without the deployment: what is asked for is not its model, and not at its price. */
function unpriced(route: Route): Route {
  const { deployment } = route
  const id = `pass-through/${deployment.provider}`
  return { ...route, prices: null, deployment: { ...deployment, id, modelGroup: '', prices: null, accessGroups: [] } }
}

/** The client proves itself to the provider: nothing of ours goes along but the address. */
function ownCredentials({ providers }: Site, named: string | null, find: Finder): Choice {
  const deployed = find.runtime.routes.find(({ deployment }) => providers.includes(deployment.provider))
  const route = find.bare(providers[0], deployed?.apiBase ?? null)
  const model = named ?? providers[0]
  const prices = named === null ? null : find.runtime.prices(providers[0], named)
  return { route: { ...route, model, prices }, model, modelGroup: model }
}

/** A path that names one of our model groups means the model behind it. */
function upstreamRest(site: Site, rest: string, { route }: Choice): string {
  const found = site.model?.exec(rest)
  if (found == null || decoded(found[2] as string) !== route.deployment.modelGroup || route.model.includes('*')) return rest
  const [matched, before] = found as unknown as [string, string]
  return before + encodeURIComponent(route.model) + rest.slice(matched.length)
}

/** What reads the usage of an answer; null = nothing of it is billed. */
async function meterOf(
  site: Site,
  rest: string,
  request: CarriedRequest,
  { route }: Choice,
  tools: CarriedTools,
): Promise<Meter | null> {
  if (site.protocol === 'assemblyai') return transcriptMeter(request, rest, route, tools)
  // Whoever looks at a kept answer again does not pay for it again.
  if (request.method !== 'POST' || rest.endsWith('/cancel')) return null
  if (site.protocol === 'openai') {
    const body = await readFields(request)
    const media = mediaMeter(route, `/${rest}`, body ?? {})
    if (media !== null) return media
    return usageMeter(openaiReader(tellsNoUsage(rest, body) ? estimate(body ?? {}, 'chat', NO_OUTPUT).inputTokens : null))
  }
  return usageMeter(READERS[site.protocol]())
}

const READERS: Readonly<Record<Exclude<Protocol, 'assemblyai' | 'openai'>, () => UsageReader>> = {
  gemini: geminiReader,
  bedrock: bedrockReader,
  cohere: cohereReader,
  watsonx: watsonxReader,
}

const NO_OUTPUT = { output: 0, modelOutput: null }

/** Streams of chats and completions tell their usage only if they are asked to. */
function tellsNoUsage(rest: string, body: Record<string, unknown> | null): boolean {
  if (body?.['stream'] !== true || !/(?:^|\/)completions$/.test(rest)) return false
  const options = body['stream_options']
  return !isFields(options) || options['include_usage'] !== true
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
