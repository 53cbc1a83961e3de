import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { commit } from '../loadtest/commit.ts'
import { machine } from '../loadtest/report.ts'
import { createSequence } from '../shared/sequence.ts'
import { type Span, titleOf } from './chaos/fault.ts'
import { FAULTS } from './chaos/index.ts'
import { randomFault } from './chaos/random-fault.ts'
import { createRunner } from './chaos/run.ts'
import { save } from './chaos/table.ts'
import { line } from './chaos/verdict.ts'
import { openWorld } from './chaos/world.ts'

const USAGE = `Usage: npm run chaos -- [options]

Starts a cluster of its own on this machine, with proxies between all of its parts, and breaks one thing after another under load. Prints a
line for each: what clients saw, how long it took, and whether every request the provider served is booked exactly once. The exit code is 1
when something happened that may not.

  --quick         shorter: 4 s instead of 10, 200 long streams instead of 1,000, PostgreSQL away for 20 s instead of five minutes
  --only a,b      these only; --list names them
  --seed N        of what is random; else the time
  --minutes N     faults at random for so long, after the others; default 2 (--quick: 0.5)
  --save          append the verdicts to loadtest/results/chaos.jsonl and rewrite the table in the README
  --log FILE      what the processes say, appended there`

const QUICK: Span = { hold: 4_000, outage: 20_000, streams: 200, streamLasts: 6_000 }
const FULL: Span = { hold: 10_000, outage: 300_000, streams: 1_000, streamLasts: 20_000 }

async function main(): Promise<boolean> {
  const values = parse(process.argv.slice(2))
  if (values.help || values.list) {
    console.log(
      values.help
        ? USAGE
        : [...FAULTS, { name: 'random', title: 'all of them' }]
            .map(({ name, title }) => `${name.padEnd(20)}${titleOf({ title }, values.quick ? QUICK : FULL)}`)
            .join('\n'),
    )
    return true
  }
  const names = values.only?.split(',')
  const unknown = names?.filter((name) => name !== 'random' && !FAULTS.some((fault) => fault.name === name)) ?? []
  if (unknown.length > 0) throw new Told(`No fault is called ${unknown.join(', ')}; --list names them.`)
  const seed = Math.floor(number(values.seed, 'seed', Date.now() % 1_000_000))
  const minutes = number(values.minutes, 'minutes', values.quick ? 0.5 : 2)
  const next = createSequence(seed)
  const chosen = FAULTS.filter(({ name }) => names?.includes(name) ?? true)
  if (minutes > 0 && (names?.includes('random') ?? true))
    chosen.push(
      randomFault(
        minutes * 60_000,
        next,
        () => true,
        (text) => console.log(`     ${text}`),
      ),
    )
  console.log(`Seed ${seed}. Starting a cluster in a temporary folder …`)
  const { log } = values
  const world = await openWorld({
    packages: join(import.meta.dirname, '../.turnpike/packages'),
    ...(log === undefined ? {} : { write: (text: string) => appendFileSync(log, `${text}\n`) }),
  })
  const runner = createRunner(world, { next, told: (verdict) => console.log(line(verdict)) })
  const leave = (): void => {
    runner.stop()
    void world.stop().finally(() => process.exit(130))
  }
  process.once('SIGINT', leave)
  process.once('SIGTERM', leave)
  try {
    for (const fault of chosen) await runner.run(fault, values.quick ? QUICK : FULL)
    const verdicts = await runner.finish()
    const failed = verdicts.filter(({ passed }) => !passed)
    console.log(
      `${verdicts.length} faults, ${failed.length} failed${failed.length === 0 ? '' : `: ${failed.map(({ name }) => name).join(', ')}`}.`,
    )
    if (values.save) {
      const { cores, cpu, node } = machine()
      const on = `${cores} cores of ${cpu}, Node ${node}`
      const told = verdicts.map(({ samples: _, ...rest }) => rest)
      save({ at: new Date().toISOString(), commit: commit(), machine: on, seed, quick: values.quick, verdicts: told })
    }
    return failed.length === 0
  } finally {
    runner.stop()
    await world.stop()
  }
}

/** What an operator can mend; told without a stack. */
class Told extends Error {}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        seed: { type: 'string' },
        minutes: { type: 'string' },
        save: { type: 'boolean', default: false },
        log: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values
  } catch (error) {
    throw new Told(`${(error as Error).message}\n\n${USAGE}`)
  }
}

function number(text: string | undefined, name: string, otherwise: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) throw new Told(`--${name}: "${text}" is not a number.`)
  return value
}

await main().then(
  (passed) => {
    process.exitCode = passed ? 0 : 1
  },
  (error: unknown) => {
    console.error(error instanceof Told ? error.message : error)
    process.exitCode = 1
  },
)
