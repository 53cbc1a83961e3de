import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import type { Role } from '../../proto/subjects.ts'
import { systemClock } from '../../shared/clock.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import { createRedisCounters } from '../../shared/counters/redis.ts'
import type { Database } from '../../shared/db/db.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import type { Server } from '../server-process.ts'
import { startNats, startPostgres, startRedis } from '../servers.ts'
import { pause } from './fault.ts'
import { startProxy, type TcpProxy } from './proxy.ts'

/** A cluster of real processes, its servers and a scripted provider, with a proxy of ours on every connection between them. */
export interface World {
  readonly cluster: Cluster
  readonly provider: Upstream
  readonly servers: Readonly<Record<ServerName, ManagedServer>>
  readonly proxies: Readonly<Record<ServerName | 'provider', TcpProxy>>
  /** Before each edge; clients call through these. */
  readonly edges: readonly TcpProxy[]
  /** Past the proxies, to look. */
  readonly db: Database
  readonly counters: Counters
  readonly redis: RedisConnection
  /** Where the processes keep what is theirs: `<role>-<index>`. */
  readonly dataDirectory: string
  admin(method: string, path: string, body?: unknown): Promise<unknown>
  /** A new key with such limits, and its hash. */
  key(fields: Record<string, unknown>): Promise<{ key: string; hash: string }>
  kill(role: Role, index: number): Promise<void>
  /** Starts a process that ended, and again when it ends before it is ready, as whoever watches over processes does. */
  start(role: Role, index: number): Promise<void>
  /** Starts whatever is not running. */
  mend(): Promise<void>
  /** Sets the wall clock of every process of ours so many milliseconds off. */
  stepClock(offset: number): void
  stop(): Promise<void>
}

export type ServerName = 'nats' | 'redis' | 'postgres'

export interface ManagedServer {
  readonly name: ServerName
  /** SIGKILL. */
  kill(): Promise<void>
  /** Asks it to end and waits. */
  stop(): Promise<void>
  /** Starts it on the port it had. `empty`: without what it kept. */
  start(options?: { empty?: boolean }): Promise<void>
  /** SIGSTOP or SIGCONT to it and to every process it started. */
  freeze(on: boolean): void
}

export interface WorldOptions {
  /** Where a fetched Redis is kept. */
  packages: string
  routers?: number
  /** Takes the log lines of the processes. */
  write?: (line: string) => void
  note?: (text: string) => void
}

/** Dollars of one call, whatever it says: so money counts attempts. */
const PRICE = 0.01
const CLOCK_FILE = 'clock-offset'
const CLOCK = join(import.meta.dirname, 'stepped-clock.ts')

