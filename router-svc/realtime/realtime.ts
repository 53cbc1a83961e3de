import type { CallMessage } from '../../proto/call.ts'
import type { Endpoint } from '../../proto/endpoints.ts'
import { type SocketEndpoint, SWITCHING_PROTOCOLS, socketEndpoint } from '../../proto/sockets.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import type { Codec } from '../../shared/bus/codec.ts'
import { encodeSocketMessage } from '../../shared/bus/socket-messages.ts'
import { GatewayError, toGatewayError, toWire } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { answerHeaders, errorHeaders } from '../answer-headers.ts'
import { closeAttempt } from '../attempt-result.ts'
import { type Call, newCall, optionsOf } from '../call.ts'
import type { Observer } from '../observe.ts'
import { Reply } from '../reply.ts'
import { booking, intent, usageEvent } from '../report.ts'
import { readRouting } from '../routing/request-routing.ts'
import { resolve } from '../routing/resolve.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import type { Spool } from '../spool.ts'
import { type ConnectDeps, type Connected, connect } from './connect.ts'
import { Session, type SessionDeps, type SessionEnd } from './session.ts'
import { admitTurn, dropTurn, openTurn, type Turn } from './turns.ts'

export interface RealtimeDeps extends ConnectDeps, Omit<SessionDeps, 'runtime' | 'spool' | 'observe' | 'admission'> {
  runtime(): RouterRuntime
  admission: SessionDeps['admission']
  spool: Pick<Spool<UsageEvent>, 'append' | 'intend'>
  observe: Observer
  codec: Codec
  random(): number
  log: Log
}

export interface RealtimeSessions {
  serve(incoming: IncomingStream, finished: () => void): void
  /** Ends each session between two answers, and whatever is left after a while. Milliseconds. */
  drain(limit: number): void
}

/** Milliseconds an answer may go on while the router drains. */
const DRAIN_GRACE = 30_000

/** Serves realtime sessions: resolve, admit, connect, pass messages on, book each answer as it ends. */
export function createRealtime(deps: RealtimeDeps): RealtimeSessions {
  const sessions = new Set<Session>()
  return {
    serve(incoming, finished) {
      open(deps, incoming, sessions)
        .catch((err) => {
          deps.log.error({ err, stream: incoming.id }, 'a session ended in an unexpected error')
          if (!incoming.closed) incoming.fail(toWire(new GatewayError('internal')))
        })
        .finally(finished)
    },
    drain(limit) {
      for (const session of [...sessions]) session.part()
      if (sessions.size === 0) return
      deps.clock.after(Math.min(limit, DRAIN_GRACE), () => {
        for (const session of [...sessions]) session.end()
      })
    },
  }
}

interface Opened {
  turn: Turn
  resolution: Resolution
  connected: Connected
}

/** Resolves when the session is over and reported. */
async function open(deps: RealtimeDeps, incoming: IncomingStream, sessions: Set<Session>): Promise<void> {
  const message = incoming.head as CallMessage
  const call = newCall(incoming, deps.clock, asEndpoint(socketEndpoint(message.endpoint) as SocketEndpoint))
  incoming.onCancel = (reason) => {
    call.cancelled = reason
    call.stop?.()
  }
  const query = new URLSearchParams(message.carried?.query ?? '')
  const turn = { now: null as Turn | null }
  let opened: Opened
  try {
    opened = await begin(deps, call, query, turn)
  } catch (thrown) {
    if (turn.now !== null) dropTurn(turn.now, deps, null)
    refuse(deps, call, toGatewayError(thrown))
    return
  }
  const { connected } = opened
  await new Promise<void>((resolve) => deps.spool.intend(intent(call, connected.record, deps.routerId), resolve))
  const hearing = query.get('intent') === 'transcription'
  await new Promise<void>((over) => {
    const session: Session = new Session(deps, { call, ...opened, hearing }, (end) => {
      sessions.delete(session)
      report(deps, call, connected, end, over)
    })
    sessions.add(session)
    const headers = answerHeaders(call, connected.route, null, deps.clock.monotonic())
    const bill = booking(deps.codec, call, connected.record, deps.routerId)
    if (!incoming.closed) incoming.start({ v: WIRE_VERSION, status: SWITCHING_PROTOCOLS, headers, booking: bill })
    session.start()
    if (call.cancelled !== null) call.stop?.()
  })
}

