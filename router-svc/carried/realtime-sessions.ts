import { GatewayError } from '../../shared/errors.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedUpstream, Carrier } from './carrier.ts'
import { readFields } from './pass-through-request.ts'

/**
 * What is asked over HTTP about realtime sessions: secrets for browsers, calls over WebRTC. Whoever holds such a secret or such a call speaks to the
 * provider without the gateway between, so nothing of it is seen or billed here: callers with a budget are refused, the socket is theirs.
 */
export const realtimeSessions: Carrier = {
  async choose(request, find) {
    refuseBudgeted(request)
    const fields = await fieldsOf(request)
    const model = modelIn(fields, request)
    if (model !== null) refuseOthers(fields, request, model)
    if (model === null) {
      throw new GatewayError('bad_request', 'The model of the session is required ("model", or in "session").', {
        param: 'model',
      })
    }
    const route = find.byModel(model)
    if (route.provider.realtime === undefined) {
      const text = `The model ${model} does not serve ${request.path}: realtime sessions with ${route.deployment.provider} are not supported.`
      throw new GatewayError('unsupported_endpoint', text, { param: 'model' })
    }
    return { route, model, modelGroup: route.deployment.modelGroup }
  },
  async serve(request, { route, model }) {
    return { kind: 'forward', upstream: await upstreamOf(request, route, model) }
  },
}

function refuseBudgeted({ identity, path }: CarriedRequest): void {
  const budgeted = identity.maxBudget !== null || identity.limits.some(({ budget }) => budget != null)
  if (!budgeted) return
  throw new GatewayError(
    'route_denied',
    `${path} lets a client speak to the provider past this gateway, where nothing counts against the budget of this key. Use a WebSocket at /v1/realtime.`,
  )
}

/** The body as fields; of a form its texts, `session` parsed. Empty for a bare offer. */
async function fieldsOf(request: CarriedRequest): Promise<Fields> {
  const fields = await readFields(offered(request))
  return fields === null ? {} : typeof fields['session'] === 'string' ? { ...fields, session: parsed(fields['session']) } : fields
}

/** What is said to be nothing else is a bare offer, and goes on as one. */
function offered(request: CarriedRequest): CarriedRequest {
  return { ...request, headers: { 'content-type': 'application/sdp', ...request.headers } }
}

/** The provider reads one of the places, which depends on what is asked: each names the model that was checked, or none. */
function refuseOthers(fields: Fields, { pattern, query }: CarriedRequest, model: string): void {
  const session = fields['session']
  const onlyHears = pattern.endsWith('/transcription_sessions') || (isFields(session) && session['type'] === 'transcription')
  // A model that speaks may have another one write down what it hears.
  const places = onlyHears ? PLACES : PLACES.filter((place) => place.length <= 2 && place[0] !== 'input_audio_transcription')
  const others = [...places.map((place) => namedAt(fields, place)), new URLSearchParams(query).get('model')]
  const other = others.find((name) => name !== null && name !== model)
  if (other === undefined) return
  throw new GatewayError('bad_request', `The request names two models, ${model} and ${other}: which is meant?`, {
    param: 'model',
  })
}

function namedAt(fields: Fields, place: readonly string[]): string | null {
  const found = place.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), fields)
  return typeof found === 'string' && found !== '' ? found : null
}

function parsed(text: unknown): unknown {
  if (typeof text !== 'string') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new GatewayError('bad_request', 'The field "session" is not valid JSON.', { param: 'session' })
  }
}

const HEARING = ['audio', 'input', 'transcription', 'model']

/** Where a request may name its model, first match wins; a session that only transcribes names the model that does. */
const PLACES: readonly (readonly string[])[] = [
  ['session', 'model'],
  ['model'],
  ['session', ...HEARING],
  ['input_audio_transcription', 'model'],
]

function modelIn(fields: Fields, { query }: CarriedRequest): string | null {
  for (const place of PLACES) {
    const found = namedAt(fields, place)
    if (found !== null) return found
  }
  return new URLSearchParams(query).get('model')
}

/** The same request at the route's provider, the model by its name there. */
async function upstreamOf(request: CarriedRequest, route: Route, model: string): Promise<CarriedUpstream> {
  const { realtime } = route.provider
  const opened = realtime?.open({ query: {}, headers: request.headers }, route.target)
  const url = new URL(opened?.url ?? route.target.base)
  url.pathname += request.pattern.slice('/v1/realtime'.length)
  url.searchParams.delete('model')
  const headers = { ...opened?.headers }
  const form = await request.form()
  const json = form === null ? await readFields(offered(request)) : null
  if (json !== null) {
    headers['content-type'] = 'application/json'
    return { method: 'POST', url: url.href, headers, body: JSON.stringify(renamed(json, model, route.model)) }
  }
  if (form === null) {
    url.searchParams.set('model', route.model)
    headers['content-type'] = request.headers['content-type'] ?? 'application/sdp'
    return { method: 'POST', url: url.href, headers, body: request.body }
  }
  const parts = new FormData()
  for (const [name, value] of Object.entries(form)) if (typeof value === 'string') parts.set(name, value)
  const session = parsed(form['session'])
  if (isFields(session)) parts.set('session', JSON.stringify(renamed({ session }, model, route.model)['session']))
  const made = new Response(parts)
  headers['content-type'] = made.headers.get('content-type') ?? 'multipart/form-data'
  return { method: 'POST', url: url.href, headers, body: new Uint8Array(await made.arrayBuffer()) }
}

/** A copy with the model renamed wherever it stands. */
function renamed(fields: Fields, from: string, to: string): Fields {
  const copy = structuredClone(fields) as Record<string, unknown>
  for (const place of PLACES) {
    const holder = place.slice(0, -1).reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), copy)
    if (isFields(holder) && holder['model'] === from) (holder as Record<string, unknown>)['model'] = to
  }
  return copy
}
