import type { RoutingSettings } from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { Observer } from '../observe.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import type { Affinity } from './affinity.ts'
import { tellsOfDeployment } from './cooldown.ts'
import type { AttemptEnd } from './deployment-state.ts'
import { createFailures } from './failures.ts'
import { filters } from './filters/index.ts'
import { fitRoutes, makePool, type Pool, tiersOf } from './pool.ts'
import { createChoosePreferred } from './preferred.ts'
import type { States } from './states.ts'
import { createCustom } from './strategies/custom.ts'
import { createStrategies } from './strategies/index.ts'
import type { ChoiceContext } from './strategies/strategy.ts'

/** Which deployments a call may go to, which one it goes to, and what is learnt from how it went. */
export interface Selector {
  /**
   * The routes a call may take, in tiers by `order`: the first tier is tried until its retries are used up, then the next. Each tier
   * has at least one route. Throws GatewayError `no_deployment` (429, with the shortest cooldown as Retry-After) or what the filter that
   * left nothing says.
   */
  candidates(call: Call, resolution: Resolution, runtime: RouterRuntime): readonly (readonly Route[])[]
  /**
   * One of them, by the strategy that holds for the call. `tier` is never empty. Throws GatewayError `no_deployment` (429) when all have
   * been cooled down meanwhile, or none has room within its rpm and tpm and the strategy keeps to those.
   */
  choose(tier: readonly Route[], call: Call): Route
  /** An attempt begins, and ends: in-flight counts, latency, failures, cooldown, ejection. Each begin has one end. */
  begin(route: Route): void
  end(route: Route, call: Call, end: AttemptEnd): void
  /** Settings have come into force: a custom strategy is loaded. Never rejects. */
  use(settings: RoutingSettings): Promise<void>
}

export interface SelectorDeps {
  clock: Clock
  random(): number
  states: States
  affinity: Pick<Affinity, 'prefer'>
  observe: Pick<Observer, 'cooledDown' | 'deploymentState'>
  log: Log
}

/** What is kept of a resolution for calls of one mode. */
interface Kept {
  mode: string
  fit: readonly Route[]
  pool: Pool
}

export function createSelector({ clock, random, states, affinity, observe, log }: SelectorDeps): Selector {
  const custom = createCustom({ clock, log })
  const strategies = createStrategies(custom.strategy)
  const choosePreferred = createChoosePreferred()
  const failures = createFailures({ states, clock, log, observe })
  const pools = new WeakMap<Resolution, Kept[]>()

  const poolOf = (call: Call, resolution: Resolution, runtime: RouterRuntime, now: number): Kept => {
    const { mode } = call.endpoint
    let kept = pools.get(resolution)
    if (kept === undefined) {
      kept = []
      pools.set(resolution, kept)
    }
    let found = kept.find((one) => one.mode === mode)
    if (found !== undefined && found.pool.version === states.version && now < found.pool.until) return found
    const fit = found?.fit ?? fitRoutes(resolution.routes, mode)
    const pool = makePool(resolution.routes, fit, { now, version: states.version, healthRouting: byHealth(runtime) })
    if (found === undefined) {
      found = { mode, fit, pool }
      kept.push(found)
    } else found.pool = pool
    return found
  }

  return {
    candidates(call, resolution, runtime) {
      const now = clock.monotonic()
      const { fit, pool } = poolOf(call, resolution, runtime, now)
      if (pool.problem !== null) throw problemOf(pool.problem, call, fit, now)
      const left = filtered(pool.routes, call, resolution, runtime, now)
      if (left instanceof GatewayError) {
        // What the filters would have left, had nothing been cooled down: then that is why nothing is left, and it passes.
        const cooling = filtered(fit, call, resolution, runtime, now)
        if (pool.routes.length === fit.length || cooling instanceof GatewayError) throw left
        throw problemOf('cooling', call, cooling, now)
      }
      return left === pool.routes ? pool.tiers : tiersOf(left)
    },

    choose(tier, call) {
      const now = clock.monotonic()
      const context: ChoiceContext = {
        settings: call.routing,
        columns: states.columns,
        now,
        wallNow: clock.now(),
        random,
        stream: call.stream,
        inputTokens: call.inputTokens ?? 0,
      }
      const { preferences } = call
      // What belongs together beats the strategy, and what the request itself says beats both.
      const together = preferences === null ? affinity.prefer(call, tier, now) : null
      if (together !== null) return together
      const strategy = strategies[call.routing.strategy] ?? strategies['simple-shuffle']
      const pick = (routes: readonly Route[]): Route | null =>
        preferences === null ? strategy.choose(routes, context) : choosePreferred(routes, preferences, context, strategy)
      const accepts = (route: Route): boolean => {
        const share = route.state.share(now)
        return share >= 1 || (share > 0 && random() < share)
      }
      const picked = pick(tier)
      if (picked === null) throw noRoom(call, context.wallNow)
      if (accepts(picked)) return picked
      // It takes part of its traffic only: this call goes to another one that takes it, unless there is none.
      const others = tier.filter((route) => route !== picked && accepts(route))
      const other = others.length === 0 ? null : pick(others)
      if (other !== null) return other
      if (picked.state.cooldownUntil <= now) return picked
      const warm = tier.filter(({ state }) => state.cooldownUntil <= now)
      if (warm.length === 0) throw problemOf('cooling', call, tier, now)
      const last = pick(warm)
      if (last === null) throw noRoom(call, context.wallNow)
      return last
    },

    begin: (route) => states.begin(route.state),

    end(route, call, end) {
      const failed = end.error !== null && end.error !== 'cancelled' && tellsOfDeployment(end.error)
      states.end(route.state, end, failed, call.stream)
      if (end.error === null) failures.succeeded(route)
      else if (failed && end.error !== 'cancelled') failures.failed(route, end.error, end.retryAfter, call.routing)
    },

    use: ({ strategyModule }) => custom.use(strategyModule),
  }
}

