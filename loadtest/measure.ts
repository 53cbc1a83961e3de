import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Durations in microseconds, as a histogram with three significant digits (HDR): nothing is averaged away, memory stays fixed. */
export interface Summary {
  count: number
  mean: number
  p50: number
  p90: number
  p99: number
  max: number
}

/** An hour. Longer durations are recorded as an hour. */
const LONGEST_NS = 3_600_000_000_000

export class Durations {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: LONGEST_NS, figures: 3 })

  /** Takes milliseconds. Negative ones, from two clocks read apart, count as zero. */
  add(milliseconds: number): void {
    const nanoseconds = Math.round(milliseconds * 1e6)
    this.#histogram.record(Math.min(Math.max(nanoseconds, 1), LONGEST_NS))
  }

  get count(): number {
    return this.#histogram.count
  }

  /** Microseconds. */
  at(percentile: number): number {
    return this.#histogram.count === 0 ? 0 : this.#histogram.percentile(percentile) / 1_000
  }

  summary(): Summary {
    const { count } = this.#histogram
    if (count === 0) return { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 }
    const { mean, max } = this.#histogram
    return { count, mean: mean / 1_000, p50: this.at(50), p90: this.at(90), p99: this.at(99), max: max / 1_000 }
  }
}

/** Percentiles of differences, which may be negative and so do not fit a histogram. Microseconds from milliseconds. */
export function differences(values: number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => (sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0) * 1_000
  const mean = (values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)) * 1_000
  return { count: values.length, mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}
