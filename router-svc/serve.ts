import type { UsageEvent } from '../proto/usage.ts'
import type { Codec } from '../shared/bus/codec.ts'
import { costOf } from '../shared/cost.ts'
import { GatewayError, toGatewayError } from '../shared/errors.ts'
import { type Admission, mustEnter } from './admission/admission.ts'
import { answerHeaders } from './answer-headers.ts'
import { type AttemptDeps, type AttemptResult, type AttemptTimeouts, attempt, openAttempt, type StreamOutput } from './attempt.ts'
import { attemptLocal, isLocal } from './attempt-local.ts'
import type { Call } from './call.ts'
import { promptText, type TokenCounter } from './count-tokens.ts'
import { hedged } from './hedge.ts'
import type { Observer } from './observe.ts'
import type { Reply } from './reply.ts'
import { booking, intent, unsettled } from './report.ts'
import { decideRetry } from './retry.ts'
import { fallbacksFor, withHistory } from './routing/fallback.ts'
import type { Selector } from './routing/select.ts'
import type { Resolution, Route, RouterRuntime } from './runtime.ts'
import type { Spool } from './spool.ts'

export interface ServeDeps extends AttemptDeps {
  routerId: string
  codec: Codec
  spool: Pick<Spool<UsageEvent>, 'intend'>
  tokens: TokenCounter
  admission: Pick<Admission, 'enter'>
  selector: Selector
  observe: Observer
  random(): number
}

/** How a call ended, and the route of its last attempt; null = none was tried. */
export interface Served {
  result: AttemptResult | GatewayError
  route: Route | null
}

/**
 * Groups in turn: the one asked for, then its fallbacks, each with its own (depth first), none twice, `maxFallbacks` at most. The error is the
 * first group's, with what happened after it in its text.
 */
export async function serve(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  asked: Resolution,
  reply: Reply,
): Promise<Served> {
  const visited = new Set([asked.group])
  const waiting: Target[] = []
  let resolution = asked
  let first: Served | null = null
  for (;;) {
    const served = await serveGroup(deps, call, runtime, resolution, reply)
    const error = errorOf(served)
    if (error === null || isFinal(call, served)) return served
    first ??= served
    const more = fallbacksFor(error, resolution.group, call.routing.fallbacks, call.requestFallbacks)
    waiting.unshift(...more.map(({ model, overrides }) => ({ model, overrides: overrides ?? null })))
    const next = nextTarget(call, runtime, waiting, visited)
    if (next === null) return failed(call, first, resolution === asked ? null : error, asked, visited)
    call.fallbacks += 1
    resolution = next
  }
}

interface Target {
  model: string
  overrides: Record<string, unknown> | null
}

/** The next fallback that exists, was not tried, and serves; fields it replaces are replaced. */
function nextTarget(call: Call, runtime: RouterRuntime, waiting: Target[], visited: Set<string>): Resolution | null {
  while (call.fallbacks < call.routing.maxFallbacks) {
    const target = waiting.shift()
    if (target === undefined) return null
    const found = runtime.resolve(target.model)
    if (found === null || visited.has(found.group)) continue
    visited.add(found.group)
    call.modelGroup = found.group
    if (target.overrides !== null) call.request = { ...call.request, ...target.overrides }
    return found
  }
  return null
}

/** The deployments of one group: tiers by order, each with its retries. */
async function serveGroup(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  resolution: Resolution,
  reply: Reply,
): Promise<Served> {
  let tiers: readonly (readonly Route[])[]
  try {
    tiers = deps.selector.candidates(call, resolution, runtime)
  } catch (thrown) {
    return { result: toGatewayError(thrown), route: null }
  }
  let served: Served = { result: new GatewayError('no_deployment'), route: null }
  for (const tier of tiers) {
    served = await serveTier(deps, call, runtime, tier, reply)
    const error = errorOf(served)
    if (error === null || isFinal(call, served) || !escalates(error)) return served
  }
  return served
}

/** Whether deployments of a higher order may do better: what the request itself gets wrong is wrong there too. */
function escalates(error: GatewayError): boolean {
  return error.retryable || error.status === 401 || error.status === 403 || error.status === 404 || error.status === 429
}

