import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { isAlive } from '../shared/process-status.ts'
import { StartError } from '../shared/start-error.ts'

/** A server found, started, or given by its address. */
export interface Server {
  readonly url: string
  /** Null when it was given by its address. */
  readonly pid: number | null
  /** False when it was given, or was left running by a gateway that was killed. */
  readonly started: boolean
  /** Stops it when it is ours to stop; a given one keeps running. */
  stop(): Promise<void>
}

export interface DetachedOptions {
  command: string
  args: string[]
  /** Both outputs are appended to this file. */
  logFile: string
  cwd: string
  user?: { uid: number; gid: number } | undefined
  env?: Record<string, string | undefined>
}

/** A child in its own process group, so that Ctrl-C in the terminal reaches us and not, before us, our database. */
export interface Detached {
  readonly pid: number
  /** What the child ended with, or null while it runs. */
  readonly ended: string | null
  readonly child: ChildProcess
}

/** Starts `command` in its own process group. Throws StartError when it cannot be executed. */
export async function startDetached(options: DetachedOptions): Promise<Detached> {
  const log = openSync(options.logFile, 'a', 0o600)
  let ended: string | null = null
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    detached: true,
    stdio: ['ignore', log, log],
    ...options.user,
    env: { ...process.env, ...options.env },
  })
  closeSync(log)
  child.once('exit', (code, signal) => {
    ended = signal === null ? `exit code ${code}` : `signal ${signal}`
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error) => reject(new StartError(`${options.command} could not be started: ${error.message}`)))
  })
  child.unref()
  return {
    pid: child.pid as number,
    child,
    get ended() {
      return ended
    },
  }
}

/**
 * Waits until `check` says yes. Throws StartError with the end of the log when the process ends first or `limit` milliseconds pass.
 */
export async function waitUntilReady(
  name: string,
  server: Detached,
  logFile: string,
  limit: number,
  check: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limit
  for (let pause = 4; ; pause = Math.min(pause * 1.5, 100)) {
    if (await check()) return
    if (server.ended !== null) throw new StartError(`${name} stopped at once (${server.ended}).\n${logTail(logFile)}`)
    if (performance.now() > deadline) {
      kill(server.pid, 'SIGKILL')
      throw new StartError(`${name} was not ready within ${limit / 1000} s.\n${logTail(logFile)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

/** Sends `signal` and waits for the end; SIGKILL after `limit` milliseconds. Resolves at once when it is not alive. */
export async function stopProcess(pid: number, signal: NodeJS.Signals, limit: number): Promise<void> {
  const deadline = performance.now() + limit
  kill(pid, signal)
  for (let pause = 4; isAlive(pid); pause = Math.min(pause * 1.5, 50)) {
    if (performance.now() > deadline) kill(pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended meanwhile.
  }
}

/** The command line of a process where /proc tells it, else null. Tells a process from a stranger that got its number. */
export function commandLine(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return null
  }
}

/** The working directory of a process where /proc tells it, else null. */
export function workingDirectory(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null
  }
}

/**
 * A free TCP port on loopback, below the range the kernel hands to outgoing connections (from 32,768 on Linux): one from that range was taken by a
 * neighbour's connection between the choice and its use. Another server may still take it first: callers try again.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = await bindOnce(randomInt(20_000, 32_000)).catch(() => null)
    if (port !== null) return port
  }
  return bindOnce(0)
}

function bindOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

/** Sends bytes to a port of this machine and returns what came back once `enough` says so; null when nobody answers so. */
export async function converse(
  port: number,
  send: Uint8Array | string,
  enough: (reply: string) => boolean,
): Promise<string | null> {
  return new Promise((resolve) => {
    let reply = ''
    const socket = connect({ port, host: '127.0.0.1', timeout: 2000 })
    const finish = (result: string | null) => {
      socket.destroy()
      resolve(result)
    }
    socket.once('connect', () => socket.write(send))
    socket.on('data', (bytes) => {
      reply += bytes.toString('latin1')
      if (enough(reply)) finish(reply)
    })
    socket.once('error', () => finish(null))
    socket.once('timeout', () => finish(null))
    socket.once('close', () => finish(null))
  })
}

/** The last lines of a log, for an error message. */
function logTail(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').slice(-15).join('\n')
  } catch {
    return ''
  }
}
