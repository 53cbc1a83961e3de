import { readFileSync } from 'node:fs'
import { closedLoop, type HeldStreams, holdStreams, openLoop, paired } from './client.ts'
import { callBytes, once } from './connection.ts'
import { type Consumption, readProcess, total, watchProcesses } from './cpu.ts'
import type { Summary } from './measure.ts'
import type { Figures } from './metrics.ts'
import type { Running, Target } from './running.ts'
import { bodyOf, type Scenario } from './scenarios.ts'
import { spreadOver } from './spread.ts'
import type { LoadOptions, LoadResult } from './tally.ts'
import type { UpstreamStats } from './upstream.ts'

export interface Measured {
  topology: string
  scenario: string
  figures: Figures
  /** The same load on the provider alone, just before; empty where it was not run. */
  alone: Figures
  /** CPU microseconds per call (of streams: per chunk) of each process, of the client and the provider too. */
  cpuBy: Record<string, number>
  /** PSS bytes of each process under load. */
  memoryBy: Record<string, number>
  /** Failed calls by reason. */
  errors: Record<string, number>
}

type Outcome = Omit<Measured, 'topology' | 'scenario'>

export interface Bench {
  provider: { url: string; pid: number }
  direct: Running
  running: Running
  /** Calls per second for `rate: 'half'`: half of what this topology has reached. */
  half: number
  /** What the ledger has booked of the load that has just ended, in percent; null where that is not held against it. */
  billed: (() => Promise<number>) | null
}

/** Of the load on the provider alone before an open load or streams. */
const ALONE = { duration: 1_000, warmup: 300 }
/** Milliseconds that pairs after a closed load may take. */
const PAIRS_LIMIT = 1_500
/** From so many connections on they begin one after another, over this share of the warm-up. */
const RAMP = { from: 1_000, share: 0.6 }
/** Milliseconds of rest before memory is read `afterwards`. */
const REST = 500
/** Milliseconds for what the scenario before left to end, and between two looks. */
const SETTLE = { limit: 15_000, pause: 250 }

/** Runs one scenario on one topology. Null when the topology has nothing to call for it. */
export async function runScenario(bench: Bench, scenario: Scenario): Promise<Measured | null> {
  const { running } = bench
  const options = optionsOf(running, scenario)
  const against = optionsOf(bench.direct, { ...scenario, group: 0, keys: 0 })
  if (options === null || against === null || (scenario.kind === 'paired' && running.name === 'direct')) return null
  await settled(bench)
  const watch = watchAll(bench)
  const idle = total(watch.memory())
  const outcome = await runKind(bench, scenario, options, against, watch)
  if (running.pids.length > 0) {
    await new Promise((done) => setTimeout(done, REST))
    outcome.figures['memoryIdle'] = idle / 2 ** 20
    outcome.figures['memoryAfter'] = total(watch.memory()) / 2 ** 20
  }
  return { topology: running.name, scenario: scenario.name, ...outcome }
}

function runKind(bench: Bench, scenario: Scenario, options: LoadOptions, against: LoadOptions, watch: Watch): Promise<Outcome> {
  if (scenario.kind === 'paired') return runPaired(scenario, options, against, watch)
  if (scenario.kind === 'held') return runHeld(watch, options, scenario, bench.running)
  return runLoad(bench, scenario, options, against, watch)
}

export function optionsOf(running: Running, scenario: Scenario): LoadOptions | null {
  const target = running.target[scenario.model]
  if (target === null) return null
  const { duration, warmup } = scenario
  const stream = scenario.abortAfter > 0 ? { abortAfter: scenario.abortAfter } : {}
  const call = callOf(running, scenario, target)
  return { origin: running.origin, call, duration, warmup, ...(scenario.stream ? { stream } : {}) }
}

function callOf(running: Running, scenario: Scenario, target: Target): LoadOptions['call'] {
  // A group of one is the model itself.
  const model = scenario.group > 1 ? `${target.model}-${scenario.group}` : target.model
  const body = bodyOf(scenario, model, target.dialect, target.extra)
  const make = (headers: Record<string, string>): Buffer =>
    callBytes({ origin: running.origin, path: target.path, headers, body })
  const { keyOf } = running
  if (scenario.keys === 0 || keyOf === undefined) return make(target.headers)
  return spreadOver(make({ ...target.headers, authorization: `Bearer ${keyOf(0)}` }), keyOf, scenario.keys)
}

