import type { EjectionSettings } from '../../proto/routing.ts'

/** Calls and failures of one deployment within the window. */
export interface WindowCounts {
  calls: number
  failures: number
}

export interface EjectionInput {
  counts: WindowCounts
  /** Ejections before this one that still weigh. */
  before: number
  /** Deployments of its group, and how many of them are ejected now, itself not among them. */
  groupSize: number
  groupEjected: number
}

/**
 * Milliseconds a deployment is ejected for, or null. Pure. Twice as long with each ejection in a row, up to the maximum; never so that
 * more than `maxEjected` of the group are out, for then it is not the deployment that is the outlier.
 */
export function decideEjection(input: EjectionInput, settings: EjectionSettings): number | null {
  const { counts, before, groupSize, groupEjected } = input
  if (!settings.enabled || counts.calls < settings.minimumCalls || counts.failures === 0) return null
  if (counts.failures / counts.calls < settings.failureShare) return null
  if (!mayEject(groupSize, groupEjected, settings)) return null
  return Math.min(settings.maximum, settings.base * 2 ** before)
}

/** Whether one more of a group may be ejected. */
export function mayEject(groupSize: number, groupEjected: number, { maxEjected }: EjectionSettings): boolean {
  return (groupEjected + 1) / Math.max(1, groupSize) <= maxEjected
}

/** Share of its usual traffic, 0 to 1: none until `until`, then rising evenly over `ramp` milliseconds. */
export function rampShare(until: number, ramp: number, now: number): number {
  if (now < until) return 0
  return ramp <= 0 ? 1 : Math.min(1, (now - until) / ramp)
}

/** Ejections weigh until a deployment has stayed in as long as the longest ejection lasts. */
export function stillWeighs(endedAt: number, now: number, { maximum }: EjectionSettings): boolean {
  return now - endedAt <= maximum
}

/** The window moves in steps of this many parts. */
const PARTS = 10

/** Counts over a sliding window, exact to a tenth of it. */
export class CallWindow {
  readonly #calls = new Float64Array(PARTS)
  readonly #failures = new Float64Array(PARTS)
  /** Number of the newest part since the clock began. */
  #newest = 0

  add(failed: boolean, now: number, length: number): void {
    const part = this.#move(now, length)
    ;(this.#calls[part] as number) += 1
    if (failed) (this.#failures[part] as number) += 1
  }

  counts(now: number, length: number): WindowCounts {
    this.#move(now, length)
    let calls = 0
    let failures = 0
    for (let part = 0; part < PARTS; part += 1) {
      calls += this.#calls[part] as number
      failures += this.#failures[part] as number
    }
    return { calls, failures }
  }

  clear(): void {
    this.#calls.fill(0)
    this.#failures.fill(0)
  }

  /** Empties the parts that have passed and gives the one of `now`. */
  #move(now: number, length: number): number {
    const newest = Math.floor(now / (length / PARTS))
    const passed = Math.min(PARTS, Math.max(0, newest - this.#newest))
    for (let step = 1; step <= passed; step += 1) {
      const part = (this.#newest + step) % PARTS
      this.#calls[part] = 0
      this.#failures[part] = 0
    }
    // A shorter window after a change of the settings numbers its parts higher, a longer one lower: then it starts over.
    if (newest < this.#newest) this.clear()
    this.#newest = newest
    return newest % PARTS
  }
}
