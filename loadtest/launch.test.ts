import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readProcess } from './cpu.ts'
import { cleanEnvironment, end, freePort, launch, Missing } from './launch.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnpike-launch-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const start = (code: string) =>
  launch(process.execPath, ['-e', code], { cwd: folder, env: cleanEnvironment(), log: join(folder, 'log') })

describe('a launched program', () => {
  it('that ends before it is ready is missing, with the message of its crash', async () => {
    const { until } = start('throw new Error("no such port")')
    await expect(until(async () => false)).rejects.toThrow(/ended with 1: Error: no such port/)
    await expect(until(async () => false)).rejects.toBeInstanceOf(Missing)
  })

  it.runIf(process.platform === 'linux')('leaves no child behind when it is ended, even one that does not listen', async () => {
    const deaf = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6)'
    const { child, until } = start(
      `const child = require("child_process").spawn(process.execPath, ["-e", ${JSON.stringify(deaf)}], { stdio: "ignore" }); console.log(child.pid)`,
    )
    let pid = 0
    await until(async () => {
      pid = Number(readFileSync(join(folder, 'log'), 'utf8'))
      return pid > 0 && (readProcess(pid)?.command.includes('SIGTERM') ?? false)
    })
    await end(child)
    // Killed, and perhaps not yet waited for by whoever takes it over: then its command line is empty.
    while ((readProcess(pid)?.command ?? '') !== '') await new Promise((done) => setTimeout(done, 10))
    expect(child.signalCode).toBe('SIGTERM')
  })

  it('gets a port with a free neighbour', async () => {
    expect(await freePort()).toBeGreaterThan(1_023)
  })
})
