import type { Attempt, Outcome, UsageEvent } from '../proto/usage.ts'
import type { IncomingStream, StreamHandler } from '../shared/bus/bus.ts'
import type { Codec } from '../shared/bus/codec.ts'
import { costOf } from '../shared/cost.ts'
import { GatewayError, toGatewayError, toWire } from '../shared/errors.ts'
import type { StoredAnswer } from '../shared/idempotency/store.ts'
import type { Log } from '../shared/log.ts'
import { mayCall } from '../shared/model-access.ts'
import type { Admission } from './admission/admission.ts'
import { answerHeaders, costHeaders, errorHeaders } from './answer-headers.ts'
import { type AttemptDeps, type AttemptResult, type AttemptTimeouts, attempt, openAttempt } from './attempt.ts'
import { attemptLocal, isLocal } from './attempt-local.ts'
import { type Call, decode, openCall } from './call.ts'
import { checkRequest } from './check-request.ts'
import { promptText, type TokenCounter } from './count-tokens.ts'
import type { Idempotency } from './idempotency.ts'
import type { Observer } from './observe.ts'
import { Reply } from './reply.ts'
import { booking, intent, usageEvent } from './report.ts'
import { decideRetry } from './retry.ts'
import { strategies } from './routing/index.ts'
import type { Strategy } from './routing/strategy.ts'
import { type Resolution, type Route, type RouterRuntime, serves } from './runtime.ts'
import type { Spool } from './spool.ts'

export interface HandleDeps extends AttemptDeps {
  routerId: string
  codec: Codec
  /** The runtime in force; swapped whole by the mirror. */
  runtime(): RouterRuntime
  spool: Pick<Spool<UsageEvent>, 'append' | 'intend'>
  tokens: TokenCounter
  admission: Admission
  idempotency: Pick<Idempotency, 'begin'>
  observe: Observer
  random(): number
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
  incoming.onCancel = (reason) => {
    call.cancelled = reason
    call.stop?.()
  }
  const reply = new Reply(call)
  let result: AttemptResult | GatewayError
  let route: Route | null = null
  try {
    const runtime = deps.runtime()
    decode(call, incoming.body ?? (await incoming.collect(runtime.settings.maxRequestBytes)), runtime.settings)
    checkRequest(call, runtime.settings)
    const resolution = resolve(call, runtime)
    const claimed = deps.idempotency.begin(call)
    const kept = claimed === null ? null : await claimed
    if (kept !== null && kept.replay !== null) return replay(deps, call, reply, kept.replay)
    reply.recording = kept?.recording ?? null
    const admitted = deps.admission.admit(call, runtime, resolution)
    call.ticket = admitted instanceof Promise ? await admitted : admitted
    if (call.cancelled !== null) throw new GatewayError('cancelled')
    const served = await serve(deps, call, runtime, resolution, reply)
    result = served.result
    route = served.route
  } catch (thrown) {
    result = toGatewayError(thrown)
    if (result.code === 'internal')
      deps.log.error({ callId: call.message.callId, err: result.cause }, 'a call failed inside the router')
  }
  finish(deps, call, reply, result, route)
}

/** Alias, access and the deployments behind the name. Throws GatewayError `unknown_model`, `model_denied`. */
function resolve(call: Call, runtime: RouterRuntime): Resolution {
  const asked = call.requestedModel
  const { aliases } = call.identity
  const name = Object.hasOwn(aliases, asked) ? (aliases[asked] as string) : asked
  const resolution = runtime.resolve(name)
  if (!mayCall(call.identity, [asked, name, runtime.aliased(name)], resolution?.served ?? [])) {
    throw new GatewayError(
      'model_denied',
      `The requested model '${asked}' is not available for this API key, or the model name is invalid. Call \`/v1/models\` to view available models for your key.`,
      { param: 'model' },
    )
  }
  if (resolution === null) {
    throw new GatewayError(
      'unknown_model',
      `${call.endpoint.path.replace('/v1', '')}: Invalid model name passed in model=${asked}. Call \`/v1/models\` to view available models for your key.`,
      { param: 'model' },
    )
  }
  call.modelGroup = resolution.group
  return resolution
}

/** The loop: choose, attempt, retry. */
async function serve(
  deps: HandleDeps,
  call: Call,
  runtime: RouterRuntime,
  resolution: Resolution,
  reply: Reply,
): Promise<{ result: AttemptResult; route: Route }> {
  let candidates = resolution.routes.filter((route) => !route.deployment.blocked && serves(route, call.endpoint.mode))
  if (candidates.length === 0) throw noDeployment(call, resolution)
  const retries = call.options.numRetries ?? candidates[0]?.deployment.maxRetries ?? runtime.settings.numRetries
  const choose = strategies['simple-shuffle'] as Strategy
  const tried = new Set<Route>()
  for (;;) {
    const untried = tried.size === 0 ? candidates : candidates.filter((route) => !tried.has(route))
    const route = choose(untried.length > 0 ? untried : candidates, deps.random)
    if (runtime.settings.providerBudgets.length > 0) {
      const refused = await deps.admission.enter(call, runtime, route)
      if (refused !== null) {
        candidates = candidates.filter((candidate) => candidate !== route)
        if (candidates.length === 0) throw refused
        continue
      }
    }
    tried.add(route)
    if (!isLocal(call, route)) {
      const writing = writeIntent(deps, call, route)
      if (writing !== null) await writing
    }
    if (call.cancelled !== null) throw new GatewayError('cancelled')
    const result = await attemptOn(deps, call, runtime, route, reply)
    call.attempts.push(result.record)
    if (result.record.usage !== undefined) await priceAttempt(deps, call, route, result.record)
    deps.observe.attempt(call, result.record)
    if (result.kind !== 'failed' || result.committed || call.cancelled !== null) return { result, route }
    const decision = decideRetry(result.error, {
      attempts: call.attempts.length,
      retries,
      othersLeft: tried.size < candidates.length,
      timeLeft: call.incoming.deadline - (deps.clock.monotonic() - call.startedMonotonic),
      minimumDelay: runtime.settings.retryAfter,
      jitter: deps.random(),
    })
    if (decision.kind === 'give-up') return { result, route }
    if (decision.delay > 0) await pause(deps, call, decision.delay)
    if (call.cancelled !== null) return { result, route }
  }
}

