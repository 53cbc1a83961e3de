import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { silentLog } from '../log.ts'
import type { Database } from './db.ts'
import { migrate } from './migrate.ts'
import { createPostgres } from './postgres.ts'
import { alreadyExists, sqlState } from './sql-state.ts'

export interface TestDatabase {
  readonly url: string
  readonly db: Database
  /** Closes the pool and drops the database. */
  drop(): Promise<void>
}

/**
 * A database of its own for one test file: an empty one, or a copy of one migrated with `migrations`. The migrated template is
 * made once per content of that folder and copied by the server in about 50 ms.
 */
export async function createTestDatabase(adminUrl: string | undefined, migrations?: URL): Promise<TestDatabase> {
  if (adminUrl === undefined || adminUrl === '')
    throw new Error('TURNPIKE_TEST_POSTGRES_URL is not set: these tests need a PostgreSQL')
  const admin = createPostgres({ url: adminUrl, log: silentLog, poolSize: 2 })
  const name = `test_${randomBytes(6).toString('hex')}`
  try {
    const template = migrations === undefined ? 'template1' : await templateOf(admin, adminUrl, migrations)
    await copy(admin, name, template)
  } finally {
    await admin.close()
  }
  const url = databaseUrl(adminUrl, name)
  const db = createPostgres({ url, log: silentLog })
  return {
    url,
    db,
    async drop() {
      await db.close()
      const last = createPostgres({ url: adminUrl, log: silentLog, poolSize: 1 })
      await last.query(`drop database if exists ${name} with (force)`)
      await last.close()
    },
  }
}

async function templateOf(admin: Database, adminUrl: string, migrations: URL): Promise<string> {
  const names = (await readdir(migrations)).filter((name) => name.endsWith('.sql')).sort()
  const texts = await Promise.all(names.map((name) => readFile(new URL(name, migrations), 'utf8')))
  const template = `template_${createHash('sha256').update(texts.join('\0')).digest('hex').slice(0, 16)}`
  // Held while the template is made: test files run in several processes. Migrations wait for it too.
  await admin.transaction(async (tx) => {
    await tx.query('select pg_advisory_xact_lock(1)')
    const [row] = await tx.query('select 1 from pg_database where datname = $1 and datallowconn', [template])
    if (row !== undefined) return
    await admin.query(`create database ${template}`).catch((error) => {
      if (sqlState(error) !== '42P04') throw error
    })
    const db = createPostgres({ url: databaseUrl(adminUrl, template), log: silentLog, poolSize: 1 })
    await migrate(db, migrations, silentLog)
    await db.close()
  })
  return template
}

/** `create database` fails while somebody else copies the same template, or is still leaving it; then it is tried again. */
async function copy(admin: Database, name: string, template: string): Promise<void> {
  for (let left = 100; ; left--) {
    try {
      await admin.query(`create database ${name} template ${template}`)
      return
    } catch (error) {
      if (left === 0 || !(sqlState(error) === '55006' || alreadyExists(error))) throw error
      await admin.query('select pg_sleep(0.05)')
    }
  }
}

function databaseUrl(adminUrl: string, name: string): string {
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  return url.href
}
