import type { Route } from '../../runtime.ts'
import type { State } from '../state.ts'
import type { ChoiceContext } from './strategy.ts'

/** What is kept of a list of candidates: made once, used by every choice from it. */
export interface List {
  /** Where the columns hold the candidates. */
  readonly slots: Int32Array
  /** Requests and tokens per minute, Infinity = no limit; null = no candidate has one. */
  readonly limits: { readonly rpm: Float64Array; readonly tpm: Float64Array } | null
}

/** Remembers something about lists for as long as they are used. */
export function remember<Value>(make: (candidates: readonly Route[]) => Value): (candidates: readonly Route[]) => Value {
  const kept = new WeakMap<readonly Route[], Value>()
  return (candidates) => {
    let value = kept.get(candidates)
    if (value === undefined) {
      value = make(candidates)
      kept.set(candidates, value)
    }
    return value
  }
}

export function makeList(candidates: readonly Route[]): List {
  const limited = candidates.some(({ deployment }) => deployment.rpm !== null || deployment.tpm !== null)
  return {
    slots: Int32Array.from(candidates, ({ state }) => (state as State).slot),
    limits: limited
      ? {
          rpm: Float64Array.from(candidates, ({ deployment }) => deployment.rpm ?? Number.POSITIVE_INFINITY),
          tpm: Float64Array.from(candidates, ({ deployment }) => deployment.tpm ?? Number.POSITIVE_INFINITY),
        }
      : null,
  }
}

/** Whether one more request with the call's input fits into the running minute of the candidate at `index`. */
export function hasRoom(
  { slots, limits }: List,
  index: number,
  { columns, inputTokens }: ChoiceContext,
  minute: number,
): boolean {
  if (limits === null) return true
  const slot = slots[index] as number
  const current = (columns.minute[slot] as number) >= minute
  const requests = current ? (columns.requests[slot] as number) : 0
  const tokens = current ? (columns.tokens[slot] as number) : 0
  return requests + 1 <= (limits.rpm[index] as number) && tokens + inputTokens <= (limits.tpm[index] as number)
}

export function minuteOf({ wallNow }: ChoiceContext): number {
  return Math.floor(wallNow / 60_000)
}

/** Out of question, as a score. */
export const OUT = Number.POSITIVE_INFINITY

/**
 * Index of one of those whose score is at most `lowest × (1 + buffer)`, each as likely; -1 = all are OUT. `scores` may be longer than
 * `length`.
 */
export function pickLowest(scores: Float64Array, length: number, buffer: number, random: () => number): number {
  let lowest = OUT
  let count = 0
  for (let index = 0; index < length; index += 1) {
    const score = scores[index] as number
    if (score < lowest) {
      lowest = score
      count = 1
    } else if (score === lowest) count += 1
  }
  if (lowest === OUT) return -1
  const limit = lowest * (1 + buffer)
  if (limit > lowest) {
    count = 0
    for (let index = 0; index < length; index += 1) if ((scores[index] as number) <= limit) count += 1
  }
  let left = count === 1 ? 0 : Math.floor(random() * count)
  for (let index = 0; index < length; index += 1) {
    if ((scores[index] as number) > limit) continue
    if (left === 0) return index
    left -= 1
  }
  return -1
}

/** Room for the scores of one choice, reused by the next. */
export function createScores(): (length: number) => Float64Array {
  let scores = new Float64Array(64)
  return (length) => {
    if (scores.length < length) scores = new Float64Array(length * 2)
    return scores
  }
}
