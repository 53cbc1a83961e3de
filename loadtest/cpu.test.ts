import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { processTree, readMemory, readProcess, total, watchProcesses } from './cpu.ts'

describe('the process reader', () => {
  it('reads CPU time and parents from /proc, whatever a process is called', () => {
    const root = mkdtempSync(join(tmpdir(), 'turnpike-proc-'))
    const put = (pid: number, name: string, parent: number, times: string): void => {
      mkdirSync(join(root, String(pid)))
      writeFileSync(
        join(root, String(pid), 'stat'),
        `${pid} (${name}) S ${parent} 1 1 0 -1 4194560 9 0 0 0 ${times} 20 0 1 0 99 1 1`,
      )
      writeFileSync(join(root, String(pid), 'cmdline'), `${name}\0--flag\0`)
    }
    put(10, 'odd ) name', 1, '100 50 7 3')
    put(11, 'child', 10, '1 1 0 0')
    put(12, 'grandchild', 11, '2 0 0 0')
    put(13, 'stranger', 1, '9 9 9 9')
    expect(readProcess(10, root)).toEqual({
      pid: 10,
      parent: 1,
      cpu: 1_600_000,
      inherited: 100_000,
      command: 'odd ) name --flag',
    })
    expect(processTree(10, root).map(({ pid, cpu }) => [pid, cpu])).toEqual([
      [10, 1_600_000],
      [11, 20_000],
      [12, 20_000],
    ])
    expect(readProcess(99, root)).toBeNull()
    expect(processTree(99, root)).toEqual([])
    expect(readMemory(10, root)).toEqual({ rss: 0, pss: 0 })
    rmSync(root, { recursive: true })
  })

  it('counts what a child used that ends in between, and not what it had used before', () => {
    const root = mkdtempSync(join(tmpdir(), 'turnpike-proc-'))
    const put = (pid: number, parent: number, times: string): void => {
      mkdirSync(join(root, String(pid)), { recursive: true })
      writeFileSync(join(root, String(pid), 'stat'), `${pid} (x) S ${parent} 1 1 0 -1 0 9 0 0 0 ${times} 20 0 1 0 99 1 1`)
      writeFileSync(join(root, String(pid), 'cmdline'), `process ${pid}`)
    }
    put(20, 1, '100 0 0 0')
    put(21, 20, '500 0 0 0')
    put(22, 20, '300 0 0 0')
    const watch = watchProcesses(
      () => [20],
      ({ pid }) => String(pid),
      root,
    )
    watch.start()
    // 21 has used 30 more and ended, and so has one nobody saw, with 7; 22 and its parent go on.
    rmSync(join(root, '21'), { recursive: true })
    put(20, 1, '110 0 537 0')
    put(22, 20, '305 0 0 0')
    expect(watch.stop().cpu).toEqual({ 20: 470_000, 22: 50_000 })
    rmSync(root, { recursive: true })
  })

  it.runIf(process.platform === 'linux')('sees the CPU a child has burnt, under the name it was given', async () => {
    const code =
      'const end = process.cpuUsage().user + 120e3; while (process.cpuUsage().user < end); console.log(1); setInterval(() => {}, 1e6)'
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = child.pid as number
    const watch = watchProcesses(
      () => [pid],
      ({ command }) => (command.includes('setInterval') ? 'burner' : 'other'),
    )
    watch.start()
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const used = watch.stop()
    const closed = new Promise((resolve) => child.once('close', resolve))
    child.kill()
    await closed
    // Ticks of 10 ms, and start-up before `start` may be missed.
    expect(used.cpu['burner']).toBeGreaterThanOrEqual(90_000)
    expect(total(used.memory)).toBeGreaterThan(10 * 1024 * 1024)
    expect(used.peak).toBe(total(used.memory))
  })
})
