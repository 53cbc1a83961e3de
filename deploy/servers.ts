import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { isAlive } from '../shared/process-status.ts'
import { StartError } from '../shared/start-error.ts'
import { natsBinary, postgresBinaries, reachable, redisBinary, unprivilegedUser } from './server-binaries.ts'
import {
  commandLine,
  converse,
  type Detached,
  freePort,
  type Server,
  startDetached,
  stopProcess,
  waitUntilReady,
} from './server-process.ts'

export interface ServerOptions {
  /** Where its data, its password and its log are kept. */
  directory: string
  /** Use this server instead of starting one. */
  url?: string | null | undefined
  /** Default: a free one. Always on loopback. */
  port?: number | undefined
  /** Told, in a sentence, what an operator may want to know. */
  note?: ((text: string) => void) | undefined
}

export interface PostgresOptions extends ServerOptions {
  /** `postgresql.conf` settings, such as `fsync: 'off'` for tests. */
  settings?: Record<string, string>
}

/** Milliseconds: recovery after a crash with a full write-ahead log is the slow case. */
const START_LIMIT = 60_000
const STOP_LIMIT = 30_000

/**
 * A PostgreSQL on loopback, its data kept in `directory`. One left running by a gateway that was killed is used as it is. Throws
 * StartError.
 */
export async function startPostgres(options: PostgresOptions): Promise<Server> {
  if (options.url) return given(options.url)
  const home = postgresHome(options)
  const data = join(home, 'data')
  const password = keptPassword(home)
  const url = (port: number) => `postgres://turnpike:${password}@127.0.0.1:${port}/postgres`

  const left = await runningPostgres(data)
  if (left !== null) return found(url(left.port), left.pid, 'SIGINT')

  const versionFile = join(data, 'PG_VERSION')
  const binaries = await postgresBinaries(existsSync(versionFile) ? readFileSync(versionFile, 'utf8').trim() : null, home)
  if (!existsSync(versionFile)) await initialise(binaries, data, password)
  rmSync(join(data, 'postmaster.pid'), { force: true })
  const logFile = join(home, 'postgres.log')
  return startOnPort('PostgreSQL', options.port, async (port) => {
    const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: '', port: String(port), ...options.settings }
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const server = await startDetached({
      command: join(binaries, 'postgres'),
      args: ['-D', data, ...args],
      logFile,
      cwd: home,
      user: unprivilegedUser(),
      env: { LC_ALL: 'C', PGDATA: undefined, PGPORT: undefined, PGHOST: undefined },
    })
    await waitUntilReady('PostgreSQL', server, logFile, START_LIMIT, async () => postmaster(data)?.status === 'ready')
    // SIGINT is PostgreSQL's fast shutdown: clients are cut off, everything is written out.
    return own(url(port), server, 'SIGINT')
  })
}

/** Where PostgreSQL may live: in `directory`, or elsewhere when root's own folders are closed to the account it must run as. */
function postgresHome(options: PostgresOptions): string {
  const wanted = resolve(options.directory)
  mkdirSync(wanted, { recursive: true, mode: 0o711 })
  if (unprivilegedUser() === undefined || reachable(wanted)) return wanted
  const home = join('/var/lib/turnpike', createHash('sha256').update(wanted).digest('hex').slice(0, 12))
  mkdirSync(home, { recursive: true, mode: 0o711 })
  options.note?.(`PostgreSQL may not run as root and ${wanted} is closed to others: its data is kept in ${home}`)
  return home
}

