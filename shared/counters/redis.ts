import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../clock.ts'
import { GatewayError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type RedisArgument, type RedisConnection, RedisReplyError } from '../redis.ts'
import {
  type Admission,
  type AdmitRequest,
  type Counters,
  LEASE_TTL,
  type LimitType,
  type RunningLease,
  type ScopeState,
  type Spent,
} from './counters.ts'
import { BEGIN_REBUILD, LOAD, OPEN, type ScriptName, scripts } from './scripts.ts'

export interface RedisCountersOptions {
  /** The caller's to close. */
  redis: RedisConnection
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  clock: Clock
  log: Log
  /** Milliseconds; default LEASE_TTL. */
  leaseTtl?: number
  /** Milliseconds instead of the server's clock. For tests. */
  time?: () => number
}

/** Milliseconds between looks whether the data is still there: while it is, and while it is not. */
const PROBE_INTERVAL = 1_000
const AWAY_INTERVAL = 200
/** Leases renewed by one script, so that it holds up nobody for long. */
const RENEW_BATCH = 500
/** Leases and scopes booked by one script: some 10 ms of the server. */
const BOOK_BATCH = 4_000
const LIMITS: readonly LimitType[] = ['requests', 'tokens', 'parallel', 'budget']

/**
 * Counters that all processes share: each operation is one script, so one round trip and one step. Scripts are called by their hash
 * and only a rebuild loads them: a server that does not know them has been restarted, or another took its place, and may have lost data.
 *
 *   away     the server does not answer, does not know the scripts, or has no epoch: everything fails as `counters_away`
 *   waiting  rebuilt; admissions open when running calls have been renewed
 *   ready
 */
export function createRedisCounters(options: RedisCountersOptions): Counters {
  return new RedisCounters(options)
}

class RedisCounters implements Counters {
  readonly #redis: RedisConnection
  readonly #clock: Clock
  readonly #log: Log
  readonly #ttl: number
  readonly #time: (() => number) | null
  readonly #scripts = scripts()
  readonly #keys: readonly string[]
  readonly #building: string
  readonly #handlers = new Set<() => void>()
  readonly #unsubscribe: () => void
  #epoch: number | null = null
  #ready = false
  #timer: Timer | null = null
  #probing: Promise<void> | null = null
  #closed = false

  constructor(options: RedisCountersOptions) {
    this.#redis = options.redis
    this.#clock = options.clock
    this.#log = options.log
    this.#ttl = options.leaseTtl ?? LEASE_TTL
    this.#time = options.time ?? null
    // One hash tag: on a Redis cluster everything of a gateway is in one slot, since a call's scopes cross tenants.
    const key = (name: string) => `{${options.prefix}}:counters:${name}`
    this.#keys = [key('state'), key('leases'), key('idle')]
    this.#building = key('building')
    this.#unsubscribe = this.#redis.onReady(() => void this.#probe())
    this.#schedule(AWAY_INTERVAL)
  }

  get ready(): boolean {
    return this.#ready && this.#redis.ready
  }

