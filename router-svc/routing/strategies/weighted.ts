import type { Route } from '../../runtime.ts'
import type { Strategy } from './strategy.ts'

/**
 * LiteLLM's `simple-shuffle`: by `weight` when any candidate has one above 1 or differing, else by rpm, else by tpm, else evenly. A candidate
 * of weight 0 is only taken when nothing else is there.
 */
export const weighted: Strategy = {
  choose(candidates, { random }) {
    if (candidates.length === 1) return candidates[0] as Route
    const weights = weightsOf(candidates)
    let total = 0
    for (const weight of weights) total += weight
    if (total <= 0) return candidates[Math.floor(random() * candidates.length)] as Route
    let point = random() * total
    for (let index = 0; index < weights.length; index += 1) {
      point -= weights[index] as number
      if (point < 0) return candidates[index] as Route
    }
    return candidates[candidates.length - 1] as Route
  },
}

function weightsOf(candidates: readonly Route[]): number[] {
  const first = candidates[0] as Route
  if (candidates.some((route) => route.deployment.weight !== first.deployment.weight))
    return candidates.map((route) => route.deployment.weight)
  if (candidates.some((route) => route.deployment.rpm !== null)) return candidates.map((route) => route.deployment.rpm ?? 0)
  if (candidates.some((route) => route.deployment.tpm !== null)) return candidates.map((route) => route.deployment.tpm ?? 0)
  return candidates.map(() => 1)
}
