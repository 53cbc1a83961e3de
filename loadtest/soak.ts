import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { LABEL_SETS_MAX } from '../shared/metrics.ts'
import { commit } from './commit.ts'
import { once } from './connection.ts'
import { readProcess } from './cpu.ts'
import { PRICES } from './setups.ts'
import { callOnce, changeThings, fillMetrics, hold, manage, openTarget, runMix, type Target } from './soak-load.ts'
import { readWarnings } from './soak-log.ts'
import { type Part, soakConfig } from './soak-mix.ts'
import { type SoakRun, saveSoak, soakText } from './soak-report.ts'
import { FILES_SLACK, judge, type SoakFacts } from './soak-verdict.ts'
import { type Watch, watchGateway } from './soak-watch.ts'
import type { LoadResult } from './tally.ts'
import { startProvider, turnpike } from './topologies.ts'
import type { UpstreamStats } from './upstream.ts'

/**
 * `npm run soak`: half of what the machine can do, with streams, for half an hour, on one process and on a cluster; then everything that was
 * opened must be closed, nothing may have grown, and the ledger must be the provider's record. Exit code 1 when not.
 * `--minutes 30`, `--only embedded,cluster`, `--rate N` calls per second instead of half of the maximum, `--save` to keep the result.
 */

const MINUTE = 60_000
/** Calls per second, and milliseconds, of the load that everything is opened and compiled by, and that of the one measured after it. */
const WARM = { rate: 60, duration: 8_000 }
const PROBE = { rate: 100, duration: 8_000 }
/** Milliseconds of quiet in which idle connections are closed: Node and undici keep them for seconds, uWebSockets.js for ten. */
const QUIET = 20_000
/** Milliseconds after the load in which everything must have ended. */
const END_LIMIT = 90_000
/** Milliseconds after that in which all must be booked. */
const BOOK_LIMIT = 30_000
const HELD_STREAMS = 50
/** Keys after which metrics keep no more of them apart, in either of two routers. */
const KEYS = 2 * LABEL_SETS_MAX

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    only: { type: 'string', default: 'embedded,cluster' },
    rate: { type: 'string' },
    save: { type: 'boolean', default: false },
  },
})
const minutes = positive('minutes', values.minutes)
const rate = values.rate === undefined ? null : positive('rate', values.rate)
const names = values.only.split(',')
for (const name of names)
  if (name !== 'embedded' && name !== 'cluster') refuse(`no topology is called ${name}; there are embedded, cluster`)

/** What is running, the provider first. */
const running: { stop(): Promise<void> }[] = []
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void Promise.all(running.map((one) => one.stop())).finally(() => process.exit(1))
  })
}

let good = true
for (const name of names) {
  const run = await soak(name as 'embedded' | 'cluster')
  good &&= run.findings.every((finding) => finding.good)
  console.log(`\n${soakText(run)}`)
  if (values.save) saveSoak(run)
}
process.exit(good ? 0 : 1)

async function soak(name: 'embedded' | 'cluster'): Promise<SoakRun> {
  const provider = await startProvider()
  running.push(provider)
  try {
    const more = soakConfig(provider.url)
    const gateway = await turnpike(name === 'embedded' ? 'start' : 'cluster', provider.url, false, {
      more,
      nodeOptions: '--inspect=127.0.0.1:0 --expose-gc',
    })
    running.push(gateway)
    try {
      return await measured(name, await openTarget(gateway), provider)
    } finally {
      running.pop()
      await gateway.stop()
    }
  } finally {
    running.pop()
    await provider.stop()
  }
}

async function measured(name: string, target: Target, provider: { url: string; pid: number }): Promise<SoakRun> {
  const { gateway } = target
  const stats = async (): Promise<UpstreamStats> =>
    JSON.parse((await once({ origin: provider.url, path: '/stats', method: 'GET' })).body.toString()) as UpstreamStats
  const before = await stats()
  say(name, 'warming up')
  const loads = [await runMix(target, WARM.rate, WARM.duration)]
  const filled = await fillMetrics(target, KEYS)
  const watch = await watchGateway(gateway)
  say(name, `heaps of ${watch.inspected.join(', ')}; measuring what a call costs`)
  const { load, maximum } = await measureMaximum(target, watch, provider.pid)
  loads.push(load)
  const wanted = rate ?? Math.max(1, Math.round(maximum / 2))
  await wait(QUIET)
  watch.idle()

  say(name, `${wanted} calls per second for ${minutes} min (maximum about ${Math.round(maximum)})`)
  const held = await hold(target, HELD_STREAMS)
  const changes = changeThings(target, Math.min(2 * MINUTE, (minutes * MINUTE) / 3))
  const stop = watchAlong(name, watch)
  loads.push(await runMix(target, wanted, minutes * MINUTE))
  say(name, 'the load has ended; waiting until everything has')
  await stop()
  await changes.stop()
  held.release()

  const after = await settled(watch, gateway, stats)
  const now = await stats()
  say(name, `left: ${JSON.stringify(after)}`)
  const warnings = readWarnings(gateway.logFile)
  const agreed = await books(target, loads, filled + changes.done.calls, before, now)
  const failed = failures(loads)
  for (const [reason, count] of Object.entries(held.failed)) failed[`held: ${reason}`] = count
  const facts: SoakFacts = {
    processes: watch.series,
    failed,
    problems: [...changes.done.problems, ...watch.problems],
    left: { ...after, 'slots and holds still taken, by key': await takenSlots(target) },
    books: agreed,
  }
  const findings = judge(facts)
  await watch.close()
  return {
    at: new Date().toISOString(),
    commit: commit(),
    topology: name,
    ...{ minutes, rate: wanted, maximum, findings },
    calls: total(loads, ({ calls }) => calls),
    chunks: total(loads, ({ chunks = 0 }) => chunks),
    parts: Object.fromEntries(
      [...(loads.at(-1) as Map<Part, LoadResult>)].map(([part, { calls, latency, first }]) => [
        part.name,
        { calls, p50: latency.p50, p99: latency.p99, ...(first === undefined ? {} : { firstP99: first.p99 }) },
      ]),
    ),
    changes: { keys: changes.done.keys, reloads: changes.done.reloads },
    warnings,
    processes: watch.series,
    samples: watch.samples,
  }
}

