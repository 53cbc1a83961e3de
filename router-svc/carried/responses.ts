import { GatewayError } from '../../shared/errors.ts'
import { parseSseFrame, SseSplitter, sseEvent } from '../../shared/http/sse.ts'
import { type Fields, fieldsIn, isFields, jsonObject, sourceOf } from '../providers/json.ts'
import type { ResponsesAdapter } from '../providers/responses/native.ts'
import { current, stopRun } from '../responses/background.ts'
import { foreignId } from '../responses/foreign-id.ts'
import { type KeptResponse, listedItem, OWN } from '../responses/kept-response.ts'
import { eventText, isRunning, replayEvents } from '../responses/replay.ts'
import { gone, load, speaksResponses } from '../responses/turn.ts'
import type { Route } from '../runtime.ts'
import type { CarriedAnswer, CarriedIds, CarriedRequest, CarriedTools, Carrier, Through } from './carrier.ts'
import { placeIn } from './ids.ts'
import { settleSeen } from './settle-seen.ts'
import { usageMeter } from './usage-meter.ts'

/** What stands for the model of a response the gateway keeps itself, and the provider that costs nothing. */
const MODEL = 'responses'
const NOBODY = 'mock'
/** `input_items` lists so many at once when nothing is said; and the most. */
const PAGE = 20
const PAGE_MAX = 100
/** Milliseconds between looks at a response whose end somebody waits for, and the most looks: ten minutes. */
const LOOK = 500
const LOOKS_MAX = 1_200
const JSON_HEADERS = { 'content-type': 'application/json' }

/**
 * Responses after they were made: read, followed, listed, cancelled, deleted where they are kept, by the gateway or by the provider that made
 * them. Counting and compacting go to a provider that speaks the protocol.
 */
export const responses: Carrier = {
  choose(request, find) {
    const { id } = request.params
    if (id === undefined) {
      const model = request.json()?.['model']
      if (typeof model !== 'string' || model === '')
        throw new GatewayError('bad_request', 'The field "model" is required and must be a non-empty string.', { param: 'model' })
      return { route: find.byModel(model), model, modelGroup: model }
    }
    // Whose it is, is asked before anything is sent.
    const place = placeIn(id) ?? foreignId(id, request.identity)
    if (place.deploymentId === OWN) return { route: find.byProvider(NOBODY), model: MODEL, modelGroup: MODEL }
    const route = place.deploymentId === '' ? find.byProvider('openai') : find.byDeployment(place.deploymentId)
    return { route, model: route.model, modelGroup: route.deployment.modelGroup || MODEL }
  },

  async serve(request, { route }, tools) {
    const { id } = request.params
    if (id === undefined) return asked(request, route, tools.ids)
    const place = tools.ids.decode(id) ?? foreignId(id, request.identity)
    return place.deploymentId === OWN ? kept(request, id, place.id, tools) : held(request, route, id, place.id, tools)
  },
}

/** Counting and compacting: the client's words with the provider's name of the model. */
function asked(request: CarriedRequest, route: Route, ids: CarriedIds): CarriedAnswer {
  const body: Fields = { ...request.json(), model: route.model }
  const previous = body['previous_response_id']
  if (typeof previous === 'string') {
    const place = ids.decode(previous) ?? foreignId(previous, request.identity)
    if (place.deploymentId === OWN)
      throw new GatewayError(
        'bad_request',
        'A response the gateway keeps is not known to the provider: send its items as input.',
        {
          param: 'previous_response_id',
        },
      )
    body['previous_response_id'] = place.id
  }
  return {
    kind: 'forward',
    upstream: { method: 'POST', url: urlAt(route, ending(request)), headers: JSON_HEADERS, body: JSON.stringify(body) },
    ...(ending(request) === 'compact' ? { meter: usageMeter() } : {}),
  }
}

/** At the provider. */
function held(request: CarriedRequest, route: Route, id: string, inner: string, tools: CarriedTools): CarriedAnswer {
  const { ids } = tools
  const last = ending(request)
  const path = last === 'cancel' || last === 'input_items' ? `${encodeURIComponent(inner)}/${last}` : encodeURIComponent(inner)
  const upstream = {
    method: request.method,
    url: urlAt(route, path, request.query),
    headers: request.body.length === 0 ? {} : JSON_HEADERS,
    body: request.body,
  }
  const renamed = (response: Fields): Fields => renamedResponse(response, id, route, ids)
  if (new URLSearchParams(request.query).get('stream') === 'true')
    return { kind: 'forward', upstream, through: renamedEvents(renamed) }
  return {
    kind: 'forward',
    upstream,
    rewrite(body) {
      const answer = jsonObject(sourceOf(body), 'The answer')
      if (answer['object'] === 'list') return body
      // One that was made in the background is booked as soon as anybody sees it done.
      if (answer['background'] === true) {
        const { id: deploymentId, provider } = route.deployment
        void settleSeen({ kind: 'response', deploymentId, id: inner, provider, what: 'seen', facts: answer }, route, tools)
      }
      return Buffer.from(JSON.stringify(renamed(answer)))
    },
  }
}

