import type { Config } from './config.ts'
import { redisUrl, serverUrl } from './redis-url.ts'
import type { Environment } from './references.ts'

/**
 * How one process runs. Where it runs (address, files, log) comes from the environment first, because the processes of a cluster
 * share one file; what it is trusted with (master key, database) from the file first, as in LiteLLM.
 */
export interface ProcessSettings {
  /** Address the edge listens on. `HOST`, `turnpike_settings.host`, 0.0.0.0. */
  host: string
  /** Port the edge listens on; 0 = any free one. `PORT`, `turnpike_settings.port`, 4000. */
  port: number
  /** PEM files. `SSL_KEYFILE_PATH` and `SSL_CERTFILE_PATH`, `turnpike_settings.tls_…_file`; null = plain HTTP. */
  tls: { keyFile: string; certificateFile: string } | null
  /** NATS servers. `TURNPIKE_NATS_URL` or `NATS_URL` (comma-separated), `turnpike_settings.nats_url`; null = in-process bus. */
  natsUrl: string[] | null
  /** First part of every subject. `TURNPIKE_NATS_PREFIX`, `turnpike_settings.nats_prefix`, `tp`. */
  natsPrefix: string
  /**
   * Redis. `turnpike_settings.redis_url`, `router_settings.redis_url` or `redis_host/port/password`, then `REDIS_URL` or
   * `REDIS_HOST/PORT/USERNAME/PASSWORD/SSL`; null = counters in the process.
   */
  redisUrl: string | null
  /** PostgreSQL. `general_settings.database_url`, `DATABASE_URL`, `DATABASE_HOST/USERNAME/PASSWORD/NAME`; null = one of our own. */
  databaseUrl: string | null
  /** Connections to PostgreSQL. `general_settings.database_connection_pool_limit`, 10. */
  databasePool: number
  /** `general_settings.master_key`, `LITELLM_MASTER_KEY`; null = every caller is an administrator. */
  masterKey: string | null
  /** Seals stored credentials. `LITELLM_SALT_KEY`, else the master key; null = they are not sealed. */
  saltKey: string | null
  /** Files of this process (spool, own database). `TURNPIKE_DATA`, `turnpike_settings.data_directory`, `.turnpike`. */
  dataDirectory: string
  /** Where relative files of `custom_provider_map` are. `TURNPIKE_HANDLERS`; null = beside the configuration file. */
  handlersDirectory: string | null
  /** `LITELLM_LOG`, `turnpike_settings.log_level`, `info`. */
  logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Milliseconds running calls may take after a stop signal. `TURNPIKE_DRAIN_TIMEOUT` (seconds), `turnpike_settings.drain_timeout`, 15 min. */
  drainLimit: number
  /** Bytes of a request body. `general_settings.max_request_size_mb`, 128 MB. */
  bodyLimit: number
  /** Milliseconds answers under an Idempotency-Key are kept. `turnpike_settings.idempotency_ttl` (seconds), a day. */
  idempotencyKeep: number
  /** Accounting's own port. `TURNPIKE_ACCOUNTING_HOST/PORT`, `turnpike_settings.accounting_host/port`; null = none. */
  accounting: { host: string; port: number } | null
  /** Health and metrics of a process that does not serve clients. `TURNPIKE_HEALTH_HOST/PORT`, `turnpike_settings.health_…`; null = none. */
  health: { host: string; port: number } | null
  /** What should be changed, one sentence each; for the log at start. */
  warnings: string[]
}

const DRAIN_SECONDS = 900
const DAY_SECONDS = 86_400
const BODY_MEGABYTES = 128
/** A master key this short can be tried out over the network. */
const SHORT_KEY = 16
const EXAMPLE_KEYS = new Set([
  'sk-1234',
  'sk-12345',
  'sk-123456',
  'sk-12345678',
  'sk-1234567890',
  'sk-master',
  'sk-test',
  'sk-admin',
  'sk-xxxx',
])
const LOG_LEVELS: Readonly<Record<string, ProcessSettings['logLevel']>> = {
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  critical: 'error',
  silent: 'silent',
}

