import type { ObjectNews } from '../../proto/objects.ts'
import { GatewayError } from '../../shared/errors.ts'
import { type Fields, fieldsIn, isFields, sourceOf } from '../providers/json.ts'
import { messageBatchAddress, servesMessageBatches } from '../providers/object-apis.ts'
import type { Route } from '../runtime.ts'
import type {
  CarriedAnswer,
  CarriedIds,
  CarriedRequest,
  CarriedTools,
  CarriedUpstream,
  Carrier,
  Choice,
  Finder,
} from './carrier.ts'
import { shownOf } from './forward.ts'
import { keptPage } from './list-objects.ts'
import { settleSeen } from './settle-seen.ts'

const ROOT = '/v1/messages/batches'
const KIND = 'message_batch'
const PREFIX = 'msgbatch_'
const PASSED = ['anthropic-version', 'anthropic-beta'] as const

interface BatchChoice extends Choice {
  /** The provider's id of the batch in the path; null = none. */
  id: string | null
  body: Fields | null
}

/** Anthropic's message batches, in Anthropic's words; their ids ours, and who made one has it. */
export const messageBatches: Carrier = {
  choose(request, find, ids) {
    const { id } = request.params
    if (id !== undefined) return byId(request, find, ids, id)
    if (request.method === 'GET') return { ...standing(find.byProvider('anthropic')), id: null, body: null } as Choice
    return created(request, find)
  },
  async serve(request, choice, tools) {
    const { route, id, body } = choice as BatchChoice
    if (request.method === 'GET' && id === null) return list(request, tools)
    const upstream = upstreamOf(request, route, id, body)
    if (request.pattern.endsWith('/results')) return { kind: 'forward', upstream }
    return answered(request, route, upstream, tools)
  },
}

function byId(request: CarriedRequest, find: Finder, ids: CarriedIds, id: string): BatchChoice {
  const object = ids.decode(id)
  if (object !== null) return { ...standing(find.byDeployment(object.deploymentId)), id: object.id, body: null }
  if (request.identity.role !== 'proxy_admin' && find.runtime.settings.providerObjectIds !== true) {
    throw new GatewayError('not_found', `No such message batch: ${id}. It is no id of this gateway.`)
  }
  return { ...standing(find.byProvider('anthropic')), id, body: null }
}

function standing(route: Route): Choice {
  return { route, model: 'message_batches', modelGroup: 'message_batches' }
}

/** Every request of a batch names a model: groups become what their deployments call it, and all must be with one provider. */
function created(request: CarriedRequest, find: Finder): BatchChoice {
  const body = request.json()
  const requests = body?.['requests']
  if (body === null || !Array.isArray(requests)) {
    throw new GatewayError('bad_request', 'The field "requests" is required and must be a list.', { param: 'requests' })
  }
  const groups = new Map<string, Route | null>()
  let first: { name: string; route: Route } | null = null
  const changed = requests.map((one: unknown) => {
    const params = isFields(one) ? one['params'] : undefined
    const name = isFields(params) ? params['model'] : undefined
    if (!isFields(one) || !isFields(params) || typeof name !== 'string') return one
    if (!groups.has(name)) groups.set(name, groupOf(name, find))
    const route = groups.get(name) ?? null
    if (route === null) return one
    first ??= { name, route }
    return { ...one, params: { ...params, model: route.model } }
  })
  const found = first as { name: string; route: Route } | null
  const route = found?.route ?? find.byProvider('anthropic')
  const model = found?.name ?? 'message_batches'
  return { route, model, modelGroup: model, id: null, body: { ...body, requests: changed } }
}

function groupOf(name: string, find: Finder): Route | null {
  let route: Route
  try {
    route = find.byModel(name)
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code === 'unknown_model' && find.anyModel) return null
    throw thrown
  }
  const { provider } = route.deployment
  if (servesMessageBatches(provider)) return route
  throw new GatewayError(
    'unsupported_endpoint',
    `${provider} has no message batches of Anthropic's form: ${name} cannot be in one.`,
  )
}

function upstreamOf(request: CarriedRequest, route: Route, id: string | null, body: Fields | null): CarriedUpstream {
  const end = request.pattern.slice(`${ROOT}/{id}`.length)
  const at = messageBatchAddress(route.target, id === null ? '' : `/${encodeURIComponent(id)}${end}`)
  const headers: Record<string, string> = { ...at.headers }
  for (const name of PASSED) {
    const value = request.headers[name]
    if (value !== undefined) headers[name] = value
  }
  if (body === null) return { method: request.method, url: at.url, headers, body: '' }
  return {
    method: request.method,
    url: at.url,
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
}

async function answered(
  request: CarriedRequest,
  route: Route,
  upstream: CarriedUpstream,
  tools: CarriedTools,
): Promise<CarriedAnswer> {
  const { status, headers, body } = await tools.ask(route, upstream)
  const shown = shownOf(headers)
  if (status >= 300) return { kind: 'answer', status, headers: shown, body }
  const value = fieldsIn(sourceOf(body))
  if (value === null || typeof value['id'] !== 'string') return { kind: 'answer', status, headers: shown, body }
  const { id: deploymentId, provider } = route.deployment
  const of = { kind: KIND, deploymentId, id: value['id'], provider } as const
  const sent = request.params['id']
  const news: ObjectNews =
    request.method === 'DELETE'
      ? { ...of, what: 'deleted' }
      : { ...of, what: sent === undefined ? 'created' : 'seen', facts: value }
  tools.objects.keep(news)
  if (news.what === 'seen') await settleSeen(news, route, tools)
  const own = sent ?? tools.ids.encode(PREFIX, of)
  return { kind: 'answer', status, headers: shown, body: JSON.stringify(shownBatch(request, value, own)) }
}

/** Results are fetched where clients reach us: their address is the gateway's, as the client called it. */
function shownBatch({ headers }: CarriedRequest, batch: Fields, id: string): Fields {
  if (typeof batch['results_url'] !== 'string') return { ...batch, id }
  const protocol = headers['x-forwarded-proto']?.split(',')[0]?.trim() ?? 'http'
  const host = headers['host']
  return { ...batch, id, results_url: `${host === undefined ? '' : `${protocol}://${host}`}${ROOT}/${id}/results` }
}

async function list(request: CarriedRequest, tools: CarriedTools): Promise<CarriedAnswer> {
  const { objects, more } = await keptPage(request, KIND, tools)
  const data = objects.map((object) =>
    shownBatch(request, object.facts, tools.objects.idsOf(object.owner).encode(PREFIX, object)),
  )
  const body = { data, has_more: more, first_id: data[0]?.['id'] ?? null, last_id: data.at(-1)?.['id'] ?? null }
  return { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
