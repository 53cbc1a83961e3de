import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Role } from '../proto/subjects.ts'
import { systemClock } from '../shared/clock.ts'
import { type LoadedConfig, loadConfig } from '../shared/config/load.ts'
import { processSettings } from '../shared/config/process.ts'
import type { Environment } from '../shared/config/references.ts'
import { tracingSettings } from '../shared/config/tracing.ts'
import { type DataDirectory, openDataDirectory, randomKey } from '../shared/data-directory.ts'
import { createLifecycle, type Lifecycle } from '../shared/lifecycle.ts'
import { type Log, silentLog } from '../shared/log.ts'
import type { ServiceStarted } from '../shared/service-process.ts'
import { StartError } from '../shared/start-error.ts'
import { claimPort } from './claim-port.ts'
import { freePort, type Server } from './server-process.ts'
import { startNats, startPostgres, startRedis } from './servers.ts'

export interface ClusterOptions {
  configFile?: string | null
  env: Environment
  /** One edge per port; 0 = a free one. Default 4000 and 4001. */
  ports?: number[]
  /** How many; default 2. */
  routers?: number
  host?: string | undefined
  masterKey?: string | undefined
  dataDirectory?: string | undefined
  /** Servers to use instead of starting them. */
  natsUrl?: string
  redisUrl?: string
  databaseUrl?: string
  /** `postgresql.conf` settings of our own PostgreSQL. */
  postgres?: Record<string, string>
  log?: Log
  /** Takes the processes' log lines, each with its process in front. */
  write?: (line: string) => void
  /** Told, in a sentence, what an operator may want to know: a server fetched, a process that died. */
  note?: (text: string) => void
}

/** One process of the cluster. */
export interface ClusterMember {
  readonly role: Role
  readonly index: number
  readonly pid: number
  /** Null when it serves no clients. */
  readonly port: number | null
  readonly healthPort: number | null
  readonly alive: boolean
}

export interface Cluster {
  /** Where clients call, one for each edge. */
  readonly urls: string[]
  readonly masterKey: string
  readonly masterKeyFile: string | null
  readonly databaseUrl: string
  readonly natsUrl: string
  readonly redisUrl: string
  readonly loaded: LoadedConfig
  readonly dataDirectory: string
  readonly lifecycle: Lifecycle
  members(): ClusterMember[]
  /** Sends a signal to one process (default SIGKILL) and, when it is one that ends it, waits until it is gone. */
  kill(role: Role, index: number, signal?: NodeJS.Signals): Promise<void>
  /** Starts a process that ended, on the port it had; resolves when it is ready. */
  restart(role: Role, index: number): Promise<void>
  /** Drains and stops everything: edges, then routers, then accounting, then the servers. */
  stop(): Promise<void>
}

const ROOT = resolve(import.meta.dirname, '..')
const MAIN = { edge: 'edge/main.ts', router: 'router-svc/main.ts', accounting: 'accounting-svc/main.ts' } as const
const STRIP_CACHE = join(ROOT, 'deploy/strip-cache.mjs')
const READY_LIMIT = 30_000
const STOP_LIMIT = 5_000

