import type { Outcome, UsageEvent } from '../proto/usage.ts'
import type { IncomingStream, StreamHandler } from '../shared/bus/bus.ts'
import { GatewayError, toGatewayError, toWire } from '../shared/errors.ts'
import type { StoredAnswer } from '../shared/idempotency/store.ts'
import type { Log } from '../shared/log.ts'
import type { Admission } from './admission/admission.ts'
import { answerHeaders, costHeaders, errorHeaders } from './answer-headers.ts'
import type { AttemptResult } from './attempt-result.ts'
import { replayCached } from './cache/replay.ts'
import type { ResponseCache } from './cache/response-cache.ts'
import type { CacheTurn } from './cache/turn.ts'
import { type Call, decode, openCall } from './call.ts'
import { checkRequest } from './check-request.ts'
import { readForm } from './form.ts'
import type { Idempotency } from './idempotency.ts'
import { Reply } from './reply.ts'
import { usageEvent } from './report.ts'
import type { Background } from './responses/background.ts'
import type { Responses, ResponsesTurn } from './responses/turn.ts'
import type { AutoRouting } from './routing/auto/choose.ts'
import { readRouting } from './routing/request-routing.ts'
import { resolve } from './routing/resolve.ts'
import type { Route, RouterRuntime } from './runtime.ts'
import { type ServeDeps, serve } from './serve.ts'
import type { Spool } from './spool.ts'

export interface HandleDeps extends ServeDeps {
  /** The runtime in force; swapped whole by the mirror. */
  runtime(): RouterRuntime
  spool: Pick<Spool<UsageEvent>, 'append' | 'intend'>
  admission: Admission
  idempotency: Pick<Idempotency, 'begin'>
  cache: Pick<ResponseCache, 'begin'>
  responses: Responses
  /** Absent where nothing runs on after its answer. */
  background?: Pick<Background, 'start'>
  /** Absent where no embedding can be asked for: an auto router is no deployment there. */
  autoRouting?: AutoRouting
  log: Log
}

/** THE HOT PATH of the router: one call, from decoded body to reported outcome. */
export function createHandle(deps: HandleDeps): (incoming: IncomingStream, finished: () => void) => ReturnType<StreamHandler> {
  return (incoming, finished) => {
    handle(deps, incoming)
      .catch((err) => {
        // A fault of ours: the client is told, the log has the cause, and the router goes on.
        deps.log.error({ err, stream: incoming.id }, 'a call ended in an unexpected error')
        if (!incoming.closed) incoming.fail(toWire(new GatewayError('internal')))
      })
      .finally(finished)
  }
}

async function handle(deps: HandleDeps, incoming: IncomingStream): Promise<void> {
  let call: Call
  try {
    call = openCall(incoming, deps.clock)
  } catch (thrown) {
    incoming.refuse(toWire(toGatewayError(thrown)))
    return
  }
  // Named before it is assigned, as all of a call's functions: V8 makes one that is written into a property at once an old object, and with it
  // everything it sees, the whole call, outlives the collections of young garbage.
  const cancel = (reason: string): void => {
    call.cancelled = reason
    call.stop?.()
  }
  incoming.onCancel = cancel
  const reply = new Reply(call)
  let result: AttemptResult | GatewayError
  let route: Route | null = null
  let turn: CacheTurn | null = null
  try {
    const runtime = deps.runtime()
    const body = incoming.body ?? (await incoming.collect(runtime.settings.maxRequestBytes))
    const form = call.endpoint.body === 'form' ? await readForm(body, call.message.headers['content-type']) : null
    decode(call, body, runtime.settings, form)
    checkRequest(call, runtime.settings)
    readRouting(call, runtime, deps.random)
    if (call.dialect.protocol === 'openai-responses') {
      const begun = deps.responses.begin(call)
      call.responses = begun instanceof Promise ? await begun : begun
    }
    let found = resolve(call, runtime)
    const auto = found.routes[0]?.auto
    if (auto !== undefined && deps.autoRouting !== undefined) found = await deps.autoRouting.choose(call, runtime, auto)
    const resolution = call.responses === null ? found : call.responses.narrow(found)
    const claimed = deps.idempotency.begin(call)
    const kept = claimed === null ? null : await claimed
    if (kept !== null && kept.replay !== null) return replay(deps, call, reply, kept.replay)
    reply.recording = kept?.recording ?? null
    if (call.responses?.background === true && deps.background !== undefined)
      return await deps.background.start(call, reply, call.responses.input)
    const admitted = deps.admission.admit(call, runtime, resolution)
    call.ticket = admitted instanceof Promise ? await admitted : admitted
    if (call.cancelled !== null) throw new GatewayError('cancelled')
    const looked = call.responses?.whole === false ? null : deps.cache.begin(call, runtime)
    if (looked !== null) {
      turn = await looked
      if (turn.hit !== null) return await replayCached(deps, call, reply, turn.hit)
      if (call.cancelled !== null) throw new GatewayError('cancelled')
    }
    const served = await serve(deps, call, runtime, resolution, reply)
    result = served.result
    route = served.route
  } catch (thrown) {
    result = toGatewayError(thrown)
    if (result.code === 'internal')
      deps.log.error({ callId: call.message.callId, err: result.cause }, 'a call failed inside the router')
  }
  finish(deps, call, reply, result, route, turn)
}

