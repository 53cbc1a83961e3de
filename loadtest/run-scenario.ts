import { readFileSync } from 'node:fs'
import { closedLoop, type HeldStreams, holdStreams, openLoop, paired } from './client.ts'
import { callBytes } from './connection.ts'
import { type Consumption, readProcess, total, watchProcesses } from './cpu.ts'
import type { Summary } from './measure.ts'
import { bodyOf, type Scenario } from './scenarios.ts'
import type { LoadOptions, LoadResult } from './tally.ts'
import type { Running } from './topologies.ts'

/** Figures of one scenario on one topology, by the names in `METRICS`. */
export type Figures = Record<string, number>

export interface Measured {
  topology: string
  scenario: string
  figures: Figures
  /** CPU microseconds per call of each process, of the client and the provider too. */
  cpuBy: Record<string, number>
  /** PSS bytes of each process at the end. */
  memoryBy: Record<string, number>
  /** Failed calls by reason. */
  errors: Record<string, number>
}

/** What is measured: the sign says whether more is better; `noise` widens the threshold of a comparison, CPU time being the steadiest. */
export const METRICS: Record<string, { title: string; unit: string; better: 'less' | 'more'; noise: number }> = {
  perSecond: { title: 'calls per second', unit: '/s', better: 'more', noise: 3 },
  p50: { title: 'latency p50', unit: 'µs', better: 'less', noise: 3 },
  p99: { title: 'latency p99', unit: 'µs', better: 'less', noise: 6 },
  addedP50: { title: 'added latency p50', unit: 'µs', better: 'less', noise: 2 },
  addedP99: { title: 'added latency p99', unit: 'µs', better: 'less', noise: 6 },
  addedFirstP50: { title: 'added time to first token p50', unit: 'µs', better: 'less', noise: 2 },
  addedFirstP99: { title: 'added time to first token p99', unit: 'µs', better: 'less', noise: 6 },
  firstP50: { title: 'time to first token p50', unit: 'µs', better: 'less', noise: 3 },
  firstP99: { title: 'time to first token p99', unit: 'µs', better: 'less', noise: 6 },
  chunkP50: { title: 'provider to client, per chunk p50', unit: 'µs', better: 'less', noise: 3 },
  chunkP99: { title: 'provider to client, per chunk p99', unit: 'µs', better: 'less', noise: 6 },
  chunksPerSecond: { title: 'chunks per second', unit: '/s', better: 'more', noise: 3 },
  cpu: { title: 'CPU per call, all its processes', unit: 'µs', better: 'less', noise: 1 },
  cpuPerChunk: { title: 'CPU per chunk, all its processes', unit: 'µs', better: 'less', noise: 1 },
  open: { title: 'streams open', unit: '', better: 'more', noise: 1 },
  perStream: { title: 'memory per open stream', unit: 'KB', better: 'less', noise: 1 },
  memory: { title: 'memory after, all its processes', unit: 'MB', better: 'less', noise: 1 },
  lateP99: { title: 'lateness of the client itself p99', unit: 'µs', better: 'less', noise: 1e9 },
  failed: { title: 'failed calls', unit: '', better: 'less', noise: 1 },
  billed: { title: 'ledger against provider', unit: '%', better: 'more', noise: 1e9 },
}

export interface Bench {
  provider: { url: string; pid: number }
  direct: Running
  running: Running
}

/** Runs one scenario on one topology. Null when the topology has nothing to call for it. */
export async function runScenario(bench: Bench, scenario: Scenario): Promise<Measured | null> {
  const { running } = bench
  const options = optionsOf(running, scenario)
  if (options === null || (scenario.kind === 'paired' && running.name === 'direct')) return null
  const watch = watchAll(bench)
  options.onMeasure = watch.start
  const base = { topology: running.name, scenario: scenario.name }
  if (scenario.kind === 'paired') {
    const against = optionsOf(bench.direct, scenario)
    if (against === null) return null
    const { through, added, addedFirst } = await paired(against, options, scenario.calls)
    const figures: Figures = { p50: through.latency.p50, p99: through.latency.p99 }
    if (scenario.stream) Object.assign(figures, named('addedFirst', addedFirst))
    else Object.assign(figures, named('added', added))
    return { ...base, ...finish(watch.stop(), through, figures) }
  }
  if (scenario.kind === 'held') return { ...base, ...(await runHeld(watch, options, scenario, running)) }
  const load =
    scenario.kind === 'open'
      ? await openLoop({ ...options, rate: scenario.rate, connections: scenario.connections })
      : await closedLoop({ ...options, connections: scenario.connections })
  const used = watch.stop()
  return { ...base, ...finish(used, load, loadFigures(scenario, load, used)) }
}

