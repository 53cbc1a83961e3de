import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { scopes } from '../../proto/limits.ts'
import { systemClock } from '../../shared/clock.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import { createRedisCounters } from '../../shared/counters/redis.ts'
import type { Database } from '../../shared/db/db.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import type { Cluster } from '../cluster.ts'
import type { Server } from '../server-process.ts'
import { startNats, startPostgres, startRedis } from '../servers.ts'
import { type Gateway, openGateway } from './gateway.ts'

/** Seconds of killing; the promise is made for two minutes. */
const SECONDS = Number(process.env['TURNPIKE_CHAOS_SECONDS'] ?? 120)
/** Milliseconds between kills, and callers at once. */
const PAUSE = 1_500
const CALLERS = 16
/** Milliseconds after which nothing may be held any more: a lease, and what a lost booking takes to be noticed. */
const QUIET = 150_000

const PACKAGES = join(import.meta.dirname, '../../.turnpike/packages')

/** Small, seeded: a run that fails is told by its seed. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Everything that can die dies for two minutes under load; then the books are compared with what the provider served. */
describe('money while everything is killed', () => {
  let home: string
  let upstream: Upstream
  let nats: Server
  let redis: Server
  let postgres: Server
  let gateway: Gateway
  let cluster: Cluster
  let db: Database
  let connection: RedisConnection
  let counters: Counters

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'turnpike-chaos-'))
    upstream = await startUpstream()
    ;[nats, redis, postgres] = await Promise.all([startOne('nats'), startOne('redis'), startOne('postgres')])
    gateway = await openGateway('cluster', {
      config: `
model_list:
  - model_name: cent
    litellm_params: { model: openai/gpt-scripted, api_base: '${upstream.url}/v1', api_key: k, input_cost_per_request: 0.01 }
`,
      env: { NATS_URL: nats.url, REDIS_URL: redis.url, DATABASE_URL: postgres.url },
    })
    cluster = gateway.cluster as Cluster
    db = createPostgres({ url: postgres.url, log: silentLog })
    connection = createRedis({ url: redis.url, log: silentLog })
    counters = createRedisCounters({ redis: connection, prefix: 'tp', clock: systemClock, log: silentLog })
  }, 120_000)
  afterAll(async () => {
    await counters?.close()
    await connection?.close()
    await db?.close()
    await gateway?.stop()
    await Promise.all([nats?.stop(), redis?.stop(), postgres?.stop()])
    await upstream?.stop()
    rmSync(home, { recursive: true, force: true })
  }, 60_000)

  function startOne(name: 'nats' | 'redis' | 'postgres', port?: number): Promise<Server> {
    const directory = join(home, name)
    if (name === 'nats') return startNats({ directory, port })
    if (name === 'redis') return startRedis({ directory, port, packages: PACKAGES })
    // A kill loses nothing that the system has taken, and it must have taken every commit.
    return startPostgres({ directory, port, settings: { fsync: 'off' } })
  }

  async function killServer(name: 'nats' | 'redis' | 'postgres'): Promise<void> {
    const server = { nats, redis, postgres }[name]
    const port = Number(new URL(server.url).port)
    if (server.pid !== null) process.kill(server.pid, 'SIGKILL')
    const again = await startedAgain(name, port)
    if (name === 'nats') nats = again
    else if (name === 'redis') redis = again
    else postgres = again
  }

  /** A killed server's children may hold its port or its memory for a moment. */
  async function startedAgain(name: 'nats' | 'redis' | 'postgres', port: number): Promise<Server> {
    for (let attempt = 1; ; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, 200))
      try {
        return await startOne(name, port)
      } catch (error) {
        if (attempt === 20) throw error
      }
    }
  }

  it(
    'books every call the provider served once, holds nothing afterwards, and counts what the ledger says',
    async () => {
      const seed = Date.now() % 1_000_000
      const next = random(seed)
      const key = await gateway.generateKey({ max_budget: 100_000, max_parallel_requests: 10_000 })
      const hash = createHash('sha256').update(key).digest('hex')
      const deadline = performance.now() + SECONDS * 1000
      let sequence = 0
      const statuses = new Map<number, number>()

      const caller = async (): Promise<void> => {
        while (performance.now() < deadline) {
          const marker = `chaos-${sequence++}`
          const stream = next() < 0.5
          const status = await call(key, marker, stream, Math.floor(next() * 250))
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          // A door that is shut is not hammered.
          if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
      const killer = async (): Promise<void> => {
        const victims = [
          () => kill('router', 0),
          () => kill('router', 1),
          () => kill('edge', 0),
          () => kill('edge', 1),
          () => kill('accounting', 0),
          () => killServer('nats'),
          () => killServer('redis'),
          () => killServer('postgres'),
        ]
        for (let round = 0; performance.now() < deadline; round += 1) {
          // Each of them in every eight rounds, in another order each time.
          if (round % victims.length === 0) victims.sort(() => next() - 0.5)
          await victims[round % victims.length]?.()
          await new Promise((resolve) => setTimeout(resolve, PAUSE * (0.5 + next())))
        }
      }
      await Promise.all([killer(), ...Array.from({ length: CALLERS }, caller)])
      for (const { role, index, alive } of cluster.members()) if (!alive) await cluster.restart(role, index)

      const told = `seed ${seed}, answers ${JSON.stringify([...statuses])}`
      expect(statuses.get(200) ?? 0, told).toBeGreaterThan(SECONDS)
      await until(async () => (await unbooked(sequence)).length === 0, QUIET)
      expect(await unbooked(sequence), `served and not in the ledger; ${told}`).toEqual([])
      expect(await bookedTwice(), `booked twice; ${told}`).toEqual([])

      await until(async () => (await counters.totals()).leases === 0, QUIET)
      expect(await counters.totals(), told).toEqual({ leases: 0, held: 0 })
      const scope = scopes.key(hash)
      const [sum] = await db.query<{ spent: number }>('select sum(cost_nano)::bigint as spent from ledger where key_hash = $1', [
        hash,
      ])
      const [row] = await db.query<{ spent: number }>('select spent_nano as spent from spend where scope = $1', [scope])
      const [state] = await counters.peek([scope])
      expect({ row: row?.spent, counter: state?.spent, parallel: state?.parallel }, told).toEqual({
        row: sum?.spent,
        counter: sum?.spent,
        parallel: 0,
      })
    },
    SECONDS * 1000 + 2 * QUIET + 60_000,
  )

  async function kill(role: 'router' | 'edge' | 'accounting', index: number): Promise<void> {
    await cluster.kill(role, index)
    // It starts only when its servers are there; they are restarted before the next victim is chosen.
    await cluster.restart(role, index)
  }

  /** One call; its status, 0 when the connection broke. */
  async function call(key: string, marker: string, stream: boolean, latency: number): Promise<number> {
    const url = cluster.urls[sequenceOf(marker) % cluster.urls.length]
    try {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          model: 'cent',
          stream,
          metadata: { marker },
          messages: [{ role: 'user', content: `[[upstream id=${marker},latency=${latency},chunks=4,interval=20]]` }],
        }),
        signal: AbortSignal.timeout(30_000),
      })
      await response.text()
      return response.status
    } catch {
      return 0
    }
  }

  /** Entries by marker that cost something: what was taken back does not count. */
  async function billed(): Promise<Map<string, number>> {
    const rows = await db.query<{ marker: string; entries: number }>(
      `select metadata ->> 'marker' as marker, sum(case when entry = 'reversal' then -1 else 1 end)::int as entries
       from ledger where metadata ? 'marker' and cost_nano <> 0 group by 1`,
    )
    return new Map(rows.map(({ marker, entries }) => [marker, entries]))
  }

  /** Calls the provider began to serve more often than the ledger knows. */
  async function unbooked(count: number): Promise<string[]> {
    const entries = await billed().catch(() => new Map<string, number>())
    return Array.from({ length: count }, (_, index) => `chaos-${index}`).filter(
      (marker) => upstream.served(marker).length > (entries.get(marker) ?? 0),
    )
  }

  /** Takes of calls whose entries do not add up to one. */
  function bookedTwice(): Promise<unknown[]> {
    return db.query(
      `select call_id, take, attempt, sum(case when entry = 'reversal' then -1 else 1 end)::int as entries
       from ledger where metadata ? 'marker' group by 1, 2, 3 having sum(case when entry = 'reversal' then -1 else 1 end) > 1`,
    )
  }
})

function sequenceOf(marker: string): number {
  return Number(marker.slice(marker.lastIndexOf('-') + 1))
}

async function until(test: () => Promise<boolean>, limit: number): Promise<void> {
  const deadline = performance.now() + limit
  while (!(await test().catch(() => false)) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
