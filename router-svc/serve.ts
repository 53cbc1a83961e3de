import { GatewayError, toGatewayError } from '../shared/errors.ts'
import type { AttemptResult, FailedAttempt } from './attempt-result.ts'
import { answeringModel, type Call } from './call.ts'
import { brokenOff } from './failover/resume.ts'
import type { Reply } from './reply.ts'
import { decideRetry, retriesAllowed } from './retry.ts'
import { fallbacksFor, withHistory } from './routing/fallback.ts'
import type { Mirror } from './routing/mirror.ts'
import { mockedFailure } from './routing/request-routing.ts'
import { resolveTarget } from './routing/resolve.ts'
import { priorityOf, type WaitingRoom } from './routing/waiting.ts'
import type { Resolution, Route, RouterRuntime } from './runtime.ts'
import { prepare, type TryDeps, timeLeft, tryHedged, tryRoute } from './try-route.ts'

export interface ServeDeps extends TryDeps {
  waiting: WaitingRoom
  mirroring: Pick<Mirror, 'mirror'>
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
  let visited: Set<string> | null = null
  const waiting: Target[] = []
  const journey: Journey = { first: null, broken: null, failovers: 0, retries: 0 }
  let resolution = asked
  try {
    for (;;) {
      const mocked = journey.first === null ? mockedFailure(call) : null
      const served =
        mocked === null ? await serveGroup(deps, call, runtime, resolution, reply, journey) : { result: mocked, route: null }
      const error = errorOf(served)
      if (journey.first !== null && call.cancelled === null)
        deps.observe.fallback(call, resolution.group, errorOf(journey.first) as GatewayError, error === null)
      if (error === null || isFinal(call, served)) {
        if (journey.broken !== null && call.cancelled === null)
          deps.observe.failover(call, error === null ? 'complete' : 'broken')
        return served
      }
      journey.first ??= served
      const more = fallbacksFor(error, resolution.group, call.routing.fallbacks, call.requestFallbacks, answeringModel(call))
      waiting.unshift(...more.map(({ model, overrides }) => ({ model, overrides: overrides ?? null })))
      visited ??= new Set([nameOf(asked, call.requestedModel)])
      const next = await nextTarget(deps, call, runtime, waiting, visited)
      if (next === null) return failed(deps, call, journey, resolution === asked ? null : error, asked, visited)
      call.fallbacks += 1
      resolution = next
    }
  } catch (thrown) {
    // Whoever holds the beginning of a stream is told there.
    if (journey.broken === null) throw thrown
    return endBroken(deps, call, journey.broken, toGatewayError(thrown))
  }
}

/** What of a call outlives its attempts. */
interface Journey {
  /** How the first group failed. */
  first: Served | null
  /** The stream the client has the beginning of, and which nobody has ended yet. */
  broken: Broken | null
  failovers: number
  /** Allowed to the first group for what failed there; the most of several kinds of failure. */
  retries: number
}

interface Broken {
  result: FailedAttempt
  route: Route
}

const NO_POLICY = {}

interface Target {
  model: string
  overrides: Record<string, unknown> | null
}

/** What a group is told apart by: one of a pattern is as many groups as it has models. */
function nameOf({ group }: Resolution, model: string): string {
  return group.includes('*') ? model : group
}

/** The next fallback that exists, was not tried, and fits what the call's budgets have left; fields it replaces are replaced. */
async function nextTarget(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  waiting: Target[],
  visited: Set<string>,
): Promise<Resolution | null> {
  while (call.fallbacks < call.routing.maxFallbacks) {
    const target = waiting.shift()
    if (target === undefined) return null
    const found = resolveTarget(call, runtime, target.model)
    if (found === null || visited.has(nameOf(found, target.model))) continue
    visited.add(nameOf(found, target.model))
    const { request, inputTokens } = call
    if (target.overrides !== null) {
      // Before anything is held: what is asked of the fallback may be more than what was asked first.
      call.request = { ...request, ...target.overrides }
      call.inputTokens = null
    }
    if (
      call.ticket !== null &&
      !((await deps.admission.rehold(call, runtime, found)) && (await deps.admission.again(call, runtime, found.routes)))
    ) {
      call.request = request
      call.inputTokens = inputTokens
      continue
    }
    call.modelGroup = found.group
    return found
  }
  return null
}

