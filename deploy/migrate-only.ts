import { join } from 'node:path'
import { loadConfig } from '../shared/config/load.ts'
import { processSettings } from '../shared/config/process.ts'
import type { Environment } from '../shared/config/references.ts'
import { openDataDirectory } from '../shared/data-directory.ts'
import { migrate } from '../shared/db/migrate.ts'
import { createPostgres } from '../shared/db/postgres.ts'
import { createLog } from '../shared/log.ts'
import { startPostgres } from './servers.ts'

export interface MigrateOptions {
  configFile: string | null
  dataDirectory: string | undefined
  env: Environment
  note: (text: string) => void
}

/** Brings the database up to date without serving: ahead of a rolling update. Returns how many migrations were applied. */
export async function migrateOnly(options: MigrateOptions): Promise<number> {
  const loaded = loadConfig(options.configFile, options.env)
  const settings = processSettings(loaded.env, loaded.config)
  // A database given by its address is not ours to lock: several gateways may be at work on it.
  const data = settings.databaseUrl === null ? openDataDirectory(options.dataDirectory ?? settings.dataDirectory) : null
  try {
    const directory = join(data?.path ?? '', 'postgres')
    const postgres = await startPostgres({ directory, url: settings.databaseUrl, note: options.note })
    const log = createLog(settings.logLevel, 'migrate')
    const db = createPostgres({ url: postgres.url, log, poolSize: 1 })
    try {
      return await migrate(db, new URL('../accounting-svc/sql/migrations/', import.meta.url), log)
    } finally {
      await db.close()
      await postgres.stop()
    }
  } finally {
    data?.release()
  }
}
