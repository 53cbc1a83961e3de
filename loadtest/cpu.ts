import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time and memory of processes and all their descendants, from Linux's `/proc` (proc(5)). CPU per call is the figure to compare:
 * it stays the same when other work shares the machine, wall time does not. Elsewhere than on Linux every figure is zero.
 */

/** Ticks per second of `/proc/<pid>/stat`: `sysconf(_SC_CLK_TCK)`, 100 on every Linux that Node runs on. */
const TICKS = 100

export interface ProcessSample {
  pid: number
  parent: number
  /** CPU microseconds, user and system, with those of children that have ended. In steps of 10 ms. */
  cpu: number
  /** Of that, what children had used that have ended. */
  inherited: number
  command: string
}

/** One process. Null when it is gone. `root` is `/proc`; tests give another. */
export function readProcess(pid: number, root = '/proc'): ProcessSample | null {
  try {
    const stat = readFileSync(`${root}/${pid}/stat`, 'utf8')
    // The name in brackets may hold spaces and brackets itself; the fields begin after the last one. Field 3 of proc(5) is fields[0].
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const micros = (...indexes: number[]): number =>
      (indexes.reduce((sum, index) => sum + Number(fields[index]), 0) * 1_000_000) / TICKS
    const command = readFileSync(`${root}/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid, parent: Number(fields[1]), cpu: micros(11, 12, 13, 14), inherited: micros(13, 14), command }
  } catch {
    return null
  }
}

/** The process and its descendants, now. */
export function processTree(pid: number, root = '/proc'): ProcessSample[] {
  let names: string[]
  try {
    names = readdirSync(root)
  } catch {
    return []
  }
  const children = new Map<number, ProcessSample[]>()
  let top: ProcessSample | null = null
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue
    const sample = readProcess(Number(name), root)
    if (sample === null) continue
    if (sample.pid === pid) top = sample
    const siblings = children.get(sample.parent)
    if (siblings === undefined) children.set(sample.parent, [sample])
    else siblings.push(sample)
  }
  if (top === null) return []
  const tree = [top]
  for (const sample of tree) tree.push(...(children.get(sample.pid) ?? []))
  return tree
}

export interface Memory {
  /** Bytes resident; counts pages shared between processes once in each. */
  rss: number
  /** Bytes resident, shared pages divided among those who share them. The honest sum over processes. */
  pss: number
}

/** Zero when the process is gone or of another user. */
export function readMemory(pid: number, root = '/proc'): Memory {
  try {
    const text = readFileSync(`${root}/${pid}/smaps_rollup`, 'utf8')
    const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024
    return { rss: bytes('Rss'), pss: bytes('Pss') }
  } catch {
    return { rss: 0, pss: 0 }
  }
}

export interface Consumption {
  /** CPU microseconds by name of process. */
  cpu: Record<string, number>
  /** PSS bytes by name at the end, and the most that the samples saw of the sum. */
  memory: Record<string, number>
  peak: number
}

/** What a process is called in the table, by its command line. */
export type NameOf = (sample: ProcessSample) => string

/**
 * Watches the trees under `pids`. `start` sets the zero; `stop` says what has been used since. Processes that begin in between count
 * from zero. One that ends leaves what it has used in its parent's figures, all of it: what it had used before `start` is taken off again.
 */
export function watchProcesses(pids: () => number[], nameOf: NameOf, root = '/proc') {
  let before = new Map<number, ProcessSample>()
  let peak = 0
  const trees = (): ProcessSample[] => {
    const seen = new Map<number, ProcessSample>()
    for (const pid of pids()) for (const sample of processTree(pid, root)) seen.set(sample.pid, sample)
    return [...seen.values()]
  }
  const memory = (): Record<string, number> => {
    const sums: Record<string, number> = {}
    for (const sample of trees()) sums[nameOf(sample)] = (sums[nameOf(sample)] ?? 0) + readMemory(sample.pid, root).pss
    peak = Math.max(peak, total(sums))
    return sums
  }
  return {
    start(): void {
      before = new Map(trees().map((sample) => [sample.pid, sample]))
      peak = 0
    },
    /** Looks at memory once, for the peak. PSS costs the kernel a walk through the page tables: about a millisecond per process. */
    sample: memory,
    stop(): Consumption {
      const cpu: Record<string, number> = {}
      const now = trees()
      const over = usedBefore(before, now)
      for (const sample of now) {
        const used = sample.cpu - (before.get(sample.pid)?.cpu ?? 0) - (over.get(sample.pid) ?? 0)
        cpu[nameOf(sample)] = (cpu[nameOf(sample)] ?? 0) + used
      }
      return { cpu, memory: memory(), peak }
    },
  }
}

/** For each process that is still there: what children that have ended since then had used before, as far as it was handed on. */
function usedBefore(before: Map<number, ProcessSample>, now: ProcessSample[]): Map<number, number> {
  const over = new Map<number, number>()
  const alive = new Map(now.map((sample) => [sample.pid, sample]))
  for (const gone of before.values()) {
    if (alive.has(gone.pid)) continue
    let heir: ProcessSample | undefined = gone
    while (heir !== undefined && !alive.has(heir.pid)) heir = before.get(heir.parent)
    if (heir === undefined) continue
    over.set(heir.pid, (over.get(heir.pid) ?? 0) + gone.cpu)
  }
  // A parent that ignores SIGCHLD inherits nothing, and then nothing is too much.
  for (const [pid, micros] of over) {
    const inherited = (alive.get(pid)?.inherited ?? 0) - (before.get(pid)?.inherited ?? 0)
    over.set(pid, Math.min(micros, Math.max(0, inherited)))
  }
  return over
}

export function total(values: Record<string, number>): number {
  return Object.values(values).reduce((sum, value) => sum + value, 0)
}
