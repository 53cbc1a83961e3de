import type { Mode } from '../../proto/endpoints.ts'
import { type Route, serves } from '../runtime.ts'

/** The routes of a group that calls of one mode may take now. Kept until `until`, and as long as no deployment leaves or comes back. */
export interface Pool {
  /** In rotation; empty = `problem` says why. */
  readonly routes: readonly Route[]
  /** The same by `order`, lowest first. */
  readonly tiers: readonly (readonly Route[])[]
  readonly problem: 'blocked' | 'unfit' | 'cooling' | null
  /** The version of the states it was made from. */
  readonly version: number
  /** Monotonic milliseconds. */
  readonly until: number
}

/** A background check that is too old to count changes nothing of the rotation by itself, so it is looked at again after this long. */
const HEALTH_RECHECK = 1_000

/** Routes that may serve calls of `mode` at all: neither blocked nor of a provider without it. */
export function fitRoutes(routes: readonly Route[], mode: Mode): readonly Route[] {
  return routes.filter((route) => !route.deployment.blocked && serves(route, mode))
}

/**
 * Which of `fit` calls may take at `now`. Pure. Out are those a background check found unhealthy, unless that is all of them; those cooled
 * down, even all; and those ejected, unless that is all.
 */
export function makePool(
  all: readonly Route[],
  fit: readonly Route[],
  { now, version, healthRouting }: { now: number; version: number; healthRouting: boolean },
): Pool {
  if (fit.length === 0) {
    const problem = all.some((route) => !route.deployment.blocked) ? 'unfit' : 'blocked'
    return { routes: fit, tiers: [], problem, version, until: Number.POSITIVE_INFINITY }
  }
  let until = Number.POSITIVE_INFINITY
  let healthy = fit
  if (healthRouting) {
    const well = fit.filter(({ state }) => !state.unhealthy(now))
    if (well.length < fit.length) until = now + HEALTH_RECHECK
    if (well.length > 0) healthy = well
  }
  const warm = healthy.filter(({ state }) => state.cooldownUntil <= now)
  const staying = warm.filter(({ state }) => state.ejectedUntil <= now)
  for (const { state } of healthy) {
    if (state.cooldownUntil > now) until = Math.min(until, state.cooldownUntil)
    if (state.ejectedUntil > now) until = Math.min(until, state.ejectedUntil)
  }
  const routes = staying.length > 0 ? staying : warm
  return { routes, tiers: tiersOf(routes), problem: routes.length === 0 ? 'cooling' : null, version, until }
}

/** By `order`, lowest first. Those without one come after all that have one: who numbers some means those to be tried first. */
export function tiersOf(routes: readonly Route[]): readonly (readonly Route[])[] {
  if (routes.length === 0) return []
  const first = orderOf(routes[0] as Route)
  if (routes.every((route) => orderOf(route) === first)) return [routes]
  const tiers = new Map<number, Route[]>()
  for (const route of routes) {
    const tier = tiers.get(orderOf(route))
    if (tier === undefined) tiers.set(orderOf(route), [route])
    else tier.push(route)
  }
  return [...tiers].sort(([a], [b]) => (a === b ? 0 : a < b ? -1 : 1)).map(([, tier]) => tier)
}

function orderOf({ deployment }: Route): number {
  return deployment.order ?? Number.POSITIVE_INFINITY
}
