import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { METRICS, type Measured } from './run-scenario.ts'
import { SCENARIOS } from './scenarios.ts'

/** One run of the bench, one line of `results/results.jsonl`. */
export interface Result {
  at: string
  commit: string
  machine: { cpu: string; cores: number; memory: number; kernel: string; node: string; load: number }
  /** Name → version, or `missing: why`. */
  topologies: Record<string, string>
  measured: Measured[]
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
    if (parts !== null) rows.push(['', 'CPU per call by process, µs', ...parts])
  }
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: string[]): string =>
    `| ${row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, column) => (column < 2 ? `:${'-'.repeat(width + 1)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n')
}

/** CPU by process where a topology has more than one, or where the client's and provider's own share matters: unary loads. */
function processRow(measured: Measured[], present: string[]): string[] | null {
  if (!measured.some(({ figures }) => figures['cpu'] !== undefined)) return null
  return present.map((topology) => {
    const by = measured.find((one) => one.topology === topology)?.cpuBy ?? {}
    return Object.entries(by)
      .filter(([, micros]) => micros >= 0.5)
      .map(([name, micros]) => `${name} ${figure(micros)}`)
      .join(', ')
  })
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
  const failures = result.measured.filter(({ errors }) => Object.keys(errors).length > 0)
  for (const { topology, scenario, errors } of failures)
    lines.push(`Failed in ${scenario} on ${topology}: ${JSON.stringify(errors)}.`)
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
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Result)
}
