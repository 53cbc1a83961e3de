import { randomBytes } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isAlive, startTime } from './process-status.ts'
import { StartError } from './start-error.ts'

/** The folder a gateway keeps its things in: database, spool, keys. One gateway at a time. */
export interface DataDirectory {
  readonly path: string
  /** A secret kept under this name, made by `make` on first use and readable by us alone. */
  secret(name: string, make: () => string): string
  /** Lets another gateway have it. */
  release(): void
}

interface Holder {
  pid: number
  /** When that process started, where the system tells: its number may be another's after a restart. */
  started: string | null
}

/** Opens the folder, making it if need be. Throws StartError when another gateway has it; the lock of a dead one is taken over. */
export function openDataDirectory(directory: string): DataDirectory {
  const path = resolve(directory)
  try {
    // 0711: root's PostgreSQL runs under another account, which must pass through but not look around.
    mkdirSync(path, { recursive: true, mode: 0o711 })
  } catch (cause) {
    throw new StartError(`The data folder ${path} could not be made: ${(cause as Error).message}`)
  }
  const lock = join(path, 'gateway.lock')
  take(lock, path)
  return {
    path,
    secret(name, make) {
      const file = join(path, name)
      try {
        writeFileSync(file, make(), { mode: 0o600, flag: 'wx' })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        chmodSync(file, 0o600)
      }
      return readFileSync(file, 'utf8').trim()
    },
    release: () => rmSync(lock, { force: true }),
  }
}

/** A new master key or seal secret: 192 random bits. */
export function randomKey(): string {
  return `sk-${randomBytes(24).toString('base64url')}`
}

/**
 * The lock file appears whole, by a hard link, so nobody reads half of one. A stale one is first moved aside: of two takers one moves
 * it, and a taker that finds it moved the other's fresh lock puts it back.
 */
function take(lock: string, path: string): void {
  const mine = `${lock}.${process.pid}.${randomBytes(4).toString('hex')}`
  const aside = `${mine}.aside`
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startTime(process.pid) } satisfies Holder), { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      if (link(mine, lock)) return
      const holder = readHolder(lock)
      if (holder !== null && isHeld(holder)) throw new StartError(inUse(holder, path))
      if (!rename(lock, aside)) continue
      const moved = readHolder(aside)
      if (moved !== null && isHeld(moved)) link(aside, lock)
      rmSync(aside, { force: true })
    }
    throw new StartError(`The data folder ${path} could not be locked.`)
  } finally {
    rmSync(mine, { force: true })
  }
}

function inUse(holder: Holder, path: string): string {
  return (
    `Another gateway (process ${holder.pid}) is using the data folder ${path}. ` +
    'Stop it, or give this one a folder of its own (--data or TURNPIKE_DATA).'
  )
}

function isHeld(holder: Holder): boolean {
  return isAlive(holder.pid) && (holder.started === null || startTime(holder.pid) === holder.started)
}

/** Null when there is none, or one that cannot be read: no gateway writes such. */
function readHolder(file: string): Holder | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder
  } catch {
    return null
  }
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function rename(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
