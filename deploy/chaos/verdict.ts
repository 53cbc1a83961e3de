import type { Audit } from './books.ts'
import { type Ending, FOREIGN, HUNG, SPENT, WHOLE } from './endings.ts'
import type { Allows } from './fault.ts'
import type { SeenCall } from './load.ts'

/** Milliseconds from which it is told. */
export const STALL = 1_000

/** What happened around one fault, and whether it may. Times are milliseconds. */
export interface Verdict {
  name: string
  title: string
  passed: boolean
  /** Why not, one sentence each. */
  failures: string[]
  calls: number
  /** Calls that ended neither whole nor for their budget, by how they did. */
  endings: Record<Ending, number>
  /** The longest time in which no call succeeded. */
  gap: number
  /** The slowest whole answer, without streams. */
  slowest: number
  /** From the end of the fault to the beginning of the last call that failed; 0 when none did. */
  recovery: number
  served: number
  entries: number
  lost: number
  twice: number
  presumed: number
  /** Milliseconds from the end of the load until the books were closed. */
  booked: number
  /** The longest time that client, provider and proxies, which are one process, stood still themselves: on a machine that is too busy. */
  stalled: number
  /** Requests of calls that reached the provider more than once, beyond the first. */
  again: number
  /** What the first failing call of each ending was told. */
  samples: string[]
}

export interface Observed {
  name: string
  title: string
  allows: Allows
  calls: readonly SeenCall[]
  /** Monotonic milliseconds: the load began, the fault was over, the load ended. */
  begun: number
  over: number
  ended: number
  audit: Audit
  booked: number
  stalled: number
  /** Why the fault could not be carried out, or taken back; null = it was. */
  stopped: string | null
}

export function judge({ name, title, allows, calls, begun, over, ended, audit, booked, stalled, stopped }: Observed): Verdict {
  const endings: Record<Ending, number> = {}
  for (const { ending } of calls) if (!isFine(ending)) endings[ending] = (endings[ending] ?? 0) + 1
  const failed = calls.filter(({ ending }) => !isFine(ending))
  const recovery = Math.max(0, ...failed.map(({ startedAt }) => startedAt - over))
  const gap = longestGap(calls, begun, ended)
  const failures = Object.entries(endings)
    .filter(([ending]) => ending === FOREIGN || ending === HUNG || !allows.endings.some((one) => matches(one, ending)))
    .map(([ending, count]) => `${count} × ${ending}`)
  if (stopped !== null) failures.unshift(stopped)
  if (calls.length === 0) failures.push('no call was made')
  if (gap > allows.gap) failures.push(`no call succeeded for ${seconds(gap)}, allowed are ${seconds(allows.gap)}`)
  if (recovery > allows.recovers) {
    failures.push(
      `a call failed that began ${seconds(recovery)} after the fault was over, allowed are ${seconds(allows.recovers)}`,
    )
  }
  const lost = allows.unheard === true ? audit.lostWhole : audit.lost
  if (lost.length > 0) failures.push(`${lost.length} served and not booked (${some(lost)})`)
  if (audit.twice.length > 0) failures.push(`${audit.twice.length} booked twice (${some(audit.twice)})`)
  if (audit.presumed > 0 && allows.presumed !== true) failures.push(`${audit.presumed} booked and never served`)
  failures.push(...audit.differences)
  return {
    ...{ name, title, passed: failures.length === 0, failures, calls: calls.length, endings },
    gap: Math.round(gap),
    slowest: Math.round(Math.max(0, ...calls.filter(({ stream, ending }) => !stream && ending === WHOLE).map(lasted))),
    recovery: Math.round(recovery),
    served: audit.served,
    entries: audit.entries,
    lost: audit.lost.length,
    twice: audit.twice.length,
    presumed: audit.presumed,
    stalled: Math.round(stalled),
    again: audit.again,
    samples: Object.keys(endings).map((ending) => {
      const first = calls.find((call) => call.ending === ending)
      return `${ending}, ${seconds((first?.startedAt ?? 0) - over)} from the end, lasted ${seconds(first === undefined ? 0 : lasted(first))}, edge ${first?.edge}, ${first?.kind} key: ${first?.said}`
    }),
    booked: Math.round(booked),
  }
}

function isFine(ending: Ending): boolean {
  return ending === WHOLE || ending === SPENT
}

function lasted({ startedAt, endedAt }: SeenCall): number {
  return endedAt - startedAt
}

function matches(allowed: string, ending: Ending): boolean {
  return allowed.endsWith('*') ? ending.startsWith(allowed.slice(0, -1)) : ending === allowed
}

function longestGap(calls: readonly SeenCall[], begun: number, ended: number): number {
  const times = calls
    .filter(({ ending }) => isFine(ending))
    .map(({ endedAt }) => endedAt)
    .filter((at) => at > begun && at < ended)
    .sort((one, other) => one - other)
  let gap = 0
  let before = begun
  for (const at of [...times, ended]) {
    gap = Math.max(gap, at - before)
    before = at
  }
  return gap
}

function some(markers: readonly string[]): string {
  return `${markers.slice(0, 3).join(', ')}${markers.length > 3 ? ', …' : ''}`
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`
}

/** One line of the terminal. */
export function line(verdict: Verdict): string {
  const { name, passed, calls, endings, gap, slowest, recovery, served, entries, presumed, booked } = verdict
  const failed = Object.entries(endings).map(([ending, count]) => `${count} ${ending}`)
  const parts = [
    `${calls} calls`,
    failed.length === 0 ? 'none failed' : failed.join(', '),
    `gap ${seconds(gap)}`,
    `slowest ${seconds(slowest)}`,
    `recovered in ${seconds(recovery)}`,
    `${served} served, ${verdict.again} of them again, ${entries} booked${presumed > 0 ? ` (${presumed} presumed)` : ''} within ${seconds(booked)}`,
  ]
  if (verdict.stalled > STALL) parts.push(`the clients themselves stood still for ${seconds(verdict.stalled)}`)
  const head = `${passed ? 'ok  ' : 'FAIL'} ${name.padEnd(22)} ${parts.join('; ')}`
  const why = passed ? [] : [...verdict.failures, ...verdict.samples]
  return [head, ...why.map((one) => `       ${one}`)].join('\n')
}
