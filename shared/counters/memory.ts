import type { Clock, Timer } from '../clock.ts'
import { GatewayError } from '../errors.ts'
import {
  type Admission,
  type AdmitRequest,
  type AdmitScope,
  type Counters,
  LEASE_TTL,
  type LimitType,
  RATE_WINDOW,
  type RunningLease,
  type ScopeState,
  SPENT_IDLE,
  type Spent,
} from './counters.ts'

export interface MemoryCountersOptions {
  clock: Clock
  /**
   * Nobody books for this process (routers of a cluster without Redis). It admits from the start, and what a call cost is added to
   * `spent` when the call is over, until a newer number of the ledger comes with an identity.
   */
  alone?: boolean
  /** Milliseconds; default LEASE_TTL. */
  leaseTtl?: number
}

/** Milliseconds between looks for scopes that nobody uses, and how many are looked at each time. */
const TIDY_INTERVAL = 1_000
const TIDY_BATCH = 2_000
/** Leases released at once by a process that nobody sweeps for. */
const SWEEP_BATCH = 1_000

/** Counters of one process. Everything answers at once; `admit` allocates its answer and little else. */
export function createMemoryCounters(options: MemoryCountersOptions): Counters {
  return new MemoryCounters(options)
}

interface Scope {
  /** When the running window of requests and tokens closes; 0 = none was opened. */
  windowEnd: number
  requests: number
  tokens: number
  parallel: number
  spent: number
  held: number
  revision: number
  usedAt: number
  /** Leases that point here: it must not be dropped under them. */
  leases: number
}

interface Lease {
  readonly id: string
  /** What it counts in, and the limits it was admitted under. */
  readonly asked: readonly AdmitScope[]
  readonly scopes: readonly Scope[]
  /** Whose window has opened since has forgotten what this reserved. */
  readonly admittedAt: number
  readonly tokens: number
  /** What it holds; once settled, what it cost. */
  hold: number
  /** When it expires, or when it was settled. */
  at: number
}

class MemoryCounters implements Counters {
  readonly #clock: Clock
  readonly #alone: boolean
  readonly #ttl: number
  readonly #timer: Timer
  readonly #scopes = new Map<string, Scope>()
  // Each lives as long as the others, so that these maps are in the order of `at`.
  readonly #held = new Map<string, Lease>()
  readonly #settled = new Map<string, Lease>()
  #tidying: MapIterator<[string, Scope]> | null = null
  #ready: boolean

  constructor(options: MemoryCountersOptions) {
    this.#clock = options.clock
    this.#alone = options.alone === true
    this.#ttl = options.leaseTtl ?? LEASE_TTL
    this.#ready = this.#alone
    this.#timer = options.clock.every(TIDY_INTERVAL, () => this.#tidy())
  }

  get ready(): boolean {
    return this.#ready
  }

