import { statSync } from 'node:fs'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { ConfigError, type LoadedConfig } from './load.ts'

/** Fields that processes read once, when they start. A changed one waits for a restart. */
export const READ_AT_START = {
  litellm_settings: ['callbacks', 'success_callback', 'forward_traceparent_to_llm_provider', 'redact_user_api_key_info'],
  router_settings: ['redis_url', 'redis_host', 'redis_port', 'redis_password'],
  general_settings: ['master_key', 'database_url', 'database_connection_pool_limit', 'max_request_size_mb'],
  turnpike_settings: [
    'host',
    'port',
    'tls_key_file',
    'tls_certificate_file',
    'nats_url',
    'nats_prefix',
    'redis_url',
    'data_directory',
    'log_level',
    'trace_sample_rate',
    'drain_timeout',
    'idempotency_ttl',
    'prove_host',
    'accounting_host',
    'accounting_port',
    'health_host',
    'health_port',
  ],
} as const

export interface ConfigWatch {
  /** Reads the file now, changed or not. Resolves when what it says is in force, or was refused. */
  reload(): Promise<void>
  stop(): Promise<void>
}

/** How often the files are looked at, milliseconds. Polled, because file systems that containers mount tell of no changes. */
const LOOK_EVERY = 1_000

/**
 * Puts a changed configuration file in force. A file is read once it has been the same for two looks, and never while it is empty: editors
 * empty a file before they fill it, and an empty file would be a gateway without models. One that is not valid, or cannot be built, is refused
 * with every problem in the log, and the old one stays.
 */
export function watchConfig(deps: {
  /** What is in force. */
  loaded: LoadedConfig
  /** Throws ConfigError. */
  load: () => LoadedConfig
  /** Rejects when it cannot be built. */
  apply: (loaded: LoadedConfig) => Promise<void>
  clock: Clock
  log: Log
}): ConfigWatch {
  const { load, apply, clock, log } = deps
  let { loaded } = deps
  let seen = marksOf(loaded.files)
  let before = seen
  let turn: Promise<void> = Promise.resolve()
  let stopped = false

  async function read(): Promise<void> {
    if (stopped) return
    // Whatever comes of it, these files are not read again before they change again.
    seen = marksOf(loaded.files)
    before = seen
    let next: LoadedConfig
    try {
      next = load()
    } catch (error) {
      refuse(error)
      return
    }
    try {
      await apply(next)
    } catch (error) {
      refuse(error)
      return
    }
    for (const text of next.warnings) log.warn({}, text)
    const waiting = changedAtStart(loaded.config, next.config)
    if (waiting.length > 0) log.warn({ settings: waiting }, 'these settings take effect when the processes start again')
    loaded = next
    seen = marksOf(next.files)
    before = seen
    log.info({ files: next.files, deployments: next.config.model_list.length }, 'the configuration was read again')
  }

  function refuse(error: unknown): void {
    const text = 'the new configuration is refused, the old one stays'
    if (!(error instanceof ConfigError)) {
      log.error({ err: error }, text)
      return
    }
    for (const { path, file, line, message } of error.problems) log.error({ file, line, path }, `${text}: ${path} ${message}`)
  }

  function reload(): Promise<void> {
    turn = turn.then(read)
    return turn
  }

  const timer = clock.every(LOOK_EVERY, () => {
    const now = marksOf(loaded.files)
    const still = now === before
    before = now
    if (!still || now === seen || now.includes(EMPTY)) return
    seen = now
    void reload()
  })
  return {
    reload,
    async stop() {
      stopped = true
      timer.cancel()
      await turn
    },
  }
}

const EMPTY = ' 0 '

/** Which files these are: the link of a mounted file may lead to another one of the same time and size. */
function marksOf(files: readonly string[]): string {
  return files.map((file) => `${file} ${markOf(file)}`).join('\n')
}

function markOf(file: string): string {
  try {
    const { size, mtimeNs, ino } = statSync(file, { bigint: true })
    return `${size} ${mtimeNs} ${ino}`
  } catch (thrown) {
    // Gone for now, or its folder is closed to us: reading it will say so.
    return String((thrown as NodeJS.ErrnoException).code)
  }
}

function changedAtStart(before: Config, after: Config): string[] {
  return (Object.keys(READ_AT_START) as (keyof typeof READ_AT_START)[]).flatMap((section) => {
    const [old, now] = [before[section] as Record<string, unknown>, after[section] as Record<string, unknown>]
    return READ_AT_START[section]
      .filter((name) => JSON.stringify(old[name] ?? null) !== JSON.stringify(now[name] ?? null))
      .map((name) => `${section}.${name}`)
  })
}