/** The deployments of one group. Nearly always one tier, at once. */
function serveGroup(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  resolution: Resolution,
  reply: Reply,
  journey: Journey,
): Promise<Served> {
  let tiers: readonly (readonly Route[])[]
  try {
    tiers = deps.selector.candidates(call, resolution, runtime)
  } catch (thrown) {
    return candidatesLater(deps, call, runtime, resolution, toGatewayError(thrown)).then((later) =>
      later instanceof GatewayError ? { result: later, route: null } : serveTiers(deps, call, runtime, later, reply, journey),
    )
  }
  return tiers.length === 1
    ? serveTier(deps, call, runtime, tiers[0] as readonly Route[], reply, journey)
    : serveTiers(deps, call, runtime, tiers, reply, journey)
}

/** Tiers by order, each with its retries. */
async function serveTiers(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  tiers: readonly (readonly Route[])[],
  reply: Reply,
  journey: Journey,
): Promise<Served> {
  let served: Served | null = null
  for (const tier of tiers) {
    served = await serveTier(deps, call, runtime, tier, reply, journey)
    const error = errorOf(served)
    if (error === null || isFinal(call, served) || !escalates(error)) return served
  }
  return served ?? { result: new GatewayError('no_deployment'), route: null }
}

/** A call with a priority waits for a deployment where all are out of rotation; others are told at once. */
async function candidatesLater(
  deps: ServeDeps,
  call: Call,
  runtime: RouterRuntime,
  resolution: Resolution,
  error: GatewayError,
): Promise<readonly (readonly Route[])[] | GatewayError> {
  if (error.code !== 'no_deployment' || priorityOf(call) === Number.POSITIVE_INFINITY) return error
  while (await waits(deps, call, runtime)) {
    try {
      return deps.selector.candidates(call, resolution, runtime)
    } catch (thrown) {
      const still = toGatewayError(thrown)
      if (still.code !== 'no_deployment') return still
    }
  }
  return error
}

/** Waits until something of the group may be free; false = not within the time the call has. */
async function waits(deps: ServeDeps, call: Call, runtime: RouterRuntime): Promise<boolean> {
  const until = deps.clock.monotonic() + Math.min(timeLeft(deps, call), runtime.settings.timeout)
  const how = await deps.waiting.wait(call, call.modelGroup, until)
  if (how === 'cancelled') throw new GatewayError('cancelled')
  return how === 'go'
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
  journey: Journey,
): Promise<Served> {
  const { selector, clock } = deps
  const { routing } = call
  const retries = call.options.numRetries ?? tier[0]?.deployment.maxRetries ?? runtime.settings.numRetries
  // What the request itself says beats every policy (surface reference §5.4).
  const policy = call.options.numRetries === null ? (routing.groupRetryPolicy[call.modelGroup] ?? routing.retryPolicy) : NO_POLICY
  const before = call.attempts.length
  const tried = new Set<Route>()
  let candidates = tier
  let refusal: GatewayError | null = null
  // Where others of the group wait for a slot, a new call belongs behind them.
  let waited = deps.waiting.size > 0 && deps.waiting.queued(call.modelGroup) > 0
  if (waited && !(await waits(deps, call, runtime))) return { result: new GatewayError('deployment_busy'), route: null }
  for (;;) {
    const pool = poolOf(candidates, tried, clock.monotonic())
    if (pool.length === 0) {
      if (refusal?.code !== 'deployment_busy' || !(await waits(deps, call, runtime)))
        return { result: refusal ?? new GatewayError('no_deployment'), route: null }
      waited = true
      refusal = null
      candidates = tier
      continue
    }
    const route = pick(deps, call, pool)
    if (route instanceof GatewayError) return { result: route, route: null }
    const preparing = prepare(deps, call, runtime, route)
    const refused = preparing instanceof Promise ? await preparing : preparing
    if (call.cancelled !== null) throw new GatewayError('cancelled')
    if (refused !== null) {
      candidates = candidates.filter((candidate) => candidate !== route)
      // One that is only busy is worth waiting for, whatever the others lack.
      if (refusal?.code !== 'deployment_busy') refusal = refused
      continue
    }
    // Several slots may have become free at once: the next in the queue tries too.
    if (waited) deps.waiting.wake(call.modelGroup)
    waited = false
    if (route.deployment.mirror !== undefined) deps.mirroring.mirror(call, route)
    tried.add(route)
    const served =
      routing.hedgeAfter === null || call.resume !== null
        ? await tryRoute(deps, call, runtime, route, reply)
        : await tryHedged(deps, call, runtime, route, reply, routing.hedgeAfter, () => {
            const others = candidates.filter((other) => !tried.has(other) && inRotation(other, clock.monotonic()))
            if (others.length === 0) return null
            const other = selector.choose(others, call)
            tried.add(other)
            return other
          })
    const { result } = served
    if (result.kind !== 'failed') return served
    if (result.committed) breakOff(call, journey, result, route)
    if (isFinal(call, served)) return served
    if (journey.first === null) journey.retries = Math.max(journey.retries, retriesAllowed(result.error, retries, policy))
    const now = clock.monotonic()
    const decision = decideRetry(result.error, {
      attempts: call.attempts.length - before,
      retries,
      policy,
      othersLeft: candidates.some((other) => !tried.has(other) && inRotation(other, now)),
      backIn: backIn(candidates, now),
      fallbacksLeft: hasFallbacks(call, result.error),
      timeLeft: timeLeft(deps, call),
      minimumDelay: call.identity.routing?.retryAfter ?? runtime.settings.retryAfter,
      jitter: deps.random(),
    })
    if (decision.kind === 'give-up') return served
    call.retries += 1
    if (decision.delay > 0) await pause(deps, call, decision.delay)
    if (call.cancelled !== null) return served
    if (call.ticket !== null && !(await deps.admission.again(call, runtime, tier))) return served
  }
}