/**
 * A whole cluster on this machine: NATS, Redis and PostgreSQL found or started, and a process for each edge, router and accounting.
 * Throws StartError and ConfigError with text for the operator; whatever had started is stopped again.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const note = options.note ?? (() => undefined)
  // What was given counts as environment, so that here and in the processes the same source wins.
  const env: Environment = {
    ...options.env,
    ...(options.masterKey === undefined ? {} : { LITELLM_MASTER_KEY: options.masterKey }),
    ...(options.natsUrl === undefined ? {} : { TURNPIKE_NATS_URL: options.natsUrl }),
    ...(options.redisUrl === undefined ? {} : { REDIS_URL: options.redisUrl }),
    ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
  }
  const loaded = loadConfig(options.configFile ?? null, env)
  const settings = processSettings(loaded.env, loaded.config)
  // Said before anything is started: the processes would say it one by one.
  tracingSettings(loaded.env, loaded.config)
  if (options.masterKey !== undefined && settings.masterKey !== options.masterKey) {
    throw new StartError('The configuration file names another master key; leave one of the two out.')
  }
  const host = options.host ?? settings.host
  // A free port is chosen here, not by the edge: a socket bound to port 0 lacks SO_REUSEADDR in the edge's HTTP server, and what a
  // killed edge leaves in TIME_WAIT would keep its successor off the port for a minute.
  const ports = await Promise.all((options.ports ?? [4000, 4001]).map((port) => (port === 0 ? freePort() : port)))
  for (const port of ports) await claimPort({ host, port })
  const data = openDataDirectory(options.dataDirectory ?? join(settings.dataDirectory, 'cluster'))
  const lifecycle = createLifecycle({ clock: systemClock, log: options.log ?? silentLog, drainLimit: settings.drainLimit })
  lifecycle.add({ name: 'data folder', stop: async () => data.release() })
  try {
    const masterKey = settings.masterKey ?? data.secret('master-key', randomKey)
    const servers = await startServers(options, data, settings)
    for (const [name, server] of Object.entries(servers)) lifecycle.add({ name, stop: () => server.stop() })

    const shared: Environment = {
      ...env,
      ...(options.configFile ? { CONFIG_FILE_PATH: resolve(options.configFile) } : {}),
      NATS_URL: servers.nats.url,
      TURNPIKE_NATS_URL: undefined,
      REDIS_URL: servers.redis.url,
      DATABASE_URL: servers.postgres.url,
      LITELLM_MASTER_KEY: masterKey,
      HOST: host,
      TURNPIKE_HEALTH_PORT: '0',
    }
    const write = options.write ?? (() => undefined)
    const start = (role: Role, index: number, port = 0) => {
      const own = { TURNPIKE_DATA: join(data.path, `${role}-${index}`), PORT: String(port) }
      return new Process(role, index, { ...shared, ...own }, lifecycle, write, note)
    }
    const accounting = [start('accounting', 0)]
    const routers = Array.from({ length: options.routers ?? 2 }, (_, index) => start('router', index))
    const edges = ports.map((port, index) => start('edge', index, port))
    const all = [...accounting, ...routers, ...edges]
    const groups = { accounting, routers, edges }
    for (const [name, group] of Object.entries(groups)) {
      const end = (limit: number) => Promise.all(group.map((process) => process.end('SIGTERM', limit))).then(() => undefined)
      lifecycle.add({ name, drain: (limit) => end(Math.max(limit, STOP_LIMIT)), stop: () => end(STOP_LIMIT) })
    }
    // Accounting first: it brings the database up to date and publishes what the others serve.
    for (const group of Object.values(groups)) await Promise.all(group.map((process) => process.start()))

    const find = (role: Role, index: number): Process => {
      const found = all.find((process) => process.role === role && process.index === index)
      if (found === undefined) throw new Error(`there is no ${role} ${index}`)
      return found
    }
    return {
      get urls() {
        return edges.map(({ port }) => `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${port}`)
      },
      masterKey,
      masterKeyFile: settings.masterKey === null ? join(data.path, 'master-key') : null,
      databaseUrl: servers.postgres.url,
      natsUrl: servers.nats.url,
      redisUrl: servers.redis.url,
      loaded,
      dataDirectory: data.path,
      lifecycle,
      members: () => all,
      kill: (role, index, signal = 'SIGKILL') => find(role, index).kill(signal),
      restart: (role, index) => find(role, index).start(),
      stop: () => lifecycle.shutdown('asked to'),
    }
  } catch (error) {
    lifecycle.hurry()
    await lifecycle.shutdown('it could not start')
    throw error
  }
}

async function startServers(
  options: ClusterOptions,
  data: DataDirectory,
  settings: { natsUrl: string[] | null; redisUrl: string | null; databaseUrl: string | null },
): Promise<{ nats: Server; redis: Server; postgres: Server }> {
  const directory = (name: string) => join(data.path, name)
  const { note } = options
  const started: Server[] = []
  const keep = async (starting: Promise<Server>): Promise<Server> => {
    const server = await starting
    started.push(server)
    return server
  }
  const results = await Promise.allSettled([
    keep(startNats({ directory: directory('nats'), url: settings.natsUrl?.join(','), note })),
    keep(
      startRedis({
        directory: directory('redis'),
        url: settings.redisUrl,
        packages: resolve(ROOT, '.turnpike/packages'),
        note,
      }),
    ),
    keep(
      startPostgres({
        directory: directory('postgres'),
        url: settings.databaseUrl,
        settings: options.postgres ?? {},
        note,
      }),
    ),
  ])
  const [nats, redis, postgres] = results.map((result) => (result.status === 'fulfilled' ? result.value : null))
  if (nats && redis && postgres) return { nats, redis, postgres }
  await Promise.all(started.map((server) => server.stop()))
  throw results.find((result) => result.status === 'rejected')?.reason
}

/** One process of the cluster: none → starting → ready → ended, and from there again. */
class Process implements ClusterMember {
  readonly role: Role
  readonly index: number
  readonly name: string
  port: number | null
  healthPort: number | null = null
  readonly #env: Environment
  readonly #lifecycle: Lifecycle
  readonly #write: (line: string) => void
  readonly #note: (text: string) => void
  #child: ChildProcess | null = null
  /** The last lines it wrote, for the message when it cannot start. */
  #tail: string[] = []
  /** Somebody asked for the end, so it is no news. */
  #expected = false