function optionsOf(running: Running, scenario: Scenario): LoadOptions | null {
  const target = running.target[scenario.model]
  if (target === null) return null
  const { path, model, headers } = target
  const call = callBytes({ origin: running.origin, path, headers, body: bodyOf(scenario, model) })
  const { duration, warmup } = scenario
  const stream = scenario.abortAfter > 0 ? { abortAfter: scenario.abortAfter } : {}
  return { origin: running.origin, call, duration, warmup, ...(scenario.stream ? { stream } : {}) }
}

function loadFigures(scenario: Scenario, load: LoadResult, used: Used): Figures {
  const figures: Figures = { perSecond: load.perSecond, p50: load.latency.p50, p99: load.latency.p99 }
  const gateway = total(used.gateway.cpu)
  const measurable = gateway > 0 && load.calls > 0
  if (measurable && !scenario.stream) figures['cpu'] = gateway / load.calls
  if (measurable && scenario.stream) figures['cpuPerChunk'] = gateway / Math.max(1, load.chunks ?? 0)
  if (load.first !== undefined) Object.assign(figures, named('first', load.first))
  if (load.delay !== undefined) Object.assign(figures, named('chunk', load.delay))
  if (load.chunks !== undefined) figures['chunksPerSecond'] = load.chunks / Math.max(load.seconds, 1e-9)
  if (load.late !== undefined) figures['lateP99'] = load.late.p99
  // How long a paced stream takes is the script's doing.
  if (scenario.stream) for (const name of ['p50', 'p99', 'perSecond']) delete figures[name]
  return figures
}

async function runHeld(
  watch: Watch,
  options: LoadOptions,
  scenario: Scenario,
  running: Running,
): Promise<Omit<Measured, 'topology' | 'scenario'>> {
  // Every stream is two connections in a gateway that is one process.
  const count = Math.min(scenario.calls, Math.floor((openFileLimit() - 500) / 2))
  watch.start()
  const before = total(watch.stop().gateway.memory)
  const held: HeldStreams = await holdStreams({ ...options, count, rate: scenario.rate, limit: scenario.duration })
  const used = watch.stop()
  held.release()
  const figures: Figures = { open: held.open, ...named('first', held.first) }
  const grown = total(used.gateway.memory) - before
  if (running.pids.length > 0 && held.open > 0) figures['perStream'] = grown / held.open / 1024
  const errors =
    count - held.open > 0 && Object.keys(held.failed).length === 0 ? { 'not open in time': count - held.open } : held.failed
  return finish(used, { calls: held.open, errors }, figures)
}

function finish(
  used: Used,
  load: Pick<LoadResult, 'calls' | 'errors'>,
  figures: Figures,
): Omit<Measured, 'topology' | 'scenario'> {
  const perCall = (micros: number): number => micros / Math.max(1, load.calls)
  const cpuBy = Object.fromEntries(
    Object.entries({ ...used.gateway.cpu, provider: used.provider, client: used.client }).map(([name, micros]) => [
      name,
      perCall(micros),
    ]),
  )
  const memory = total(used.gateway.memory)
  if (memory > 0) figures['memory'] = memory / 1024 / 1024
  figures['failed'] = total(load.errors)
  return { figures, cpuBy, memoryBy: used.gateway.memory, errors: load.errors }
}

function named(prefix: string, summary: Summary): Figures {
  return { [`${prefix}P50`]: summary.p50, [`${prefix}P99`]: summary.p99 }
}

interface Used {
  gateway: Consumption
  /** CPU microseconds. */
  provider: number
  client: number
}

interface Watch {
  start(): void
  stop(): Used
}

function watchAll({ running, provider }: Bench): Watch {
  const watch = watchProcesses(() => running.pids, running.nameOf)
  const providerCpu = (): number => readProcess(provider.pid)?.cpu ?? 0
  let client = process.cpuUsage()
  let before = providerCpu()
  return {
    start: () => {
      watch.start()
      client = process.cpuUsage()
      before = providerCpu()
    },
    stop: () => {
      const { user, system } = process.cpuUsage(client)
      return { provider: providerCpu() - before, client: user + system, gateway: watch.stop() }
    },
  }
}

function openFileLimit(): number {
  try {
    const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return line === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(line)
  } catch {
    return 4_096
  }
}
