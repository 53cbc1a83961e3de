import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './launch.ts'
import { figure, markdown, paceOf, type Result } from './report.ts'

/** The compact table of README.md, between two markers: a row per figure, a column per gateway. */

const BEGIN = '<!-- bench:begin -->'
const END = '<!-- bench:end -->'
const README = join(ROOT, 'README.md')

interface Row {
  title: string
  scenario: string
  metrics: string[]
  /** What each figure is multiplied with. */
  scale?: number
}

const ROWS: readonly Row[] = [
  { title: 'calls/s, 32 connections', scenario: 'unary-32', metrics: ['perSecond'] },
  { title: 'CPU per call, all processes, µs', scenario: 'unary-32', metrics: ['cpu'] },
  { title: 'the same with everything on: calls/s', scenario: 'full-32', metrics: ['perSecond'] },
  { title: 'the same with everything on: CPU per call, µs', scenario: 'full-32', metrics: ['cpu'] },
  { title: '1,000 deployments in the group: CPU per call, µs', scenario: 'deployments-1000', metrics: ['cpu'] },
  { title: 'a million keys, each called for the first time: CPU per call, µs', scenario: 'keys-1000000', metrics: ['cpu'] },
  { title: 'OpenAI client, Anthropic provider: CPU per call, µs', scenario: 'translated-32', metrics: ['cpu'] },
  { title: 'answers from the cache: CPU per call, µs', scenario: 'cached-32', metrics: ['cpu'] },
  { title: 'added latency, 1 connection, p50 / p99, µs', scenario: 'unary-paired', metrics: ['addedP50', 'addedP99'] },
  { title: 'added latency, 1,000 calls/s, p50 / p99, µs', scenario: 'unary-open', metrics: ['addedP50', 'addedP99'] },
  { title: 'added time to first token, p50 / p99, µs', scenario: 'stream-paired', metrics: ['addedFirstP50', 'addedFirstP99'] },
  { title: 'added per chunk, 100 streams, p50 / p99, µs', scenario: 'stream-paced', metrics: ['addedChunkP50', 'addedChunkP99'] },
  { title: 'CPU per chunk, 100 streams, µs', scenario: 'stream-paced', metrics: ['cpuPerChunk'] },
  { title: 'streams open at once, of 10,000 asked', scenario: 'held', metrics: ['open'] },
  { title: 'memory per open stream, KB', scenario: 'held', metrics: ['perStream'] },
  { title: 'memory before / under load / after, MB', scenario: 'unary-32', metrics: ['memoryIdle', 'memory', 'memoryAfter'] },
]

/** The table with its setup, as markdown. A figure of a scenario that failed calls carries how many. */
export function readmeTable(result: Result): string {
  const columns = Object.keys(result.topologies).filter(
    (name) => name !== 'direct' && result.measured.some(({ topology }) => topology === name),
  )
  const cell = (row: Row, topology: string): string => {
    const found = result.measured.find((one) => one.topology === topology && one.scenario === row.scenario)
    if (found === undefined || row.metrics.every((metric) => found.figures[metric] === undefined)) return '–'
    const failed = found.figures['failed'] ?? 0
    const text = row.metrics.map((metric) => figure(found.figures[metric]) || '–').join(' / ')
    return failed > 0 ? `${text} (${figure(failed).replace(/\.00$/, '')} failed)` : text
  }
  const rows = ROWS.map((row) => [row.title, ...columns.map((name) => cell(row, name))]).filter((row) =>
    row.slice(1).some((text) => text !== '–'),
  )
  const { cpu, cores, memory, kernel, node, load } = result.machine
  const setup = [
    `Measured ${result.at.slice(0, 10)} at commit ${result.commit} on ${cores} cores of ${cpu}, ${figure(memory / 2 ** 30)} GB, Linux ${kernel}, Node ${node}, load ${figure(load)} at begin.`,
    'Client, provider and gateway share the machine; the provider answers at once. Memory is PSS of all processes, with NATS, Redis and PostgreSQL.',
    ...paceOf(result),
    ...(columns.includes('floor')
      ? ['floor: our HTTP server and HTTP client in one process with nothing between them, what the rest stands on.']
      : []),
    ...columns.map((name) => `${name}: ${ours(name) ? `commit ${result.topologies[name]}` : result.topologies[name]}.`),
    ...Object.entries(result.topologies)
      .filter(([, version]) => version.startsWith('missing: '))
      .map(([name, version]) => `Not measured, ${name}: ${version.slice('missing: '.length)}.`),
  ]
  return `${setup.join('\n')}\n\n${markdown([['', ...columns], ...rows], 1)}`
}

function ours(name: string): boolean {
  return name === 'embedded' || name === 'cluster' || name === 'floor'
}

/** Puts the table between the markers of a text. Throws when it has no markers. */
export function between(text: string, content: string): string {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (from < 0 || to < from) throw new Error(`there are no lines ${BEGIN} and ${END}`)
  return `${text.slice(0, from + BEGIN.length)}\n\n${content}\n\n${text.slice(to)}`
}

/** Writes it into README.md and returns it. */
export function writeReadme(result: Result): string {
  const content = readmeTable(result)
  writeFileSync(README, between(readFileSync(README, 'utf8'), content))
  return content
}
