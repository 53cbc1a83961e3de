import { GatewayError } from '../../shared/errors.ts'
import { mayCall } from '../../shared/model-access.ts'
import { estimate } from '../admission/estimate.ts'
import { isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedTools, CarriedUpstream, Carrier, Choice, Finder, Meter } from './carrier.ts'
import { mediaMeter } from './media-meter.ts'
import { passedHeaders, restOf, withQuery } from './pass-through-request.ts'
import { type Protocol, SITES, type Site } from './pass-through-sites.ts'
import { transcriptMeter } from './transcript-meter.ts'
import { usageMeter } from './usage-meter.ts'
import { bedrockReader, cohereReader, geminiReader, openaiReader, type UsageReader, watsonxReader } from './usage-readers.ts'

/** Native bytes both ways: path, query, body and headers as the client sent them, the credential ours, usage read as it goes by. */
export const passThrough: Carrier = {
  async choose(request, find) {
    const site = siteOf(request)
    const rest = restOf(request)
    const named = await modelNamed(site, rest, request)
    if (named === null && !find.anyModel && isUnreadable(request)) {
      throw new GatewayError('bad_request', 'The body is not a JSON object, and this API key may not use every model.')
    }
    if (request.ownCredentials === true) return ownCredentials(site, named, find)
    const { route, group } = routeFor(site, rest, named, find)
    if (named === null) return { route, model: site.providers[0], modelGroup: site.providers[0] }
    const { provider, accessGroups } = route.deployment
    const names = [named, find.runtime.aliased(named)]
    if (!mayCall(request.identity, names, [{ provider, model: route.model, accessGroups }])) {
      throw new GatewayError('model_denied', `The model '${named}' is not available for this API key.`, { param: 'model' })
    }
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

/** The model the path names, or the body. */
async function modelNamed(site: Site, rest: string, request: CarriedRequest): Promise<string | null> {
  const inPath = site.model?.exec(rest)?.[2]
  if (inPath !== undefined) return decoded(inPath)
  const body = request.json() ?? (await request.form())
  const named = body?.['model'] ?? body?.['model_id'] ?? body?.['speech_model']
  return typeof named === 'string' && named !== '' ? named : null
}

/** It says that it is JSON and cannot be read: the model it may name cannot be checked. */
function isUnreadable({ body, headers, json }: CarriedRequest): boolean {
  return body.length > 0 && (headers['content-type'] ?? '').includes('json') && json() === null
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
  const body = request.json()
  if (site.protocol === 'openai') {
    const media = mediaMeter(route, `/${rest}`, body ?? (await request.form()) ?? {})
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
