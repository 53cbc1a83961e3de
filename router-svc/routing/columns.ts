/**
 * What strategies compare of every candidate, one number a deployment and column, by `slot`, and which slots changed: a choice among
 * 1,000 deployments looks at those that changed since the last one instead of at 1,000 objects.
 */
export interface Columns {
  /** Calls running, here and elsewhere. */
  readonly inFlight: Float64Array
  /** Mean milliseconds per output token, and to the first token of streams; 0 = no sample. */
  readonly latency: Float64Array
  readonly firstToken: Float64Array
  /** A Unix minute, and the requests and tokens in it, here and elsewhere. */
  readonly minute: Float64Array
  readonly requests: Float64Array
  readonly tokens: Float64Array
  readonly changes: Changes
}

/** Slots that changed, in order; the last `kept` of them can be read. */
export interface Changes {
  /** How many there were ever. */
  readonly count: number
  readonly kept: number
  at(change: number): number
}

/** The columns of all states, growing as slots are taken. */
export interface ColumnStore {
  /** Read anew each time: growing replaces the arrays. */
  readonly columns: Columns
  /** A slot of zeros. */
  take(): number
  free(slot: number): void
  /** Something of the slot changed. */
  touch(slot: number): void
}

/** Slot of states that are gone: what is still written by calls that hold one harms nobody. */
export const NOWHERE = 0

const FIRST_SIZE = 64
/** A power of two. */
const KEPT = 4_096

export function createColumnStore(): ColumnStore {
  const arrays = {
    inFlight: new Float64Array(FIRST_SIZE),
    latency: new Float64Array(FIRST_SIZE),
    firstToken: new Float64Array(FIRST_SIZE),
    minute: new Float64Array(FIRST_SIZE),
    requests: new Float64Array(FIRST_SIZE),
    tokens: new Float64Array(FIRST_SIZE),
  }
  const names = Object.keys(arrays) as (keyof typeof arrays)[]
  const ring = new Int32Array(KEPT)
  const changes = { count: 0, kept: KEPT, at: (change: number) => ring[change & (KEPT - 1)] as number }
  const columns = { ...arrays, changes }
  const freed: number[] = []
  let next = NOWHERE + 1
  const touch = (slot: number): void => {
    ring[changes.count & (KEPT - 1)] = slot
    changes.count += 1
  }
  return {
    columns,
    touch,
    take() {
      const again = freed.pop()
      if (again !== undefined) return again
      if (next === columns.inFlight.length) {
        for (const name of names) {
          const grown = new Float64Array(next * 2)
          grown.set(columns[name])
          columns[name] = grown
        }
      }
      return next++
    },
    free(slot) {
      for (const name of names) columns[name][slot] = 0
      touch(slot)
      freed.push(slot)
    },
  }
}
