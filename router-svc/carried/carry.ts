import type { CallMessage } from '../../proto/call.ts'
import { asEndpoint, type CarriedCall, type CarriedEndpoint, carriedEndpoint } from '../../proto/carried.ts'
import type { ObjectNews, ObjectOwner } from '../../proto/objects.ts'
import type { Attempt, Outcome, TokenUsage, UsageEvent } from '../../proto/usage.ts'
import type { Bus, IncomingStream } from '../../shared/bus/bus.ts'
import type { Codec } from '../../shared/bus/codec.ts'
import type { Clock, DeadlineWheel } from '../../shared/clock.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { costOf } from '../../shared/cost.ts'
import { GatewayError, toGatewayError, toWire } from '../../shared/errors.ts'
import type { HttpClient, OutgoingCall } from '../../shared/http/client.ts'
import { exchange } from '../../shared/http/exchange.ts'
import type { Log } from '../../shared/log.ts'
import type { Admission } from '../admission/admission.ts'
import { answerHeaders, errorHeaders } from '../answer-headers.ts'
import { closeAttempt, openAttempt } from '../attempt-result.ts'
import { type Call, newCall, optionsOf } from '../call.ts'
import { readForm } from '../form.ts'
import type { Observer } from '../observe.ts'
import type { Headers, UpstreamAnswer, UpstreamRequest } from '../providers/provider.ts'
import { Reply } from '../reply.ts'
import { booking, intent, usageEvent } from '../report.ts'
import type { ResponseStore } from '../responses/store.ts'
import type { Resolution, Route } from '../runtime.ts'
import type { Spool } from '../spool.ts'
import type { RouterTrace } from '../trace.ts'
import type { CarriedAnswer, CarriedIds, CarriedRequest, CarriedTools, CarriedUpstream, Carrier, Choice } from './carrier.ts'
import { createFinder, type FinderDeps } from './finder.ts'
import { forward } from './forward.ts'
import { carriedIds } from './ids.ts'
import { CARRIERS } from './index.ts'
import { objectTools } from './object-tools.ts'

export interface CarryDeps {
  routerId: string
  http: HttpClient
  clock: Clock
  wheel: DeadlineWheel
  codec: Codec
  sealer: Pick<Sealer, 'sign' | 'open'>
  kept: ResponseStore
  bus: Pick<Bus, 'request' | 'subjects'>
  /** What is in force. */
  inForce(): Pick<FinderDeps, 'runtime' | 'snapshot'>
  compile: FinderDeps['compile']
  admission: Pick<Admission, 'admit' | 'settle'>
  spool: Pick<Spool<UsageEvent>, 'append' | 'intend'>
  observe: Observer
  /** Null or absent: nothing is traced. */
  trace?: Pick<RouterTrace, 'attempt'> | null
  log: Log
}

/** Answers carriers read themselves: objects and lists; files with results. */
const ASKED_LIMIT = 512 * 1024 * 1024
/** Milliseconds of silence after which a request that no call waits for is given up. */
const ASIDE_LIMIT = 60_000

/**
 * Carries calls to providers in their own words: admit, choose, send, pass the answer on, report. One attempt, no fallback: what the client
 * asks for is at one provider alone.
 */
export function createCarry(deps: CarryDeps): (incoming: IncomingStream, finished: () => void) => void {
  return (incoming, finished) => {
    carry({ ...deps, news: [] }, incoming)
      .catch((err) => {
        deps.log.error({ err, stream: incoming.id }, 'a carried call ended in an unexpected error')
        if (!incoming.closed) incoming.fail(toWire(new GatewayError('internal')))
      })
      .finally(finished)
  }
}

/** Of one call: with what it did to objects at providers. */
interface CallDeps extends CarryDeps {
  news: ObjectNews[]
}

/** How it ended. `body` null = the answer is with the client already, but for its end. */
interface Carried {
  record: Attempt | null
  route: Route | null
  error: GatewayError | null
  answer: { status: number; headers: Record<string, string>; body: Uint8Array } | null
  status: number
  headers: Headers
}

