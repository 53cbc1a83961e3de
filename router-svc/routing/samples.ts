/** The last few samples of something, each for a limited time, and their mean. */
export class Samples {
  readonly #values: number[] = []
  readonly #times: number[] = []
  #mean = 0

  /** Mean of what is kept; 0 = nothing. */
  get mean(): number {
    return this.#mean
  }

  /** Keeps `value` as the newest of at most `size`. */
  add(value: number, now: number, size: number): void {
    this.#values.push(value)
    this.#times.push(now)
    this.#cut(Math.max(0, this.#values.length - size))
  }

  /** Drops what is older than `ttl` milliseconds. Whether anything was. */
  expire(now: number, ttl: number): boolean {
    let old = 0
    while (old < this.#times.length && (this.#times[old] as number) < now - ttl) old += 1
    if (old > 0) this.#cut(old)
    return old > 0
  }

  #cut(oldest: number): void {
    if (oldest > 0) {
      this.#values.splice(0, oldest)
      this.#times.splice(0, oldest)
    }
    // Summed anew: a running sum would keep the rounding errors of every sample it ever held.
    let sum = 0
    for (const value of this.#values) sum += value
    this.#mean = this.#values.length === 0 ? 0 : sum / this.#values.length
  }
}