/** With the names that clients know: theirs of the model, ours of responses. */
function renamedResponse(response: Fields, id: string, route: Route, ids: CarriedIds): Fields {
  const renamed: Fields = { ...response, id }
  if (typeof response['model'] === 'string') renamed['model'] = route.deployment.modelGroup || response['model']
  const previous = response['previous_response_id']
  if (typeof previous === 'string')
    renamed['previous_response_id'] = ids.encode('resp_', { deploymentId: route.deployment.id, id: previous })
  return renamed
}

/** Events that hold a response have it renamed; the others pass. */
function renamedEvents(renamed: (response: Fields) => Fields): Through {
  const splitter = new SseSplitter()
  const relay = (frame: Uint8Array): Uint8Array => {
    const event = parseSseFrame(frame)
    if (event === null || !event.data.includes('"response":')) return frame
    const payload = fieldsIn(event.data)
    if (!isFields(payload?.['response'])) return frame
    return Buffer.from(sseEvent(JSON.stringify({ ...payload, response: renamed(payload['response']) }), event.event))
  }
  return {
    push: (bytes) => Buffer.concat(splitter.push(bytes).map(relay)),
    end: () => Uint8Array.from(splitter.rest()),
  }
}

/** Null for what is none: an answer that is on its way already is not ours to judge. */
/** Throws GatewayError `unsupported_endpoint`. */
function urlAt(route: Route, path: string, query = ''): string {
  const adapter: ResponsesAdapter | undefined = speaksResponses(route) ? route.provider.responses : undefined
  if (adapter === undefined)
    throw new GatewayError('unsupported_endpoint', `${route.provider.name} does not serve this for model=${route.model}.`, {
      param: 'model',
    })
  const url = new URL(adapter.url(route.target))
  url.pathname = `${url.pathname}/${path}`
  for (const [name, value] of new URLSearchParams(query)) if (name !== 'api-version') url.searchParams.append(name, value)
  return url.href
}

/** Here. Rejects with GatewayError `not_found`. */
async function kept(request: CarriedRequest, id: string, key: string, tools: CarriedTools): Promise<CarriedAnswer> {
  const read = (): Promise<KeptResponse | null> => current(tools.kept, key, () => load(tools.kept, tools.ids, key))
  let record = await read()
  if (record === null) throw gone(id)
  const { background } = record.response
  switch (ending(request)) {
    case 'cancel':
      if (background === true)
        return told(isRunning(record.response) ? (await stopRun(tools.kept, key, record, 'cancelled')).response : record.response)
      throw new GatewayError('bad_request', 'Only responses that were created with background=true can be cancelled.')
    case 'input_items':
      return told(page(record, key, new URLSearchParams(request.query)))
  }
  if (request.method === 'DELETE') {
    if (isRunning(record.response)) await stopRun(tools.kept, key, record, 'deleted')
    await tools.kept.delete(key)
    return told({ id, object: 'response', deleted: true })
  }
  const query = new URLSearchParams(request.query)
  if (query.get('stream') !== 'true') return told(record.response)
  const after = numberOf(query.get('starting_after'))
  for (let looks = 0; isRunning(record.response) && looks < LOOKS_MAX; looks += 1) {
    await tools.wait(LOOK)
    record = await read()
    if (record === null) throw gone(id)
  }
  if (isRunning(record.response)) throw new GatewayError('deadline_exceeded', 'The response is not finished yet: ask again.')
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }
  return { kind: 'answer', status: 200, headers, body: eventText(replayEvents(record.response), after) }
}

/** Throws GatewayError `bad_request`. */
function numberOf(given: string | null): number {
  if (given === null) return -1
  const after = Number(given)
  if (Number.isInteger(after) && after >= 0) return after
  throw new GatewayError('bad_request', 'starting_after must be the sequence_number of an event.', { param: 'starting_after' })
}

function told(body: unknown): CarriedAnswer {
  return { kind: 'answer', status: 200, headers: JSON_HEADERS, body: JSON.stringify(body) }
}

/** Newest first unless asked otherwise, as OpenAI lists them. Throws GatewayError `bad_request`. */
function page({ input }: KeptResponse, key: string, query: URLSearchParams): Fields {
  const asked = query.get('limit')
  const limit = asked === null ? PAGE : Number(asked)
  if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_MAX)
    throw new GatewayError('bad_request', `limit must be a whole number from 1 to ${PAGE_MAX}.`, { param: 'limit' })
  const items = input.map((item, place) => listedItem(item, key, place))
  if (query.get('order') !== 'asc') items.reverse()
  const after = query.get('after')
  const from = after === null ? 0 : items.findIndex((item) => item['id'] === after) + 1
  const data = items.slice(from, from + limit)
  return {
    object: 'list',
    data,
    first_id: data[0]?.['id'] ?? null,
    last_id: data.at(-1)?.['id'] ?? null,
    has_more: from + limit < items.length,
  }
}

/** The last part of the path. */
function ending({ pattern }: CarriedRequest): string {
  return pattern.slice(pattern.lastIndexOf('/') + 1)
}
