import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { closedLoop } from './client.ts'
import { commit } from './commit.ts'
import { once } from './connection.ts'
import { Missing } from './launch.ts'
import { NOT_TO_BE_HAD, PEER_GATEWAYS } from './peers.ts'
import { writeReadme } from './readme-table.ts'
import { describeRun, machine, type Result, save, savedResults, table } from './report.ts'
import { calibrate, optionsOf, runScenario } from './run-scenario.ts'
import type { Running } from './running.ts'
import { SCENARIOS, type Scenario, SETUPS, type Setup } from './scenarios.ts'
import { PRICES } from './setups.ts'
import { direct, floor, PROFILES, startProvider, turnpike } from './topologies.ts'
import { keepPartial, partialOf } from './unfinished.ts'
import type { UpstreamStats } from './upstream.ts'

/**
 * `npm run bench`: the same loads on the provider alone, on our HTTP server and client with nothing between (`floor`), on one process, on a cluster and on peers; one table, one line of JSON. Plain, it
 * takes about 17 minutes; `--quick` two, without LiteLLM's long start: the few that matter most; `--all` half an hour: every scenario.
 * `--only embedded,cluster` and `--scenario unary-32,held` choose; `--no-save` only looks; `--resume` goes on with a run that was cut off,
 * on the same commit; `--profile` leaves CPU profiles of the gateway's processes (its figures are then not worth keeping and are not saved);
 * `--brief` runs every load for a moment, to see that it runs;
 * `--readme` measures nothing and puts the last saved result into README.md; `--list` names scenarios.
 */

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    only: { type: 'string' },
    scenario: { type: 'string' },
    'no-save': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    brief: { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
    readme: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})
/** Milliseconds after which no further scenario is begun: a bench nobody waits for is not run. */
const TIME_LIMIT = (values.scenario !== undefined ? 60 : values.all ? 90 : values.quick ? 1.8 : 12) * 60_000
/** How long the ledger may take to book the last calls, in milliseconds. */
const SETTLE_LIMIT = 10_000
/** Whether the figures are worth keeping. */
const isKept = !values['no-save'] && !values.profile && !values.brief
const CALIBRATION = SCENARIOS.find(({ name }) => name === 'unary-32') as Scenario

if (values.list) {
  for (const { name, title } of SCENARIOS) console.log(`${name.padEnd(22)} ${title}`)
} else if (values.readme) {
  const last = savedResults().at(-1)
  if (last === undefined) refuse('no result is saved yet')
  console.log(writeReadme(last))
} else await bench()