/** Choose, attempt, retry. */
async function serveTier(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  tier: readonly Route[],
  reply: Reply,
): Promise<Served> {
  const { selector, clock } = deps
  const { routing } = call
  const retries = call.options.numRetries ?? tier[0]?.deployment.maxRetries ?? runtime.settings.numRetries
  const policy = routing.groupRetryPolicy[call.modelGroup] ?? routing.retryPolicy
  const before = call.attempts.length
  const tried = new Set<Route>()
  let candidates = tier
  let entered: GatewayError | null = null
  for (;;) {
    const pool = poolOf(candidates, tried, clock.monotonic())
    if (pool.length === 0) return { result: entered ?? new GatewayError('no_deployment'), route: null }
    const route = selector.choose(pool, call, runtime)
    const preparing = prepare(deps, call, runtime, route)
    const refused = preparing instanceof Promise ? await preparing : preparing
    if (call.cancelled !== null) throw new GatewayError('cancelled')
    if (refused !== null) {
      candidates = candidates.filter((candidate) => candidate !== route)
      entered = refused
      continue
    }
    tried.add(route)
    const served =
      routing.hedgeAfter === null
        ? await attemptOn(deps, call, runtime, route, outputOf(deps, call, route, reply))
        : await attemptHedged(deps, call, runtime, route, reply, routing.hedgeAfter, candidates, tried)
    const { result } = served
    if (result.kind !== 'failed' || isFinal(call, served)) return served
    const now = clock.monotonic()
    const decision = decideRetry(result.error, {
      attempts: call.attempts.length - before,
      retries,
      policy,
      othersLeft: candidates.some((other) => !tried.has(other) && inRotation(other, now)),
      backIn: backIn(candidates, now),
      fallbacksLeft: hasFallbacks(call, result.error),
      timeLeft: timeLeft(deps, call),
      minimumDelay: runtime.settings.retryAfter,
      jitter: deps.random(),
    })
    if (decision.kind === 'give-up') return served
    if (decision.delay > 0) await pause(deps, call, decision.delay)
    if (call.cancelled !== null) return served
  }
}

/** What may be chosen now: the untried ones in rotation, else all in rotation. The first time the tier itself, for strategies know it. */
function poolOf(candidates: readonly Route[], tried: ReadonlySet<Route>, now: number): readonly Route[] {
  if (tried.size === 0) return candidates
  const back = candidates.filter((route) => inRotation(route, now))
  const untried = back.filter((route) => !tried.has(route))
  return untried.length > 0 ? untried : back
}

function inRotation(route: Route, now: number): boolean {
  return route.state.cooldownUntil <= now
}

function backIn(candidates: readonly Route[], now: number): number {
  let soonest = Number.POSITIVE_INFINITY
  for (const { state } of candidates) soonest = Math.min(soonest, Math.max(0, state.cooldownUntil - now))
  return soonest === Number.POSITIVE_INFINITY ? 0 : soonest
}

function hasFallbacks(call: Call, error: GatewayError): boolean {
  if (call.fallbacks >= call.routing.maxFallbacks) return false
  return fallbacksFor(error, call.modelGroup, call.routing.fallbacks, call.requestFallbacks).length > 0
}

/** Milliseconds the call still has: the bus's deadline, and the request's own limit. */
function timeLeft(deps: ServeDeps, call: Call): number {
  const limit = Math.min(call.incoming.deadline, call.options.timeout ?? Number.POSITIVE_INFINITY)
  return limit - (deps.clock.monotonic() - call.startedMonotonic)
}

/** Nothing more is tried: part of the answer is out, or nobody waits for it. */
function isFinal(call: Call, { result }: Served): boolean {
  return call.cancelled !== null || (!(result instanceof GatewayError) && result.kind === 'failed' && result.committed)
}

function errorOf({ result }: Served): GatewayError | null {
  if (result instanceof GatewayError) return result
  return result.kind === 'failed' ? result.error : null
}

function failed(call: Call, first: Served, last: GatewayError | null, asked: Resolution, visited: ReadonlySet<string>): Served {
  const error = errorOf(first) as GatewayError
  const told = withHistory(error, {
    group: asked.group,
    fallbacks: [...visited].slice(1),
    retried: Math.max(0, call.attempts.length - 1 - call.fallbacks),
    maxRetries: call.options.numRetries ?? 0,
    last,
  })
  return first.result instanceof GatewayError
    ? { result: told, route: first.route }
    : { result: { ...first.result, error: told } as AttemptResult, route: first.route }
}

/** Admits the call to what the route limits, and notes that it will be called. The refusal is returned: another route may do. */
function prepare(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  route: Route,
): GatewayError | null | Promise<GatewayError | null> {
  if (mustEnter(call, route)) {
    return deps.admission.enter(call, runtime, route).then((refused) => (refused === null ? note(deps, call, route) : refused))
  }
  return note(deps, call, route)
}

/** A router that dies from here on leaves word of what it did to the next process with its spool. */
function note(deps: ServeDeps, call: Call, route: Route): null | Promise<null> {
  if (isLocal(call, route)) return null
  const open = openAttempt(route, call.attempts.length, deps.clock.now())
  let written = false
  let resume = (): void => {
    written = true
  }
  deps.spool.intend(intent(call, open, deps.routerId), () => resume())
  if (written) return null
  return new Promise((resolve) => {
    resume = () => resolve(null)
  })
}

