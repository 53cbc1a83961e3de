import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { METRICS } from './metrics.ts'
import type { Calibration, Measured } from './run-scenario.ts'
import { SCENARIOS } from './scenarios.ts'

/** One run of the bench, one line of `results/results.jsonl`. */
export interface Result {
  at: string
  commit: string
  machine: { cpu: string; cores: number; memory: number; kernel: string; node: string; load: number }
  /** Name → version, or `missing: why`. */
  topologies: Record<string, string>
  measured: Measured[]
  /** What the machine gave the provider alone before each round. */
  calibrations: (Calibration & { before: string; load: number })[]
  /** Setups that a topology does not have, and why. */
  absent: { topology: string; setup: string; why: string }[]
  /** Scenarios not run because the time was up. */
  skipped: string[]
}

const FOLDER = join(import.meta.dirname, 'results')
export const RESULTS = join(FOLDER, 'results.jsonl')

export function machine(): Result['machine'] {
  const [first] = cpus()
  return {
    cpu: first?.model ?? 'unknown',
    cores: cpus().length,
    memory: totalmem(),
    kernel: release(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  }
}

/** Every figure in one table: a row per scenario and metric, a column per topology. */
export function table(result: Result): string {
  const names = Object.keys(result.topologies)
  const present = names.filter((name) => result.measured.some(({ topology }) => topology === name))
  const rows: string[][] = [['scenario', 'figure', ...present]]
  for (const { name, title } of SCENARIOS) {
    const measured = result.measured.filter(({ scenario }) => scenario === name)
    let label = title
    for (const [metric, { title: what, unit }] of Object.entries(METRICS)) {
      const cells = present.map((topology) => measured.find((one) => one.topology === topology)?.figures[metric])
      if (cells.every((cell) => cell === undefined || (metric === 'failed' && cell === 0))) continue
      rows.push([label, unit === '' ? what : `${what}, ${unit}`, ...cells.map(figure)])
      label = ''
    }
    const parts = processRow(measured, present)
    if (parts !== null) rows.push(['', `CPU per ${parts.unit} by process, µs`, ...parts.cells])
  }
  return markdown(rows, 2)
}

/** Rows of cells as a table, aligned for a reader of the text; the first columns to the left, as many as `left`. */
export function markdown(rows: string[][], left: number): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: string[]): string =>
    `| ${row.map((cell, column) => (column < left ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`
  // As the formatter of this repository writes it.
  const rule = `| ${widths.map((width, column) => (column < left ? (left === (rows[0] ?? []).length ? '-'.repeat(width) : `:${'-'.repeat(width - 1)}`) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n')
}

/** CPU by process: where a topology has more than one, and for the client's and provider's own share. */
function processRow(measured: Measured[], present: string[]): { unit: string; cells: string[] } | null {
  const unit = (['cpu', 'cpuPerChunk'] as const).find((name) => measured.some(({ figures }) => figures[name] !== undefined))
  if (unit === undefined) return null
  const cells = present.map((topology) => {
    const by = measured.find((one) => one.topology === topology)?.cpuBy ?? {}
    return Object.entries(by)
      .filter(([, micros]) => micros >= 0.05)
      .map(([name, micros]) => `${name} ${figure(micros)}`)
      .join(', ')
  })
  return { unit: unit === 'cpu' ? 'call' : 'chunk', cells }
}

/** Three significant digits are more than two runs have in common. */
export function figure(value: number | undefined): string {
  if (value === undefined) return ''
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en-US')
  return size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function describeRun(result: Result): string {
  const { cpu, cores, memory, kernel, node, load } = result.machine
  const lines = [
    `${result.at}, commit ${result.commit || 'unknown'}: ${cores} cores of ${cpu}, ${figure(memory / 2 ** 30)} GB, Linux ${kernel}, Node ${node}.`,
    'Client and provider run on the same machine and share its cores; their CPU is not in the figures of a gateway. One connection unless said.',
  ]
  if (load > 0.5)
    lines.push(`The machine was not idle when this began (load ${figure(load)}): wall times are too long, CPU times somewhat.`)
  for (const [name, version] of Object.entries(result.topologies)) if (version !== '') lines.push(`${name}: ${version}.`)
  lines.push(...paceOf(result))
  lines.push(
    'Added latency is what the gateway adds to the provider alone: for closed loads, pairs of calls on one connection by turns, after the load; for fixed rates and streams, the difference of percentiles to the same load on the provider alone just before.',
  )
  const failures = result.measured.filter(({ errors }) => Object.keys(errors).length > 0)
  for (const { topology, scenario, errors } of failures)
    lines.push(`Failed in ${scenario} on ${topology}: ${JSON.stringify(errors)}.`)
  for (const { topology, setup, why } of result.absent) lines.push(`${topology} has no setup ${setup}: ${why}.`)
  if (result.skipped.length > 0) lines.push(`Not run, the time was up: ${result.skipped.join(', ')}.`)
  return lines.join('\n')
}

/** Appends the line and rewrites `latest.md`. */
export function save(result: Result): void {
  mkdirSync(FOLDER, { recursive: true })
  appendFileSync(RESULTS, `${JSON.stringify(result)}\n`)
  const description = describeRun(result)
    .split('\n')
    .map((line) => `- ${line}`)
  writeFileSync(
    join(FOLDER, 'latest.md'),
    `# Latest bench\n\nWritten by \`npm run bench\`.\n\n${description.join('\n')}\n\n${table(result)}\n`,
  )
}

export function savedResults(file = RESULTS): Result[] {
  if (!existsSync(file)) return []
  return (
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      // Lines of before there were calibrations, setups and figures of the provider alone.
      .map((line) => Object.assign({ calibrations: [], absent: [] }, JSON.parse(line) as Result))
  )
}

/** A sentence of what the machine gave; none where that was not measured. */
export function paceOf({ calibrations }: Result): string[] {
  if (calibrations.length === 0) return []
  const spread = (values: number[]): string => [...new Set([Math.min(...values), Math.max(...values)].map(figure))].join(' to ')
  const paces = calibrations.map(({ perSecond }) => perSecond)
  const client = calibrations.map((one) => one.client)
  const served = calibrations.map((one) => one.provider)
  return [
    `What the machine gave the provider alone before each start, 32 connections: ${spread(paces)} calls/s, CPU per call of the client ${spread(client)} µs, of the provider ${spread(served)} µs.`,
  ]
}
