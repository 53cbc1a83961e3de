import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDataDirectory, randomKey } from './data-directory.ts'
import { startTime } from './process-status.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'turnpike-data-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const lock = () => join(directory, 'gateway.lock')

describe('data directory', () => {
  it('is refused to a second gateway until the first lets go', () => {
    const first = openDataDirectory(directory)
    expect(() => openDataDirectory(directory)).toThrow(`Another gateway (process ${process.pid}) is using`)
    first.release()
    openDataDirectory(directory).release()
  })

  it('is refused while another process holds it, and taken over once that is dead', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await once(child, 'spawn')
    writeFileSync(lock(), JSON.stringify({ pid: child.pid, started: startTime(child.pid as number) }))
    expect(() => openDataDirectory(directory)).toThrow(`process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    openDataDirectory(directory)
    expect(JSON.parse(readFileSync(lock(), 'utf8')).pid).toBe(process.pid)
  })

  it('is taken over when the number of the dead holder belongs to another process now', () => {
    writeFileSync(lock(), JSON.stringify({ pid: process.pid, started: 'long ago' }))
    openDataDirectory(directory)
    expect(JSON.parse(readFileSync(lock(), 'utf8')).started).toBe(startTime(process.pid))
  })

  it('is taken over when the lock cannot be read, and no scraps are left', () => {
    writeFileSync(lock(), '{')
    openDataDirectory(directory).release()
    expect(readdirSync(directory)).toEqual([])
  })

  it('keeps a secret, readable by its owner alone', () => {
    const opened = openDataDirectory(directory)
    const key = opened.secret('master-key', randomKey)
    expect(key).toMatch(/^sk-[\w-]{32}$/)
    expect(opened.secret('master-key', randomKey)).toBe(key)
    expect(statSync(join(directory, 'master-key')).mode & 0o777).toBe(0o600)
  })

  it('says so when it cannot be made', () => {
    writeFileSync(join(directory, 'file'), '')
    expect(() => openDataDirectory(join(directory, 'file/data'))).toThrow(/could not be made/)
  })
})
