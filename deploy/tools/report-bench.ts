import { appendFileSync, mkdirSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createAccounting, MIGRATIONS } from '../../accounting-svc/accounting.ts'
import { condenseDays } from '../../accounting-svc/jobs/condense-days.ts'
import { fillLedger, type LedgerShape, USUAL_SHAPE } from '../../loadtest/ledger-rows.ts'
import { createMemoryHub } from '../../shared/bus/memory.ts'
import { createCatalog } from '../../shared/catalog/catalog.ts'
import { systemClock } from '../../shared/clock.ts'
import { checkConfig } from '../../shared/config/config.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import type { Database } from '../../shared/db/db.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { startPostgres } from '../servers.ts'
import { measureBooking } from './booking-cost.ts'
import { type Report, reportsOf } from './report-requests.ts'

/**
 * Measures every report of accounting on a ledger of made-up calls:
 *
 *   node deploy/tools/report-bench.ts --rows 10000000 [--keep <directory>] [--runs 50] [--only <part of a name>] [--booking]
 *
 * A directory that was kept is measured again without filling it anew. `--booking` measures what reports cost a booking
 * instead, and leaves the directory without their indexes. Prints a table and appends a line to loadtest/results/reports.jsonl.
 */
const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '200000' },
    runs: { type: 'string', default: '50' },
    keep: { type: 'string' },
    only: { type: 'string' },
    booking: { type: 'boolean', default: false },
  },
})

const RESULTS = join(import.meta.dirname, '../../loadtest/results/reports.jsonl')
const MASTER_KEY = 'sk-report-bench'
const LIMIT = 300
/** Milliseconds after which a slow report is not asked again, once it was asked often enough. */
const MOST_TIME = 15_000
const LEAST_RUNS = 10
/** Takes away what accounting-svc/sql/migrations/000007_report_sums.sql adds to a booking. */
const WITHOUT_REPORTS = [
  'drop index ledger_session, ledger_failure, ledger_cache_hit, ledger_dear, ledger_model, ledger_model_group, daily_label_spend_key',
  'alter table daily_spend disable trigger user',
  'alter table daily_label_spend disable trigger user',
]

const rows = Number(options.rows)
const shape: LedgerShape = { ...USUAL_SHAPE, rows, lastDay: '2026-10-31' }
const directory = options.keep ?? join(tmpdir(), `turnpike-report-bench-${process.pid}`)
mkdirSync(directory, { recursive: true })
const server = await startPostgres({
  directory,
  // Room for the load; reads are as a fresh PostgreSQL does them.
  settings: { max_wal_size: '8GB', synchronous_commit: 'off', maintenance_work_mem: '1GB', checkpoint_timeout: '30min' },
})
const db = createPostgres({ url: server.url, log: silentLog, statementLimit: 3_600_000 })
try {
  await migrate(db, MIGRATIONS, silentLog)
  const [filled] = await db.query('select from ledger limit 1')
  if (filled === undefined) await fillLedger(db, shape, console.log)
  await condenseDays({ db }).run()
  // The days that calls still come in for are read in full.
  await db.query(`insert into report_stale select $1::date - n from generate_series(0, 2) n`, [shape.lastDay])
  if (options.booking) console.log(await measureBooking(db, shape, WITHOUT_REPORTS))
  else await measure(db)
} finally {
  await db.close()
  await server.stop()
}