/** One of the pool, or why none of them will do: a strategy that keeps limits may find no room. */
function pick(deps: ServeDeps, call: Call, pool: readonly Route[]): Route | GatewayError {
  try {
    return deps.selector.choose(pool, call)
  } catch (thrown) {
    return toGatewayError(thrown)
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
  return fallbacksFor(error, call.modelGroup, call.routing.fallbacks, call.requestFallbacks, answeringModel(call)).length > 0
}

/** A stream died after part of it went out: from here on attempts continue it, or nothing does. */
function breakOff(call: Call, journey: Journey, result: FailedAttempt, route: Route): void {
  journey.broken = { result, route }
  call.resume = journey.failovers < call.routing.failover.max ? result.continuation : null
  if (call.resume !== null) journey.failovers += 1
}

/** Nothing more is tried: part of the answer is out and cannot be continued, or nobody waits for it. */
function isFinal(call: Call, { result }: Served): boolean {
  if (call.cancelled !== null) return true
  return !(result instanceof GatewayError) && result.kind === 'failed' && result.committed && call.resume === null
}

function errorOf({ result }: Served): GatewayError | null {
  if (result instanceof GatewayError) return result
  return result.kind === 'failed' ? result.error : null
}

function failed(
  deps: ServeDeps,
  call: Call,
  journey: Journey,
  last: GatewayError | null,
  asked: Resolution,
  visited: ReadonlySet<string>,
): Served {
  const served = journey.broken ?? (journey.first as Served)
  const { result } = served
  // Headers and ledger speak of the group whose error it is.
  if (journey.broken === null) call.modelGroup = asked.group
  const error = withHistory(errorOf(served) as GatewayError, {
    group: asked.group,
    fallbacks: [...visited].slice(1),
    retried: call.retries,
    maxRetries: journey.retries,
    last,
  })
  if (journey.broken !== null) return endBroken(deps, call, journey.broken, error)
  return { result: result instanceof GatewayError ? error : ({ ...result, error } as FailedAttempt), route: served.route }
}

/** The client holds the beginning of a stream that nobody could continue: it is told there why the rest does not come. */
function endBroken(deps: ServeDeps, call: Call, { result, route }: Broken, error: GatewayError): Served {
  deps.observe.failover(call, 'broken')
  const from = call.resume
  const tell = from === null ? result.tell : (told: GatewayError) => brokenOff(call, from, told)
  return { result: { ...result, error, tell }, route }
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