  admit(request: AdmitRequest): Admission {
    if (!this.#ready) throw new GatewayError('counters_away', undefined, { retryAfter: 1000 })
    const now = this.#clock.monotonic()
    const old = this.#held.get(request.lease) ?? this.#settled.get(request.lease)
    if (old !== undefined) this.#count(old, -1)
    const asked = request.scopes
    const scopes: Scope[] = []
    for (let index = 0; index < asked.length; index++) {
      const wanted = asked[index] as AdmitScope
      const scope = this.#scope(wanted.scope, now)
      const limit = lacking(scope, wanted, request)
      if (limit !== null) {
        const state = stateOf(scope, wanted, now)
        if (old !== undefined) this.#count(old, 1)
        return { granted: false, index, limit, state }
      }
      scopes.push(scope)
    }
    if (old !== undefined) this.#forget(old)
    const states: ScopeState[] = []
    for (let index = 0; index < asked.length; index++) {
      const wanted = asked[index] as AdmitScope
      const scope = scopes[index] as Scope
      learn(scope, wanted)
      if (scope.windowEnd === 0 && (wanted.requests !== null || wanted.tokens !== null)) scope.windowEnd = now + RATE_WINDOW
      if (wanted.requests !== null) scope.requests += 1
      if (wanted.tokens !== null) scope.tokens += request.tokens
      if (wanted.parallel !== null) scope.parallel += 1
      if (wanted.budget !== null) scope.held += request.hold
      scope.leases += 1
      scope.usedAt = now
      states.push(stateOf(scope, wanted, now))
    }
    const { lease: id, tokens, hold } = request
    this.#held.set(id, { id, asked, scopes, admittedAt: now, tokens, hold, at: now + this.#ttl })
    return { granted: true, states }
  }

  extend(id: string, hold: number): boolean {
    const lease = this.#held.get(id)
    if (lease === undefined) return false
    const more = hold - lease.hold
    if (more <= 0) return true
    for (let index = 0; index < lease.asked.length; index++) {
      const { budget } = lease.asked[index] as AdmitScope
      const scope = lease.scopes[index] as Scope
      if (budget !== null && scope.spent + scope.held + more > budget) return false
    }
    for (let index = 0; index < lease.asked.length; index++) {
      if (lease.asked[index]?.budget !== null) (lease.scopes[index] as Scope).held += more
    }
    lease.hold = hold
    return true
  }

  settle(id: string, outcome: { cost: number; tokens: number }): void {
    const lease = this.#held.get(id)
    if (lease === undefined) return
    this.#held.delete(id)
    const now = this.#clock.monotonic()
    let budgets = 0
    for (let index = 0; index < lease.asked.length; index++) {
      const { tokens, parallel, budget } = lease.asked[index] as AdmitScope
      const scope = lease.scopes[index] as Scope
      if (tokens !== null && runs(scope, lease, now)) {
        scope.tokens = Math.max(0, scope.tokens - lease.tokens + outcome.tokens)
      }
      if (parallel !== null) scope.parallel -= 1
      scope.usedAt = now
      if (budget === null) continue
      budgets += 1
      scope.held -= lease.hold
      if (this.#alone) scope.spent += outcome.cost
      else scope.held += outcome.cost
    }
    if (this.#alone || budgets === 0 || outcome.cost === 0) {
      for (const scope of lease.scopes) scope.leases -= 1
      return
    }
    lease.hold = outcome.cost
    lease.at = now
    this.#settled.set(id, lease)
  }

  release(id: string): void {
    const lease = this.#held.get(id)
    if (lease === undefined) return
    this.#count(lease, -1)
    this.#forget(lease)
  }

  renew(leases: readonly RunningLease[]): void {
    const now = this.#clock.monotonic()
    for (const running of leases) {
      const lease = this.#held.get(running.lease) ?? (this.#settled.has(running.lease) ? null : this.#remake(running, now))
      if (lease === null) continue
      this.#held.delete(lease.id)
      lease.at = now + this.#ttl
      this.#held.set(lease.id, lease)
    }
  }

  onLoss(): () => void {
    return () => undefined
  }

  async peek(scopes: readonly string[]): Promise<ScopeState[]> {
    const now = this.#clock.monotonic()
    return scopes.map((name) => {
      const scope = this.#scopes.get(name)
      if (scope === undefined) return { ...NOTHING }
      close(scope, now)
      return stateOf(scope, scope, now)
    })
  }

  async book(leases: readonly string[], spent: readonly Spent[]): Promise<void> {
    for (const id of leases) {
      const lease = this.#settled.get(id) ?? this.#held.get(id)
      if (lease !== undefined) this.#end(lease)
    }
    this.#learnAll(spent)
  }

  async sweep(most: number): Promise<string[]> {
    return this.#expire(most)
  }

  async settledBefore(age: number, most: number): Promise<string[]> {
    const before = this.#clock.monotonic() - age
    const found: string[] = []
    for (const lease of this.#settled.values()) {
      if (lease.at >= before || found.length === most) break
      found.push(lease.id)
    }
    return found
  }

  async rebuilt(): Promise<boolean> {
    return this.#ready
  }

  async rebuild(load: () => Promise<readonly Spent[]>): Promise<void> {
    for (;;) {
      const page = await load()
      if (page.length === 0) break
      this.#learnAll(page)
    }
    this.#ready = true
  }

  async totals(): Promise<{ leases: number; held: number }> {
    let held = 0
    for (const scope of this.#scopes.values()) held += scope.held
    return { leases: this.#held.size + this.#settled.size, held }
  }

  async close(): Promise<void> {
    this.#ready = false
    this.#timer.cancel()
  }

  #scope(name: string, now: number): Scope {
    let scope = this.#scopes.get(name)
    if (scope === undefined) {
      scope = { windowEnd: 0, requests: 0, tokens: 0, parallel: 0, spent: 0, held: 0, revision: 0, usedAt: now, leases: 0 }
      this.#scopes.set(name, scope)
    } else close(scope, now)
    return scope
  }

  #learnAll(spent: readonly Spent[]): void {
    const now = this.#clock.monotonic()
    for (const one of spent) {
      const scope = this.#scope(one.scope, now)
      learn(scope, one)
      scope.usedAt = now
    }
  }

  /** Adds (1) what a lease counts, or takes it out (-1): all of it while held, its cost once settled. */
  #count(lease: Lease, sign: 1 | -1): void {
    const now = this.#clock.monotonic()
    const held = this.#held.get(lease.id) === lease
    for (let index = 0; index < lease.asked.length; index++) {
      const { requests, tokens, parallel, budget } = lease.asked[index] as AdmitScope
      const scope = lease.scopes[index] as Scope
      if (budget !== null) scope.held += sign * lease.hold
      if (!held) continue
      if (parallel !== null) scope.parallel += sign
      if (!runs(scope, lease, now)) continue
      if (requests !== null) scope.requests += sign
      if (tokens !== null) scope.tokens += sign * lease.tokens
    }
  }

  #forget(lease: Lease): void {
    for (const scope of lease.scopes) scope.leases -= 1
    if (!this.#held.delete(lease.id)) this.#settled.delete(lease.id)
  }

  #remake({ lease: id, scopes: asked, hold }: RunningLease, now: number): Lease {
    const scopes = asked.map((wanted) => {
      const scope = this.#scope(wanted.scope, now)
      learn(scope, wanted)
      if (wanted.parallel !== null) scope.parallel += 1
      if (wanted.budget !== null) scope.held += hold
      scope.leases += 1
      scope.usedAt = now
      return scope
    })
    return { id, asked, scopes, admittedAt: Number.NEGATIVE_INFINITY, tokens: 0, hold, at: 0 }
  }