function outputOf(deps: ServeDeps, call: Call, route: Route, reply: Reply): StreamOutput {
  return {
    start: (record, headers) =>
      reply.start(
        {
          'content-type': call.dialect.streamType,
          'cache-control': 'no-cache',
          ...answerHeaders(call, route, headers, deps.clock.monotonic()),
        },
        booking(deps.codec, call, record, deps.routerId),
      ),
    write: (bytes) => reply.write(bytes),
  }
}

/** One attempt, counted and priced. */
async function attemptOn(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  route: Route,
  output: StreamOutput,
): Promise<{ result: AttemptResult; route: Route }> {
  const result = await run(deps, call, runtime, route, output)
  await settleAttempt(deps, call, route, result)
  return { result, route }
}

/** An attempt, and a second one elsewhere when it does not begin to answer. Both count, in the order they began. */
async function attemptHedged(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  first: Route,
  reply: Reply,
  after: number,
  candidates: readonly Route[],
  tried: Set<Route>,
): Promise<{ result: AttemptResult; route: Route }> {
  const outcome = await hedged(
    {
      clock: deps.clock,
      after,
      async second() {
        const now = deps.clock.monotonic()
        const others = candidates.filter((route) => !tried.has(route) && inRotation(route, now))
        if (others.length === 0) return null
        const route = deps.selector.choose(others, call, runtime)
        tried.add(route)
        if (mustEnter(call, route) && (await deps.admission.enter(call, runtime, route)) !== null) return null
        const running = unsettled(call, openAttempt(first, call.attempts.length, deps.clock.now()))
        await note(deps, { ...call, attempts: [...call.attempts, running] }, route)
        return route
      },
      run: (branch) => run(deps, branch.call, runtime, branch.route, branch.output),
    },
    call,
    first,
    (branch) => outputOf(deps, branch.call, branch.route, reply),
  )
  for (const { result, route } of outcome.began) await settleAttempt(deps, call, route, result)
  return outcome
}

async function settleAttempt(deps: ServeDeps, call: Call, route: Route, { record }: AttemptResult): Promise<void> {
  call.attempts.push(record)
  if (record.usage !== undefined) await priceAttempt(deps, call, route, record)
  deps.observe.attempt(call, record)
}

async function run(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  route: Route,
  output: StreamOutput,
): Promise<AttemptResult> {
  const timeouts = timeoutsOf(deps, call, route, runtime)
  const begun = deps.clock.monotonic()
  deps.selector.begin(route, call)
  const result = await (isLocal(call, route)
    ? attemptLocal(deps, call, route, timeouts, output)
    : attempt(deps, call, route, timeouts, output))
  const { record } = result
  const error = result.kind === 'failed' ? result.error : null
  deps.selector.end(
    route,
    call,
    {
      error: result.kind === 'cancelled' ? 'cancelled' : (error?.code ?? null),
      ...(error?.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
      elapsed: deps.clock.monotonic() - begun,
      firstToken: record.firstTokenAt === null ? null : record.firstTokenAt - record.startedAt,
      inputTokens: record.usage?.input ?? 0,
      outputTokens: record.usage?.output ?? 0,
    },
    runtime,
  )
  return result
}

/** The request's own limit is for the whole call; those of the deployment and the settings are for each attempt. */
function timeoutsOf(deps: ServeDeps, call: Call, route: Route, { settings }: RouterRuntime): AttemptTimeouts {
  const own = route.deployment.timeout ?? settings.timeout
  const total = call.options.timeout === null ? own : Math.max(1, timeLeft(deps, call))
  const first = call.stream
    ? (call.options.streamTimeout ?? route.deployment.streamTimeout ?? Math.min(total, settings.streamTimeout))
    : total
  return { total, firstByte: first, silence: settings.stallTimeout }
}

/** Prices an attempt that used something, in nano-dollars. What nobody counted is counted first: off the path of answers that say. */
async function priceAttempt(deps: ServeDeps, call: Call, route: Route, record: AttemptResult['record']): Promise<void> {
  const { usage } = record
  if (usage === undefined) return
  if (usage.estimated && usage.input === 0) usage.input = await deps.tokens.count(promptText(call.request))
  if (usage.serviceTier !== undefined) record.serviceTier = usage.serviceTier
  if (route.prices === null) return
  call.cost = costOf(usage, route.prices, { elapsed: record.endedAt - record.startedAt })
  record.cost = call.cost.total
  record.rateVersion = route.prices.rateVersion
}

function pause(deps: ServeDeps, call: Call, delay: number): Promise<void> {
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
