import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAlive } from '../shared/process-status.ts'

// The launcher works in a copy here, beside a command that only says what reaches it: never in the checkout, which it may reinstall.
let root = ''
const children: ChildProcess[] = []
const LOCK = JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } })
const COMMAND = `
import { writeFileSync } from 'node:fs'
writeFileSync(process.env.REPORT, JSON.stringify({ args: process.argv.slice(2), pid: process.pid }))
const end = (code) => () => process.exit(code)
if (process.argv.includes('at-once')) end(9)()
const timer = setInterval(() => {}, 1000)
process.on('SIGTERM', end(7)).on('SIGINT', end(8)).on('disconnect', end(0))
`

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'turnpike-setup-'))
  for (const folder of ['deploy', 'node_modules', 'bin']) mkdirSync(join(root, folder))
  for (const file of ['setup.mjs', 'lock-check.mjs', 'strip-cache.mjs'])
    cpSync(join(import.meta.dirname, file), join(root, 'deploy', file))
  writeFileSync(join(root, 'deploy/cli.ts'), COMMAND)
  writeFileSync(join(root, 'package-lock.json'), LOCK)
  install(LOCK)
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

function install(packages: string): void {
  writeFileSync(join(root, 'node_modules/.package-lock.json'), packages)
}

/** An npm that writes down how it was called and ends with `code`. */
function fakeNpm(code: number): void {
  writeFileSync(
    join(root, 'bin/npm'),
    `#!/bin/sh\necho "$@" >> "${root}/npm-calls"\necho "npm error: the registry is away" >&2\nexit ${code}\n`,
    {
      mode: 0o755,
    },
  )
}

function npmCalls(): string[] {
  return existsSync(join(root, 'npm-calls')) ? readFileSync(join(root, 'npm-calls'), 'utf8').trim().split('\n') : []
}

const report = () => join(root, 'report.json')

function launch(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(root, 'deploy/setup.mjs'), ...args], {
    env: { PATH: `${join(root, 'bin')}:/usr/bin:/bin`, REPORT: report(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (output += bytes))
  const ended = new Promise<{ code: number | null; output: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, output })),
  )
  return { child, ended }
}

/** What the command reported, once it runs. */
async function running(): Promise<{ args: string[]; pid: number }> {
  for (;;) {
    const text = existsSync(report()) ? readFileSync(report(), 'utf8') : ''
    if (text !== '') return JSON.parse(text)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe('the launcher', () => {
  it('passes arguments on and keeps the exit code', async () => {
    const { code } = await launch(['start', '--config', 'x.yaml', 'at-once']).ended
    expect(code).toBe(9)
    expect((await running()).args).toEqual(['start', '--config', 'x.yaml', 'at-once'])
  })

  it('installs nothing when what is locked is there, however it came there', async () => {
    fakeNpm(0)
    expect((await launch(['start', 'at-once']).ended).code).toBe(9)
    expect(npmCalls()).toEqual([])
  })

  it('installs when a package is missing, and again only when the lock file changed', async () => {
    fakeNpm(0)
    install('{"packages":{}}')
    const first = await launch(['start', 'at-once']).ended
    expect(first.output).toContain('Installing the dependencies')
    // Running needs no development tools.
    expect(npmCalls()).toEqual(['ci --omit=dev --include=optional --no-audit --no-fund --loglevel=error'])
    await launch(['start', 'at-once']).ended
    expect(npmCalls()).toHaveLength(1)
    writeFileSync(join(root, 'package-lock.json'), `${LOCK}\n`)
    await launch(['start', 'at-once']).ended
    expect(npmCalls()).toHaveLength(2)
    const marker = JSON.parse(readFileSync(join(root, 'node_modules/.turnpike-setup'), 'utf8'))
    expect(marker.lock).toBe(createHash('sha256').update(`${LOCK}\n`).digest('hex'))
  })

  it('starts nothing when the installation fails, and shows what npm said', async () => {
    fakeNpm(1)
    install('{"packages":{}}')
    const { code, output } = await launch(['start']).ended
    expect(code).toBe(1)
    expect(output).toContain('npm error: the registry is away')
    expect(output).toContain('Nothing was started')
    expect(existsSync(report())).toBe(false)
  })

  it.each([
    ['SIGTERM', 7],
    ['SIGINT', 8],
  ] as const)('hands %s on and waits for the end', async (signal, expected) => {
    const { child, ended } = launch(['start'])
    const { pid } = await running()
    child.kill(signal)
    expect((await ended).code).toBe(expected)
    expect(isAlive(pid)).toBe(false)
  })

  it('leaves no gateway behind when it is killed', async () => {
    const { child } = launch(['start'])
    const { pid } = await running()
    child.kill('SIGKILL')
    await gone(pid)
  })

  it('ends the gateway when the npm that runs it, behind a shell, is killed', async () => {
    const npm = join(root, 'npm.mjs')
    // As npm does: a shell runs the script, and outlives the npm that is killed.
    writeFileSync(
      npm,
      `import { spawn } from 'node:child_process'\nspawn('sh', ['-c', ${JSON.stringify(`"${process.execPath}" deploy/setup.mjs start; true`)}], { cwd: ${JSON.stringify(root)}, stdio: 'ignore' })`,
    )
    const child = spawn(process.execPath, [npm], {
      env: { PATH: '/usr/bin:/bin', REPORT: report(), npm_lifecycle_event: 'start' },
    })
    children.push(child)
    const { pid } = await running()
    child.kill('SIGKILL')
    await gone(pid)
  })

  it('names the commands there are when it is given none of them', async () => {
    const { code, output } = await launch(['launch']).ended
    expect(code).toBe(1)
    expect(output).toMatch(/Unknown command "launch"\. There are: start, cluster, .*relock/)
  })
})
