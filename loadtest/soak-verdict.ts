import { lows, type Point, secondHalf, type Trend, trendOf } from './soak-series.ts'

/** What a soak saw of one process. */
export interface ProcessSeries {
  /** Bytes of JavaScript heap after a full collection; empty for what is not Node. */
  heap: Point[]
  /** Bytes of anonymous memory. */
  anonymous: Point[]
  /** Open files while idle before the load, the most under it, and when idle again. */
  files: { before: number; most: number; after: number }
}

/** Everything a verdict is made of. */
export interface SoakFacts {
  processes: Record<string, ProcessSeries>
  /** Calls that failed and whose script did not ask for it, by part and reason. */
  failed: Record<string, number>
  /** What went wrong with keys made and deleted meanwhile, with reloads, with the measuring itself. */
  problems: string[]
  /** After the load: calls that edges and routers say are running, calls the provider is answering, leases, unconsumed usage, held streams that ended. */
  left: Record<string, number>
  /** What must agree: the provider's record and the ledger. */
  books: { what: string; provider: number; ledger: number }[]
}

export interface Finding {
  what: string
  good: boolean
  text: string
}

const MB = 1024 * 1024
/**
 * Bytes per minute. At a hundred calls per second half a megabyte a minute is 87 bytes per call: less than one object kept of each. Whoever
 * leaks that has doubled a heap of 60 MB in two hours; whoever fills a bounded cache is done with it in the first half.
 */
export const HEAP_BOUND = 0.5 * MB
/** Memory outside the heap comes in pages and arenas of malloc, so the same trend shows with more scatter. */
export const MEMORY_BOUND = 1 * MB
/** Points in the second half under which no line is drawn. */
const POINTS_MIN = 5
/** Sockets of pools that open anew when they are needed next, and a log file. */
export const FILES_SLACK = 3

/** Judges a soak: one finding for each thing that had to hold. */
export function judge(facts: SoakFacts): Finding[] {
  const findings: Finding[] = []
  const add = (what: string, good: boolean, text: string): void => void findings.push({ what, good, text })
  for (const [name, series] of Object.entries(facts.processes)) {
    if (series.heap.length > 0) {
      const trend = trendOf(secondHalf(series.heap))
      add(`heap of ${name}`, ...grown(trend, HEAP_BOUND))
    }
    add(`memory of ${name}`, ...grown(memoryTrend(series), MEMORY_BOUND))
    const { before, after } = series.files
    add(`open files of ${name}`, after <= before + FILES_SLACK, `${after}, idle before: ${before}`)
  }
  const failed = Object.entries(facts.failed).filter(([, count]) => count > 0)
  add('failed calls', failed.length === 0, failed.map(([why, count]) => `${count} ${why}`).join(', ') || 'none')
  add('changes meanwhile', facts.problems.length === 0, facts.problems.join('; ') || 'all as asked')
  for (const [what, count] of Object.entries(facts.left)) add(what, count === 0, String(count))
  for (const { what, provider, ledger } of facts.books) {
    add(what, Math.abs(provider - ledger) < 1e-9, `provider ${provider}, ledger ${ledger}`)
  }
  return findings
}

/** Of the least of some samples each, so that garbage not yet collected is not taken for growth. */
export function memoryTrend({ anonymous }: ProcessSeries): Trend {
  const half = secondHalf(anonymous)
  return trendOf(lows(half, Math.max(1, Math.floor(half.length / 10))))
}

/** More than the bound, and more than the scatter of the points would yield by itself (two standard errors), is a leak. */
function grown({ slope, error, points }: Trend, bound: number): [boolean, string] {
  if (points < POINTS_MIN) return [false, `only ${points} points in the second half: too short a run to say`]
  const text = `${megabytes(slope)} ± ${megabytes(2 * error)} MB/min, bound ${megabytes(bound)}`
  return [!(slope > bound && slope > 2 * error), text]
}

export function megabytes(bytes: number): string {
  return (bytes / MB).toFixed(2)
}
