import type { Route } from '../../runtime.ts'
import { remember } from './lists.ts'
import type { Strategy } from './strategy.ts'

/**
 * LiteLLM's `simple-shuffle`: by `weight` when they differ, else by rpm, else by tpm, else evenly. A candidate of weight 0 is only taken
 * when nothing else is there. The sums of weights are kept per list, so a choice among 1,000 is ten comparisons.
 */
export function createWeighted(): Strategy {
  const sumsOf = remember(makeSums)
  return {
    choose(candidates, { random }) {
      if (candidates.length === 1) return candidates[0] as Route
      const sums = sumsOf(candidates)
      if (sums === null) return candidates[Math.floor(random() * candidates.length)] as Route
      return candidates[firstAbove(sums, random() * (sums[sums.length - 1] as number))] as Route
    },
  }
}

/** Running sums of the weights; null = all alike. */
function makeSums(candidates: readonly Route[]): Float64Array | null {
  const weights = weightsOf(candidates)
  if (weights === null) return null
  const sums = new Float64Array(weights.length)
  let sum = 0
  for (const [index, weight] of weights.entries()) {
    sum += weight
    sums[index] = sum
  }
  return sum > 0 ? sums : null
}

function weightsOf(candidates: readonly Route[]): number[] | null {
  const first = candidates[0] as Route
  if (candidates.some(({ deployment }) => deployment.weight !== first.deployment.weight))
    return candidates.map(({ deployment }) => deployment.weight)
  if (candidates.some(({ deployment }) => deployment.rpm !== null)) return candidates.map(({ deployment }) => deployment.rpm ?? 0)
  if (candidates.some(({ deployment }) => deployment.tpm !== null)) return candidates.map(({ deployment }) => deployment.tpm ?? 0)
  return null
}

/** Index of the first sum above `point`: one of weight 0 has the sum of the one before it, and is never that. */
function firstAbove(sums: Float64Array, point: number): number {
  let low = 0
  let high = sums.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sums[middle] as number) > point) high = middle
    else low = middle + 1
  }
  return low
}
