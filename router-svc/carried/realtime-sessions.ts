import { GatewayError } from '../../shared/errors.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedUpstream, Carrier } from './carrier.ts'

/**
 * What is asked over HTTP about realtime sessions: secrets for browsers, calls over WebRTC. Whoever holds such a secret or such a call speaks to the
 * provider without the gateway between, so nothing of it is seen or billed here: callers with a budget are refused, the socket is theirs.
 */
export const realtimeSessions: Carrier = {
  async choose(request, find) {
    refuseBudgeted(request)
    const model = modelIn(await fieldsOf(request), request)
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
  const json = request.json()
  if (json !== null) return json
  const form = await request.form()
  return form === null ? {} : { ...form, session: parsed(form['session']) }
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
    const found = place.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), fields)
    if (typeof found === 'string' && found !== '') return found
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
  const json = request.json()
  if (json !== null) {
    headers['content-type'] = 'application/json'
    return { method: 'POST', url: url.href, headers, body: JSON.stringify(renamed(json, model, route.model)) }
  }
  const form = await request.form()
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
