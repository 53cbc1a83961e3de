import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MIGRATIONS } from '../accounting-svc/accounting.ts'
import { importLitellm } from '../accounting-svc/import/import-litellm.ts'
import type { ImportReport } from '../accounting-svc/import/report.ts'
import { loadConfig } from '../shared/config/load.ts'
import { processSettings } from '../shared/config/process.ts'
import type { Environment } from '../shared/config/references.ts'
import { type DataDirectory, openDataDirectory } from '../shared/data-directory.ts'
import type { Database } from '../shared/db/db.ts'
import { migrate } from '../shared/db/migrate.ts'
import { createPostgres } from '../shared/db/postgres.ts'
import { GatewayError } from '../shared/errors.ts'
import { createLog, type Log } from '../shared/log.ts'
import { StartError } from '../shared/start-error.ts'
import { startPostgres } from './servers.ts'

export interface ImportOptions {
  /** LiteLLM's database: `postgres://user:password@host/database`, with `?schema=` as Prisma writes it. */
  litellm: string
  apply: boolean
  skipConflicts: boolean
  configFile: string | null
  dataDirectory: string | undefined
  env: Environment
  /** Unix milliseconds. */
  now: number
  note: (text: string) => void
}

/** Milliseconds for one statement: a table of a million rows is read and written in pages, but not in one page's time. */
const STATEMENT_LIMIT = 600_000

/**
 * Copies keys, owners and totals from a LiteLLM database into the gateway's, which may be serving. Throws StartError with text for the
 * operator; no text holds a password.
 */
export async function runImport(options: ImportOptions): Promise<ImportReport> {
  const { url, schema } = sourceOf(options.litellm)
  const loaded = loadConfig(options.configFile, options.env)
  const settings = processSettings(loaded.env, loaded.config)
  const log = createLog(settings.logLevel === 'info' ? 'warn' : settings.logLevel, 'import')
  const target = await openTarget(settings.databaseUrl, options.dataDirectory ?? settings.dataDirectory, options.note)
  try {
    options.note(`From ${maskedUrl(url)}, schema ${schema}, into ${target.name}.`)
    const databases = [open(url, log), open(target.url, log)] as const
    try {
      const [source, ours] = databases
      await reach(source, `LiteLLM's database at ${maskedUrl(url)}`)
      await reach(ours, target.name)
      await migrate(ours, MIGRATIONS, log)
      const zone = loaded.config.litellm_settings.timezone ?? 'UTC'
      const { apply, skipConflicts, now } = options
      return await importLitellm({ source, schema, target: ours, apply, skipConflicts, now, zone })
    } catch (error) {
      throw error instanceof GatewayError ? new StartError(error.message) : error
    } finally {
      await Promise.all(databases.map((database) => database.close()))
    }
  } finally {
    await target.release()
  }
}

function open(url: string, log: Log): Database {
  try {
    return createPostgres({ url, log, poolSize: 1, statementLimit: STATEMENT_LIMIT })
  } catch (error) {
    throw new StartError((error as Error).message)
  }
}

async function reach(database: Database, name: string): Promise<void> {
  await database.ping().catch((error: Error) => {
    throw new StartError(`${name} could not be reached: ${(error.cause as Error | undefined)?.message ?? error.message}`)
  })
}

/** The address without what only Prisma understands, and the schema it names. Throws StartError, without saying it, for no address. */
export function sourceOf(text: string): { url: string; schema: string } {
  const url = URL.parse(text)
  // Of an address without its beginning the password may be taken for a path, which would be shown.
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw new StartError('--litellm takes an address such as postgres://user:password@host:5432/litellm.')
  const schema = url.searchParams.get('schema') || 'public'
  for (const name of PRISMA) url.searchParams.delete(name)
  return { url: url.href, schema }
}

const PRISMA = ['schema', 'connection_limit', 'pool_timeout', 'pgbouncer', 'socket_timeout', 'statement_cache_size', 'sslaccept']

/** An address that can be shown: its password, and whatever its parameters hold, are left out. */
export function maskedUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.host === '') return 'the configured database'
  if (url.password !== '') url.password = '***'
  url.search = ''
  return url.href
}

interface Target {
  url: string
  /** For people. */
  name: string
  release(): Promise<void>
}

/**
 * The gateway's database: the one that is configured, else its own. That one runs already where a gateway does; otherwise it is started, with
 * the data folder locked so that no gateway comes to rely on it meanwhile, and stopped again.
 */
async function openTarget(databaseUrl: string | null, dataDirectory: string, note: (text: string) => void): Promise<Target> {
  if (databaseUrl !== null) {
    return { url: databaseUrl, name: maskedUrl(databaseUrl), release: async () => undefined }
  }
  const path = folderOf(dataDirectory)
  const lock = lockOf(path)
  try {
    const postgres = await startPostgres({ directory: join(path, 'postgres'), note })
    if (lock instanceof StartError && postgres.started) {
      await postgres.stop()
      throw lock
    }
    const release = async (): Promise<void> => {
      if (postgres.started) await postgres.stop()
      if (!(lock instanceof StartError)) lock.release()
    }
    return { url: postgres.url, name: `the gateway's own database in ${path}`, release }
  } catch (error) {
    if (!(lock instanceof StartError)) lock.release()
    throw error
  }
}

/** A cluster on this machine keeps its data in a folder of its own below. */
function folderOf(directory: string): string {
  const cluster = join(directory, 'cluster')
  return resolve(!existsSync(join(directory, 'postgres')) && existsSync(join(cluster, 'postgres')) ? cluster : directory)
}

/** The data folder for ourselves, or why not: while a gateway has it, its database is all we need. */
function lockOf(path: string): DataDirectory | StartError {
  try {
    return openDataDirectory(path)
  } catch (error) {
    if (error instanceof StartError) return error
    throw error
  }
}