/**
 * Calls of the mix per second that would use up this machine, or the busiest process' one core: from processor time per call under a small
 * load, client and provider included since they are on it too. Wall time would measure whoever else is on the machine.
 */
async function measureMaximum(target: Target, watch: Watch, provider: number) {
  const client = process.cpuUsage()
  const [first, begun] = [watch.cpu(), readProcess(provider)?.cpu ?? 0]
  const load = await runMix(target, PROBE.rate, PROBE.duration)
  const calls = PROBE.rate * (PROBE.duration / 1_000)
  const used = Object.entries(watch.cpu()).map(([name, micros]) => (micros - (first[name] ?? 0)) / calls)
  const { user, system } = process.cpuUsage(client)
  used.push((user + system) / calls, ((readProcess(provider)?.cpu ?? 0) - begun) / calls)
  const whole = used.reduce((sum, micros) => sum + micros, 0)
  // PostgreSQL is many processes; the others of which one is the busiest run on one core.
  return { load, maximum: Math.min((cpus().length * 1e6) / whole, 1e6 / Math.max(...used)) }
}

/** Looks every fifteen seconds, as Prometheus would, and collects garbage every thirty, oftener in a short run. Returns what ends that. */
function watchAlong(name: string, watch: Watch): () => Promise<void> {
  const begun = performance.now()
  const minute = (): number => (performance.now() - begun) / MINUTE
  let busy: Promise<void> = Promise.resolve()
  // One thing at a time, and none again before it is done: on a busy machine a collection of six heaps may take longer than its interval.
  const each = (milliseconds: number, work: () => Promise<unknown>) => {
    let waiting = false
    return setInterval(() => {
      if (waiting) return
      waiting = true
      busy = busy
        .then(work)
        .catch((error: Error) => {
          if (watch.problems.length < 20) watch.problems.push(error.message)
        })
        .then(() => {
          waiting = false
        })
    }, milliseconds)
  }
  const timers = [
    each(Math.min(15_000, minutes * 1_500), () => watch.look(minute())),
    each(Math.min(30_000, Math.max(5_000, minutes * 1_500)), () => watch.collect(minute())),
    each(MINUTE, async () => say(name, progress(watch))),
  ]
  return async () => {
    for (const timer of timers) clearInterval(timer)
    await busy
  }
}

function progress({ samples, series }: Watch): string {
  const last = samples.at(-1)
  const heaps = Object.entries(series).map(
    ([name, { heap }]) => `${name} ${((heap.at(-1)?.value ?? 0) / 1024 / 1024).toFixed(1)}`,
  )
  return `minute ${last?.minute.toFixed(1)}: ${last?.inFlight} in flight, heaps in MB: ${heaps.filter((text) => !text.endsWith(' 0.0')).join(', ')}`
}

/** Waits until nothing runs any more and idle connections are closed, at most END_LIMIT. What is left then is for the verdict. */
async function settled(
  watch: Watch,
  gateway: Target['gateway'],
  stats: () => Promise<UpstreamStats>,
): Promise<Record<string, number>> {
  for (const deadline = performance.now() + END_LIMIT; ; await wait(1_000)) {
    const backlog = await manage(gateway, '/health/backlog')
    const { servers } = await watch.look((watch.samples.at(-1)?.minute ?? 0) + 1 / 60)
    const left: Record<string, number> = {
      'calls on edges': Math.max(0, Number(backlog['in_flight_requests']) - 1),
      'calls on routers': Number(backlog['admitted_requests']),
      'calls at the provider': (await stats()).active,
      ...(servers.leases === null ? {} : { 'leases in Redis': servers.leases }),
      ...(servers.unconsumed === null ? {} : { 'usage not consumed': servers.unconsumed }),
    }
    const files = Object.values(watch.series).every(({ files }) => files.after <= files.before + FILES_SLACK)
    if ((files && Object.values(left).every((count) => count === 0)) || performance.now() > deadline) return left
  }
}