async function carry(deps: CallDeps, incoming: IncomingStream): Promise<void> {
  const message = incoming.head as CallMessage
  const carried = message.carried as NonNullable<CallMessage['carried']>
  const row = carriedEndpoint(message.endpoint, carried.pattern)
  if (row === undefined) {
    incoming.refuse(toWire(new GatewayError('bad_request', `This router does not know the endpoint ${message.endpoint}.`)))
    return
  }
  const call = newCall(incoming, deps.clock, asEndpoint(row))
  incoming.onCancel = (reason) => {
    call.cancelled = reason
    call.stop?.()
  }
  const reply = new Reply(call)
  let end: Carried
  try {
    end = await serve(deps, call, row, carried, reply)
  } catch (thrown) {
    const error = toGatewayError(thrown)
    if (error.code === 'internal')
      deps.log.error({ callId: message.callId, err: error.cause }, 'a carried call failed inside the router')
    end = { record: null, route: null, error, answer: null, status: error.status, headers: {} }
  }
  finish(deps, call, reply, end)
}

async function serve(deps: CallDeps, call: Call, row: CarriedEndpoint, carried: CarriedCall, reply: Reply): Promise<Carried> {
  const { incoming } = call
  const { runtime, snapshot } = deps.inForce()
  call.raw = incoming.body ?? (await incoming.collect(runtime.settings.maxRequestBytes))
  const request = requestOf(call, row, carried)
  call.parsed = request.json() ?? {}
  // What is held of limits and budgets is estimated from it.
  call.request = call.parsed
  call.options = optionsOf(call, runtime.settings.customerHeaders)
  const carrier: Carrier = CARRIERS[row.carrier]
  const find = createFinder(call, { runtime, snapshot, compile: deps.compile, open: deps.sealer.open })
  const choice = await carrier.choose(request, find, carriedIds(call.identity, deps.sealer))
  call.requestedModel = choice.model
  call.modelGroup = choice.modelGroup
  const admitted = deps.admission.admit(call, runtime, resolutionOf(choice))
  call.ticket = admitted instanceof Promise ? await admitted : admitted
  if (call.cancelled !== null) throw new GatewayError('cancelled')
  return attempt(deps, call, carrier, request, choice, reply)
}

function requestOf(call: Call, row: CarriedEndpoint, carried: CarriedCall): CarriedRequest {
  const { headers } = call.message
  let json: Record<string, unknown> | null | undefined
  return {
    ...carried,
    endpoint: row.name,
    pattern: row.path,
    headers,
    body: call.raw,
    identity: call.identity,
    json() {
      json ??= objectOf(call.raw)
      return json
    },
    form: () => readForm(call.raw, headers['content-type']),
  }
}

/** Blanks of JSON, and the mark of UTF-8 that some write before it: whatever a provider reads over. */
const NO_WORD: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf])
const OPENING = 0x7b