async function bench(): Promise<void> {
  const provider = await startProvider()
  let current: Running | null = null
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error(`${signal}: stopping what was started …`)
      void Promise.allSettled([current?.stop(), provider.stop()]).then(() => process.exit(1))
    })
  }
  const makers: Record<string, (setup: Setup) => Running | Promise<Running>> = {
    direct: (setup) => (setup === 'plain' || setup === 'fresh' ? direct(provider) : absent('it has none')),
    floor: (setup) => (setup === 'plain' || setup === 'fresh' ? floor(provider) : absent('it has none')),
    embedded: (setup) => (setup.startsWith('routers-') ? absent('it is one process') : ours('start', setup)),
    cluster: (setup) => ours('cluster', setup),
  }
  const ours = (command: 'start' | 'cluster', setup: Setup) => turnpike(command, provider.url, values.profile, { setup })
  for (const [name, peer] of Object.entries(PEER_GATEWAYS)) {
    makers[name] = (setup) => {
      const lacks = peer.lacks(setup)
      return lacks === null ? peer.start(provider.url, setup) : absent(lacks)
    }
  }
  const names = values.only?.split(',') ?? Object.keys(makers).filter((name) => !values.quick || name !== 'litellm')
  for (const name of names)
    if (!Object.hasOwn(makers, name)) refuse(`no topology is called ${name}; there are ${Object.keys(makers).join(', ')}`)

  const result: Result = {
    at: new Date().toISOString(),
    commit: commit(),
    machine: machine(),
    topologies: {},
    measured: [],
    calibrations: [],
    absent: [],
    skipped: [],
  }
  if (values.resume) Object.assign(result, partialOf(result.commit))
  const scenarios = chosenScenarios()
  // One setup on every topology before the next: what is compared is measured close together, and the most usual comes first.
  for (const setup of SETUPS) {
    const round = scenarios.filter((scenario) => scenario.setup === setup)
    for (const name of names) if (round.length > 0) await runRound(name, setup, round)
  }
  await provider.stop()
  if (values.only === undefined)
    for (const [name, why] of Object.entries(NOT_TO_BE_HAD)) result.topologies[name] = `missing: ${why}`
  if (isKept) save(result)
  console.log(`${describeRun(result)}\n\n${table(result)}`)
  if (values.profile) console.log(`\nCPU profiles: ${PROFILES}`)

  /** The scenarios of one setup on one start of a topology. What goes wrong ends the round, not the run. */
  async function runRound(name: string, setup: Setup, round: Scenario[]): Promise<void> {
    const left = round.filter(
      (one) => !result.measured.some(({ topology, scenario }) => topology === name && scenario === one.name),
    )
    if (left.length === 0) return
    if (performance.now() > TIME_LIMIT) {
      result.skipped.push(...left.map((scenario) => `${scenario.name} on ${name}`))
      return
    }
    try {
      const running = await (makers[name] as (setup: Setup) => Running | Promise<Running>)(setup)
      current = running
      result.topologies[name] = running.version
      try {
        await measure(running, left)
      } finally {
        current = null
        await running.stop()
      }
    } catch (error) {
      const why = error instanceof Missing ? error.message : String((error as Error).stack)
      if (!Object.hasOwn(result.topologies, name) && setup === 'plain') result.topologies[name] = `missing: ${why}`
      else result.absent.push({ topology: name, setup, why })
      if (!(error instanceof Missing)) console.error(`${name}: ${why}`)
    }
    if (isKept) keepPartial(result)
  }

  async function measure(running: Running, round: Scenario[]): Promise<void> {
    let first = true
    const { setup } = round[0] as Scenario
    const calibration = await calibrate(provider, direct(provider), CALIBRATION)
    result.calibrations.push({ before: `${running.name} ${setup}`, load: loadavg()[0] ?? 0, ...calibration })
    const before = running.spend === null ? null : { spend: await running.spend(), stats: await stats() }
    for (const scenario of round) {
      if (performance.now() > TIME_LIMIT) {
        result.skipped.push(`${scenario.name} on ${running.name}`)
        continue
      }
      console.error(`${Math.round(performance.now() / 1_000)} s: ${running.name}: ${scenario.title} …`)
      const half = scenario.rate === 'half' ? await halfOf(running) : 0
      // Held against the ledger once, under load: the scenarios after this one leave streams, and what those cost is estimated.
      const plain = first && scenario.kind === 'closed' && !scenario.stream && scenario.keys === 0 && scenario.setup !== 'cache'
      const check = plain && before !== null ? () => billed(running, before) : null
      first = false
      const measured = await runScenario({ provider, direct: direct(provider), running, half, billed: check }, scenario)
      if (measured !== null) result.measured.push(measured)
    }
  }

  /** Half of the calls per second that the topology reaches on 32 connections: measured in this run, or just now. */
  async function halfOf(running: Running): Promise<number> {
    const known = result.measured.find((one) => one.topology === running.name && one.scenario === CALIBRATION.name)
    if (known !== undefined) return (known.figures['perSecond'] ?? 0) / 2
    const options = optionsOf(running, { ...CALIBRATION, warmup: 1_500, duration: 1_500 })
    return options === null ? 0 : (await closedLoop({ ...options, connections: 32 })).perSecond / 2
  }

  /** What the ledger booked, in percent of what the provider stated: 100 when every call is billed once. Waits for the last calls. */
  async function billed(running: Running, before: { spend: number; stats: UpstreamStats }): Promise<number> {
    const { usage } = await stats()
    const prompt = usage.prompt - before.stats.usage.prompt
    const completion = usage.completion - before.stats.usage.completion
    const due = prompt * PRICES.input + completion * PRICES.output
    let booked = 0
    for (const deadline = performance.now() + SETTLE_LIMIT; performance.now() < deadline; ) {
      booked = ((await running.spend?.()) ?? 0) - before.spend
      if (booked >= due * (1 - 1e-9)) break
      await new Promise((done) => setTimeout(done, 100))
    }
    return (booked / due) * 100
  }

  async function stats(): Promise<UpstreamStats> {
    return JSON.parse((await once({ origin: provider.url, path: '/stats', method: 'GET' })).body.toString()) as UpstreamStats
  }
}

function chosenScenarios(): Scenario[] {
  const wanted = values.scenario?.split(',')
  for (const name of wanted ?? []) {
    if (!SCENARIOS.some((scenario) => scenario.name === name))
      refuse(`no scenario is called ${name}; there are ${SCENARIOS.map((one) => one.name).join(', ')}`)
  }
  const part = values.all ? 'all' : values.quick ? 'quick' : 'usual'
  const chosen = SCENARIOS.filter((scenario) => wanted?.includes(scenario.name) ?? scenario[part])
  return values.brief ? chosen.map(briefly) : chosen
}

function briefly(scenario: Scenario): Scenario {
  const { duration, warmup, calls, pairs, kind } = scenario
  const least = (value: number): number => Math.ceil(value / 10)
  return {
    ...scenario,
    duration: kind === 'held' ? duration : least(duration),
    warmup: least(warmup),
    calls: least(calls),
    pairs: least(pairs),
  }
}

function absent(why: string): never {
  throw new Missing(why)
}

function refuse(reason: string): never {
  console.error(reason)
  process.exit(2)
}