  constructor(
    role: Role,
    index: number,
    env: Environment,
    lifecycle: Lifecycle,
    write: (line: string) => void,
    note: (text: string) => void,
  ) {
    this.role = role
    this.index = index
    this.name = `${role}-${index}`
    this.port = role === 'edge' ? Number(env['PORT']) : null
    this.#env = env
    this.#lifecycle = lifecycle
    this.#write = write
    this.#note = note
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get alive(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Starts it and waits until it says it is ready. Throws StartError when it ends first or takes too long. */
  async start(): Promise<void> {
    if (this.alive) return
    this.#expected = false
    // Its own process group: Ctrl-C reaches us alone, and we stop the processes in order.
    const child = spawn(process.execPath, ['--import', STRIP_CACHE, join(ROOT, MAIN[this.role])], {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...this.#env, ...(this.port === null ? {} : { PORT: String(this.port) }) },
    })
    this.#child = child
    this.#tail = []
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue
      createInterface({ input: stream }).on('line', (line) => {
        this.#write(`[${this.name}] ${line}`)
        this.#tail = [...this.#tail.slice(-19), line]
      })
    }
    child.once('exit', (code, signal) => {
      if (this.#expected || this.#lifecycle.stopping) return
      this.#note(`${this.name} (process ${child.pid}) ended with ${signal ?? `code ${code}`}; it is not started again by itself`)
    })
    const started = await this.#started(child)
    if (this.role === 'edge') this.port = started.port
    this.healthPort = started.healthPort
    await this.#ready(child)
  }

  #started(child: ChildProcess): Promise<ServiceStarted> {
    return new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(message as ServiceStarted))
      child.once('error', (error) => reject(new StartError(`${this.name} could not be started: ${error.message}`)))
      // `close` comes after `exit`, when its last words have been read.
      child.once('close', (code, signal) => {
        const end = signal ?? `code ${code}`
        reject(new StartError(`${this.name} ended before it was ready (${end}).\n${this.#tail.join('\n')}`))
      })
    })
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + READY_LIMIT
    for (;;) {
      const response = await fetch(`http://127.0.0.1:${this.healthPort}/health/readiness`).catch(() => null)
      await response?.body?.cancel()
      if (response?.ok) return
      if (child.exitCode !== null || child.signalCode !== null) throw new StartError(`${this.name} ended before it was ready.`)
      if (performance.now() > deadline) throw new StartError(`${this.name} was not ready within ${READY_LIMIT / 1000} s.`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const ends = !['SIGSTOP', 'SIGCONT', 'SIGUSR1', 'SIGUSR2'].includes(signal)
    if (!this.alive || this.#child === null) return
    const gone = once(this.#child, 'exit')
    this.#expected = ends && signal !== 'SIGKILL'
    this.#child.kill(signal)
    if (ends) await gone
  }

  /** Ends it with `signal`, and after `limit` milliseconds with SIGKILL. */
  async end(signal: NodeJS.Signals, limit: number): Promise<void> {
    if (!this.alive || this.#child === null) return
    this.#expected = true
    const child = this.#child
    const gone = once(child, 'exit')
    child.kill(signal)
    // One that is stopped (SIGSTOP) hears nothing until it goes on.
    child.kill('SIGCONT')
    const timer = setTimeout(() => child.kill('SIGKILL'), limit)
    await gone
    clearTimeout(timer)
  }
}
