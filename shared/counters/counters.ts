/**
 * The counters: requests and tokens per minute, calls at once, and budget holds, over every scope of a call in one step, all or
 * nothing. Exact across replicas. Two implementations, `memory.ts` (one process) and `redis.ts` (one script per operation), under one
 * suite (`counters.suite.ts`).
 *
 * A call that was admitted has a lease:
 *
 *   held      admitted, running: its hold and its slot count in every scope. It expires unless renewed, so a dead process leaks nothing
 *   settled   over: its real cost counts instead of the hold, its slot is free. It goes when the ledger has booked the call
 *   gone      booked, released, or expired
 *
 * PostgreSQL is the truth and these are a projection of it. What a budget has left is
 *
 *   limit − spent (the ledger's number, with its revision) − held (sum over leases held and settled)
 *
 * Accounting writes `spent` after every commit and drops the leases of the calls in it in the same step (`book`), so a cost is never
 * counted twice and never forgotten in between. Until `rebuild` has run after a start or a loss of data, nothing is admitted.
 */
export interface Counters {
  /**
   * Admits a call to all its scopes or to none. Rejects with GatewayError `counters_away` while the store is away or not rebuilt.
   * A lease of the same id counts once: admitting again replaces it.
   */
  admit(request: AdmitRequest): Admission | Promise<Admission>
  /** Raises the hold of a lease to `hold` in every scope with a budget, or in none: false. Unknown leases: false. */
  extend(lease: string, hold: number): boolean | Promise<boolean>
  /**
   * The call is over. Tokens reserved are replaced by `tokens` where the window is still the same; the slot is freed. `cost` > 0 stays
   * counted until `book`; a `cost` of 0 or without a budget ends the lease. An unknown lease is left alone: the ledger will say what it cost.
   */
  settle(lease: string, outcome: { cost: number; tokens: number }): void | Promise<void>
  /** Takes everything back that a held lease took, its request included: the call never ran. */
  release(lease: string): void | Promise<void>
  /**
   * Keeps leases alive for another LEASE_TTL. One that is gone (lost with the store's data, or swept while its process slept) is made
   * anew from what is given: its hold and its slot, whether there is room or not; requests and tokens were of a window nobody knows.
   */
  renew(leases: readonly RunningLease[]): void | Promise<void>
  /** What the counters say of these scopes now, in the order asked. */
  peek(scopes: readonly string[]): Promise<ScopeState[]>
  /** Whether calls can be admitted. */
  readonly ready: boolean
  /**
   * Runs when the store has lost its data and is being rebuilt: what runs must be renewed now, or it does not count. Returns what
   * ends that.
   */
  onLoss(handler: () => void): () => void

  /** Projection of the ledger; accounting only. Sets `spent` where the revision is newer and drops the leases, in one step. */
  book(leases: readonly string[], spent: readonly Spent[]): Promise<void>
  /** Ends up to `most` held leases that expired (their requests and tokens stay counted: who knows whether they ran); their ids. */
  sweep(most: number): Promise<string[]>
  /** Up to `most` leases settled longer than `age` milliseconds ago: their bookings were lost on the way, and the ledger must be asked. */
  settledBefore(age: number, most: number): Promise<string[]>
  /** Whether the store has been rebuilt since it last lost its data. */
  rebuilt(): Promise<boolean>
  /**
   * Loads what the ledger says, then admits. `load` hands over pages until one is empty. Leases that are still there stay. `grace`:
   * milliseconds more before anything is admitted, in which routers renew what they run (`onLoss`; LOSS_GRACE is enough): 0 when
   * nothing can be running. Rejects with GatewayError `counters_away` when the store is away or loses its data meanwhile.
   */
  rebuild(load: () => Promise<readonly Spent[]>, grace?: number): Promise<void>
  /** Every lease and hold there is, for proofs: both are 0 when nothing runs and everything is booked. */
  totals(): Promise<{ leases: number; held: number }>
  close(): Promise<void>
}

/** Milliseconds a held lease lives without being renewed, and how often its router renews it. */
export const LEASE_TTL = 30_000
export const RENEW_INTERVAL = 10_000
/** Milliseconds of the window of requests and tokens; a scope has one for both, which starts with its first request (surface reference §3.5). */
export const RATE_WINDOW = 60_000
/** Milliseconds after which an unused scope is forgotten when there is a number of the ledger in it; others after two windows. */
export const SPENT_IDLE = 24 * 3600_000
/** Milliseconds in which every process notices that the store has lost its data, and renews what it runs. */
export const LOSS_GRACE = 2_500

/** A scope as a call asks for it; null = not limited there, and then not counted either. */
export interface AdmitScope {
  scope: string
  /** Per RATE_WINDOW. */
  requests: number | null
  tokens: number | null
  parallel: number | null
  /** Nano-dollars. */
  budget: number | null
  /** What the caller last knew of the ledger; used where the store knows nothing newer. */
  spent: number
  revision: number
}

export interface AdmitRequest {
  lease: string
  /** Each scope once. */
  scopes: readonly AdmitScope[]
  /** Tokens reserved in every scope that limits tokens. */
  tokens: number
  /** Nano-dollars held in every scope that has a budget; 0 = nobody can say, and then the budget must only not be used up. */
  hold: number
}

export interface RunningLease extends AdmitRequest {}

export type LimitType = 'requests' | 'tokens' | 'parallel' | 'budget'

export type Admission =
  /** `states` after the admission, in the order of the scopes. */
  | { granted: true; states: ScopeState[] }
  /** The first scope, in the order given, without room; nothing was changed. */
  | { granted: false; index: number; limit: LimitType; state: ScopeState }

export interface ScopeState {
  /** Counted in the running window; 0 when none runs. */
  requests: number
  tokens: number
  parallel: number
  /** Nano-dollars. */
  spent: number
  held: number
  revision: number
  /** Milliseconds until the window of requests, and that of tokens, closes; 0 when none runs. */
  requestsReset: number
  tokensReset: number
}

/** What the ledger says of a scope, nano-dollars; `revision` rises with every change of `spent`. */
export interface Spent {
  scope: string
  spent: number
  revision: number
}

/** The lease of one take of a call (proto/call.ts): each take is work of its own. */
export function leaseId(callId: string, take: number): string {
  return take === 1 ? callId : `${callId}~${take}`
}