/** Keys whose slots are not all free, or whose budget is still held: with one slot, and room for one small call, that call must pass. */
async function takenSlots({ gateway, keys, ...target }: Target): Promise<number> {
  let taken = 0
  for (const [part, key] of keys) {
    const { info } = (await manage(gateway, `/key/info?key=${key}`)) as { info: { spend: number } }
    await manage(gateway, '/key/update', { key, max_parallel_requests: 1, max_budget: info.spend + 0.001 })
    await wait(1_500)
    const status = await callOnce({ gateway, keys, ...target }, key)
    if (status !== 200) {
      taken += 1
      say(part, `its key was answered ${status} though it should be free`)
    }
  }
  return taken
}

/**
 * The provider's record beside the ledger: dollars of the calls whose usage it stated, and how many calls of each team were booked.
 * `others`: calls of the exact team that are in none of the loads.
 */
async function books(
  { gateway, teams }: Target,
  loads: Map<Part, LoadResult>[],
  others: number,
  before: UpstreamStats,
  now: UpstreamStats,
): Promise<SoakFacts['books']> {
  const { prompt, completion } = now.usage
  const due = (prompt - before.usage.prompt) * PRICES.input + (completion - before.usage.completion) * PRICES.output
  // What a router refuses because it is behind is in no book; such a call counts as failed already.
  const count = (exact: boolean, all: boolean): number =>
    total(loads, ({ calls, errors }, part) => (part.exact === exact ? calls + sumOf(errors, all ? null : part.provoked) : 0))
  const exact = { least: count(true, false) + others, most: count(true, true) + others }
  const estimated = { least: count(false, false) + HELD_STREAMS, most: count(false, true) + HELD_STREAMS }
  const read = async () => ({ exact: await booked(gateway, teams.exact), estimated: await booked(gateway, teams.estimated) })
  let found = await read()
  for (const deadline = performance.now() + BOOK_LIMIT; performance.now() < deadline; await wait(1_000)) {
    if (found.exact.calls >= exact.least && found.estimated.calls >= estimated.least && round(found.exact.spend) >= round(due))
      break
    found = await read()
  }
  const within = ({ least, most }: { least: number; most: number }, booked: number): number =>
    Math.min(most, Math.max(least, booked))
  const left = total(loads, ({ calls }, part) => (part.abortAfter > 0 ? calls : 0)) + HELD_STREAMS
  return [
    { what: 'dollars of calls with stated usage', provider: round(due), ledger: round(found.exact.spend) },
    { what: 'calls with stated usage', provider: within(exact, found.exact.calls), ledger: found.exact.calls },
    { what: 'calls left or broken', provider: within(estimated, found.estimated.calls), ledger: found.estimated.calls },
    // More than clients left means calls that the gateway gave up and began anew; what those cost is an estimate, among the dollars above.
    { what: 'calls left, as the provider saw them', provider: now.aborted - before.aborted, ledger: left },
  ]
}

async function booked(gateway: Target['gateway'], team: string): Promise<{ calls: number; spend: number }> {
  const day = (shift: number): string => new Date(Date.now() + shift * 24 * 60 * MINUTE).toISOString().slice(0, 10)
  const path = `/team/daily/activity/aggregated?team_ids=${team}&start_date=${day(-1)}&end_date=${day(1)}`
  const { results } = (await manage(gateway, path)) as { results: { metrics: { spend: number; api_requests: number } }[] }
  return {
    calls: results.reduce((sum, { metrics }) => sum + metrics.api_requests, 0),
    spend: results.reduce((sum, { metrics }) => sum + metrics.spend, 0),
  }
}

function failures(loads: Map<Part, LoadResult>[]): Record<string, number> {
  const failed: Record<string, number> = {}
  for (const load of loads) {
    for (const [part, { errors, unstarted = 0 }] of load) {
      for (const [reason, count] of Object.entries({ ...errors, 'not begun': unstarted })) {
        const what = `${part.name}: ${reason}`
        if (!part.provoked.includes(reason)) failed[what] = (failed[what] ?? 0) + count
      }
    }
  }
  return failed
}

function total(loads: Map<Part, LoadResult>[], read: (result: LoadResult, part: Part) => number): number {
  return loads.reduce((sum, load) => sum + [...load].reduce((part, [of, result]) => part + read(result, of), 0), 0)
}

/** Of these reasons alone; of all when null. */
function sumOf(counts: Record<string, number>, reasons: readonly string[] | null): number {
  return Object.entries(counts).reduce((sum, [reason, count]) => sum + (reasons?.includes(reason) === false ? 0 : count), 0)
}

/** To nano-dollars. */
function round(dollars: number): number {
  return Math.round(dollars * 1e9) / 1e9
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds))
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) refuse(`--${name} ${text}: a number above 0 is needed`)
  return value
}

function say(name: string, text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${name}: ${text}`)
}

function refuse(reason: string): never {
  console.error(reason)
  process.exit(2)
}