async function measure(database: Database): Promise<void> {
  const checked = checkConfig({})
  if (!checked.ok) throw new Error('no configuration')
  const hub = createMemoryHub({ clock: systemClock, log: silentLog })
  const counters = createMemoryCounters({ clock: systemClock })
  const accountingDb = createPostgres({ url: server.url, log: silentLog })
  const accounting = await createAccounting({
    bus: hub.join('accounting'),
    db: accountingDb,
    config: checked.config,
    env: {},
    clock: systemClock,
    counters,
    log: silentLog,
    masterKey: MASTER_KEY,
    sealer: createSealer('salt'),
    catalog: createCatalog(),
    listen: { host: '127.0.0.1', port: 0 },
  })
  const user = await generateKey(accounting.port, { user_id: 'user-7' })
  const figures: Record<string, Figures> = {}
  try {
    const reports = reportsOf(shape, { admin: MASTER_KEY, user }).filter((report) => report.name.includes(options.only ?? ''))
    console.log(
      `${'report'.padEnd(58)} ${'p50 ms'.padStart(8)} ${'p95 ms'.padStart(8)} ${'max ms'.padStart(8)} ${'begun'.padStart(8)} ${'KB'.padStart(7)}`,
    )
    for (const report of reports) {
      const found = await measureReport(accounting.port, report, Number(options.runs))
      figures[report.name] = found
      const cells = [found.p50, found.p95, found.max, found.first].map((value) => value.toFixed(1).padStart(8)).join(' ')
      console.log(
        `${report.name.padEnd(58)} ${cells} ${String(Math.round(found.bytes / 1024)).padStart(7)}${found.p95 > LIMIT ? '  over' : ''}`,
      )
    }
  } finally {
    await accounting.stop()
    await counters.close()
    await hub.close()
    await accountingDb.close()
  }
  const [size] = await database.query<{ ledger: number; total: number }>(
    `select (select sum(pg_total_relation_size(relid)) from pg_partition_tree('ledger'))::bigint as ledger, pg_database_size(current_database()) as total`,
  )
  const [counts] = await database.query(
    `select (select sum(reltuples)::bigint from pg_class join pg_partition_tree('ledger') on oid = relid and isleaf) as ledger,
       (select reltuples::bigint from pg_class where relname = 'daily_spend') as daily_spend,
       (select reltuples::bigint from pg_class where relname = 'daily_label_spend') as daily_label_spend`,
  )
  const result = {
    at: new Date().toISOString(),
    cpus: cpus().length,
    rows: counts,
    bytes: size,
    runs: Number(options.runs),
    figures,
  }
  if (options.only === undefined) appendFileSync(RESULTS, `${JSON.stringify(result)}\n`)
  console.log(JSON.stringify({ rows: counts, bytes: size }))
}

interface Figures {
  p50: number
  p95: number
  max: number
  /** 95 of 100 answers began within this. */
  first: number
  /** Of the largest answer. */
  bytes: number
}

/** One request after the other, each with other parameters; the answer is read to its end. The first is not counted. */
async function measureReport(port: number, report: Report, runs: number): Promise<Figures> {
  const times: number[] = []
  const firsts: number[] = []
  let bytes = 0
  const end = performance.now() + MOST_TIME
  for (let run = -1; run < runs && (run < LEAST_RUNS || performance.now() < end); run++) {
    const request = report.request(Math.max(run, 0))
    const begun = performance.now()
    const response = await fetch(`http://127.0.0.1:${port}${request.path}`, {
      method: request.body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${request.key}` },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    })
    const first = performance.now() - begun
    const answer = await response.arrayBuffer()
    const time = performance.now() - begun
    if (!response.ok) throw new Error(`${request.path}: ${response.status} ${new TextDecoder().decode(answer).slice(0, 300)}`)
    if (run < 0) continue
    times.push(time)
    firsts.push(first)
    bytes = Math.max(bytes, answer.byteLength)
  }
  const at = (part: number, of: number[]): number => of.toSorted((a, b) => a - b)[Math.ceil(of.length * part) - 1] ?? 0
  return { p50: at(0.5, times), p95: at(0.95, times), max: at(1, times), first: at(0.95, firsts), bytes }
}

async function generateKey(port: number, fields: Record<string, unknown>): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/key/generate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${MASTER_KEY}` },
    body: JSON.stringify(fields),
  })
  const { key } = (await response.json()) as { key: string }
  return key
}