/** A router that dies from here on leaves word of what it did to the next process with its spool. */
function writeIntent(deps: HandleDeps, call: Call, route: Route): Promise<void> | null {
  const open = openAttempt(route, call.attempts.length, deps.clock.now())
  let written = false
  let resume = (): void => {
    written = true
  }
  deps.spool.intend(intent(call, open, deps.routerId), () => resume())
  if (written) return null
  return new Promise((resolve) => {
    resume = resolve
  })
}

function attemptOn(deps: HandleDeps, call: Call, runtime: RouterRuntime, route: Route, reply: Reply): Promise<AttemptResult> {
  const output = {
    start: (record: AttemptResult['record'], headers: Readonly<Record<string, string>>) =>
      reply.start(
        {
          'content-type': call.dialect.streamType,
          'cache-control': 'no-cache',
          ...answerHeaders(call, route, headers, deps.clock.monotonic()),
        },
        booking(deps.codec, call, record, deps.routerId),
      ),
    write: (bytes: Uint8Array) => reply.write(bytes),
  }
  const timeouts = timeoutsOf(call, route, runtime)
  return isLocal(call, route) ? attemptLocal(deps, call, route, timeouts, output) : attempt(deps, call, route, timeouts, output)
}

function timeoutsOf(call: Call, route: Route, { settings }: RouterRuntime): AttemptTimeouts {
  const total = call.options.timeout ?? route.deployment.timeout ?? settings.timeout
  const first = call.stream
    ? (call.options.streamTimeout ?? route.deployment.streamTimeout ?? Math.min(total, settings.streamTimeout))
    : total
  return { total, firstByte: first, silence: settings.stallTimeout }
}

/** Reports first, then ends the answer: an event is on disk before the client knows that the call is over. */
function finish(deps: HandleDeps, call: Call, reply: Reply, result: AttemptResult | GatewayError, route: Route | null): void {
  const { outcome, status, error } = endOf(call, result)
  const { cost, tokens } = usedBy(call)
  const event = usageEvent(call, { outcome, status, error }, deps.routerId, deps.clock.now())
  // Before the event is on its way, so that the ledger never books a call that still holds more than it cost.
  deps.admission.settle(call, cost, tokens)
  deps.observe.call(call, event, cost)
  deps.spool.append(event, () => answer(deps, call, reply, result, route, error, cost))
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
    reply.fail(error, errorHeaders(answerHeaders(call, route, failed?.headers ?? null, now), error), failed?.event ?? '')
  } else if (!(result instanceof GatewayError)) {
    if (result.kind === 'answered') {
      const headers = answerHeaders(call, route, result.headers, now)
      costHeaders(headers, call, cost)
      headers['content-type'] = 'application/json'
      reply.whole(200, headers, result.body)
    } else if (result.kind === 'streamed') reply.end(result.last)
  }
}

function endOf(
  call: Call,
  result: AttemptResult | GatewayError,
): { outcome: Outcome; status: number; error: GatewayError | null } {
  if (call.cancelled !== null) {
    const error = new GatewayError(call.cancelled === 'deadline' ? 'deadline_exceeded' : 'cancelled')
    return { outcome: 'cancelled', status: error.status, error }
  }
  if (result instanceof GatewayError) return { outcome: 'failure', status: result.status, error: result }
  if (result.kind === 'failed')
    return { outcome: result.committed ? 'partial' : 'failure', status: result.error.status, error: result.error }
  return { outcome: 'success', status: 200, error: null }
}

/** Prices an attempt that used something, in nano-dollars. What nobody counted is counted first: off the path of answers that say. */
async function priceAttempt(deps: HandleDeps, call: Call, route: Route, record: Attempt): Promise<void> {
  const { usage } = record
  if (usage === undefined) return
  if (usage.estimated && usage.input === 0) usage.input = await deps.tokens.count(promptText(call.request))
  if (usage.serviceTier !== undefined) record.serviceTier = usage.serviceTier
  if (route.prices === null) return
  call.cost = costOf(usage, route.prices, { elapsed: record.endedAt - record.startedAt })
  record.cost = call.cost.total
  record.rateVersion = route.prices.rateVersion
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

function noDeployment(call: Call, resolution: Resolution): GatewayError {
  if (resolution.routes.some((route) => !route.deployment.blocked)) {
    return new GatewayError('unsupported_endpoint', `The model ${call.requestedModel} does not serve ${call.endpoint.path}.`, {
      param: 'model',
    })
  }
  return new GatewayError('provider_unavailable', `The model ${call.requestedModel} is blocked.`, { param: 'model' })
}

function pause(deps: HandleDeps, call: Call, delay: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = deps.clock.after(delay, done)
    call.stop = done
    function done(): void {
      timer.cancel()
      call.stop = null
      resolve()
    }
  })
}
