import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EdgeSettings } from '../edge/edge.ts'
import { createCacheCounts } from '../router-svc/cache/cache-counts.ts'
import type { RouterProcessSettings } from '../router-svc/router.ts'
import { createMemoryHub } from '../shared/bus/memory.ts'
import { createCatalog } from '../shared/catalog/catalog.ts'
import { type Clock, systemClock } from '../shared/clock.ts'
import type { Config } from '../shared/config/config.ts'
import { handlersDirectory } from '../shared/config/handlers.ts'
import { type LoadedConfig, loadConfig } from '../shared/config/load.ts'
import { type ProcessSettings, processSettings } from '../shared/config/process.ts'
import type { Environment } from '../shared/config/references.ts'
import { watchConfig } from '../shared/config/reload.ts'
import { createSealer } from '../shared/config/secrets.ts'
import { tracingSettings } from '../shared/config/tracing.ts'
import { createMemoryCounters } from '../shared/counters/memory.ts'
import { openDataDirectory, randomKey } from '../shared/data-directory.ts'
import { createPostgres } from '../shared/db/postgres.ts'
import { createHttpClient } from '../shared/http/client.ts'
import { createMemoryIdempotency } from '../shared/idempotency/memory.ts'
import { processId } from '../shared/ids.ts'
import { createLifecycle, type Lifecycle } from '../shared/lifecycle.ts'
import { createLog, type Log } from '../shared/log.ts'
import { createMetrics } from '../shared/metrics.ts'
import { openTracer } from '../shared/open-tracer.ts'
import { StartError } from '../shared/start-error.ts'
import { claimPort } from './claim-port.ts'
import { startPostgres } from './servers.ts'

export interface EmbeddedOptions {
  /** `config.yaml`; null or absent: CONFIG_FILE_PATH, else a configuration made from the environment. */
  configFile?: string | null
  /** More models to serve, `provider/model` each. */
  models?: string[]
  env: Environment
  /** These win over file and environment. */
  host?: string | undefined
  /** 0 = a free one. */
  port?: number | undefined
  masterKey?: string | undefined
  dataDirectory?: string | undefined
  databaseUrl?: string | undefined
  clock?: Clock
  log?: Log
  /** Log only warnings unless a level is set: for a terminal. */
  quiet?: boolean
  /** Told, in a sentence, what an operator may want to know. */
  note?: (text: string) => void
  edge?: Partial<EdgeSettings>
  router?: Partial<RouterProcessSettings>
  /** `postgresql.conf` settings of our own PostgreSQL. */
  postgres?: Record<string, string>
}

export interface Embedded {
  /** Where clients call. */
  readonly url: string
  readonly port: number
  readonly masterKey: string
  /** Where the master key is kept when it was made here; null when it was given. */
  readonly masterKeyFile: string | null
  readonly databaseUrl: string
  readonly loaded: LoadedConfig
  readonly settings: ProcessSettings
  readonly lifecycle: Lifecycle
  /** Milliseconds each phase of the start took. */
  readonly phases: Readonly<Record<string, number>>
  /** Reads the configuration file now; it is read by itself when it changes. What is not valid is refused and logged. */
  reload(): Promise<void>
  /** Drains (at most the configured limit) and stops everything; what is on disk stays. */
  stop(): Promise<void>
}

