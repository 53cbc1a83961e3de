import type { Prices } from '../../proto/deployment.ts'
import { divideHalfEven } from '../../shared/money.ts'
import { createSequence } from '../../shared/sequence.ts'

/** Usage as the fake provider states it in an answer. */
export interface Stated {
  /** Input tokens, those read from a cache among them. */
  input: number
  cached: number
  output: number
}

/** What one call of the load asks, and what the provider does with it. */
export interface CallPlan {
  stream: boolean
  maxTokens: number
  stated: Stated
  /** Requests for it that the provider refuses with a 500 before it answers one. */
  failures: number
  /** Milliseconds before the provider begins to answer, and between two chunks of a stream. */
  delay: number
  pace: number
  /** The client leaves after so many chunks of a stream, or so many milliseconds of a whole answer; null = it stays. */
  leaveAfter: number | null
}

export interface LoadShape {
  calls: number
  /** Shares between 0 and 1. */
  streams: number
  aborts: number
  seed: number
}

/** Shares of calls whose first request fails, and whose answer is slow. */
const FAILING = 0.04
const SLOW = 0.1
/** Most output tokens of an answer, and most input tokens it states: fewer than an estimate of the request comes to. */
const OUTPUT = 32
const INPUT = 20

/** The calls of a load; the same for the same shape. Pure. */
export function planCalls({ calls, streams, aborts, seed }: LoadShape): CallPlan[] {
  const random = createSequence(seed)
  const upTo = (most: number): number => Math.floor(random() * (most + 1))
  return Array.from({ length: calls }, () => {
    const stream = random() < streams
    const leaves = random() < aborts
    const slow = random() < SLOW
    const output = 1 + upTo(OUTPUT - 1)
    const input = 1 + upTo(INPUT - 1)
    return {
      stream,
      maxTokens: output + upTo(8),
      stated: { input, cached: random() < 0.3 ? upTo(input) : 0, output },
      failures: random() < FAILING ? 1 : 0,
      // Whoever leaves needs something to leave from.
      delay: slow || (leaves && !stream) ? 20 + upTo(40) : 0,
      pace: stream && (slow || leaves) ? 1 + upTo(3) : 0,
      leaveAfter: leaves ? upTo(stream ? output : 20) : null,
    }
  })
}

/**
 * Nano-dollars of what the provider stated, worked out apart from the gateway's own arithmetic: every part rounded half to even, then the
 * operator's discount and margin, as the design of prices says. Pure.
 */
export function costByHand({ input, cached, output }: Stated, prices: Prices): number {
  const million = 1_000_000n
  const part = (tokens: number, price: number | undefined): bigint => divideHalfEven(BigInt(tokens) * BigInt(price ?? 0), million)
  const plain = part(input - cached, prices.input) + part(output, prices.output) + BigInt(prices.perRequest ?? 0)
  const list = plain + part(cached, prices.cacheRead ?? prices.input)
  const off = divideHalfEven(list * BigInt(Math.min(1_000_000, prices.discount ?? 0)), million)
  const left = list - off
  return Number(left + divideHalfEven(left * BigInt(prices.margin ?? 0), million) + BigInt(prices.marginFixed ?? 0))
}