function objectOf(body: Uint8Array): Record<string, unknown> | null {
  // Files can be large, and are no objects.
  if (body[body.findIndex((byte) => !NO_WORD.has(byte))] !== OPENING) return null
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

function resolutionOf({ route, modelGroup }: Choice): Resolution {
  const { provider, accessGroups } = route.deployment
  return { group: modelGroup, routes: [route], served: [{ provider, model: route.model, accessGroups }] }
}

async function attempt(
  deps: CallDeps,
  call: Call,
  carrier: Carrier,
  request: CarriedRequest,
  choice: Choice,
  reply: Reply,
): Promise<Carried> {
  const { clock } = deps
  const { route } = choice
  const record = openAttempt(route, 0, clock.now())
  record.model = choice.model
  const begun = clock.monotonic()
  const { settings } = deps.inForce().runtime
  const total = Math.min(call.options.timeout ?? route.deployment.timeout ?? settings.timeout, call.incoming.deadline)
  const failed = (error: GatewayError, headers: Headers = {}): Carried => ({
    record: closeAttempt(record, deps, error.code === 'cancelled' ? 'cancelled' : 'failure', error),
    route,
    error,
    answer: null,
    status: error.status,
    headers,
  })
  const running = new Set<OutgoingCall>()
  let stop: (error: GatewayError) => void = () => undefined
  const stopped = new Promise<never>((_, reject) => {
    stop = reject
  })
  stopped.catch(() => undefined)
  const timer = deps.wheel.set(total, () =>
    stop(new GatewayError('provider_timeout', `litellm.Timeout: the call took longer than ${total / 1000} s.`)),
  )
  call.stop = () => stop(new GatewayError('cancelled'))
  call.end = stop
  try {
    await new Promise<void>((resolve) => deps.spool.intend(intent(call, record, deps.routerId), resolve))
    const ask = (by: Route, upstream: CarriedUpstream): Promise<UpstreamAnswer> =>
      Promise.race([stopped, asked(deps, by, upstream, running)])
    const book = (event: UsageEvent): void => deps.spool.append(event, () => undefined)
    const find = createFinder(call, { ...deps.inForce(), compile: deps.compile, open: deps.sealer.open })
    const idsOf = (owner: ObjectOwner): CarriedIds => carriedIds(owner, deps.sealer)
    const { runtime } = deps.inForce()
    const now = (): number => clock.now()
    const tools = {
      ask,
      objects: objectTools({ ...deps, runtime, idsOf, find, ask, book, now }, deps.news),
      ids: carriedIds(call.identity, deps.sealer),
      kept: deps.kept,
      book,
      now,
      wait: (milliseconds: number) => new Promise<void>((resolve) => clock.after(milliseconds, resolve)),
    }
    const answer: CarriedAnswer = await Promise.race([stopped, carrier.serve(request, choice, tools)])
    if (answer.kind === 'answer') {
      record.firstTokenAt = clock.now()
      const { status, headers, body } = answer
      const bytes = typeof body === 'string' ? Buffer.from(body) : body
      const refused = status < 400 ? null : route.provider.decodeError(status, headers, Buffer.from(bytes).toString('utf8'))
      const closed = closeAttempt(record, deps, refused === null ? 'success' : 'failure', refused, answer.usage)
      return { record: closed, route, error: null, answer: { status, headers, body: bytes }, status, headers: {} }
    }
    const open = (headers: Record<string, string>, status: number): void => {
      record.firstTokenAt = clock.now()
      const all = { ...answerHeaders(call, route, null, clock.monotonic()), ...headers }
      reply.start(all, booking(deps.codec, call, record, deps.routerId), status)
    }
    if (answer.kind === 'pieces') {
      open(answer.headers, 200)
      await sendPieces(answer, call, reply, stopped)
      closeAttempt(record, deps, 'success', null)
      return { record, route, error: null, answer: null, status: 200, headers: {} }
    }
    const upstream = await proved(deps, route, answer.upstream)
    const trace = deps.trace?.attempt(call, record) ?? null
    if (trace !== null) upstream.headers = trace.on(upstream.headers)
    const limits = { silence: settings.stallTimeout, firstByte: Math.min(total, settings.streamTimeout) }
    const sent = await forward(deps, { upstream, answer, call, reply, open, stopped, limits })
    const { status, headers } = sent
    const usage = sent.usage ?? undefined
    if (sent.model != null) record.reportedModel = sent.model
    if (sent.error !== null) {
      const outcome = usage === undefined ? 'failure' : 'partial'
      return { ...failed(sent.error, headers), record: closeAttempt(record, deps, outcome, sent.error, usage), status }
    }
    if (status >= 400) {
      // Told to the client as the provider wrote it; in the ledger it is what it means.
      const error = route.provider.decodeError(status, headers, Buffer.from(sent.body ?? []).toString('utf8'))
      closeAttempt(record, deps, 'failure', error)
    } else closeAttempt(record, deps, 'success', null, usage)
    const whole = sent.body === null ? null : { status, headers: sent.shown, body: sent.body }
    return { record, route, error: null, answer: whole, status, headers }
  } catch (thrown) {
    return failed(toGatewayError(thrown))
  } finally {
    timer.cancel()
    for (const outgoing of running) outgoing.abort()
    call.stop = null
    call.end = null
    call.upstreamTime += clock.monotonic() - begun
    call.attempts.push(record)
    if (record.usage !== undefined && route.prices !== null)
      record.cost = costOf(record.usage, route.prices, { elapsed: record.endedAt - record.startedAt }).total
    deps.observe.attempt(call, record)
  }
}

/** The next piece is asked for when the client takes more. Rejects with GatewayError. */
async function sendPieces(
  answer: CarriedAnswer & { kind: 'pieces' },
  { incoming }: Call,
  reply: Reply,
  stopped: Promise<never>,
): Promise<void> {
  try {
    for (;;) {
      const piece = await Promise.race([stopped, answer.next()])
      if (piece === null) return
      const writable = new Promise<void>((resolve) => {
        incoming.onWritable = resolve
      })
      if (!reply.write(piece)) await Promise.race([stopped, writable])
    }
  } finally {
    incoming.onWritable = null
  }
}

/** Requests beside calls, whose answers are read whole. `limit`: milliseconds of silence. */
export function askAs(deps: Pick<CarryDeps, 'http' | 'clock'>): CarriedTools['ask'] {
  return (route, upstream) => asked(deps, route, upstream, new Set(), ASIDE_LIMIT)
}

async function asked(
  deps: Pick<CarryDeps, 'http' | 'clock'>,
  route: Route,
  upstream: CarriedUpstream,
  running: Set<OutgoingCall>,
  limit = 0,
): Promise<UpstreamAnswer> {
  const { url, headers, body, method } = await proved(deps, route, upstream)
  const request = { method: method as 'GET', url, headers, ...(body.length === 0 ? {} : { body }) }
  return exchange(deps.http, request, { limit, maxBytes: ASKED_LIMIT, opened: (made) => running.add(made) })
}

/** With the deployment's headers and what proves who calls: the last thing before it is sent. */
async function proved({ clock }: Pick<CarryDeps, 'clock'>, route: Route, upstream: CarriedUpstream): Promise<CarriedUpstream> {
  const request = { ...upstream, headers: { ...upstream.headers, ...route.headers } }
  if (route.credential === null) return request
  // Signatures cover any method.
  const proof = await route.credential.headers(request as UpstreamRequest, clock.now())
  return { ...request, headers: { ...request.headers, ...proof } }
}

/** Reports first, then ends the answer: an event is on disk before the client knows that the call is over. */
function finish(deps: CallDeps, call: Call, reply: Reply, end: Carried): void {
  const { record, route, error, answer, status } = end
  const usage: TokenUsage | undefined = record?.usage
  const cost = record?.cost ?? 0
  const outcome: Outcome =
    call.cancelled !== null ? 'cancelled' : error !== null ? (record?.outcome ?? 'failure') : status < 400 ? 'success' : 'failure'
  const event = usageEvent(call, { outcome, status, error }, deps.routerId, deps.clock.now())
  if (deps.news.length > 0) event.objects = deps.news
  deps.admission.settle(call, cost, usage === undefined ? 0 : usage.input + usage.output - usage.cacheRead)
  deps.observe.call(call, event, cost)
  deps.spool.append(event, () => {
    if (call.cancelled !== null) return reply.drop()
    const named = answerHeaders(call, route, null, deps.clock.monotonic())
    if (error !== null) return reply.fail(error, errorHeaders(named, error), '')
    if (answer !== null) return reply.whole(answer.status, { ...named, ...answer.headers }, answer.body)
    reply.end()
  })
}
