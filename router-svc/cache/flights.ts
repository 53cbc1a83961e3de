import type { CachedAnswer } from './cache.ts'

/**
 * Identical calls at the same time: one leads, the others wait for its answer.
 *
 *   free → led         the first call of a key
 *   led → free         it has an answer, which all who wait get; or none, and nobody waits
 *   led → led          it has none, and the one that waited longest leads
 */
export interface Flights {
  /** Null: this call leads, and must `land`. */
  join(key: string): Waiting | null
  /** The leader is through. */
  land(key: string, answer: CachedAnswer | null): void
}

export interface Waiting {
  /** The answer; null: this call leads now. */
  readonly answer: Promise<CachedAnswer | null>
  /** Waits no more. */
  leave(): void
}

export function createFlights(): Flights {
  const flights = new Map<string, Set<(answer: CachedAnswer | null) => void>>()

  function land(key: string, answer: CachedAnswer | null): void {
    const waiting = flights.get(key)
    if (waiting === undefined) return
    if (answer !== null) {
      flights.delete(key)
      for (const tell of waiting) tell(answer)
      return
    }
    const [next] = waiting
    if (next === undefined) flights.delete(key)
    else {
      waiting.delete(next)
      next(null)
    }
  }

  return {
    join(key) {
      const waiting = flights.get(key)
      if (waiting === undefined) {
        flights.set(key, new Set())
        return null
      }
      let tell: (answer: CachedAnswer | null) => void = () => undefined
      const answer = new Promise<CachedAnswer | null>((resolve) => {
        tell = resolve
      })
      waiting.add(tell)
      const handOn = (told: CachedAnswer | null): void => {
        if (told === null) land(key, null)
      }
      return {
        answer,
        leave() {
          // One that was just told to lead, and is gone, hands on.
          if (!waiting.delete(tell)) void answer.then(handOn)
        },
      }
    },
    land,
  }
}
