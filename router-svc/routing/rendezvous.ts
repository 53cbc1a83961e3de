import type { Route } from '../runtime.ts'
import { type Hash, hashOf, mixed } from './hash.ts'

/**
 * Picks for every hash the same route of a list, whoever asks and in whatever order the list is: each route draws a number from the hash and
 * its own id, the highest wins. When a route goes, only what it had moves. Shares are by weight.
 */
export interface Rendezvous {
  /** `taken` routes are passed over. Null when none is left. */
  pick(routes: readonly Route[], hash: Hash, taken?: (route: Route) => boolean): Route | null
}

interface Known {
  ids: Uint32Array
  /** Null = all weigh the same. */
  weights: Float64Array | null
}

export function createRendezvous(): Rendezvous {
  /** The same list comes again and again. */
  const known = new WeakMap<readonly Route[], Known>()
  return {
    pick(routes, hash, taken) {
      let lists = known.get(routes)
      if (lists === undefined) {
        lists = knownOf(routes)
        known.set(routes, lists)
      }
      const { ids, weights } = lists
      const seed = mixed(hash.high, hash.low)
      let best = -1
      let most = Number.NEGATIVE_INFINITY
      for (let index = 0; index < ids.length; index += 1) {
        const drawn = mixed(seed, ids[index] as number)
        // In (0, 1); with weights the logarithm makes shares proportional to them.
        const score = weights === null ? drawn : Math.log((drawn + 0.5) / 2 ** 32) / (weights[index] as number)
        if (score <= most || taken?.(routes[index] as Route) === true) continue
        best = index
        most = score
      }
      return best < 0 ? null : (routes[best] as Route)
    },
  }
}

function knownOf(routes: readonly Route[]): Known {
  const ids = Uint32Array.from(routes, ({ deployment }) => hashOf(deployment.id).high)
  const own = routes.map(({ deployment }) => deployment.weight)
  const even = own.every((weight) => weight === own[0]) || own.every((weight) => !(weight > 0))
  return { ids, weights: even ? null : Float64Array.from(own, (weight) => Math.max(weight, 0)) }
}