/** Reads them; `env` should be `LoadedConfig.env`, which holds the file's own variables too. */
export function processSettings(env: Environment, config: Config): ProcessSettings {
  const own = config.turnpike_settings
  const warnings: string[] = []
  const variable = (...names: string[]): string | null =>
    names.map((name) => env[name]).find((value) => value !== undefined && value !== '') ?? null
  const number = (name: string, otherwise: number | null | undefined): number | null => {
    const text = variable(name)
    if (text === null) return otherwise ?? null
    const value = Number(text)
    if (Number.isFinite(value) && value >= 0) return value
    warnings.push(`${name} is not a number, 0 or more; it is ignored.`)
    return otherwise ?? null
  }

  const masterKey = config.general_settings.master_key || variable('LITELLM_MASTER_KEY')
  const saltKey = variable('LITELLM_SALT_KEY') ?? masterKey
  warnings.push(...keyWarnings(masterKey))
  const keyFile = variable('SSL_KEYFILE_PATH') ?? own.tls_key_file ?? null
  const certificateFile = variable('SSL_CERTFILE_PATH') ?? own.tls_certificate_file ?? null
  if ((keyFile === null) !== (certificateFile === null)) {
    warnings.push('Only one of SSL_KEYFILE_PATH and SSL_CERTFILE_PATH is set: without both the edge serves plain HTTP.')
  }
  const accountingPort = number('TURNPIKE_ACCOUNTING_PORT', own.accounting_port)
  const healthPort = number('TURNPIKE_HEALTH_PORT', own.health_port)
  return {
    host: variable('HOST') ?? own.host ?? '0.0.0.0',
    port: number('PORT', own.port) ?? 4000,
    tls: keyFile === null || certificateFile === null ? null : { keyFile, certificateFile },
    natsUrl: servers(variable('TURNPIKE_NATS_URL', 'NATS_URL')) ?? own.nats_url ?? null,
    natsPrefix: variable('TURNPIKE_NATS_PREFIX') ?? own.nats_prefix ?? 'tp',
    redisUrl: redisUrl(config, env),
    databaseUrl: databaseUrl(config, variable),
    databasePool: config.general_settings.database_connection_pool_limit ?? 10,
    masterKey,
    saltKey,
    dataDirectory: variable('TURNPIKE_DATA') ?? own.data_directory ?? '.turnpike',
    handlersDirectory: variable('TURNPIKE_HANDLERS'),
    logLevel: logLevel(variable('LITELLM_LOG'), warnings) ?? own.log_level ?? 'info',
    drainLimit: (number('TURNPIKE_DRAIN_TIMEOUT', own.drain_timeout) ?? DRAIN_SECONDS) * 1000,
    bodyLimit: Math.floor((config.general_settings.max_request_size_mb ?? BODY_MEGABYTES) * 1024 * 1024),
    idempotencyKeep: Math.round((own.idempotency_ttl ?? DAY_SECONDS) * 1000),
    accounting: listener(variable('TURNPIKE_ACCOUNTING_HOST') ?? own.accounting_host, accountingPort),
    health: listener(variable('TURNPIKE_HEALTH_HOST') ?? own.health_host, healthPort),
    warnings,
  }
}

/** What is wrong with a master key; never holds the key. */
function keyWarnings(key: string | null): string[] {
  if (key === null)
    return ['No master key is set (general_settings.master_key or LITELLM_MASTER_KEY): every caller is an administrator.']
  const warnings: string[] = []
  if (EXAMPLE_KEYS.has(key)) warnings.push('The master key is one of the examples everybody knows: make a random one.')
  else if (key.length < SHORT_KEY)
    warnings.push(`The master key has fewer than ${SHORT_KEY} characters: make a longer, random one.`)
  if (!key.startsWith('sk-'))
    warnings.push('The master key does not begin with "sk-": clients of LiteLLM expect that, and some refuse others.')
  return warnings
}

type Variable = (...names: string[]) => string | null

function databaseUrl(config: Config, variable: Variable): string | null {
  const written = config.general_settings.database_url || variable('DATABASE_URL')
  if (written !== null) return written
  const host = variable('DATABASE_HOST')
  const name = variable('DATABASE_NAME')
  if (host === null || name === null) return null
  const [address = host, port = '5432'] = host.split(':')
  const made = serverUrl('postgresql', {
    host: address,
    port,
    username: variable('DATABASE_USERNAME'),
    password: variable('DATABASE_PASSWORD'),
  })
  const schema = variable('DATABASE_SCHEMA')
  return `${made}/${encodeURIComponent(name)}${schema === null ? '' : `?schema=${encodeURIComponent(schema)}`}`
}

function servers(list: string | null): string[] | null {
  const urls = list?.split(',').flatMap((one) => (one.trim() === '' ? [] : [one.trim()])) ?? []
  return urls.length === 0 ? null : urls
}

function listener(host: string | null | undefined, port: number | null): { host: string; port: number } | null {
  return port === null ? null : { host: host ?? '127.0.0.1', port }
}

function logLevel(text: string | null, warnings: string[]): ProcessSettings['logLevel'] | null {
  if (text === null) return null
  const level = LOG_LEVELS[text.toLowerCase()]
  if (level === undefined) warnings.push('LITELLM_LOG is none of DEBUG, INFO, WARNING, ERROR; it is ignored.')
  return level ?? null
}
