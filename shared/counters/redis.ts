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
const LIMITS: readonly LimitType[] = ['requests', 'tokens', 'parallel', 'budget']
/** Numbers of one scope in an answer. */
const STATE_SIZE = 7

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
    this.#keys = [key('state'), key('held'), key('settled'), key('idle')]
    this.#building = key('building')
    this.#unsubscribe = this.#redis.onReady(() => void this.#probe())
    this.#schedule(AWAY_INTERVAL)
  }

  get ready(): boolean {
    return this.#ready && this.#redis.ready
  }

  async admit(request: AdmitRequest): Promise<Admission> {
    const answer = (await this.#run('admit', this.#admission(request))) as number[]
    if (answer[0] === 0) {
      const limit = LIMITS[(answer[2] as number) - 1] as LimitType
      return { granted: false, index: answer[1] as number, limit, state: stateAt(answer, 3) }
    }
    return { granted: true, states: statesFrom(answer, 1) }
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
    return statesFrom((await this.#run('peek', [this.#now(), ...scopes])) as number[], 0)
  }

  onLoss(handler: () => void): () => void {
    this.#handlers.add(handler)
    return () => void this.#handlers.delete(handler)
  }

  async book(leases: readonly string[], spent: readonly Spent[]): Promise<void> {
    await this.#run('book', [this.#now(), leases.length, ...leases, ...flat(spent)])
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

  #now(): RedisArgument {
    return this.#time === null ? '' : this.#time()
  }

  #admission({ lease, scopes, tokens, hold }: AdmitRequest): RedisArgument[] {
    const args: RedisArgument[] = [this.#now(), lease, tokens, hold, this.#ttl, scopes.length]
    for (const { scope } of scopes) args.push(scope)
    for (const { requests, tokens: most, parallel, budget, spent, revision } of scopes) {
      args.push(requests ?? '', most ?? '', parallel ?? '', budget ?? '', spent, revision)
    }
    return args
  }

  /** Rejects with GatewayError `counters_away` whenever the answer would not be about all that is known. */
  async #run(name: ScriptName, args: readonly RedisArgument[]): Promise<unknown> {
    let answer: unknown
    try {
      answer = await this.#redis.run(this.#scripts[name].sha, this.#keys, args)
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
  return spent.flatMap((one) => [one.scope, one.spent, one.revision])
}

function statesFrom(answer: readonly number[], from: number): ScopeState[] {
  const states: ScopeState[] = []
  for (let at = from; at < answer.length; at += STATE_SIZE) states.push(stateAt(answer, at))
  return states
}

function stateAt(answer: readonly number[], at: number): ScopeState {
  const reset = answer[at + 6] as number
  return {
    requests: answer[at] as number,
    tokens: answer[at + 1] as number,
    parallel: answer[at + 2] as number,
    spent: answer[at + 3] as number,
    held: answer[at + 4] as number,
    revision: answer[at + 5] as number,
    requestsReset: reset,
    tokensReset: reset,
  }
}
