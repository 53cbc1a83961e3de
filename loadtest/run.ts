import { parseArgs } from 'node:util'
import { once } from './connection.ts'
import { describeRun, machine, type Result, save, table } from './report.ts'
import { runScenario } from './run-scenario.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'
import { commit, direct, Missing, PRICES, PROFILES, portkey, type Running, startProvider, turnpike } from './topologies.ts'
import type { UpstreamStats } from './upstream.ts'

/**
 * `npm run bench`: the same loads on the provider alone, on one process, on a cluster and on a peer; one table, one line of JSON.
 * `--quick` for the few that matter most, `--only embedded,cluster` and `--scenario unary-32,held` to choose, `--no-save` to look only,
 * `--profile` to leave CPU profiles of the gateway's processes (its figures are then not worth keeping and are not saved).
 */

/** Milliseconds after which no further scenario is begun: a bench nobody waits for is not run. */
const TIME_LIMIT = 280_000
/** How long the ledger may take to book the last calls, in milliseconds. */
const SETTLE_LIMIT = 10_000

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    scenario: { type: 'string' },
    'no-save': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
})

const scenarios = chosenScenarios()
const provider = await startProvider()
const makers: Record<string, () => Running | Promise<Running>> = {
  direct: () => direct(provider),
  embedded: () => turnpike('start', provider.url, values.profile),
  cluster: () => turnpike('cluster', provider.url, values.profile),
  portkey: () => portkey(provider.url),
}
const names = values.only === undefined ? Object.keys(makers) : values.only.split(',')
for (const name of names)
  if (!Object.hasOwn(makers, name)) refuse(`no topology is called ${name}; there are ${Object.keys(makers).join(', ')}`)

const result: Result = {
  at: new Date().toISOString(),
  commit: commit(),
  machine: machine(),
  topologies: {},
  measured: [],
  skipped: [],
}
for (const name of names) {
  const rounds = [scenarios.filter(({ fresh }) => !fresh), ...scenarios.filter(({ fresh }) => fresh).map((one) => [one])]
  for (const round of rounds.filter(({ length }) => length > 0)) await runRound(name, round)
}
await provider.stop()
if (!values['no-save'] && !values.profile) save(result)
console.log(`${describeRun(result)}\n\n${table(result)}`)
if (values.profile) console.log(`\nCPU profiles: ${PROFILES}`)

/** Some scenarios on one start of a topology. */
async function runRound(name: string, round: Scenario[]): Promise<void> {
  if (result.topologies[name]?.startsWith('missing') || performance.now() > TIME_LIMIT) {
    result.skipped.push(...round.map((scenario) => `${scenario.name} on ${name}`))
    return
  }
  try {
    const running = await (makers[name] as () => Running | Promise<Running>)()
    result.topologies[name] = running.version
    try {
      await measure(running, round)
    } finally {
      await running.stop()
    }
  } catch (error) {
    if (!(error instanceof Missing)) throw error
    result.topologies[name] = `missing: ${error.message}`
  }
}

async function measure(running: Running, round: Scenario[]): Promise<void> {
  let first = true
  const before = running.spend === null ? null : { spend: await running.spend(), stats: await stats() }
  for (const scenario of round) {
    if (performance.now() > TIME_LIMIT) {
      result.skipped.push(`${scenario.name} on ${running.name}`)
      continue
    }
    console.error(`${running.name}: ${scenario.title} …`)
    const measured = await runScenario({ provider, direct: direct(provider), running }, scenario)
    if (measured === null) continue
    // Held against the ledger once, under load: the scenarios after this one leave streams, and what those cost is estimated.
    if (first && before !== null && scenario.kind !== 'held') measured.figures['billed'] = await billed(running, before)
    first = false
    result.measured.push(measured)
  }
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

function chosenScenarios(): Scenario[] {
  const wanted = values.scenario?.split(',')
  for (const name of wanted ?? []) {
    if (!SCENARIOS.some((scenario) => scenario.name === name))
      refuse(`no scenario is called ${name}; there are ${SCENARIOS.map((one) => one.name).join(', ')}`)
  }
  return SCENARIOS.filter((scenario) => wanted?.includes(scenario.name) ?? (values.quick ? scenario.quick : scenario.usual))
}

function refuse(reason: string): never {
  console.error(reason)
  process.exit(2)
}
