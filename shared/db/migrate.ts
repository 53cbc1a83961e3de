import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { GatewayError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Database, Transaction } from './db.ts'

interface Migration {
  number: number
  name: string
  text: string
  checksum: string
}

interface Applied {
  number: number
  name: string
  checksum: string
}

/** Key of the advisory lock that makes racing starters wait for each other: "turnpike" in bytes, shortened. */
const LOCK = 0x7475726e

/**
 * Brings the database up to the numbered files of `directory` (`000001_name.sql`), one transaction each, and returns how many
 * were applied. Several processes may call it at once: the others wait, then find nothing left to do.
 *
 * Throws GatewayError `internal` when the database is newer than these files, or when an applied file was changed since:
 * running old code on a newer schema could write wrong bills.
 */
export async function migrate(db: Database, directory: URL | string, log: Log): Promise<number> {
  const migrations = await readMigrations(directory)
  let applied = 0
  for (;;) {
    const done = await db.transaction((tx) => applyNext(tx, migrations))
    if (done === null) return applied
    applied += 1
    log.info({ migration: done.name }, 'database migrated')
  }
}

/** One step under the lock: checks what the database says, applies the next file, records it. Null when nothing is left. */
async function applyNext(tx: Transaction, migrations: Migration[]): Promise<Migration | null> {
  // Released with the transaction, so a starter that dies never leaves it behind.
  await tx.query('select pg_advisory_xact_lock($1)', [LOCK])
  await tx.query(`create table if not exists migrations (
    number int primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())`)
  const applied = await tx.query<Applied>('select number, name, checksum from migrations order by number')
  const newest = migrations.at(-1)?.number ?? 0
  for (const row of applied) {
    const known = migrations.find((migration) => migration.number === row.number)
    if (row.number > newest) {
      throw new GatewayError('internal', `The database is newer than this program (it has ${row.name}); start a newer version.`)
    }
    if (known === undefined || known.checksum !== row.checksum) {
      throw new GatewayError('internal', `Migration ${row.name} was changed after it was applied to this database.`)
    }
  }
  const next = migrations.find((migration) => !applied.some((row) => row.number === migration.number))
  if (next === undefined) return null
  await tx.query(next.text)
  await tx.query('insert into migrations (number, name, checksum) values ($1, $2, $3)', [next.number, next.name, next.checksum])
  return next
}

async function readMigrations(directory: URL | string): Promise<Migration[]> {
  const base = typeof directory === 'string' ? pathToFileURL(directory.endsWith('/') ? directory : `${directory}/`) : directory
  const names = (await readdir(base)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name, index) => {
      const number = Number(/^(\d{6})_[a-z0-9_]+\.sql$/.exec(name)?.[1])
      if (number !== index + 1)
        throw new GatewayError('internal', `Migration ${name} is misnamed or a number is missing before it.`)
      // Line endings depend on how the files were checked out; the checksum must not.
      const text = (await readFile(new URL(name, base), 'utf8')).replaceAll('\r\n', '\n')
      return { number, name, text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}
