/**
 * What strategies compare of every candidate, one number a deployment and column, by `slot`. Choosing among 1,000 deployments reads 8 KB
 * in a row instead of 1,000 objects that something else has pushed out of the processor's cache meanwhile.
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
}

/** The columns of all states, growing as slots are taken. */
export interface ColumnStore {
  /** Read anew each time: growing replaces the arrays. */
  readonly columns: Columns
  /** A slot of zeros. */
  take(): number
  free(slot: number): void
}

/** Slot of states that are gone: what is still written by calls that hold one harms nobody. */
export const NOWHERE = 0

const FIRST_SIZE = 64

export function createColumnStore(): ColumnStore {
  const columns = {
    inFlight: new Float64Array(FIRST_SIZE),
    latency: new Float64Array(FIRST_SIZE),
    firstToken: new Float64Array(FIRST_SIZE),
    minute: new Float64Array(FIRST_SIZE),
    requests: new Float64Array(FIRST_SIZE),
    tokens: new Float64Array(FIRST_SIZE),
  }
  const names = Object.keys(columns) as (keyof Columns)[]
  const freed: number[] = []
  let next = NOWHERE + 1
  return {
    columns,
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
      freed.push(slot)
    },
  }
}
