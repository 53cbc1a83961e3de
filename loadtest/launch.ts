import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import { processTree, readProcess } from './cpu.ts'

/** Starting and ending what is measured. */

/** Why a topology cannot be measured here. */
export class Missing extends Error {}

export const ROOT = resolve(import.meta.dirname, '..')
/** Milliseconds: the first start of a data folder makes a database. */
const START_LIMIT = 60_000
const STOP_LIMIT = 15_000

export interface Launched {
  child: ChildProcess
  pid: number
  /** Tries until it is so. Throws Missing, with the end of the log, when the process ends or the limit passes first. */
  until(test: () => Promise<boolean>): Promise<void>
}

/** Starts a program whose output goes to the file `log`. `limit`: milliseconds in which it must be ready, default a minute. */
export function launch(
  command: string,
  args: string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; log: string; limit?: number },
): Launched {
  const { limit = START_LIMIT } = options
  const log = openSync(options.log, 'w')
  const child = spawn(command, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', log, log] })
  closeSync(log)
  const said = (): string => {
    const lines = readFileSync(options.log, 'utf8').trim().split('\n')
    // The message of a crash stands above its stack.
    return (lines.findLast((line) => /^\S*error\b/i.test(line)) ?? lines.slice(-3).join(' | ')).slice(0, 400)
  }
  return {
    child,
    pid: child.pid as number,
    until: async (test) => {
      for (const deadline = performance.now() + limit; performance.now() < deadline; ) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Missing(`it ended with ${child.exitCode ?? child.signalCode}: ${said()}`)
        if (await test().catch(() => false)) return
        await new Promise((done) => setTimeout(done, 50))
      }
      throw new Missing(`not ready within ${limit / 1000} s: ${said()}`)
    },
  }
}

/** SIGTERM, and SIGKILL when that is not heard; then also to what it leaves behind: a supervisor that is killed cannot end its workers. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  const [, ...descendants] = child.pid === undefined ? [] : processTree(child.pid)
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
  await exited
  clearTimeout(timer)
  for (const { pid, command } of descendants) {
    // Unless the number is another's by now.
    if (readProcess(pid)?.command === command) process.kill(pid, 'SIGKILL')
  }
}

/** The environment without anything that would point a gateway at servers, keys or providers of this machine. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR, LANG } = process.env
  const kept = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR, LANG }).filter(([, value]) => value !== undefined))
  return { ...kept, HOST: '127.0.0.1', LITELLM_LOG: 'WARNING', NODE_ENV: 'production' }
}

/** A port that is free, and the next one too: a cluster takes one for each of its two edges. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await probe(0)
    if (port !== null && port < 65_535 && (await probe(port + 1)) !== null) return port
  }
}

/** The port (0: any) when it can be listened on, else null. */
function probe(port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', () => done(null))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(address !== null && typeof address === 'object' ? address.port : null))
    })
  })
}