/** Reports first, then ends the answer: an event is on disk before the client knows that the call is over. */
function finish(
  deps: HandleDeps,
  call: Call,
  reply: Reply,
  result: AttemptResult | GatewayError,
  route: Route | null,
  turn: CacheTurn | null,
): void {
  const { outcome, status, error } = endOf(call, result)
  const { cost, tokens } = usedBy(call)
  turn?.finish(outcome === 'success' && route !== null ? { ok: true, deploymentId: route.deployment.id, cost } : { ok: false })
  const event = usageEvent(call, { outcome, status, error }, deps.routerId, deps.clock.now())
  const keeping = call.responses === null || outcome !== 'success' ? null : keptOf(call.responses, result)
  // Before the event is on its way, so that the ledger never books a call that still holds more than it cost.
  deps.admission.settle(call, cost, tokens)
  deps.observe.call(call, event, cost)
  const tell = (): void => answer(deps, call, reply, result, route, error, cost)
  // Whoever has the answer may go on from it at once.
  deps.spool.append(event, keeping === null ? tell : () => void keeping.then(tell))
}

function keptOf(turn: ResponsesTurn, result: AttemptResult | GatewayError): Promise<void> | null {
  if (result instanceof GatewayError) return null
  if (result.kind === 'answered') return turn.keep(result.body)
  return result.kind === 'streamed' ? turn.keep(result.last) : null
}

/** The answer of an earlier call with the same Idempotency-Key: nothing is called, and nothing costs. */
function replay(deps: HandleDeps, call: Call, reply: Reply, kept: StoredAnswer): void {
  const event = usageEvent(call, { outcome: 'success', status: kept.status, error: null }, deps.routerId, deps.clock.now())
  deps.spool.append({ ...event, cacheHit: true }, () => reply.whole(kept.status, kept.headers, kept.body))
}

function answer(
  deps: HandleDeps,
  call: Call,
  reply: Reply,
  result: AttemptResult | GatewayError,
  route: Route | null,
  error: GatewayError | null,
  cost: number,
): void {
  if (call.cancelled !== null) {
    reply.drop()
    return
  }
  const now = deps.clock.monotonic()
  if (error !== null) {
    const failed = result instanceof GatewayError || result.kind !== 'failed' ? null : result
    reply.fail(error, errorHeaders(answerHeaders(call, route, failed?.headers ?? null, now), error), failed?.tell?.(error) ?? '')
  } else if (!(result instanceof GatewayError)) {
    if (result.kind === 'answered') {
      const headers = answerHeaders(call, route, result.headers, now)
      costHeaders(headers, call, cost)
      headers['content-type'] = result.contentType
      reply.whole(200, headers, result.body)
    } else if (result.kind === 'streamed') reply.end(result.last)
  }
}

function endOf(
  call: Call,
  result: AttemptResult | GatewayError,
): { outcome: Outcome; status: number; error: GatewayError | null } {
  if (call.cancelled !== null) {
    const error = new GatewayError(call.cancelled === 'deadline_exceeded' ? 'deadline_exceeded' : 'cancelled')
    return { outcome: 'cancelled', status: error.status, error }
  }
  if (result instanceof GatewayError) return { outcome: 'failure', status: result.status, error: result }
  if (result.kind === 'failed')
    return { outcome: result.committed ? 'partial' : 'failure', status: result.error.status, error: result.error }
  return { outcome: 'success', status: 200, error: null }
}

/** Nano-dollars and tokens of all attempts; tokens read from a provider's cache do not count against limits (surface reference §3.5). */
function usedBy(call: Call): { cost: number; tokens: number } {
  const used = { cost: 0, tokens: 0 }
  for (const { cost, usage } of call.attempts) {
    used.cost += cost ?? 0
    if (usage !== undefined) used.tokens += usage.input + usage.output - usage.cacheRead
  }
  return used
}
