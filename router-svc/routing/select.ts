import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import { type Resolution, type Route, type RouterRuntime, serves } from '../runtime.ts'
import type { AttemptEnd } from './deployment-state.ts'
import { strategies } from './strategies/index.ts'
import type { Strategy } from './strategies/strategy.ts'

/** Which deployments a call may go to, which one it goes to, and what is learnt from how it went. */
export interface Selector {
  /**
   * The routes a call may take, in tiers by `order`: the first tier is tried until its retries are used up, then the next. Each tier
   * has at least one route. Throws GatewayError `no_deployment` (429, with the shortest cooldown as Retry-After) or what the filter that
   * left nothing says.
   */
  candidates(call: Call, resolution: Resolution, runtime: RouterRuntime): readonly (readonly Route[])[]
  /** One of them, by the strategy that holds for the call. `tier` is never empty. */
  choose(tier: readonly Route[], call: Call, runtime: RouterRuntime): Route
  /** An attempt begins, and ends: in-flight counts, latency, failures, cooldown, ejection. Each begin has one end. */
  begin(route: Route, call: Call): void
  end(route: Route, call: Call, end: AttemptEnd, runtime: RouterRuntime): void
  stop(): Promise<void>
}

export interface SelectorDeps {
  clock: Clock
  random(): number
}

export function createSelector({ clock, random }: SelectorDeps): Selector {
  return {
    candidates(call, resolution) {
      const routes = resolution.routes.filter((route) => !route.deployment.blocked && serves(route, call.endpoint.mode))
      if (routes.length === 0) throw noDeployment(call, resolution)
      return [routes]
    },
    choose(tier, call) {
      const strategy = (strategies[call.routing.strategy] ?? strategies['simple-shuffle']) as Strategy
      return strategy.choose(tier, {
        settings: call.routing,
        now: clock.monotonic(),
        wallNow: clock.now(),
        random,
        stream: call.stream,
        inputTokens: call.inputTokens ?? 0,
      })
    },
    begin() {},
    end() {},
    async stop() {},
  }
}

function noDeployment(call: Call, resolution: Resolution): GatewayError {
  if (resolution.routes.some((route) => !route.deployment.blocked)) {
    return new GatewayError('unsupported_endpoint', `The model ${call.requestedModel} does not serve ${call.endpoint.path}.`, {
      param: 'model',
    })
  }
  return new GatewayError('provider_unavailable', `The model ${call.requestedModel} is blocked.`, { param: 'model' })
}
