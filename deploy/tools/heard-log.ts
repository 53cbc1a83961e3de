import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { createLog, Log } from '../../shared/log.ts'
import { outputDirectory } from './secret-scan.ts'

/**
 * What tests run in their own process logs to nobody: in a test run it goes, through the real logger, where the run is searched for secrets. The
 * configuration of vitest adds a call of this to shared/log.ts, so that it costs nothing where nothing logs.
 */
export function hear(silent: Log, create: typeof createLog): void {
  const directory = outputDirectory()
  if (directory === null) return
  const file = join(directory, `${process.pid}.log.out`)
  const log = create('debug', 'test', { write: (line) => appendFileSync(file, line) })
  const { debug, info, warn, error } = log
  Object.assign(silent, { debug: debug.bind(log), info: info.bind(log), warn: warn.bind(log), error: error.bind(log) })
}
