import type { ErrorCode } from '../../proto/errors.ts'
import type { RoutingSettings } from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Log } from '../../shared/log.ts'
import type { Observer } from '../observe.ts'
import type { Route } from '../runtime.ts'
import { decideCooldown, isEligible } from './cooldown.ts'
import { decideEjection } from './ejection.ts'
import type { State } from './state.ts'
import type { States } from './states.ts'

export interface FailuresDeps {
  states: Pick<States, 'coolDown' | 'eject'>
  clock: Clock
  log: Log
  observe: Pick<Observer, 'cooledDown' | 'deploymentState'>
}

/** What follows from how an attempt ended, once its state has counted it. */
export interface Failures {
  succeeded(route: Route): void
  /** Of a deployment's failures only (`tellsOfDeployment`). `retryAfter` in milliseconds. */
  failed(route: Route, error: ErrorCode, retryAfter: number | undefined, settings: RoutingSettings): void
}

export function createFailures({ states, clock, log, observe }: FailuresDeps): Failures {
  /** 0 healthy, 1 failing in part, 2 out. Told when it changes, not with every call. */
  const tell = (route: Route, level: 0 | 1 | 2): void => {
    const state = route.state as State
    if (state.level === level) return
    state.level = level
    observe.deploymentState(route, level)
  }

  return {
    succeeded: (route) => tell(route, 0),
    failed(route, error, retryAfter, settings) {
      const { deployment } = route
      const state = route.state as State
      const now = clock.monotonic()
      const duration = decideCooldown({
        error,
        retryAfter,
        settings,
        deployment,
        groupSize: state.group.length,
        successes: state.successesThisMinute,
        failures: state.failuresThisMinute,
        fails: isEligible(error) ? state.countFail(now, deployment.cooldownTime ?? settings.cooldownTime) : 0,
        probing: state.probing(now),
      })
      if (duration !== null) {
        states.coolDown(state, duration)
        observe.cooledDown(route, error)
        log.warn({ deployment: deployment.id, modelGroup: deployment.modelGroup, error, duration }, 'a deployment is cooled down')
      }
      tell(route, duration !== null || state.cooldownUntil > now ? 2 : 1)

      const counts = settings.ejection.enabled && !state.ejected(now) ? state.windowCounts(now) : null
      if (counts === null) return
      let groupEjected = 0
      for (const other of state.group) if (other !== state && other.ejected(now)) groupEjected += 1
      const before = state.ejections(now)
      const out = decideEjection({ counts, before, groupSize: state.group.length, groupEjected }, settings.ejection)
      if (out === null || !states.eject(state, out)) return
      log.warn({ deployment: deployment.id, modelGroup: deployment.modelGroup, counts, duration: out }, 'a deployment is ejected')
    },
  }
}