/** Makes a database cluster, whole or not at all: a half-made one is never taken for data. */
async function initialise(binaries: string, data: string, password: string): Promise<void> {
  const unfinished = `${data}.unfinished`
  const passwordFile = `${data}.password`
  const user = unprivilegedUser()
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (user !== undefined) for (const path of [unfinished, passwordFile]) chownSync(path, user.uid, user.gid)
  const args = ['-D', unfinished, '-U', 'turnpike', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--locale=C']
  try {
    await promisify(execFile)(join(binaries, 'initdb'), args, { ...user, cwd: '/', env: { ...process.env, LC_ALL: 'C' } })
  } catch (cause) {
    rmSync(unfinished, { recursive: true, force: true })
    throw new StartError(`PostgreSQL could not make its data folder ${data}:\n${(cause as Error).message.trim()}`)
  } finally {
    rmSync(passwordFile, { force: true })
  }
  renameSync(unfinished, data)
}

/** The `postmaster.pid` of a data folder (PostgreSQL source, `miscadmin.h`: LOCK_FILE_LINE_…). */
function postmaster(data: string): { pid: number; port: number; status: string } | null {
  try {
    const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
    return { pid: Number(lines[0]), port: Number(lines[3]), status: (lines[7] ?? '').trim() }
  } catch {
    return null
  }
}

/** A server of this data folder that is alive, however it came to be; waits while it recovers. Null for a stale lock file. */
async function runningPostgres(data: string): Promise<{ pid: number; port: number } | null> {
  for (const deadline = performance.now() + START_LIMIT; performance.now() < deadline; ) {
    const lock = postmaster(data)
    if (lock === null || !isAlive(lock.pid)) return null
    // The number may belong to another process by now (a restarted container numbers from 1 again).
    if (commandLine(lock.pid)?.includes(data) === false) return null
    // SSLRequest (protocol documentation, 54.7): a PostgreSQL answers it with one letter before any authentication.
    const request = Uint8Array.from([0, 0, 0, 8, 4, 210, 22, 47])
    if (lock.status === 'ready' && (await converse(lock.port, request, (reply) => /^[NS]/.test(reply))) !== null) return lock
    await new Promise((done) => setTimeout(done, 50))
  }
  throw new StartError(`A PostgreSQL is running on ${data} but does not answer. Stop it and start again.`)
}

/** A NATS server with JetStream on loopback, its streams kept in `directory`. `open`: without a password (tests). Throws StartError. */
export async function startNats(options: ServerOptions & { open?: boolean }): Promise<Server> {
  if (options.url) return given(options.url)
  const home = resolve(options.directory)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const password = keptPassword(home)
  const name = `turnpike-${createHash('sha256').update(password).digest('hex').slice(0, 16)}`
  const url = (port: number) => (options.open ? `nats://127.0.0.1:${port}` : `nats://turnpike:${password}@127.0.0.1:${port}`)
  // The first line a NATS server says is INFO with its name; ours tells our server from any other on that port.
  const answers = async (port: number) =>
    (await converse(port, '', (reply) => reply.includes('\r\n')))?.includes(`"server_name":"${name}"`) ?? false

  const left = readLock(home)
  if (left !== null && isAlive(left.pid) && (await answers(left.port))) return found(url(left.port), left.pid, 'SIGINT')

  const command = natsBinary()
  const logFile = join(home, 'nats.log')
  return startOnPort('NATS', options.port, async (port) => {
    const settings = [
      `server_name: ${JSON.stringify(name)}`,
      `listen: "127.0.0.1:${port}"`,
      `jetstream { store_dir: ${JSON.stringify(home)} }`,
      options.open ? '' : `authorization { user: turnpike, password: ${JSON.stringify(password)} }`,
    ]
    writeFileSync(join(home, 'nats.conf'), `${settings.join('\n')}\n`, { mode: 0o600 })
    const server = await startDetached({ command, args: ['-c', join(home, 'nats.conf')], logFile, cwd: home })
    await waitUntilReady('NATS', server, logFile, START_LIMIT, () => answers(port))
    writeLock(home, { pid: server.pid, port })
    return own(url(port), server, 'SIGINT')
  })
}

/**
 * A Redis on loopback. It keeps its counters in `directory` (`keep`, default true), though they can always be rebuilt from the ledger.
 * `packages` is where a fetched Redis is kept. Throws StartError.
 */
export async function startRedis(options: ServerOptions & { packages: string; keep?: boolean }): Promise<Server> {
  if (options.url) return given(options.url)
  const home = resolve(options.directory)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const password = keptPassword(home)
  const url = (port: number) => `redis://:${password}@127.0.0.1:${port}`
  const answers = async (port: number) =>
    (await converse(port, `AUTH ${password}\r\nPING\r\n`, (reply) => /PONG|ERR|LOADING|DENIED|WRONGPASS/.test(reply)))?.includes(
      'PONG',
    ) ?? false

  const left = readLock(home)
  if (left !== null && isAlive(left.pid) && (await answers(left.port))) return found(url(left.port), left.pid, 'SIGTERM')

  const binary = await redisBinary(options.packages, options.note ?? (() => undefined))
  const logFile = join(home, 'redis.log')
  return startOnPort('Redis', options.port, async (port) => {
    const settings = [
      `port ${port}`,
      'bind 127.0.0.1',
      `requirepass ${password}`,
      `dir ${JSON.stringify(home)}`,
      `appendonly ${options.keep === false ? 'no' : 'yes'}`,
      'save ""',
    ]
    writeFileSync(join(home, 'redis.conf'), `${settings.join('\n')}\n`, { mode: 0o600 })
    const server = await startDetached({
      command: binary.command,
      args: [join(home, 'redis.conf')],
      logFile,
      cwd: home,
      env: binary.env,
    })
    await waitUntilReady('Redis', server, logFile, START_LIMIT, () => answers(port))
    writeLock(home, { pid: server.pid, port })
    return own(url(port), server, 'SIGTERM')
  })
}

/** Starts on the asked port, or on free ones until one was not taken in between. */
async function startOnPort(name: string, port: number | undefined, start: (port: number) => Promise<Server>): Promise<Server> {
  if (port !== undefined && port !== 0) return start(port)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await freePort())
    } catch (error) {
      const taken = error instanceof StartError && /address already in use/i.test(error.message)
      if (!taken || attempt === 3) throw error instanceof Error ? error : new StartError(`${name} could not be started.`)
    }
  }
}

function given(url: string): Server {
  return { url, pid: null, started: false, stop: async () => undefined }
}

function found(url: string, pid: number, signal: NodeJS.Signals): Server {
  return { url, pid, started: false, stop: () => stopProcess(pid, signal, STOP_LIMIT) }
}

function own(url: string, server: Detached, signal: NodeJS.Signals): Server {
  return { url, pid: server.pid, started: true, stop: () => stopProcess(server.pid, signal, STOP_LIMIT) }
}

/** The password of a server's data, made on first use and readable by us alone. */
function keptPassword(home: string): string {
  const file = join(home, 'password')
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

interface Lock {
  pid: number
  port: number
}

function writeLock(home: string, lock: Lock): void {
  writeFileSync(join(home, 'server.json'), JSON.stringify(lock), { mode: 0o600 })
}

function readLock(home: string): Lock | null {
  try {
    return JSON.parse(readFileSync(join(home, 'server.json'), 'utf8')) as Lock
  } catch {
    return null
  }
}