/** Until the socket to the provider is open. `turn.now`: what is held. */
async function begin(deps: RealtimeDeps, call: Call, query: URLSearchParams, turn: { now: Turn | null }): Promise<Opened> {
  const runtime = deps.runtime()
  // Azure's clients name it so.
  const model = query.get('model') ?? query.get('deployment') ?? ''
  if (model === '') {
    const text = 'The query parameter "model" is required: it names the model of the session.'
    throw new GatewayError('bad_request', text, { param: 'model' })
  }
  call.parsed = { model }
  call.requestedModel = model
  call.modelGroup = model
  call.stream = true
  call.options = optionsOf(call, runtime.settings.customerHeaders)
  readRouting(call, runtime, deps.random)
  const resolution = fit(call, resolve(call, runtime))
  const first = openTurn(call, deps)
  await admitTurn(first, deps, runtime, resolution)
  turn.now = first
  // For the headers of the answer.
  call.ticket = first.call.ticket
  if (call.cancelled !== null) throw new GatewayError('cancelled')
  return { turn: first, resolution, connected: await connect(deps, call, first.call, runtime, resolution) }
}

/** The routes that open sessions. Throws GatewayError `unsupported_endpoint` naming those that do not. */
function fit(call: Call, resolution: Resolution): Resolution {
  const routes = resolution.routes.filter(({ provider }) => provider.realtime !== undefined)
  if (routes.length > 0) return routes.length === resolution.routes.length ? resolution : { ...resolution, routes }
  const names = [...new Set(resolution.routes.map(({ deployment }) => deployment.provider))].join(', ')
  const text = `The model ${call.requestedModel} does not serve ${call.endpoint.path}: realtime sessions with ${names} are not supported.`
  throw new GatewayError('unsupported_endpoint', text, { param: 'model' })
}

/** Nothing was opened: an error answer, as of any call. */
function refuse(deps: RealtimeDeps, call: Call, error: GatewayError): void {
  const { message } = call
  if (error.code === 'internal')
    deps.log.error({ callId: message.callId, err: error.cause }, 'a session failed inside the router')
  const outcome = call.cancelled === null ? 'failure' : 'cancelled'
  const event = usageEvent(call, { outcome, status: error.status, error }, deps.routerId, deps.clock.now())
  deps.observe.call(call, event, 0)
  const reply = new Reply(call)
  deps.spool.append(event, () => {
    if (call.cancelled !== null) return reply.drop()
    const named = answerHeaders(call, null, null, deps.clock.monotonic())
    reply.fail(error, errorHeaders(named, error), '')
  })
}

/** The session's own entry, which costs nothing: its answers have theirs. Reported first, then told. */
function report(deps: RealtimeDeps, call: Call, { route, record, elapsed }: Connected, end: SessionEnd, over: () => void): void {
  const { error, goodbye } = end
  // A caller whose budget ran out is no fault of the deployment, nor is a session that it ends by its own rules.
  const fault = error?.code.startsWith('provider_') && (goodbye === null || goodbye.code < 3_000) ? error : null
  closeAttempt(record, deps, fault === null ? 'success' : 'failure', fault)
  record.firstTokenAt = record.startedAt + Math.round(elapsed)
  call.attempts.push(record)
  deps.selector.end(route, call, {
    error: fault?.code ?? null,
    elapsed,
    firstToken: elapsed,
    inputTokens: 0,
    outputTokens: 0,
  })
  const event = usageEvent(
    call,
    { outcome: error === null ? 'success' : 'failure', status: error?.status ?? 200, error },
    deps.routerId,
    deps.clock.now(),
  )
  deps.observe.attempt(call, record)
  deps.observe.call(call, event, 0)
  const { incoming } = call
  deps.spool.append(event, () => {
    over()
    if (incoming.closed) return
    if (goodbye === null) {
      incoming.fail(toWire(error as GatewayError))
      return
    }
    incoming.data(encodeSocketMessage(goodbye))
    incoming.end()
  })
}

function asEndpoint({ name, path }: SocketEndpoint): Endpoint {
  return { name, method: 'POST', path, aliases: [], mode: 'chat', dialect: 'openai-chat', body: 'json' }
}

/** The route of another model of a deployment: its address and credential, the catalogue's prices. */
export function siblingRoute(compile: (deployment: Route['deployment']) => Route, { deployment }: Route, model: string): Route {
  return compile({ ...deployment, model, baseModel: null, prices: null })
}
