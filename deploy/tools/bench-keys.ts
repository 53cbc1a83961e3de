import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MIGRATIONS } from '../../accounting-svc/accounting.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { startPostgres } from '../servers.ts'

/**
 * Fills the database of a gateway that does not run yet with keys, for the bench: `node deploy/tools/bench-keys.ts --data DIR --keys N`.
 * The nth is `sk-bench-` and eight digits of n, from 0, with a budget nobody reaches.
 */
const { values } = parseArgs({ options: { data: { type: 'string' }, keys: { type: 'string', default: '1000' } } })
if (values.data === undefined) throw new Error('--data DIR is missing')

/** A million dollars, in nano-dollars. */
const BUDGET = 1_000_000_000_000_000
/** In one statement: below what would make the write-ahead log the slowest part. */
const STEP = 250_000

const directory = join(values.data, 'postgres')
// Passed through by the account that PostgreSQL runs under where this is root.
mkdirSync(values.data, { recursive: true, mode: 0o711 })
const server = await startPostgres({ directory, settings: { synchronous_commit: 'off', max_wal_size: '4GB' } })
const db = createPostgres({ url: server.url, log: silentLog, statementLimit: 600_000 })
try {
  await migrate(db, MIGRATIONS, silentLog)
  for (let from = 0; from < Number(values.keys); from += STEP) {
    await db.query(
      `insert into keys (token, key_name, max_budget_nano)
       select encode(sha256(convert_to('sk-bench-' || lpad(n::text, 8, '0'), 'UTF8')), 'hex'), 'sk-...' || right(lpad(n::text, 8, '0'), 4), $3
         from generate_series($1::int, $2::int) as n`,
      [from, Math.min(from + STEP, Number(values.keys)) - 1, BUDGET],
    )
  }
  await db.query('analyze keys')
} finally {
  await db.close()
  await server.stop()
}
