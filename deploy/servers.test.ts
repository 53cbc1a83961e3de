import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAlive } from '../shared/process-status.ts'
import { type Server, stopProcess } from './server-process.ts'
import { startNats, startPostgres, startRedis } from './servers.ts'

const packages = join(import.meta.dirname, '../.turnpike/packages')
const settings = { fsync: 'off' }
let directory = ''
const running: Server[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'turnpike-servers-'))
  chmodSync(directory, 0o711)
})

afterEach(async () => {
  for (const server of running.splice(0)) await server.stop()
  rmSync(directory, { recursive: true, force: true })
})

async function track(starting: Promise<Server>): Promise<Server> {
  const server = await starting
  running.push(server)
  return server
}

describe('servers', () => {
  const starts = {
    PostgreSQL: () => track(startPostgres({ directory, settings })),
    NATS: () => track(startNats({ directory })),
    Redis: () => track(startRedis({ directory, packages })),
  }

  for (const [name, start] of Object.entries(starts)) {
    it(`${name} left running by a killed gateway is used again and never started twice`, async () => {
      const first = await start()
      const second = await start()
      expect(first.started).toBe(true)
      expect(second).toMatchObject({ started: false, url: first.url, pid: first.pid })
      await second.stop()
      expect(isAlive(first.pid as number)).toBe(false)
    })

    it(`${name} starts again with the same password after it was killed`, async () => {
      const first = await start()
      await stopProcess(first.pid as number, 'SIGKILL', 5000)
      const second = await start()
      expect(second.started).toBe(true)
      expect(new URL(second.url).password).toBe(new URL(first.url).password)
      expect(new URL(second.url).password).toMatch(/^[0-9a-f]{48}$/)
    })
  }

  it('keep their passwords to the account that runs them', async () => {
    await starts.NATS()
    for (const file of ['password', 'nats.conf', 'nats.log', 'server.json'])
      expect(statSync(join(directory, file)).mode & 0o077).toBe(0)
  })

  it('are not started when their address is given', async () => {
    const server = await startPostgres({ directory, url: 'postgres://db.example/turnpike' })
    expect(server).toMatchObject({ url: 'postgres://db.example/turnpike', pid: null, started: false })
    expect(existsSync(join(directory, 'data'))).toBe(false)
  })
})

describe('PostgreSQL', () => {
  it('takes over the lock file of a dead process whose number a stranger has now', async () => {
    const first = await track(startPostgres({ directory, settings }))
    const lock = readFileSync(join(directory, 'data/postmaster.pid'), 'utf8')
    await first.stop()
    writeFileSync(join(directory, 'data/postmaster.pid'), lock.replace(String(first.pid), String(process.pid)))
    const second = await track(startPostgres({ directory, settings }))
    expect(second.started).toBe(true)
  })

  it('keeps its data elsewhere when root starts it in a folder closed to the account it must run as', async () => {
    chmodSync(directory, 0o700)
    const notes: string[] = []
    const server = await track(startPostgres({ directory, settings, note: (text) => notes.push(text) }))
    expect(isAlive(server.pid as number)).toBe(true)
    const elsewhere = /kept in (\/var\/lib\/turnpike\/[0-9a-f]{12})$/.exec(notes.join())?.[1]
    expect(elsewhere === undefined).toBe(process.getuid?.() !== 0)
    expect(existsSync(join(elsewhere ?? directory, 'data/PG_VERSION'))).toBe(true)
    await server.stop()
    if (elsewhere !== undefined) rmSync(elsewhere, { recursive: true })
  })

  it('says what its log said when it cannot start', async () => {
    await expect(startPostgres({ directory, settings: { shared_buffers: 'plenty' } })).rejects.toThrow(/shared_buffers/)
  })
})
