/**
 * What became of calls that carry an `Idempotency-Key`, for all routers: one runs, the others wait or get its answer. Two implementations,
 * `memory.ts` (one process) and `redis.ts`, under one suite (`store.suite.ts`).
 *
 *   absent → running       begun; a lease that its router renews, so that a dead router does not block the key for ever
 *   running → done         answered; kept for a time, with the answer or, where that was too large, without
 *   running → absent       failed, or its lease ran out: the next one runs
 *
 * Methods reject with GatewayError `counters_away` while the store is away.
 */
export interface IdempotencyStore {
  /** Starts, or says why not. A further take of the call that runs takes over; one of a call that is done gets its answer. */
  begin(claim: Claim, lease: number): Promise<Begun>
  /** Keeps the lease of a running claim for `lease` milliseconds more; one that the store lost is made anew. */
  renew(claim: Claim, lease: number): Promise<void>
  /**
   * Keeps the answer for `keep` milliseconds; null = only that there was one. False when the answer was not kept: no room, or another owner has
   * the key by now (whose record is left alone).
   */
  finish(claim: Claim, answer: StoredAnswer | null, keep: number): Promise<boolean>
  /** Forgets a running claim of this owner. */
  abandon(claim: Claim): Promise<void>
}

/** One call under its key. */
export interface Claim {
  /** Name of the record: made of the caller and the `Idempotency-Key`, so that no caller meets another's. */
  key: string
  /** Of the request: another one under the same key is a conflict. */
  fingerprint: string
  /** The call, whichever take of it. */
  callId: string
  /** The take: who may end what it began. */
  owner: string
}

/** `unkept`: done, and its answer is not there. */
export type Begun = 'new' | 'running' | 'conflict' | 'unkept' | StoredAnswer

export interface StoredAnswer {
  status: number
  /** Lower case. */
  headers: Record<string, string>
  body: Uint8Array
}

/** Bytes an answer takes in a store, about. */
export function answerBytes({ headers, body }: StoredAnswer): number {
  let bytes = body.length
  for (const name in headers) bytes += name.length + (headers[name] as string).length
  return bytes
}
