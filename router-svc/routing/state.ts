import type { DeploymentHealth, DeploymentLoad, DeploymentReport, RoutingSettings } from '../../proto/routing.ts'
import { type ColumnStore, NOWHERE } from './columns.ts'
import type { AttemptEnd, DeploymentState } from './deployment-state.ts'
import { CallWindow, rampShare, stillWeighs, type WindowCounts } from './ejection.ts'
import { Samples } from './samples.ts'

/** What all states of one router share. */
export interface Shared {
  readonly store: ColumnStore
  settings: RoutingSettings
  /** Rises whenever a deployment leaves the rotation or comes back before its time. */
  version: number
  /** Other routers want to know: what changed is collected. */
  sharing: boolean
  /** States whose load changed since it was last told. */
  readonly changed: Set<State>
}

/** Samples that LiteLLM counts for a call that timed out: 1,000 s. */
const TIMED_OUT = 1_000_000
/** 0 would say that there is no sample. */
const SHORTEST = 0.001
/** A call that is to show whether a deployment is back has this long before another one may try. */
const PROBE_PATIENCE = 1_000
/** What another router said counts for so long. */
const LOAD_LIMIT = 5_000
const MINUTE = 60_000
const NO_LOAD: Heard = { inFlight: 0, minute: 0, requests: 0, tokens: 0, at: 0 }

interface Heard {
  inFlight: number
  minute: number
  requests: number
  tokens: number
  at: number
}

/**
 * One deployment, written by `states.ts` alone. Rotation: in (`cooldownUntil` 0) → cooling (until then) → probing (one call at a time) →
 * in, by a success; and apart from it: in (`ejectedUntil` 0) → ejected (until then) → returning (over the ramp) → in.
 */
export class State implements DeploymentState {
  readonly id: string
  cooldownUntil = 0
  ejectedUntil = 0
  /** Index into the columns. */
  slot: number
  /** States of its group, itself among them; for the share of a group that may be ejected. */
  group: readonly State[] = [this]
  /** Since when no runtime has it; null = one does. */
  absentSince: number | null = null
  /** 0 healthy, 1 failing in part, 2 out, as metrics tell it; null = no call has ended yet. */
  level: 0 | 1 | 2 | null = null
  /** A result of a health check that other routers have not been told. */
  healthNews: boolean = false

  readonly #shared: Shared
  readonly #latencies = new Samples()
  readonly #firstTokens = new Samples()
  /** Here alone. */
  #inFlight = 0
  #minute = 0
  #requests = 0
  #tokens = 0
  #successes = 0
  #failures = 0
  /** Samples other routers have not been told. */
  #newLatencies: number[] = []
  #newFirstTokens: number[] = []
  #others: Map<string, Heard> | null = null
  /** When the last call began that is to show whether the deployment is back; 0 = none is running. */
  #probeAt = 0
  #fails = 0
  #failsUntil = 0
  #window: CallWindow | null = null
  #ejections = 0
  #healthy = true
  #checkedAt = Number.NEGATIVE_INFINITY
  #error: string | null = null

  constructor(id: string, shared: Shared) {
    this.id = id
    this.#shared = shared
    this.slot = shared.store.take()
  }

  get inFlight(): number {
    return this.#shared.store.columns.inFlight[this.slot] as number
  }

  /** Calls running here. */
  get ownInFlight(): number {
    return this.#inFlight
  }