async function runPaired(scenario: Scenario, options: LoadOptions, against: LoadOptions, watch: Watch): Promise<Outcome> {
  const { direct, through, added, addedFirst } = await paired(against, { ...options, onMeasure: watch.start }, scenario.calls)
  const used = watch.stop()
  const figures: Figures = { p50: through.latency.p50, p99: through.latency.p99 }
  const alone: Figures = { p50: direct.latency.p50, p99: direct.latency.p99 }
  if (scenario.stream) {
    Object.assign(figures, named('addedFirst', addedFirst))
    Object.assign(alone, streamFigures(direct))
    Object.assign(figures, addedTo({ ...figures, ...streamFigures(through) }, alone, ['chunkP50', 'chunkP99']))
  } else Object.assign(figures, named('added', added))
  return finish(used, through, figures, alone)
}

async function runLoad(
  bench: Bench,
  scenario: Scenario,
  options: LoadOptions,
  against: LoadOptions,
  watch: Watch,
): Promise<Outcome> {
  const isDirect = bench.running.name === 'direct'
  const compared = !isDirect && (scenario.kind === 'open' || scenario.stream)
  const alone = compared ? loadFigures(scenario, await drive(bench, scenario, { ...against, ...ALONE })) : {}
  const before = scenario.setup === 'cache' ? await served(bench) : 0
  const load = await drive(bench, scenario, { ...options, onMeasure: watch.start })
  const used = watch.stop()
  const figures = loadFigures(scenario, load)
  Object.assign(figures, shares(scenario, load, used))
  Object.assign(figures, addedTo(figures, alone, ['p50', 'p99', 'firstP50', 'firstP99', 'chunkP50', 'chunkP99']))
  if (scenario.setup === 'cache') figures['missed'] = ((await served(bench)) - before) / Math.max(1, load.calls)
  // Before the pairs: half of those never reach the gateway.
  if (bench.billed !== null) figures['billed'] = await bench.billed()
  if (!isDirect && scenario.kind === 'closed' && !scenario.stream && scenario.pairs > 0) {
    const limit = { duration: PAIRS_LIMIT, warmup: 0 }
    const pairs = await paired({ ...against, ...limit }, { ...options, ...limit }, scenario.pairs)
    Object.assign(figures, named('added', pairs.added))
    Object.assign(alone, { p50: pairs.direct.latency.p50, p99: pairs.direct.latency.p99 })
  }
  return finish(used, load, figures, alone)
}

/** One load of the scenario's kind. */
function drive(bench: Bench, scenario: Scenario, options: LoadOptions): Promise<LoadResult> {
  const connections = Math.min(scenario.connections, mostConnections())
  if (scenario.kind === 'open') {
    return openLoop({ ...options, rate: scenario.rate === 'half' ? bench.half : scenario.rate, connections })
  }
  const ramp = connections >= RAMP.from ? (options.warmup ?? 0) * RAMP.share : 0
  return closedLoop({ ...options, connections, ramp, cut: scenario.stream && scenario.abortAfter === 0 })
}

function loadFigures(scenario: Scenario, load: LoadResult): Figures {
  if (scenario.stream) return streamFigures(load)
  const figures: Figures = { perSecond: load.perSecond }
  // Where every call failed there is no latency, and none of 0.
  if (load.latency.count > 0) Object.assign(figures, { p50: load.latency.p50, p99: load.latency.p99 })
  if (load.late !== undefined) figures['lateP99'] = load.late.p99
  return figures
}

/** How long a paced stream takes is the script's doing: of streams, only what happens to their chunks. */
function streamFigures(load: LoadResult): Figures {
  const figures: Figures = { chunksPerSecond: (load.chunks ?? 0) / Math.max(load.seconds, 1e-9) }
  if (load.first !== undefined && load.first.count > 0) Object.assign(figures, named('first', load.first))
  if (load.delay !== undefined) Object.assign(figures, named('chunk', load.delay))
  return figures
}

/** CPU per unit of work, and how busy the client was: near 100 % of a core it measures itself. */
function shares(scenario: Scenario, load: LoadResult, used: Used): Figures {
  const figures: Figures = { clientBusy: used.client / Math.max(1, used.wall * 10) }
  const gateway = total(used.gateway.cpu)
  if (gateway > 0 && scenario.stream && (load.chunks ?? 0) > 0) figures['cpuPerChunk'] = gateway / (load.chunks ?? 1)
  if (gateway > 0 && !scenario.stream && load.calls > 0) figures['cpu'] = gateway / load.calls
  return figures
}

/** The difference of each figure that both have. */
function addedTo(figures: Figures, alone: Figures, names: string[]): Figures {
  const added: Figures = {}
  for (const name of names) {
    const [with_, without] = [figures[name], alone[name]]
    if (with_ === undefined || without === undefined) continue
    added[`added${name[0]?.toUpperCase()}${name.slice(1)}`] = with_ - without
  }
  return added
}

