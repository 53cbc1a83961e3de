import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type Point, secondHalf, trendOf } from './soak-series.ts'
import { type Finding, megabytes, memoryTrend, type ProcessSeries } from './soak-verdict.ts'
import type { Sample } from './soak-watch.ts'

/** One soak of one topology, one line of `results/soak.jsonl`. */
export interface SoakRun {
  at: string
  commit: string
  topology: string
  minutes: number
  /** Calls per second, and what the machine could have done. */
  rate: number
  maximum: number
  calls: number
  chunks: number
  /** By part of the mix; microseconds. */
  parts: Record<string, { calls: number; p50: number; p99: number; firstP99?: number }>
  changes: { keys: number; reloads: number }
  findings: Finding[]
  /** What the gateway warned of, and how often. */
  warnings: Record<string, number>
  processes: Record<string, ProcessSeries>
  samples: Sample[]
}

const FOLDER = join(import.meta.dirname, 'results')
const RUNS = join(FOLDER, 'soak.jsonl')

/** The findings and the memory of each process, as Markdown. */
export function soakText(run: SoakRun): string {
  const bad = run.findings.filter(({ good }) => !good)
  const most = (read: (sample: Sample) => number | null): number => Math.max(0, ...run.samples.map((sample) => read(sample) ?? 0))
  const lines = [
    `## ${run.topology}: ${bad.length === 0 ? 'passed' : `failed in ${bad.length} of ${run.findings.length}`}`,
    '',
    `${run.at}, commit ${run.commit || 'unknown'}, ${cpus().length} cores: ${run.minutes} minutes at ${run.rate} calls per second (the maximum was about ${Math.round(run.maximum)}); ` +
      `${run.calls.toLocaleString('en-US')} calls, ${run.chunks.toLocaleString('en-US')} chunks, ${run.changes.keys} keys made and deleted, ${run.changes.reloads} changes of the configuration. ` +
      `At most ${most(({ inFlight }) => inFlight)} calls in flight, ${most(({ postgresConnections }) => postgresConnections)} connections of PostgreSQL` +
      `${most(({ servers }) => servers.redisBytes) > 0 ? `, ${megabytes(most(({ servers }) => servers.redisBytes))} MB in Redis, ${most(({ servers }) => servers.unconsumed)} messages of usage waiting` : ''}.`,
    '',
    '| process | heap after collection, MB: half-way → end | MB/min ± 2 s.e. | anonymous memory, MB: half-way → end | MB/min ± 2 s.e. | open files: idle / most / after |',
    '|:--|--:|--:|--:|--:|--:|',
    ...Object.entries(run.processes).map(([name, series]) => {
      const { before, most: top, after } = series.files
      return `| ${name} | ${span(series.heap)} | ${slope(trendOf(secondHalf(series.heap)), series.heap)} | ${span(series.anonymous)} | ${slope(memoryTrend(series), series.anonymous)} | ${before} / ${top} / ${after} |`
    }),
    '',
    ...run.findings
      .filter(({ what, good }) => !good || !/^(heap|memory|open files) of /.test(what))
      .map(({ what, good, text }) => `- ${good ? '' : '**failed** '}${what}: ${text}`),
    ...Object.entries(run.warnings).map(
      ([message, count]) => `- it warned ${count === 1 ? 'once' : `${count} times`}: ${message}`,
    ),
  ]
  return lines.join('\n')
}

function span(points: readonly Point[]): string {
  const half = secondHalf(points)
  const [first, last] = [half[0], half.at(-1)]
  return first === undefined || last === undefined ? '' : `${megabytes(first.value)} → ${megabytes(last.value)}`
}

function slope({ slope: value, error }: { slope: number; error: number }, points: readonly Point[]): string {
  return points.length === 0 ? '' : `${megabytes(value)} ± ${megabytes(2 * error)}`
}

/** Appends the line, thinned to sixty samples, and writes the latest run of each topology as `soak.md`. */
export function saveSoak(run: SoakRun): void {
  const { samples, processes } = run
  const thin = <Item>(items: Item[]): Item[] => items.filter((_, index) => index % Math.ceil(items.length / 60) === 0)
  const kept = Object.fromEntries(
    Object.entries(processes).map(([name, series]) => [
      name,
      { ...series, heap: thin(series.heap), anonymous: thin(series.anonymous) },
    ]),
  )
  appendFileSync(RUNS, `${JSON.stringify({ ...run, samples: thin(samples), processes: kept })}\n`)
  const latest = new Map(savedSoaks().map((one) => [one.topology, one]))
  const texts = [...latest.values()].map(soakText)
  writeFileSync(join(FOLDER, 'soak.md'), `# Latest soak\n\nWritten by \`npm run soak -- --save\`.\n\n${texts.join('\n\n')}\n`)
}

/** The runs on record, the oldest first. */
export function savedSoaks(): SoakRun[] {
  if (!existsSync(RUNS)) return []
  return readFileSync(RUNS, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SoakRun)
}