/**
 * The whole gateway in one process: bus in memory, PostgreSQL of its own unless one is given. Throws StartError and ConfigError with
 * text for the operator; whatever had started is stopped again.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const clock = options.clock ?? systemClock
  const phases: Record<string, number> = {}
  const timed = async <Result>(phase: string, work: () => Result | Promise<Result>): Promise<Result> => {
    const from = performance.now()
    const result = await work()
    phases[phase] = performance.now() - from
    return result
  }

  const catalog = createCatalog()
  const load = (): LoadedConfig => loadConfig(options.configFile ?? null, options.env, { catalog, models: options.models ?? [] })
  const loaded = await timed('configuration', load)
  const given = withOverrides(processSettings(loaded.env, loaded.config), options)
  const handlers = handlersDirectory(given.handlersDirectory, loaded.files)
  await checked(loaded, handlers)
  const tracing = tracingSettings(loaded.env, loaded.config)
  await claimPort(given)
  const log = options.log ?? createLog(levelOf(given, loaded, options), 'turnpike')
  const lifecycle = createLifecycle({ clock, log, drainLimit: given.drainLimit })
  try {
    const data = openDataDirectory(given.dataDirectory)
    lifecycle.add({ name: 'data folder', stop: async () => data.release() })
    const masterKey = given.masterKey ?? data.secret('master-key', randomKey)
    const config = withMasterKey(loaded.config, masterKey)
    const settings = withOverrides(processSettings(loaded.env, config), options)
    const sealer = createSealer(settings.saltKey)

    // PostgreSQL starts while the services' code is read, which takes as long.
    const starting = timed('postgresql', () =>
      startPostgres({
        directory: join(data.path, 'postgres'),
        url: settings.databaseUrl,
        settings: options.postgres ?? {},
        note: options.note,
      }),
    )
    lifecycle.add({ name: 'postgresql', stop: () => starting.then((server) => server.stop(), ignore) })
    const [
      postgres,
      tracer,
      { createAccounting },
      { createRouter, ROUTER_DEFAULTS },
      { createObserver },
      { createEdge, EDGE_DEFAULTS },
    ] = await Promise.all([
      starting,
      timed('tracing', () =>
        openTracer({ settings: tracing, instance: processId('turnpike'), clock, log, lifecycle, random: Math.random }),
      ),
      timed('code', () => import('../accounting-svc/accounting.ts')),
      import('../router-svc/router.ts'),
      import('../router-svc/observe.ts'),
      import('../edge/edge.ts'),
    ])
    const db = createPostgres({ url: postgres.url, log, poolSize: settings.databasePool })
    lifecycle.add({ name: 'database', stop: () => db.close() })
    const hub = createMemoryHub({ clock, log })
    lifecycle.add({ name: 'bus', stop: () => hub.close() })
    // The edge is on the bus before the router is, so that it hears the router's first beat and need not wait for the next.
    const edgeBus = hub.join('edge')

    const counters = createMemoryCounters({ clock })
    lifecycle.add({ name: 'counters', stop: () => counters.close() })
    const accounting = await timed('accounting', () =>
      createAccounting({
        counters,
        bus: hub.join('accounting'),
        db,
        config,
        env: loaded.env,
        clock,
        log: log.child({ role: 'accounting' }),
        masterKey,
        sealer,
        catalog,
        listen: settings.accounting,
      }),
    )
    lifecycle.add({ name: 'accounting', drain: (limit) => accounting.drain(limit), stop: () => accounting.stop() })

    const metrics = createMetrics()
    const http = createHttpClient()
    lifecycle.add({ name: 'http client', stop: () => http.close() })
    const router = await timed('router', () =>
      createRouter({
        bus: hub.join('router'),
        http,
        counters,
        idempotency: createMemoryIdempotency({ clock }),
        catalog,
        observe: createObserver(metrics),
        tracer,
        cache: { redis: null, redisUrl: null, prefix: 'tp', directory: data.path, counts: createCacheCounts(metrics) },
        sealer,
        clock,
        log: log.child({ role: 'router' }),
        env: loaded.env,
        random: Math.random,
        settings: {
          ...ROUTER_DEFAULTS,
          lanes: [...ROUTER_DEFAULTS.lanes],
          spoolDirectory: join(data.path, 'spool'),
          handlersDirectory: handlers,
          idempotencyKeep: settings.idempotencyKeep,
          ...options.router,
        },
      }),
    )
    lifecycle.add({ name: 'router', drain: (limit) => router.drain(limit), stop: () => router.stop() })

    const edge = await timed('edge', () =>
      createEdge({
        bus: edgeBus,
        clock,
        log: log.child({ role: 'edge' }),
        metrics,
        tracer,
        settings: {
          ...EDGE_DEFAULTS,
          host: settings.host,
          port: settings.port,
          tls: readTls(settings),
          bodyLimit: settings.bodyLimit,
          ...options.edge,
        },
      }),
    )
    lifecycle.add({ name: 'edge', drain: (limit) => edge.drain(limit), stop: () => edge.stop() })

    const watch = watchConfig({
      loaded,
      load,
      apply: async (next) => {
        await checked(next, handlers)
        await accounting.reconfigure(withMasterKey(next.config, masterKey))
      },
      clock,
      log,
    })
    lifecycle.add({ name: 'configuration', stop: () => watch.stop() })

    return {
      url: `${settings.tls === null ? 'http' : 'https'}://${reachableHost(settings.host)}:${edge.port}`,
      port: edge.port,
      masterKey,
      masterKeyFile: given.masterKey === null ? join(data.path, 'master-key') : null,
      databaseUrl: postgres.url,
      loaded: { ...loaded, config },
      settings,
      lifecycle,
      phases,
      reload: () => watch.reload(),
      stop: () => lifecycle.shutdown('asked to'),
    }
  } catch (error) {
    lifecycle.hurry()
    await lifecycle.shutdown('it could not start')
    throw error
  }
}

/** Modules of the operator's can be used. Throws StartError; what reads them is only loaded where there are any. */
async function checked(loaded: LoadedConfig, directory: string): Promise<void> {
  if (loaded.config.litellm_settings.custom_provider_map == null) return
  const { checkHandlers } = await import('../router-svc/handlers/load.ts')
  await checkHandlers(loaded, directory)
}

/** Its failure was told by whoever waited for it. */
function ignore(): void {}

function withOverrides(settings: ProcessSettings, options: EmbeddedOptions): ProcessSettings {
  const masterKey = options.masterKey ?? settings.masterKey
  return {
    ...settings,
    host: options.host ?? settings.host,
    port: options.port ?? settings.port,
    dataDirectory: options.dataDirectory ?? settings.dataDirectory,
    databaseUrl: options.databaseUrl ?? settings.databaseUrl,
    masterKey,
    // What was to be sealed with the master key is sealed with the one in force.
    saltKey: settings.saltKey === settings.masterKey ? masterKey : settings.saltKey,
  }
}

function levelOf(settings: ProcessSettings, { config, env }: LoadedConfig, { quiet }: EmbeddedOptions): string {
  const chosen = env['LITELLM_LOG'] !== undefined || config.turnpike_settings.log_level !== undefined
  return quiet === true && !chosen ? 'warn' : settings.logLevel
}

/** The configuration with the key in force, as if the file had named it: what is built from it must know that there is one. */
function withMasterKey(config: Config, masterKey: string): Config {
  return { ...config, general_settings: { ...config.general_settings, master_key: masterKey } }
}

function readTls({ tls }: ProcessSettings): { key: string; cert: string } | null {
  if (tls === null) return null
  try {
    return { key: readFileSync(tls.keyFile, 'utf8'), cert: readFileSync(tls.certificateFile, 'utf8') }
  } catch (cause) {
    throw new StartError(`The TLS files could not be read: ${(cause as Error).message}`)
  }
}

/** An address to call for one to listen on. */
function reachableHost(host: string): string {
  return host === '0.0.0.0' || host === '::' ? 'localhost' : host
}
