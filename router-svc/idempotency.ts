import { createHash, hash } from 'node:crypto'
import type { Clock, Timer } from '../shared/clock.ts'
import { leaseId } from '../shared/counters/counters.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Claim, IdempotencyStore, StoredAnswer } from '../shared/idempotency/store.ts'
import type { Log } from '../shared/log.ts'
import type { Call } from './call.ts'

/** Milliseconds a key stays taken by a call that is not heard of any more, and between renewals. */
export const IDEMPOTENCY_LEASE = 60_000
const RENEW_INTERVAL = 20_000
/** Bytes of an answer worth keeping. */
export const KEPT_ANSWER_MAX = 8 * 1024 * 1024
/** Milliseconds answers are kept. */
export const KEEP_DEFAULT = 86_400_000

const HEADER = 'idempotency-key'
const PRINTABLE = /^[\x20-\x7e]{1,255}$/
/** Of the first call, and not true of its repeats: what it took, cost and had left. */
const NOT_KEPT = /^(x-litellm-(response-(cost|duration)|overhead|key-|attempted)|x-ratelimit-|retry-after$)/

export interface Idempotency {
  /**
   * Null when the call carries no `Idempotency-Key`: nothing is to be done. Else what to do. Throws or rejects with GatewayError `bad_request` (the
   * key is not 1 to 255 printable characters), `idempotency_conflict` or `counters_away`.
   */
  begin(call: Call): Promise<Begun> | null
  /** Calls whose answers are being recorded. */
  readonly recording: number
  stop(): void
}

/** Either an answer to send as it is, or a recording of the answer to come. */
export type Begun = { replay: StoredAnswer } | { replay: null; recording: Recording }

/**
 * The answer of one call on its way to the store: start, any number of adds, then exactly one of finish and abandon (the first counts). None of
 * them rejects: the client gets its answer whatever becomes of the copy.
 */
export interface Recording {
  start(status: number, headers: Readonly<Record<string, string>>): void
  /** Copies the bytes. */
  add(bytes: Uint8Array): void
  /** The answer is complete and good; resolves when repeats get it. */
  finish(): Promise<void>
  /** There is no good answer; resolves when a repeat may run. */
  abandon(): Promise<void>
}

export interface IdempotencyDeps {
  store: IdempotencyStore
  clock: Clock
  log: Log
  /** Milliseconds answers are kept; default KEEP_DEFAULT. */
  keep?: number
}

/** Calls with an `Idempotency-Key`: the first one runs and is billed, its repeats get its answer. */
export function createIdempotency(deps: IdempotencyDeps): Idempotency {
  const { store, clock, log } = deps
  const keep = deps.keep ?? KEEP_DEFAULT
  /** Claims to renew, and until when: no call outlives its deadline. */
  const running = new Map<Claim, number>()
  let timer: Timer | null = null

  function renewAll(): void {
    const now = clock.monotonic()
    for (const [claim, until] of running) {
      if (now >= until) forget(claim)
      else
        store.renew(claim, IDEMPOTENCY_LEASE).catch((thrown) => warn(thrown, 'the lease of an idempotent call was not renewed'))
    }
  }

  function forget(claim: Claim): void {
    running.delete(claim)
    if (running.size > 0) return
    timer?.cancel()
    timer = null
  }

  function warn(thrown: unknown, text: string): void {
    log.warn({ error: thrown instanceof Error ? thrown.message : String(thrown) }, text)
  }

  async function claimed(claim: Claim, call: Call): Promise<Begun> {
    const begun = await store.begin(claim, IDEMPOTENCY_LEASE)
    if (typeof begun === 'object') return { replay: replayed(begun) }
    if (begun !== 'new') throw refusal(begun)
    running.set(claim, clock.monotonic() + call.incoming.deadline)
    timer ??= clock.every(RENEW_INTERVAL, renewAll)
    return { replay: null, recording: record(claim) }
  }

  function record(claim: Claim): Recording {
    let answer: { status: number; headers: Record<string, string> } | null = null
    /** Null once there is too much of it. */
    let parts: Uint8Array[] | null = []
    let bytes = 0
    let over = false

    async function end(work: () => Promise<unknown>, problem: string): Promise<void> {
      if (over) return
      over = true
      forget(claim)
      try {
        await work()
      } catch (thrown) {
        warn(thrown, problem)
      }
    }

    return {
      start(status, headers) {
        answer = { status, headers: keptHeaders(headers) }
      },
      add(part) {
        bytes += part.length
        if (bytes > KEPT_ANSWER_MAX) parts = null
        else parts?.push(Uint8Array.from(part))
      },
      finish: () =>
        end(() => {
          const whole = answer === null || parts === null ? null : { ...answer, body: Buffer.concat(parts, bytes) }
          return store.finish(claim, whole, keep)
        }, 'the answer of an idempotent call was not kept: a repeat runs, and is billed, again'),
      abandon: () => end(() => store.abandon(claim), 'an idempotency key stays taken until its lease runs out'),
    }
  }

  return {
    begin(call) {
      const key = call.message.headers[HEADER]
      return key === undefined ? null : claimed(claimOf(call, key), call)
    },
    get recording() {
      return running.size
    },
    stop() {
      timer?.cancel()
      timer = null
      running.clear()
    },
  }
}

/** Throws GatewayError `bad_request`. */
function claimOf(call: Call, key: string): Claim {
  if (!PRINTABLE.test(key))
    throw new GatewayError('bad_request', 'The header Idempotency-Key must be 1 to 255 printable characters.')
  const { callId, take, pathModel } = call.message
  return {
    // Of the caller as well: nobody meets, or guesses, the key of another.
    key: hash('sha256', `${call.identity.keyHash}\n${key}`, 'hex'),
    fingerprint: createHash('sha256')
      .update(`${call.endpoint.name}\n${pathModel ?? ''}\n`)
      .update(call.raw)
      .digest('hex'),
    callId,
    owner: leaseId(callId, take),
  }
}

function refusal(begun: 'running' | 'conflict' | 'unkept'): GatewayError {
  switch (begun) {
    case 'conflict':
      return new GatewayError(
        'idempotency_conflict',
        'This Idempotency-Key was used with another request. Take a new key for a new request.',
      )
    case 'running':
      return new GatewayError(
        'idempotency_conflict',
        'The first request with this Idempotency-Key is still running. Retry later.',
        {
          retryAfter: 1000,
        },
      )
    case 'unkept':
      return new GatewayError(
        'idempotency_conflict',
        'The request with this Idempotency-Key was answered and billed, but its answer was too large to keep. Take a new key to run it again.',
      )
  }
}

function keptHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_KEPT.test(name)))
}

/** The answer as a repeat gets it. */
function replayed(answer: StoredAnswer): StoredAnswer {
  return { ...answer, headers: { ...answer.headers, 'idempotent-replayed': 'true', 'x-litellm-response-cost': '0' } }
}
