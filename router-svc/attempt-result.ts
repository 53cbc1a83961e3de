import type { Attempt, TokenUsage } from '../proto/usage.ts'
import type { Clock, DeadlineWheel } from '../shared/clock.ts'
import { GatewayError, toWire } from '../shared/errors.ts'
import type { HttpClient } from '../shared/http/client.ts'
import type { Log } from '../shared/log.ts'
import type { Continuation } from './failover/continuation.ts'
import type { Headers } from './providers/provider.ts'
import type { Route } from './runtime.ts'
import type { RouterTrace } from './trace.ts'

/** How one try on one deployment ended. The record says what it cost whichever way. */
export type AttemptResult =
  /** A whole answer, not yet sent. */
  | { kind: 'answered'; record: Attempt; headers: Headers; body: Uint8Array; contentType: string }
  /** Every byte of a stream went to the reply; only its proper end is missing. */
  | { kind: 'streamed'; record: Attempt; last: string }
  | FailedAttempt
  | { kind: 'cancelled'; record: Attempt }

export interface FailedAttempt {
  kind: 'failed'
  record: Attempt
  error: GatewayError
  /** Part of a stream is already with the client. */
  committed: boolean
  headers: Headers
  /** Tells the client of a failure in the middle of its stream, in its dialect; once. Null = nothing of it was sent. */
  tell: ((error: GatewayError) => string) | null
  /** Where another attempt may go on; null = nowhere safe. */
  continuation: Continuation | null
}

/** Where a stream's bytes go; the reply, seen from the attempt. */
export interface StreamOutput {
  /** `contentType`: where it is not that of the dialect's streams. */
  start(record: Attempt, headers: Headers, contentType?: string): void
  write(bytes: Uint8Array): boolean
}

export interface AttemptDeps {
  http: HttpClient
  clock: Clock
  wheel: DeadlineWheel
  log: Log
  /** Null or absent: nothing is traced. */
  trace?: Pick<RouterTrace, 'attempt'> | null
}

export interface AttemptTimeouts {
  /** Whole attempt, first byte, silence; milliseconds. */
  total: number
  firstByte: number
  silence: number
}

/**
 * What was thrown while an answer was read, as an error. What no reader foresaw is an answer that is not what its protocol says (a number where
 * a list belongs): another deployment may do better. That it was not foreseen is ours to know.
 */
export function unreadable({ log }: Pick<AttemptDeps, 'log'>, route: Route, thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  log.warn({ err: thrown, provider: route.provider.name, model: route.model }, 'an answer could not be read')
  return new GatewayError('provider_malformed', undefined, { cause: thrown })
}

/** A fresh record of an attempt about to start. */
export function openAttempt(route: Route, index: number, now: number): Attempt {
  return {
    index,
    deploymentId: route.deployment.id,
    provider: route.provider.name,
    model: route.model,
    apiBase: route.apiBase,
    startedAt: now,
    firstTokenAt: null,
    endedAt: now,
    outcome: 'failure',
  }
}

/** The end of an attempt nobody was asked for. */
export function neverSent(record: Attempt, deps: AttemptDeps, error: GatewayError): FailedAttempt {
  const closed = closeAttempt(record, deps, 'failure', error)
  return { kind: 'failed', record: closed, error, committed: false, headers: {}, tell: null, continuation: null }
}

/** Whether an error in the middle of an answer is one another deployment need not have: a refusal of the content or of ours is final. */
export function breaksOff(error: GatewayError): boolean {
  return error.retryable && error.code.startsWith('provider_')
}

/** Completes a record: when, how, and what it used. */
export function closeAttempt(
  record: Attempt,
  deps: Pick<AttemptDeps, 'clock'>,
  outcome: Attempt['outcome'],
  error: GatewayError | null,
  usage?: TokenUsage,
): Attempt {
  record.endedAt = deps.clock.now()
  record.outcome = outcome
  if (error !== null) record.error = toWire(error)
  if (usage !== undefined) record.usage = usage
  return record
}
