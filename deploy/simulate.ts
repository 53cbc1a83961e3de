import { appendFileSync, chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { commit } from '../loadtest/commit.ts'
import { machine } from '../loadtest/report.ts'
import { createLog } from '../shared/log.ts'
import { startPostgres } from './servers.ts'
import { planOf } from './simulation/plan.ts'
import { openStage, playAll, work } from './simulation/pool.ts'
import type { Result } from './simulation/run.ts'

const USAGE = `Usage: npm run simulate -- [options]

Plays a whole cluster in one process under a seed, in virtual time: edges, routers, accountings, the bus, counters, a database, upstreams and
clients, while messages are lost and delayed, processes are killed and frozen, and servers are away. Says which seeds broke a promise.

  --seeds N   200
  --from N    1; the first seed
  --jobs N    1; processes at work
  --seed N    that one alone
  --trace     print all that happens, and what services log; with --seed
  --save      add a line to loadtest/results/simulation.jsonl`

const OPTIONS = {
  seeds: { type: 'string', default: '200' },
  from: { type: 'string', default: '1' },
  jobs: { type: 'string', default: '1' },
  seed: { type: 'string' },
  trace: { type: 'boolean', default: false },
  save: { type: 'boolean', default: false },
  worker: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

const RESULTS = join(import.meta.dirname, '../loadtest/results/simulation.jsonl')
/** Milliseconds between lines of progress. */
const PROGRESS = 10_000

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  if (values.worker !== undefined) {
    await work(values.worker)
    return 0
  }
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'turnpike-simulation-'))
  // Root's PostgreSQL runs under another account, which must pass through.
  chmodSync(directory, 0o711)
  const postgres = await startPostgres({
    directory: join(directory, 'postgres'),
    settings: { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off', autovacuum: 'off', max_wal_size: '256MB' },
  })
  const leave = (): void => {
    void postgres.stop().finally(() => {
      rmSync(directory, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', leave)
  process.once('SIGTERM', leave)
  try {
    if (values.seed !== undefined) return await one(postgres.url, Number(values.seed), values.trace)
    return await many(postgres.url, values)
  } finally {
    await postgres.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function one(url: string, seed: number, trace: boolean): Promise<number> {
  const stage = await openStage(url)
  const options = trace ? { trace: (line: string) => console.log(line), log: createLog('debug', 'simulation') } : {}
  const plan = planOf(seed)
  if (trace) console.log(JSON.stringify(plan, null, 1))
  const result = await stage.play(plan, options)
  await stage.close()
  console.log(JSON.stringify(result))
  tell(result)
  return result.violations.length === 0 ? 0 : 1
}

interface Sum {
  seeds: number
  violations: number
  calls: number
  answered: number
  virtualSeconds: number
  faults: Record<string, number>
}

async function many(url: string, values: { seeds: string; from: string; jobs: string; save: boolean }): Promise<number> {
  const [count, from, jobs] = [Number(values.seeds), Number(values.from), Number(values.jobs)]
  const sum: Sum = { seeds: 0, violations: 0, calls: 0, answered: 0, virtualSeconds: 0, faults: {} }
  const begun = performance.now()
  let told = begun
  await playAll(import.meta.filename, url, { from, count, jobs }, (result) => {
    add(sum, result)
    tell(result)
    if (performance.now() - told < PROGRESS) return
    told = performance.now()
    console.log(`${sum.seeds} of ${count} seeds, ${sum.violations} with a violation, ${seconds(begun)} s`)
  })
  const { cores, cpu, node } = machine()
  const line = {
    at: new Date().toISOString(),
    commit: commit() || 'unknown',
    machine: `${cores} × ${cpu}, Node ${node.replace(/^v/, '')}`,
    from,
    jobs,
    ...sum,
    wallSeconds: seconds(begun),
  }
  console.log(JSON.stringify(line))
  if (values.save) appendFileSync(RESULTS, `${JSON.stringify(line)}\n`)
  return sum.violations === 0 && sum.seeds === count ? 0 : 1
}

function add(sum: Sum, result: Result): void {
  sum.seeds += 1
  sum.calls += result.calls
  sum.answered += result.answered
  sum.virtualSeconds += result.virtualSeconds
  if (result.violations.length > 0) sum.violations += 1
  for (const [kind, count] of Object.entries(result.faults)) sum.faults[kind] = (sum.faults[kind] ?? 0) + count
}

function tell({ seed, violations }: Result): void {
  if (violations.length === 0) return
  console.log(`Seed ${seed}: npm run simulate -- --seed ${seed} --trace`)
  for (const violation of violations) console.log(`  ${violation.slice(0, 600)}`)
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 100) / 10
}

process.exitCode = await main()
