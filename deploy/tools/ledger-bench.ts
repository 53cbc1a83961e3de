import { appendFileSync, mkdirSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MIGRATIONS } from '../../accounting-svc/accounting.ts'
import { makePartitions } from '../../accounting-svc/jobs/partitions.ts'
import { createLedger } from '../../accounting-svc/ledger/book.ts'
import { createCustomerNames } from '../../accounting-svc/ledger/customers.ts'
import { createProjection } from '../../accounting-svc/ledger/projection.ts'
import { processTree } from '../../loadtest/cpu.ts'
import { fillLedger, USUAL_SHAPE } from '../../loadtest/ledger-rows.ts'
import { scopes } from '../../proto/limits.ts'
import { NO_TOKENS, type UsageEvent } from '../../proto/usage.ts'
import { systemClock } from '../../shared/clock.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { startPostgres } from '../servers.ts'

/**
 * Measures how many calls a second the ledger books into one PostgreSQL that holds made-up calls already:
 *
 *   node deploy/tools/ledger-bench.ts [--rows 1000000] [--calls 100000] [--lanes 2] [--batch 1000] [--keep <directory>]
 *
 * once with calls of a key alone, once with calls that have every owner there is, two tags and further scopes. CPU is that of this process
 * and of PostgreSQL; it is the figure to compare where other work shares the machine. Appends a line to loadtest/results/ledger.jsonl.
 */
const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    calls: { type: 'string', default: '100000' },
    lanes: { type: 'string', default: '2' },
    batch: { type: 'string', default: '1000' },
    keep: { type: 'string' },
  },
})
const [rows, calls, lanes, batch] = [options.rows, options.calls, options.lanes, options.batch].map(Number) as [
  number,
  number,
  number,
  number,
]
const RESULTS = join(import.meta.dirname, '../../loadtest/results/ledger.jsonl')

type Shape = 'key' | 'everything'

const directory = options.keep ?? join(tmpdir(), `turnpike-ledger-bench-${process.pid}`)
mkdirSync(directory, { recursive: true })
const server = await startPostgres({ directory, settings: { max_wal_size: '4GB', shared_buffers: '256MB' } })
const db = createPostgres({ url: server.url, log: silentLog, statementLimit: 3_600_000 })
try {
  await migrate(db, MIGRATIONS, silentLog)
  const [filled] = await db.query('select from ledger limit 1')
  if (filled === undefined) await fillLedger(db, { ...USUAL_SHAPE, rows, lastDay: '2026-10-31' }, console.log)
  await makePartitions(db, systemClock)
  await measure('key', Math.ceil(calls / 10))
  const results: Record<string, unknown> = {}
  for (const shape of ['key', 'everything'] as const) results[shape] = await measure(shape, calls)
  const [size] = await db.query('select count(*)::bigint as rows from ledger')
  const line = { at: new Date().toISOString(), cpus: cpus().length, load: loadavg()[0], ...size, calls, lanes, batch, ...results }
  if (rows >= 1_000_000) appendFileSync(RESULTS, `${JSON.stringify(line)}\n`)
} finally {
  await db.close()
  await server.stop()
}

async function measure(shape: Shape, count: number): Promise<Record<string, number>> {
  const counters = createMemoryCounters({ clock: systemClock })
  await counters.rebuild(async () => [])
  const projection = createProjection({ counters, clock: systemClock, log: silentLog })
  const customers = createCustomerNames({ db, log: silentLog })
  const ledger = createLedger({
    db,
    price: (_, { input, output }) => ({ cost: input * 150 + output * 600, rateVersion: 'bench' }),
    log: silentLog,
    async onBooked(booking) {
      await projection.book(booking.leases, booking.spent)
      await customers.seen(booking.customers)
    },
  })
  const events = Array.from({ length: count }, (_, index) => eventOf(shape, index))
  const cpuBefore = cpuOf()
  const own = process.cpuUsage()
  const from = performance.now()
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < events.length) {
      const part = events.slice(next, next + batch)
      next += batch
      const { added } = await ledger.book(part)
      if (added !== part.length) throw new Error(`${added} of ${part.length} were booked`)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  const seconds = (performance.now() - from) / 1000
  const { user, system } = process.cpuUsage(own)
  const result = {
    perSecond: Math.round(count / seconds),
    accountingMicroseconds: Math.round((user + system) / count),
    postgresMicroseconds: Math.round((cpuOf() - cpuBefore) / count),
  }
  console.log(shape, result)
  await counters.close()
  return result
}

/** CPU microseconds of PostgreSQL so far. */
function cpuOf(): number {
  return server.pid === null ? 0 : processTree(server.pid).reduce((sum, { cpu }) => sum + cpu, 0)
}

function eventOf(shape: Shape, index: number): UsageEvent {
  const now = Date.now()
  // A few keys make most of the calls.
  const skewed = (most: number): number => Math.floor(Math.random() ** 3 * most)
  const key = skewed(5_000)
  const keyHash = `${key}`.padStart(64, '0')
  const everything = shape === 'everything'
  // A key uses few models and gives its calls few tags.
  const model = `gpt-${(key + skewed(3)) % 40}`
  const tag = (most: number): string => `tag-${(key + skewed(most)) % 50}`
  return {
    v: 1,
    callId: `bench-${shape}-${now}-${index}`,
    take: 1,
    endpoint: 'acompletion',
    stream: false,
    keyHash,
    keyAlias: null,
    userId: everything ? `user-${key % 1000}` : null,
    teamId: everything ? `team-${key % 200}` : null,
    organizationId: everything ? `org-${key % 20}` : null,
    projectId: everything ? `project-${key % 300}` : null,
    endUser: everything && key % 3 === 0 ? `customer-${skewed(20_000)}` : null,
    tags: everything ? [tag(1), tag(3)] : [],
    scopes: everything ? ['proxy', 'provider|openai', scopes.model(scopes.key(keyHash), model)] : [],
    requestedModel: model,
    modelGroup: model,
    startedAt: now,
    firstTokenAt: now + 20,
    endedAt: now + 100,
    outcome: 'success',
    status: 200,
    attempts: [
      {
        index: 0,
        deploymentId: 'd1',
        provider: 'openai',
        model,
        apiBase: null,
        startedAt: now,
        firstTokenAt: now + 20,
        endedAt: now + 100,
        outcome: 'success',
        usage: { ...NO_TOKENS, input: 10 + (index % 100), output: 5 },
      },
    ],
    routerId: 'router-1',
  }
}