/** Starts all of it in a temporary folder. Whatever had started is stopped when something does not. */
export async function openWorld(options: WorldOptions): Promise<World> {
  const home = mkdtempSync(join(tmpdir(), 'turnpike-chaos-'))
  // Root's PostgreSQL runs under another account, which must pass through.
  chmodSync(home, 0o711)
  const closers: (() => unknown)[] = [() => rmSync(home, { recursive: true, force: true })]
  const keep = <Thing>(thing: Thing, close: (thing: Thing) => unknown): Thing => {
    closers.push(() => close(thing))
    return thing
  }
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const provider = keep(await startUpstream(), (one) => one.stop())
    const [nats, redis, postgres] = await Promise.all(
      (['nats', 'redis', 'postgres'] as const).map((name) => startManaged(name, join(home, name), options.packages)),
    )
    if (!nats || !redis || !postgres) throw new Error('a server is missing')
    const servers = { nats, redis, postgres }
    for (const server of Object.values(servers)) closers.push(() => server.stop())
    const proxy = async (port: () => number) => keep(await startProxy(port), (one) => one.close())
    const proxies = {
      nats: await proxy(() => nats.port),
      redis: await proxy(() => redis.port),
      postgres: await proxy(() => postgres.port),
      provider: await proxy(() => provider.port),
    }
    const configFile = join(home, 'config.yaml')
    writeFileSync(configFile, configOf(proxies.provider.port))
    const clockFile = join(home, CLOCK_FILE)
    writeFileSync(clockFile, '0')
    const cluster = keep(
      await startCluster({
        configFile,
        env: {
          ...{ PATH: process.env['PATH'], HOME: process.env['HOME'], LITELLM_LOG: 'INFO' },
          NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${CLOCK}`,
          TURNPIKE_CHAOS_CLOCK: clockFile,
        },
        host: '127.0.0.1',
        ports: [0, 0],
        routers: options.routers ?? 2,
        dataDirectory: join(home, 'data'),
        natsUrl: through(nats.url, proxies.nats),
        redisUrl: through(redis.url, proxies.redis),
        databaseUrl: through(postgres.url, proxies.postgres),
        write: options.write ?? (() => undefined),
        note: options.note ?? (() => undefined),
      }),
      (one) => one.stop(),
    )
    const edges: TcpProxy[] = []
    for (const url of cluster.urls) edges.push(await proxy(() => Number(new URL(url).port)))
    const db = keep(createPostgres({ url: postgres.url, log: silentLog }), (one) => one.close())
    const connection = keep(createRedis({ url: redis.url, log: silentLog }), (one) => one.close())
    const counters = keep(createRedisCounters({ redis: connection, prefix: 'tp', clock: systemClock, log: silentLog }), (one) =>
      one.close(),
    )
    const admin = managementOf(cluster)
    return {
      ...{ cluster, provider, servers, proxies, edges, db, counters, redis: connection, admin, stop },
      dataDirectory: join(home, 'data'),
      async key(fields) {
        const { key } = (await admin('POST', '/key/generate', fields)) as { key: string }
        return { key, hash: createHash('sha256').update(key).digest('hex') }
      },
      kill: (role, index) => cluster.kill(role, index),
      start: (role, index) => startedAgain(cluster, role, index),
      async mend() {
        for (const { role, index, alive } of cluster.members()) if (!alive) await startedAgain(cluster, role, index)
      },
      stepClock: (offset) => writeFileSync(clockFile, String(offset)),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startedAgain(cluster: Cluster, role: Role, index: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await cluster.restart(role, index)
      return
    } catch (error) {
      if (attempt === 3) throw error
      await cluster.kill(role, index)
      await pause(500)
    }
  }
}

function configOf(providerPort: number): string {
  return `
model_list:
  - model_name: cent
    litellm_params: { model: openai/gpt-scripted, api_base: 'http://127.0.0.1:${providerPort}/v1', api_key: k, input_cost_per_request: ${PRICE} }
`
}

function through(url: string, proxy: TcpProxy): string {
  const changed = new URL(url)
  changed.port = String(proxy.port)
  return changed.href
}

/** Management calls straight to the edges, past what is before them; the next edge when one does not answer. */
function managementOf(cluster: Cluster): World['admin'] {
  return async (method, path, body) => {
    let failure = ''
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const url = cluster.urls[attempt % cluster.urls.length]
      const response = await fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${cluster.masterKey}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      }).catch((error: unknown) => String(error))
      if (typeof response !== 'string') {
        const text = await response.text()
        if (response.ok) return JSON.parse(text)
        failure = `${response.status} ${text}`
        if (response.status < 500) break
      } else failure = response
      await pause(500)
    }
    throw new Error(`${method} ${path}: ${failure}`)
  }
}

async function startManaged(
  name: ServerName,
  directory: string,
  packages: string,
): Promise<ManagedServer & { readonly url: string; readonly port: number }> {
  const startOn = (port: number | undefined): Promise<Server> => {
    if (name === 'nats') return startNats({ directory, port })
    if (name === 'redis') return startRedis({ directory, port, packages })
    // A kill loses nothing that the system has taken, so nothing needs to wait for the disk.
    return startPostgres({ directory, port, settings: { fsync: 'off' } })
  }
  let server = await startOn(undefined)
  const port = Number(new URL(server.url).port)
  const signal = (sent: NodeJS.Signals): void => {
    for (const pid of server.pid === null ? [] : familyOf(server.pid)) {
      try {
        process.kill(pid, sent)
      } catch {
        // One of its processes ended meanwhile.
      }
    }
  }
  return {
    name,
    port,
    url: server.url,
    freeze: (on) => signal(on ? 'SIGSTOP' : 'SIGCONT'),
    async kill() {
      const family = server.pid === null ? [] : familyOf(server.pid)
      if (server.pid !== null) process.kill(server.pid, 'SIGKILL')
      // PostgreSQL's own processes notice within moments; one that was frozen would not.
      await gone(family)
    },
    async stop() {
      signal('SIGCONT')
      await server.stop()
    },
    async start({ empty = false } = {}) {
      if (empty) emptied(name, directory)
      for (let attempt = 1; ; attempt += 1) {
        try {
          server = await startOn(port)
          return
        } catch (error) {
          // A killed server's children may hold its port or its memory for a moment.
          if (attempt === 20) throw error
          await pause(200)
        }
      }
    },
  }
}

/** Deletes what the server keeps; its password stays, or nobody could come in any more. */
function emptied(name: ServerName, directory: string): void {
  const kept = { nats: ['jetstream'], redis: ['appendonlydir', 'dump.rdb'], postgres: [] }[name]
  for (const what of kept) rmSync(join(directory, what), { recursive: true, force: true })
}

/** A process and all it started, parents first. */
function familyOf(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      // proc(5): the parent is the second field after the command, which is in parentheses.
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // It ended meanwhile.
    }
  }
  const family = [pid]
  for (const member of family) for (const [child, parent] of parents) if (parent === member) family.push(child)
  return family
}

async function gone(pids: readonly number[]): Promise<void> {
  for (const deadline = performance.now() + 10_000; performance.now() < deadline; ) {
    if (!pids.some(exists)) return
    await pause(50)
  }
}

function exists(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] !== 'Z'
  } catch {
    return false
  }
}