  share(now: number): number {
    if (this.cooldownUntil === 0 && this.ejectedUntil === 0) return 1
    if (now < this.cooldownUntil) return 0
    if (this.cooldownUntil > 0 && this.#probeAt > 0 && now < this.#probeAt + PROBE_PATIENCE) return 0
    if (this.ejectedUntil === 0) return 1
    return rampShare(this.ejectedUntil, this.#shared.settings.ejection.ramp, now)
  }

  unhealthy(now: number): boolean {
    return !this.#healthy && now - this.#checkedAt <= this.#shared.settings.health.staleness
  }

  latency(now: number): number {
    return this.#mean(this.#latencies, now)
  }

  firstToken(now: number): number {
    return this.#mean(this.#firstTokens, now)
  }

  throughput(now: number): number {
    const latency = this.latency(now)
    return latency === 0 ? 0 : 1_000 / latency
  }

  requests(now: number): number {
    return this.#inMinute(this.#shared.store.columns.requests, now)
  }

  tokens(now: number): number {
    return this.#inMinute(this.#shared.store.columns.tokens, now)
  }

  get successesThisMinute(): number {
    return this.#successes
  }

  get failuresThisMinute(): number {
    return this.#failures
  }

  /** An attempt begins. `wallNow`: Unix milliseconds. */
  begin(now: number, wallNow: number): void {
    const { columns } = this.#shared.store
    const { slot } = this
    this.#inFlight += 1
    ;(columns.inFlight[slot] as number) += 1
    this.#turnTo(Math.floor(wallNow / MINUTE))
    this.#requests += 1
    ;(columns.requests[slot] as number) += 1
    this.#shared.store.touch(slot)
    if (this.cooldownUntil > 0) this.#probeAt = now
    if (this.#shared.sharing) this.#shared.changed.add(this)
  }

  /** It ended; `failed` = in a way that tells of the deployment. */
  end(end: AttemptEnd, failed: boolean, stream: boolean, now: number, wallNow: number): void {
    const { columns } = this.#shared.store
    this.#inFlight -= 1
    ;(columns.inFlight[this.slot] as number) -= 1
    this.#turnTo(Math.floor(wallNow / MINUTE))
    this.#probeAt = 0
    const tokens = end.inputTokens + end.outputTokens
    this.#tokens += tokens
    ;(columns.tokens[this.slot] as number) += tokens
    if (failed) this.#failures += 1
    else if (end.error === null) this.#successes += 1
    if (end.error === null) {
      this.#sample(this.#latencies, this.#newLatencies, Math.max(SHORTEST, end.elapsed / Math.max(1, end.outputTokens)), now)
      if (stream && end.firstToken !== null)
        this.#sample(this.#firstTokens, this.#newFirstTokens, Math.max(SHORTEST, end.firstToken), now)
    } else if (end.error === 'provider_timeout') {
      this.#sample(this.#latencies, this.#newLatencies, TIMED_OUT, now)
      if (stream) this.#sample(this.#firstTokens, this.#newFirstTokens, TIMED_OUT, now)
    }
    this.#publish()
    if (this.#shared.settings.ejection.enabled && (failed || end.error === null)) {
      this.#window ??= new CallWindow()
      this.#window.add(failed, now, this.#shared.settings.ejection.window)
    }
    if (this.#shared.sharing) this.#shared.changed.add(this)
  }

  /** Failures with less than `ttl` milliseconds between each, this one included. */
  countFail(now: number, ttl: number): number {
    this.#fails = now > this.#failsUntil ? 1 : this.#fails + 1
    this.#failsUntil = now + ttl
    return this.#fails
  }

  /** Its cooldown is over, and no call has succeeded since. */
  probing(now: number): boolean {
    return this.cooldownUntil > 0 && now >= this.cooldownUntil
  }

  coolDown(until: number): void {
    // Of two cooldowns the longer holds, whoever began it.
    this.cooldownUntil = Math.max(this.cooldownUntil, until)
    this.#probeAt = 0
    this.#fails = 0
    this.#shared.version += 1
  }

  /** Back in rotation, proven. */
  restore(): void {
    this.cooldownUntil = 0
    this.#probeAt = 0
    this.#shared.version += 1
  }

  /** Calls and failures within the window of ejection; null = none were counted. */
  windowCounts(now: number): WindowCounts | null {
    return this.#window?.counts(now, this.#shared.settings.ejection.window) ?? null
  }

  /** Ejections that still weigh. */
  ejections(now: number): number {
    if (this.#ejections > 0 && !stillWeighs(this.ejectedUntil, now, this.#shared.settings.ejection)) this.#ejections = 0
    return this.#ejections
  }

  ejected(now: number): boolean {
    return now < this.ejectedUntil
  }

  eject(until: number, now: number): void {
    this.#ejections = this.ejections(now) + 1
    this.ejectedUntil = Math.max(this.ejectedUntil, until)
    this.#window?.clear()
    this.#shared.version += 1
  }

  /** Takes a result of a background check unless a newer one is known. Whether it was taken. */
  check(health: { healthy: boolean; error?: string }, checkedAt: number, news: boolean): boolean {
    if (checkedAt <= this.#checkedAt) return false
    if (this.#healthy !== health.healthy) this.#shared.version += 1
    this.#healthy = health.healthy
    this.#error = health.healthy ? null : (health.error ?? null)
    this.#checkedAt = checkedAt
    this.healthNews = news
    return true
  }

  health(now: number): DeploymentHealth | null {
    if (this.#checkedAt === Number.NEGATIVE_INFINITY) return null
    return {
      healthy: this.#healthy,
      age: Math.round(now - this.#checkedAt),
      ...(this.#error === null ? {} : { error: this.#error }),
    }
  }

  /** What this router sends to it, and the samples nobody was told yet, which count as told then. */
  takeLoad(): DeploymentLoad {
    const load: DeploymentLoad = {
      inFlight: this.#inFlight,
      minute: this.#minute,
      requests: this.#requests,
      tokens: this.#tokens,
      ...(this.#newLatencies.length === 0 ? {} : { latencies: this.#newLatencies }),
      ...(this.#newFirstTokens.length === 0 ? {} : { firstTokens: this.#newFirstTokens }),
    }
    this.forgetNews()
    return load
  }

  forgetNews(): void {
    this.#newLatencies = []
    this.#newFirstTokens = []
  }

  /** What another router sends to it. Counts of a minute that is not about now are not believed. */
  hear(routerId: string, load: DeploymentLoad, now: number, wallNow: number): void {
    const { columns } = this.#shared.store
    this.#others ??= new Map()
    const before = this.#others.get(routerId) ?? NO_LOAD
    ;(columns.inFlight[this.slot] as number) += load.inFlight - before.inFlight
    const known = Math.abs(load.minute - wallNow / MINUTE) <= 2
    if (known) {
      this.#forward(load.minute)
      if (columns.minute[this.slot] === load.minute) {
        const counted = before.minute === load.minute ? before : NO_LOAD
        ;(columns.requests[this.slot] as number) += load.requests - counted.requests
        ;(columns.tokens[this.slot] as number) += load.tokens - counted.tokens
      }
    }
    const { inFlight, minute, requests, tokens } = load
    this.#others.set(routerId, { inFlight, minute, requests, tokens, at: now })
    const { latencyListSize } = this.#shared.settings
    for (const sample of load.latencies ?? []) this.#latencies.add(sample, now, latencyListSize)
    for (const sample of load.firstTokens ?? []) this.#firstTokens.add(sample, now, latencyListSize)
    this.#publish()
  }

  /** Forgets what is too old: samples, and the calls of routers that are gone or silent. Their requests did happen, and stay. */
  sweep(now: number, wallNow: number, alive: (routerId: string) => boolean): void {
    const { latencyTtl } = this.#shared.settings
    // Not `||`: both have to be looked at.
    const expired = [this.#latencies.expire(now, latencyTtl), this.#firstTokens.expire(now, latencyTtl)]
    if (expired.includes(true)) this.#publish()
    if (this.ejectedUntil > 0 && now >= this.ejectedUntil + this.#shared.settings.ejection.ramp && this.ejections(now) === 0)
      this.ejectedUntil = 0
    if (this.#others === null) return
    for (const [routerId, heard] of this.#others) {
      if (alive(routerId) && now - heard.at < LOAD_LIMIT) continue
      ;(this.#shared.store.columns.inFlight[this.slot] as number) -= heard.inFlight
      heard.inFlight = 0
      this.#shared.store.touch(this.slot)
      if (heard.minute < Math.floor(wallNow / MINUTE)) this.#others.delete(routerId)
    }
  }

  /** Gives its slot up. */
  drop(): void {
    this.#shared.store.free(this.slot)
    this.#shared.changed.delete(this)
    this.slot = NOWHERE
  }

  view(now: number, wallNow: number): DeploymentReport {
    this.#turnTo(Math.floor(wallNow / MINUTE))
    return {
      id: this.id,
      inFlight: this.inFlight,
      cooldownSeconds: Math.max(0, this.cooldownUntil - now) / 1_000,
      ejectedSeconds: Math.max(0, this.ejectedUntil - now) / 1_000,
      share: this.share(now),
      unhealthy: this.unhealthy(now),
      error: this.#error,
      latency: this.latency(now) || null,
      firstToken: this.firstToken(now) || null,
      throughput: this.throughput(now) || null,
      requests: this.requests(wallNow),
      tokens: this.tokens(wallNow),
      successes: this.#successes,
      failures: this.#failures,
    }
  }

  #mean(samples: Samples, now: number): number {
    if (samples.expire(now, this.#shared.settings.latencyTtl)) this.#publish()
    return samples.mean
  }

  #inMinute(column: Float64Array, wallNow: number): number {
    // Another router's clock may be a little ahead.
    return (this.#shared.store.columns.minute[this.slot] as number) >= Math.floor(wallNow / MINUTE)
      ? (column[this.slot] as number)
      : 0
  }

  #sample(samples: Samples, news: number[], value: number, now: number): void {
    const { latencyListSize } = this.#shared.settings
    samples.add(value, now, latencyListSize)
    if (!this.#shared.sharing) return
    news.push(value)
    if (news.length > latencyListSize) news.shift()
  }

  #publish(): void {
    const { columns } = this.#shared.store
    columns.latency[this.slot] = this.#latencies.mean
    columns.firstToken[this.slot] = this.#firstTokens.mean
    this.#shared.store.touch(this.slot)
  }

  /** Counts of this router begin anew with each minute. */
  #turnTo(minute: number): void {
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#requests = 0
      this.#tokens = 0
      this.#successes = 0
      this.#failures = 0
    }
    this.#forward(minute)
  }

  #forward(minute: number): void {
    const { columns } = this.#shared.store
    if (minute <= (columns.minute[this.slot] as number)) return
    columns.minute[this.slot] = minute
    columns.requests[this.slot] = 0
    columns.tokens[this.slot] = 0
  }
}
