import type { Prices } from '../../proto/deployment.ts'
import type { TokenUsage } from '../../proto/usage.ts'
import { divideHalfEven } from '../../shared/money.ts'

/** What keeping conversations where their cache is warm has brought. */
export interface Savings {
  /** Calls with a prompt long enough to be cached, and those that went where their beginning had been before. */
  calls: number
  hits: number
  /** Of those hits: input tokens, how many of them were read from a cache, and what these would have cost more. */
  inputTokens: number
  cachedTokens: number
  nanoDollars: number
}

/**
 * Which deployments have a cache worth sticking to, by what they bill. States of a deployment: measuring → trusted (it reads enough from its
 * cache) or resting (it does not: calls go by the strategy for a while, then it is measured anew).
 */
export interface PromptCache {
  worthIt(deploymentId: string, now: number): boolean
  considered(): void
  /** A call came back to where its beginning had been served, and was billed so. */
  learn(deploymentId: string, usage: TokenUsage, prices: Prices | null, now: number): void
  savings(): Savings
}

interface Measured {
  samples: number
  /** Share of input tokens read from the cache, smoothed. */
  ratio: number
  restingUntil: number
}

/** Returns to measure before judging: the first ones of a conversation may find the cache not yet written. */
const SAMPLES_MIN = 10
const RATIO_MIN = 0.01
const SMOOTHING = 0.1
const REST = 600_000

export function createPromptCache(): PromptCache {
  const measured = new Map<string, Measured>()
  const savings: Savings = { calls: 0, hits: 0, inputTokens: 0, cachedTokens: 0, nanoDollars: 0 }
  return {
    worthIt: (deploymentId, now) => (measured.get(deploymentId)?.restingUntil ?? 0) <= now,
    considered() {
      savings.calls += 1
    },
    learn(deploymentId, usage, prices, now) {
      savings.hits += 1
      // An estimate knows nothing of caches.
      if (usage.estimated || usage.input <= 0) return
      savings.inputTokens += usage.input
      savings.cachedTokens += usage.cacheRead
      savings.nanoDollars += savedBy(usage.cacheRead, prices)
      let found = measured.get(deploymentId)
      if (found === undefined) {
        found = { samples: 0, ratio: 0, restingUntil: 0 }
        measured.set(deploymentId, found)
      }
      const sample = Math.min(1, usage.cacheRead / usage.input)
      found.ratio = found.samples === 0 ? sample : found.ratio + SMOOTHING * (sample - found.ratio)
      found.samples += 1
      if (found.samples < SAMPLES_MIN || found.ratio >= RATIO_MIN) return
      found.restingUntil = now + REST
      found.samples = 0
    },
    savings: () => ({ ...savings }),
  }
}

/** Nano-dollars that tokens read from a cache cost less than fresh ones. */
function savedBy(cachedTokens: number, prices: Prices | null): number {
  const less = (prices?.input ?? 0) - (prices?.cacheRead ?? prices?.input ?? 0)
  return less <= 0 || cachedTokens === 0 ? 0 : Number(divideHalfEven(BigInt(cachedTokens) * BigInt(less), 1_000_000n))
}