async function runHeld(watch: Watch, options: LoadOptions, scenario: Scenario, running: Running): Promise<Outcome> {
  const count = Math.min(scenario.calls, mostConnections())
  watch.start()
  const before = total(watch.memory())
  const rate = scenario.rate === 'half' ? 1_000 : scenario.rate
  const held: HeldStreams = await holdStreams({ ...options, count, rate, limit: scenario.duration })
  const used = watch.stop()
  held.release()
  const figures: Figures = { open: held.open, ...named('first', held.first) }
  const grown = total(used.gateway.memory) - before
  if (running.pids.length > 0 && held.open > 0) figures['perStream'] = grown / held.open / 1024
  const errors =
    count - held.open > 0 && Object.keys(held.failed).length === 0 ? { 'not open in time': count - held.open } : held.failed
  return finish(used, { calls: held.open, errors }, figures, {})
}

function finish(used: Used, load: Pick<LoadResult, 'calls' | 'errors' | 'chunks'>, figures: Figures, alone: Figures): Outcome {
  const perCall = (micros: number): number => micros / Math.max(1, load.chunks ?? load.calls)
  const everybody = { ...used.gateway.cpu, provider: used.provider, client: used.client }
  const cpuBy = Object.fromEntries(Object.entries(everybody).map(([name, micros]) => [name, perCall(micros)]))
  const memory = total(used.gateway.memory)
  if (memory > 0) figures['memory'] = memory / 2 ** 20
  figures['failed'] = total(load.errors)
  return { figures, alone, cpuBy, memoryBy: used.gateway.memory, errors: load.errors }
}

function named(prefix: string, summary: Summary): Figures {
  return { [`${prefix}P50`]: summary.p50, [`${prefix}P99`]: summary.p99 }
}

export interface Calibration {
  /** Calls per second of the provider alone, 32 connections; microseconds of CPU per call. */
  perSecond: number
  provider: number
  client: number
}

/** What the machine gives just now, for runs at different hours to be compared. */
export async function calibrate(provider: Bench['provider'], direct: Running, scenario: Scenario): Promise<Calibration> {
  const options = optionsOf(direct, scenario)
  if (options === null) throw new Error('the provider alone has no such call')
  const watch = watchAll({ provider, running: direct })
  const load = await closedLoop({ ...options, duration: 700, warmup: 200, connections: 32, onMeasure: watch.start })
  const { provider: served, client } = watch.stop()
  const calls = Math.max(1, load.calls)
  return { perSecond: load.perSecond, provider: served / calls, client: client / calls }
}

async function served(bench: Bench): Promise<number> {
  return (await statsOf(bench)).requests
}

async function statsOf({ provider }: Bench): Promise<UpstreamStats> {
  const { body } = await once({ origin: provider.url, path: '/stats', method: 'GET' })
  return JSON.parse(body.toString()) as UpstreamStats
}

/** Ten thousand streams that were cut are still ending when their client has long gone, and would be billed to the next scenario. */
async function settled(bench: Bench): Promise<void> {
  for (let waited = 0; waited < SETTLE.limit && (await statsOf(bench)).active > 0; waited += SETTLE.pause) {
    await new Promise((done) => setTimeout(done, SETTLE.pause))
  }
}

interface Used {
  gateway: Consumption
  /** CPU microseconds. */
  provider: number
  client: number
  /** Milliseconds. */
  wall: number
}

interface Watch {
  start(): void
  stop(): Used
  memory(): Record<string, number>
}

function watchAll({ running, provider }: Pick<Bench, 'running' | 'provider'>): Watch {
  const watch = watchProcesses(() => running.pids, running.nameOf)
  const providerCpu = (): number => readProcess(provider.pid)?.cpu ?? 0
  let client = process.cpuUsage()
  let before = providerCpu()
  let from = performance.now()
  return {
    start: () => {
      watch.start()
      client = process.cpuUsage()
      before = providerCpu()
      from = performance.now()
    },
    stop: () => {
      const wall = performance.now() - from
      const { user, system } = process.cpuUsage(client)
      return { wall, provider: providerCpu() - before, client: user + system, gateway: watch.stop() }
    },
    memory: watch.sample,
  }
}

/** Every stream is two connections in a gateway that is one process, and one may have this process' limit of open files. */
function mostConnections(): number {
  return Math.floor((openFileLimit() - 500) / 2)
}

function openFileLimit(): number {
  try {
    const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return line === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(line)
  } catch {
    return 4_096
  }
}
