import process from 'node:process'
import { systemClock } from '../shared/clock.ts'
import { type AdmitRequest, type AdmitScope, type Counters, RATE_WINDOW } from '../shared/counters/counters.ts'
import { createMemoryCounters } from '../shared/counters/memory.ts'
import { createRedisCounters } from '../shared/counters/redis.ts'
import { silentLog } from '../shared/log.ts'
import { createRedis, type RedisConnection } from '../shared/redis.ts'

/**
 * What an admission and its settlement cost: `node loadtest/counters.ts [redis://…]`. Prints microseconds of CPU per call in this process and in
 * Redis, for 1 to 4 scopes with requests, tokens and budget each, at so many calls at once. Uses keys of its own prefix and removes them.
 */
const ROUND = 2_000
const ROUNDS = 15
/** Leases booked at once. */
const BOOK = 200
const CONCURRENCY = [1, 64]
const SCOPES = [1, 3, 4]
const KEYS = 1_000
const PREFIX = 'loadtest-counters'

function requestOf(index: number, scopes: number): AdmitRequest {
  const key = String(index % KEYS).padStart(64, '0')
  const names = [`key|${key}`, `team|team-${index % 50}`, `user|user-${index % 200}`, 'organization|acme']
  const asked: AdmitScope[] = names.slice(0, scopes).map((scope) => ({
    scope,
    requests: 1_000_000_000,
    tokens: 1_000_000_000_000,
    parallel: null,
    budget: 9_000_000_000_000,
    spent: 0,
    revision: 1,
  }))
  return { lease: `call-${index}`, scopes: asked, tokens: 1_000, hold: 1_000_000 }
}

async function drive(counters: Counters, requests: readonly AdmitRequest[], concurrency: number, settle: boolean): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < requests.length) {
      const request = requests[next++] as AdmitRequest
      if (settle) await counters.settle(request.lease, { cost: 500_000, tokens: 900 })
      else await counters.admit(request)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

/** Microseconds of CPU that the server has used. */
async function serverCpu(redis: RedisConnection | null): Promise<number> {
  if (redis === null) return 0
  const info = String(await redis.call('INFO', 'cpu'))
  const of = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1] ?? 0)
  return (of('used_cpu_sys') + of('used_cpu_user')) * 1e6
}

/** Microseconds by the wall clock inside the scripts. */
async function scriptTime(redis: RedisConnection | null): Promise<number> {
  if (redis === null) return 0
  const info = String(await redis.call('INFO', 'commandstats'))
  return Number(/^cmdstat_evalsha:calls=\d+,usec=(\d+)/m.exec(info)?.[1] ?? 0)
}

interface Usage {
  node: number
  server: number
  script: number
  elapsed: number
}

/** Microseconds of `work`. */
async function usageOf(redis: RedisConnection | null, work: () => Promise<void>): Promise<Usage> {
  const [serverBefore, scriptBefore] = [await serverCpu(redis), await scriptTime(redis)]
  const before = process.cpuUsage()
  const from = performance.now()
  await work()
  const elapsed = (performance.now() - from) * 1_000
  const { user, system } = process.cpuUsage(before)
  const server = (await serverCpu(redis)) - serverBefore
  return { node: user + system, server, script: (await scriptTime(redis)) - scriptBefore, elapsed }
}

/** In rounds, so that as many leases are about as a busy gateway has, and not as many as there are calls. */
async function measure(name: string, counters: Counters, redis: RedisConnection | null): Promise<void> {
  for (const concurrency of CONCURRENCY) {
    for (const scopes of SCOPES) {
      const requests = Array.from({ length: ROUND }, (_, index) => requestOf(index, scopes))
      const leases = requests.map(({ lease }) => lease)
      const usages: Record<string, Usage[]> = { admit: [], settle: [], book: [] }
      for (let round = 0; round < ROUNDS; round++) {
        usages['admit']?.push(await usageOf(redis, () => drive(counters, requests, concurrency, false)))
        usages['settle']?.push(await usageOf(redis, () => drive(counters, requests, concurrency, true)))
        usages['book']?.push(await usageOf(redis, () => bookAll(counters, leases)))
      }
      for (const [what, found] of Object.entries(usages)) print(name, concurrency, scopes, what, found)
    }
  }
  const { leases, held } = await counters.totals()
  if (leases !== 0 || held !== 0) throw new Error(`${leases} leases and ${held} nano-dollars are left over`)
}

async function bookAll(counters: Counters, leases: readonly string[]): Promise<void> {
  for (let at = 0; at < leases.length; at += BOOK) await counters.book(leases.slice(at, at + BOOK), [])
}

function print(name: string, concurrency: number, scopes: number, what: string, usages: readonly Usage[]): void {
  // The lowest round is the one that the rest of the machine disturbed least.
  const lowest = (of: keyof Usage): number => Math.min(...usages.map((usage) => usage[of])) / ROUND
  const figure = (value: number): string => value.toFixed(1).padStart(8)
  console.log(
    `${name.padEnd(8)}${String(concurrency).padStart(4)}${String(scopes).padStart(8)}  ${what.padEnd(8)}` +
      `${figure(lowest('node'))}${figure(lowest('server'))}${figure(lowest('script'))}` +
      `${String(Math.round(1e6 / lowest('elapsed'))).padStart(10)}`,
  )
}

console.log(`${RATE_WINDOW / 1000} s windows; requests, tokens and budget in every scope; Microseconds of CPU per call.`)
console.log('where   at once  scopes  what        node   redis  script  calls/s')
const memory = createMemoryCounters({ clock: systemClock })
await memory.rebuild(async () => [])
await measure('memory', memory, null)
await memory.close()

const url = process.argv[2] ?? process.env['REDIS_URL']
if (url === undefined) console.log('No Redis was named: pass its URL or set REDIS_URL.')
else {
  const redis = createRedis({ url, log: silentLog })
  await new Promise<void>((resolve) => {
    redis.onReady(resolve)
  })
  const counters = createRedisCounters({ redis, prefix: PREFIX, clock: systemClock, log: silentLog })
  await counters.rebuild(async () => [])
  await measure('Redis', counters, redis)
  await counters.close()
  await redis.call('DEL', ...['state', 'leases', 'idle'].map((key) => `{${PREFIX}}:counters:${key}`))
  await redis.close()
}