  async admit(request: AdmitRequest): Promise<Admission> {
    const answer = (await this.#run('admit', this.#admission(request), true)) as [number, ...unknown[]]
    if (answer[0] === 0) {
      const [, index, limit, state] = answer as [number, number, number, Buffer]
      return { granted: false, index, limit: LIMITS[limit - 1] as LimitType, state: stateOf(state) }
    }
    const states: ScopeState[] = []
    for (let index = 1; index < answer.length; index++) states.push(stateOf(answer[index] as Buffer))
    return { granted: true, states }
  }

  async extend(lease: string, hold: number): Promise<boolean> {
    return (await this.#run('extend', [this.#now(), lease, hold])) === 1
  }

  async settle(lease: string, outcome: { cost: number; tokens: number }): Promise<void> {
    await this.#run('settle', [this.#now(), lease, outcome.cost, outcome.tokens])
  }

  async release(lease: string): Promise<void> {
    await this.#run('release', [this.#now(), lease])
  }

  async renew(leases: readonly RunningLease[]): Promise<void> {
    const batches: (readonly RunningLease[])[] = []
    for (let from = 0; from < leases.length; from += RENEW_BATCH) batches.push(leases.slice(from, from + RENEW_BATCH))
    await Promise.all(
      batches.map(async (batch) => {
        const unknown = (await this.#run('renew', [this.#now(), this.#ttl, ...batch.map(({ lease }) => lease)])) as number[]
        await Promise.all(unknown.map((index) => this.#run('remake', this.#admission(batch[index] as RunningLease))))
      }),
    )
  }

  async peek(scopes: readonly string[]): Promise<ScopeState[]> {
    return ((await this.#run('peek', [this.#now(), ...scopes.map(nameOf)], true)) as Buffer[]).map(stateOf)
  }

  onLoss(handler: () => void): () => void {
    this.#handlers.add(handler)
    return () => void this.#handlers.delete(handler)
  }

  async book(leases: readonly string[], spent: readonly Spent[]): Promise<void> {
    if (leases.length + spent.length <= BOOK_BATCH) return this.#book(leases, spent)
    // After an outage there may be very many, and the server serves nobody meanwhile. Numbers first: for a moment a cost counts twice,
    // never not at all.
    for (let from = 0; from < spent.length; from += BOOK_BATCH) await this.#book([], spent.slice(from, from + BOOK_BATCH))
    for (let from = 0; from < leases.length; from += BOOK_BATCH) await this.#book(leases.slice(from, from + BOOK_BATCH), [])
  }

  async sweep(most: number): Promise<string[]> {
    return (await this.#run('sweep', [this.#now(), most])) as string[]
  }

  async settledBefore(age: number, most: number): Promise<string[]> {
    return (await this.#run('settledBefore', [this.#now(), age, most])) as string[]
  }

  async rebuilt(): Promise<boolean> {
    try {
      await this.#run('probe', [this.#now()])
      return true
    } catch (error) {
      if (this.#redis.ready && error instanceof GatewayError && error.code === 'counters_away') return false
      throw error
    }
  }

  async rebuild(load: () => Promise<readonly Spent[]>, grace = 0): Promise<void> {
    const keys = [...this.#keys, `${this.#building}:${randomUUID()}`]
    const step = async (text: string, args: RedisArgument[]): Promise<void> => {
      const done = await this.#redis.call('EVAL', text, keys.length, ...keys, ...args)
      if (done !== 1) throw away(new Error('the data was lost while it was rebuilt'))
    }
    await step(BEGIN_REBUILD, [])
    let scopes = 0
    for (;;) {
      const page = await load()
      if (page.length === 0) break
      await step(LOAD, [this.#now(), ...flat(page)])
      scopes += page.length
    }
    await Promise.all(Object.values(this.#scripts).map(({ text }) => this.#redis.call('SCRIPT', 'LOAD', text)))
    await step(OPEN, [this.#now(), grace])
    this.#log.info({ scopes, grace }, 'the counters were rebuilt from the ledger')
    await this.#probe()
  }

  async totals(): Promise<{ leases: number; held: number }> {
    const [leases, held] = (await this.#run('totals', [this.#now()])) as [number, number]
    return { leases, held }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#ready = false
    this.#unsubscribe()
    this.#timer?.cancel()
    this.#handlers.clear()
    await this.#probing
  }

  async #book(leases: readonly string[], spent: readonly Spent[]): Promise<void> {
    await this.#run('book', [this.#now(), leases.length, ...leases, ...flat(spent)])
  }

  #now(): RedisArgument {
    return this.#time === null ? '' : this.#time()
  }

  #admission(request: AdmitRequest): RedisArgument[] {
    return [this.#now(), request.lease, packed(request, this.#ttl)]
  }

  /** Rejects with GatewayError `counters_away` whenever the answer would not be about all that is known. */
  async #run(name: ScriptName, args: readonly RedisArgument[], binary = false): Promise<unknown> {
    const { sha } = this.#scripts[name]
    let answer: unknown
    try {
      answer = await (binary ? this.#redis.runBinary(sha, this.#keys, args) : this.#redis.run(sha, this.#keys, args))
    } catch (error) {
      this.#lost()
      if (error instanceof RedisReplyError && error.code === 'NOSCRIPT') throw away(error)
      throw error
    }
    if (answer !== -1) return answer
    this.#lost()
    throw away()
  }

  #lost(): void {
    if (this.#closed || !this.#ready) return
    this.#ready = false
    this.#schedule(AWAY_INTERVAL)
  }

  #schedule(delay: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(delay, () => void this.#probe())
  }

  /** Looks whether the data is there; a new epoch means that it was lost in between. Never rejects. */
  #probe(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#probing ??= this.#look().finally(() => {
      this.#probing = null
    })
    return this.#probing
  }

  async #look(): Promise<void> {
    let delay = AWAY_INTERVAL
    try {
      const [epoch, wait] = (await this.#run('probe', [this.#now()])) as [number, number]
      if (this.#closed) return
      if (epoch !== this.#epoch) {
        this.#epoch = epoch
        for (const handler of this.#handlers) handler()
      }
      if (!this.#ready && wait === 0) this.#log.info({}, 'the counters are there')
      this.#ready = wait === 0
      if (this.#ready) delay = PROBE_INTERVAL
    } catch (error) {
      if (this.#ready) this.#log.warn({ reason: (error as Error).message }, 'the counters are away')
      this.#ready = false
    }
    if (!this.#closed) this.#schedule(delay)
  }
}

function away(cause?: Error): GatewayError {
  return new GatewayError('counters_away', undefined, cause === undefined ? { retryAfter: 1000 } : { retryAfter: 1000, cause })
}

function flat(spent: readonly Spent[]): RedisArgument[] {
  return spent.flatMap((one) => [nameOf(one.scope), one.spent, one.revision])
}

/** A zero byte ends a name in a request. One that has it, which only a body can bring, is escaped as `scopes` escapes others. */
function nameOf(scope: string): string {
  return scope.includes('\0') ? scope.replaceAll('\0', '%00') : scope
}

/** A request as the scripts read it (scripts.ts): numbers as text would cost the server more than all the rest. */
function packed({ scopes, tokens, hold }: AdmitRequest, ttl: number): Buffer {
  let size = 32 + scopes.length * 48
  for (const { scope } of scopes) size += 3 * scope.length + 1
  const bytes = Buffer.allocUnsafe(size)
  bytes.writeDoubleLE(tokens, 0)
  bytes.writeDoubleLE(hold, 8)
  bytes.writeDoubleLE(ttl, 16)
  bytes.writeDoubleLE(scopes.length, 24)
  let at = 32
  for (const scope of scopes) {
    bytes.writeDoubleLE(scope.requests ?? -1, at)
    bytes.writeDoubleLE(scope.tokens ?? -1, at + 8)
    bytes.writeDoubleLE(scope.parallel ?? -1, at + 16)
    bytes.writeDoubleLE(scope.budget ?? -1, at + 24)
    bytes.writeDoubleLE(scope.spent, at + 32)
    bytes.writeDoubleLE(scope.revision, at + 40)
    at += 48
  }
  for (const { scope } of scopes) {
    at += bytes.write(nameOf(scope), at)
    bytes[at++] = 0
  }
  return bytes.subarray(0, at)
}

/** A scope as the scripts pack it: see scripts.ts. Its last number is the time of the answer. */
function stateOf(packed: Buffer): ScopeState {
  const windowEnd = packed.readDoubleLE(0)
  const reset = windowEnd === 0 ? 0 : windowEnd - packed.readDoubleLE(56)
  return {
    requests: packed.readDoubleLE(8),
    tokens: packed.readDoubleLE(16),
    parallel: packed.readDoubleLE(24),
    spent: packed.readDoubleLE(32),
    held: packed.readDoubleLE(40),
    revision: packed.readDoubleLE(48),
    requestsReset: reset,
    tokensReset: reset,
  }
}