/** Whether unhealthy deployments are left out. With a policy of allowed failures they count as failures instead (§5.8). */
function byHealth({ settings: { routing } }: RouterRuntime): boolean {
  return routing.health.routing && Object.keys(routing.allowedFailsPolicy).length === 0
}

/** What the filters that apply leave, or why they leave nothing. */
function filtered(
  routes: readonly Route[],
  call: Call,
  resolution: Resolution,
  runtime: RouterRuntime,
  now: number,
): readonly Route[] | GatewayError {
  let left = routes
  for (const filter of filters) {
    if (!filter.applies(call, resolution, runtime)) continue
    left = filter.keep(left, call, runtime, now)
    if (left.length === 0) return filter.refusal?.(call, resolution) ?? noDeployment(call, 0, [])
  }
  return left
}

function problemOf(problem: NonNullable<Pool['problem']>, call: Call, routes: readonly Route[], now: number): GatewayError {
  if (problem === 'unfit') {
    return new GatewayError('unsupported_endpoint', `The model ${call.requestedModel} does not serve ${call.endpoint.path}.`, {
      param: 'model',
    })
  }
  if (problem === 'blocked')
    return new GatewayError('provider_unavailable', `The model ${call.requestedModel} is blocked.`, { param: 'model' })
  const cooling = routes.filter(({ state }) => state.cooldownUntil > now)
  const soonest = cooling.reduce((least, { state }) => Math.min(least, state.cooldownUntil - now), Number.POSITIVE_INFINITY)
  return noDeployment(
    call,
    soonest === Number.POSITIVE_INFINITY ? 0 : soonest,
    cooling.map(({ deployment }) => deployment.id),
  )
}

/** Ids named in an error; a group may have thousands. */
const NAMED_MAX = 20

/** LiteLLM's words, which clients look for. `retryAfter` in milliseconds. */
function noDeployment(call: Call, retryAfter: number, cooling: readonly string[]): GatewayError {
  const ids = cooling.slice(0, NAMED_MAX).map((id) => `'${id}'`)
  if (cooling.length > NAMED_MAX) ids.push(`… ${cooling.length - NAMED_MAX} more`)
  return new GatewayError(
    'no_deployment',
    `No deployments available for selected model, Try again in ${Math.ceil(retryAfter / 1_000)} seconds. Passed model=${call.requestedModel}. pre-call-checks=${call.routing.preCallChecks ? 'True' : 'False'}, cooldown_list=[${ids.join(', ')}]`,
    { param: 'model', ...(retryAfter > 0 ? { retryAfter: Math.ceil(retryAfter) } : {}) },
  )
}

/** Every candidate is at its requests or tokens per minute, which begin anew with the next one. */
function noRoom(call: Call, wallNow: number): GatewayError {
  return noDeployment(call, 60_000 - (wallNow % 60_000), [])
}
