import type { GatewayError } from '../shared/errors.ts'

/** What to do after a failed attempt. */
export type Decision = { kind: 'retry'; delay: number } | { kind: 'give-up' }

export interface RetryState {
  /** Attempts made so far, the failed one included. */
  attempts: number
  /** Retries allowed beyond the first attempt. */
  retries: number
  /** Another deployment of the group is still untried. */
  othersLeft: boolean
  /** Milliseconds left of the call's deadline. */
  timeLeft: number
  /** Milliseconds between retries at least (`router_settings.retry_after`). */
  minimumDelay: number
  /** A number in [0, 1). */
  jitter: number
}

/** LiteLLM's client constants: INITIAL_RETRY_DELAY 0.5 s, MAX_RETRY_DELAY 8 s, JITTER 0.75, a server's Retry-After honoured up to 60 s. */
const INITIAL_DELAY = 500
const MAX_DELAY = 8_000
const JITTER = 0.75
const RETRY_AFTER_MAX = 60_000

/**
 * Whether and when to try again. Pure. With another deployment untried it goes on at once; alone it waits: as long as the provider said,
 * else exponentially with jitter. Never past the deadline.
 */
export function decideRetry(error: GatewayError, state: RetryState): Decision {
  if (state.attempts > state.retries) return { kind: 'give-up' }
  // A credential or model one deployment lacks may be right on the next; the same deployment would refuse again.
  const elsewhere =
    error.code === 'provider_authentication' ||
    error.code === 'provider_permission' ||
    error.code === 'provider_not_found' ||
    error.code === 'provider_quota'
  if (!error.retryable && !(elsewhere && state.othersLeft)) return { kind: 'give-up' }
  const delay = state.othersLeft ? state.minimumDelay : Math.max(state.minimumDelay, waitFor(error, state))
  return delay < state.timeLeft ? { kind: 'retry', delay } : { kind: 'give-up' }
}

function waitFor(error: GatewayError, state: RetryState): number {
  if (error.retryAfter !== undefined && error.retryAfter <= RETRY_AFTER_MAX) return error.retryAfter
  const exponential = Math.min(INITIAL_DELAY * 2 ** (state.attempts - 1), MAX_DELAY)
  return Math.round(exponential * (1 - JITTER * state.jitter))
}
