import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import { createRedisCounters } from '../../shared/counters/redis.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import type { Server } from '../server-process.ts'
import { startRedis } from '../servers.ts'

const PACKAGES = join(import.meta.dirname, '../../.turnpike/packages')
const scope = { scope: 'key|a', requests: 100, tokens: null, parallel: 10, budget: 1_000, spent: 0, revision: 0 }
const call = (lease: string, hold = 10) => ({ lease, scopes: [scope], tokens: 0, hold })

/** The counters of two processes over a Redis of its own that may be hurt. */
describe('counters whose Redis loses what it had', () => {
  let directory: string
  let server: Server
  let router: Counters
  let accounting: Counters
  let redis: RedisConnection
  const closers: (() => Promise<void>)[] = []

  async function attach(): Promise<{ redis: RedisConnection; counters: Counters }> {
    const connection = createRedis({ url: server.url, log: silentLog })
    const counters = createRedisCounters({ redis: connection, prefix: 'tp', clock: systemClock, log: silentLog })
    closers.push(
      () => counters.close(),
      () => connection.close(),
    )
    await connected(connection)
    return { redis: connection, counters }
  }

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'turnpike-counters-'))
    server = await startRedis({ directory, packages: PACKAGES, keep: false })
    ;({ redis, counters: router } = await attach())
    ;({ counters: accounting } = await attach())
    await accounting.rebuild(async () => [])
    await router.admit(call('running'))
    await router.admit(call('over'))
    await router.settle('over', { cost: 7, tokens: 0 })
  })

  afterEach(async () => {
    for (const close of closers.splice(0)) await close()
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  /** What accounting and a router do about a loss; the ledger has booked the call that is over. */
  async function recover(): Promise<void> {
    for (const counters of [router, accounting]) {
      await expect(counters.admit(call('new'))).rejects.toMatchObject({ code: 'counters_away', retryAfter: 1000 })
      expect(counters.ready).toBe(false)
    }
    expect(await accounting.rebuilt()).toBe(false)
    const renewed = new Promise<void>((resolve, reject) => {
      router.onLoss(() => void Promise.resolve(router.renew([call('running')])).then(resolve, reject))
    })
    const pages: Spent[][] = [[{ scope: 'key|a', spent: 507, revision: 3 }], []]
    await accounting.rebuild(async () => pages.shift() ?? [], 400)
    await renewed
    await accounting.book(['over'], [{ scope: 'key|a', spent: 507, revision: 3 }])
    await until(() => router.ready && accounting.ready)
  }

  async function expectWhole(): Promise<void> {
    expect(await router.peek(['key|a'])).toMatchObject([{ spent: 507, held: 10, parallel: 1, revision: 3 }])
    expect(await router.admit(call('big', 484))).toMatchObject({ granted: false, limit: 'budget' })
    expect(await router.admit(call('fits', 483))).toMatchObject({ granted: true })
    await router.release('fits')
    await router.settle('running', { cost: 10, tokens: 0 })
    await accounting.book(['running'], [{ scope: 'key|a', spent: 517, revision: 4 }])
    expect(await accounting.totals()).toEqual({ leases: 0, held: 0 })
  }

  it('admit nothing after FLUSHALL until they are rebuilt, and then what the ledger and the running calls say', async () => {
    await redis.call('FLUSHALL')
    await recover()
    await expectWhole()
  })

  it('take a server that forgot the scripts for one that may have lost data', async () => {
    await redis.call('SCRIPT', 'FLUSH')
    await recover()
    await expectWhole()
  })

  it('come back after the server was killed and another took its place', async () => {
    const port = Number(new URL(server.url).port)
    const reconnected = connectedAgain(redis)
    process.kill(server.pid as number, 'SIGKILL')
    await expect(router.admit(call('new'))).rejects.toMatchObject({ code: 'counters_away' })
    server = await startRedis({ directory, packages: PACKAGES, keep: false, port })
    await reconnected
    await until(async () => (await accounting.rebuilt().catch(() => null)) === false)
    await recover()
    await expectWhole()
  })
})

function connected(redis: RedisConnection): Promise<void> {
  return new Promise((resolve) => {
    redis.onReady(resolve)
  })
}

/** The next time a connection stands, not the present one. */
function connectedAgain(redis: RedisConnection): Promise<void> {
  let count = 0
  return new Promise((resolve) => {
    redis.onReady(() => {
      count += 1
      if (count === 2) resolve()
    })
  })
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
}