  /** Ends a lease whose call did run: its request and its tokens stay counted. */
  #end(lease: Lease): void {
    const held = this.#held.get(lease.id) === lease
    for (let index = 0; index < lease.asked.length; index++) {
      const { parallel, budget } = lease.asked[index] as AdmitScope
      const scope = lease.scopes[index] as Scope
      if (budget !== null) scope.held -= lease.hold
      if (held && parallel !== null) scope.parallel -= 1
    }
    this.#forget(lease)
  }

  #expire(most: number): string[] {
    const now = this.#clock.monotonic()
    const expired: Lease[] = []
    for (const lease of this.#held.values()) {
      if (lease.at > now || expired.length === most) break
      expired.push(lease)
    }
    for (const lease of expired) this.#end(lease)
    return expired.map(({ id }) => id)
  }

  #tidy(): void {
    if (this.#alone) this.#expire(SWEEP_BATCH)
    const now = this.#clock.monotonic()
    for (let count = 0; count < TIDY_BATCH; count++) {
      this.#tidying ??= this.#scopes.entries()
      const next = this.#tidying.next()
      if (next.done === true) {
        this.#tidying = null
        return
      }
      const [name, scope] = next.value
      const idle = scope.revision > 0 || scope.spent > 0 ? SPENT_IDLE : 2 * RATE_WINDOW
      if (scope.leases === 0 && scope.usedAt + idle <= now) this.#scopes.delete(name)
    }
  }
}

const NOTHING: ScopeState = {
  requests: 0,
  tokens: 0,
  parallel: 0,
  spent: 0,
  held: 0,
  revision: 0,
  requestsReset: 0,
  tokensReset: 0,
}

/** The first limit without room for the call. */
function lacking(scope: Scope, wanted: AdmitScope, { tokens, hold }: AdmitRequest): LimitType | null {
  if (wanted.requests !== null && scope.requests + 1 > wanted.requests) return 'requests'
  if (wanted.tokens !== null && scope.tokens + tokens > wanted.tokens) return 'tokens'
  if (wanted.parallel !== null && scope.parallel + 1 > wanted.parallel) return 'parallel'
  if (wanted.budget !== null) {
    const spent = wanted.revision > scope.revision ? wanted.spent : scope.spent
    // A call nobody can price holds nothing, and still needs a budget that is not used up.
    if (spent + scope.held + Math.max(hold, 1) > wanted.budget) return 'budget'
  }
  return null
}

/** Takes the ledger's number where it is newer. */
function learn(scope: Scope, { spent, revision }: { spent: number; revision: number }): void {
  if (revision <= scope.revision) return
  scope.spent = spent
  scope.revision = revision
}

/**
 * Whether the window that a lease reserved in still runs. The end is compared as it was computed when the window opened: the clock has fractions,
 * and `windowEnd - RATE_WINDOW` is not always the time it opened, but now and then some picoseconds later.
 */
function runs(scope: Scope, lease: Lease, now: number): boolean {
  return scope.windowEnd > now && scope.windowEnd <= lease.admittedAt + RATE_WINDOW
}

function close(scope: Scope, now: number): void {
  if (scope.windowEnd === 0 || scope.windowEnd > now) return
  scope.windowEnd = 0
  scope.requests = 0
  scope.tokens = 0
}

function stateOf(scope: Scope, known: { spent: number; revision: number }, now: number): ScopeState {
  const newer = known.revision > scope.revision
  const reset = scope.windowEnd === 0 ? 0 : Math.ceil(scope.windowEnd - now)
  return {
    requests: scope.requests,
    tokens: scope.tokens,
    parallel: scope.parallel,
    spent: newer ? known.spent : scope.spent,
    held: scope.held,
    revision: newer ? known.revision : scope.revision,
    requestsReset: reset,
    tokensReset: reset,
  }
}
