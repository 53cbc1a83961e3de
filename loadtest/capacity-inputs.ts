import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { total } from './cpu.ts'

/** Where a figure comes from: file, line (from 1) and when it was recorded. */
export interface Source {
  file: string
  line: number
  at: string
  note: string
}

/** Microseconds of processor time by process of a cluster, all processes of one kind together. */
export interface Cost {
  edge: number
  router: number
  nats: number
  redis: number
  accounting: number
  postgres: number
}

/** Everything the sheet is computed from. */
export interface Inputs {
  /** Of one call with its answer whole; of one chunk of a stream of 64, the call's part in it. */
  call: { cost: Cost; source: Source }
  chunk: { cost: Cost; source: Source }
  /** Bytes of memory of one process, loaded. */
  memory: Record<'edge' | 'router' | 'accounting', number>
  /** Bytes per open stream, all processes together. */
  perStream: { bytes: number; source: Source }
  /** Calls that one ledger booked per second on the machine of the bench, and what each cost, with every owner there is. */
  ledger: { perSecond: number; accounting: number; postgres: number; source: Source }
  /** Bytes on disk of a ledger row with its indexes, and of everything per row, sums included. */
  rows: { ledger: number; total: number; source: Source }
  /** Usage events through one JetStream stream on one server: stored per second, and stored and consumed per second by one and by two consumers. */
  jetstream: { stored: number; one: number; two: number; shares: number[]; eventBytes: number; source: Source }
}

const RESULTS = join(import.meta.dirname, 'results')
const PARTS = ['edge', 'router', 'nats', 'redis', 'accounting', 'postgres'] as const
/** Chunks of a stream in the scenario `stream-paced`. */
const PACED_CHUNKS = 64
/**
 * Microseconds of client and provider per call, the provider alone on a machine that did nothing else: what other runs are set in proportion to.
 * From the first line of results.jsonl (18.0 + 15.3).
 */
export const REFERENCE = 33.3

interface BenchLine {
  at: string
  commit: string
  machine: { load: number }
  calibrations?: { client: number; provider: number }[]
  measured: {
    topology: string
    scenario: string
    figures: Record<string, number>
    cpuBy: Record<string, number>
    memoryBy: Record<string, number>
  }[]
}

interface Lines<Line> {
  file: string
  lines: Line[]
}

function read<Line>(name: string, folder: string): Lines<Line> {
  const text = readFileSync(join(folder, name), 'utf8').split('\n')
  return { file: `loadtest/results/${name}`, lines: text.filter((line) => line !== '').map((line) => JSON.parse(line) as Line) }
}

/** Reads the last recorded line of each kind. Throws when one has never been recorded. */
export function readInputs(folder = RESULTS): Inputs {
  const bench = read<BenchLine>('results.jsonl', folder)
  const call = costOf(bench, ['full-32', 'unary-32'], () => 1)
  // Until there were calibrations a stream's cost was told per stream.
  const chunk = costOf(bench, ['full-stream', 'stream-paced'], (line) => (line.calibrations === undefined ? PACED_CHUNKS : 1))
  const held = lastOf(bench, ['held'])
  const ledger = read<{ at: string; everything: Record<string, number>; load: number }>('ledger.jsonl', folder)
  const reports = read<{ at: string; rows: { ledger: number }; bytes: { ledger: number; total: number } }>(
    'reports.jsonl',
    folder,
  )
  const parts = read<{ at: string; load: number; jetstream: Omit<Inputs['jetstream'], 'source'> }>('parts.jsonl', folder)
  const booked = last(ledger)
  const stored = last(reports)
  const measured = last(parts)
  const of = <Line extends { at: string }>({ file, lines }: Lines<Line>, note: string): Source => ({
    ...{ file, line: lines.length, at: last({ file, lines }).at, note },
  })
  const processes = { edge: 2, router: 2, accounting: 1 }
  const memory = call.measured.memoryBy
  return {
    call: { cost: call.cost, source: call.source },
    chunk: { cost: chunk.cost, source: chunk.source },
    memory: {
      edge: (memory['edge'] ?? 0) / processes.edge,
      router: (memory['router'] ?? 0) / processes.router,
      accounting: (memory['accounting'] ?? 0) / processes.accounting,
    },
    perStream: { bytes: (held.measured.figures['perStream'] ?? 0) * 1024, source: held.source },
    ledger: {
      perSecond: booked.everything['perSecond'] ?? 0,
      accounting: booked.everything['accountingMicroseconds'] ?? 0,
      postgres: booked.everything['postgresMicroseconds'] ?? 0,
      source: of(ledger, `load of the machine ${booked.load}`),
    },
    rows: {
      ledger: stored.bytes.ledger / stored.rows.ledger,
      total: stored.bytes.total / stored.rows.ledger,
      source: of(reports, `${stored.rows.ledger} rows`),
    },
    jetstream: { ...measured.jetstream, source: of(parts, `load of the machine ${measured.load.toFixed(1)}`) },
  }
}

function last<Line>({ file, lines }: Lines<Line>): Line {
  const line = lines.at(-1)
  if (line === undefined) throw new Error(`${file} is empty`)
  return line
}

/** The latest line whose cluster ran one of the scenarios, the first of these that it ran. */
function lastOf({ file, lines }: Lines<BenchLine>, scenarios: readonly string[]) {
  for (let index = lines.length - 1; index >= 0; index -= 1) {
    const line = lines[index] as BenchLine
    for (const scenario of scenarios) {
      const measured = line.measured.find((one) => one.topology === 'cluster' && one.scenario === scenario)
      if (measured === undefined) continue
      const note = `${scenario}, commit ${line.commit}, load of the machine ${line.machine.load.toFixed(1)}`
      return { line, measured, source: { file, line: index + 1, at: line.at, note } }
    }
  }
  throw new Error(`${file} has no cluster with ${scenarios.join(' or ')}`)
}

function costOf(bench: Lines<BenchLine>, scenarios: readonly string[], per: (line: BenchLine) => number) {
  const found = lastOf(bench, scenarios)
  const { line, measured } = found
  const scale = scaleOf(line)
  const cost = Object.fromEntries(
    PARTS.map((part) => [part, ((measured.cpuBy[part] ?? 0) / per(line)) * scale]),
  ) as unknown as Cost
  const source =
    scale === 1 ? found.source : { ...found.source, note: `${found.source.note}, times ${scale.toFixed(2)} (calibration)` }
  return { cost, source, measured }
}

/** What the machine gave the provider alone in that run, against the reference. Never above 1: a faster machine is not to be promised. */
function scaleOf({ calibrations = [] }: BenchLine): number {
  if (calibrations.length === 0) return 1
  const mean = calibrations.reduce((sum, { client, provider }) => sum + client + provider, 0) / calibrations.length
  return Math.min(1, REFERENCE / mean)
}

/** All processes together. */
export function totalCost(cost: Cost): number {
  return total({ ...cost })
}
