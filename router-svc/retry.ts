import { ERRORS, type ErrorCode } from '../proto/errors.ts'
import type { FailureKind, FailurePolicy } from '../proto/routing.ts'
import type { GatewayError } from '../shared/errors.ts'

/** What to do after a failed attempt. */
export type Decision = { kind: 'retry'; delay: number } | { kind: 'give-up' }

export interface RetryState {
  /** Attempts made so far, the failed one included. */
  attempts: number
  /** Retries allowed beyond the first attempt, unless the policy has a number for this kind of failure. */
  retries: number
  policy: FailurePolicy
  /** Another group would take the call: an exhausted limit is not waited for. */
  fallbacksLeft: boolean
  /** Another deployment of the group is still untried and in rotation. */
  othersLeft: boolean
  /** Milliseconds until one of the group is in rotation again; 0 = one is. */
  backIn: number
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
 * else exponentially with jitter, and until a deployment is in rotation. Never past the deadline, nor at all when the provider named a time
 * past it.
 */
export function decideRetry(error: GatewayError, state: RetryState): Decision {
  const kind = failureKind(error)
  const own = kind === null ? undefined : state.policy[kind]
  if (state.attempts > (own ?? state.retries)) return { kind: 'give-up' }
  // A number for this kind of failure is the operator's word that trying again helps (surface reference §5.4).
  if (own === undefined && !error.retryable && !(ELSEWHERE.has(error.code) && state.othersLeft)) return { kind: 'give-up' }
  if (error.code === 'provider_rate_limited' && !state.othersLeft && state.fallbacksLeft) return { kind: 'give-up' }
  // Asking again earlier than the provider said is refused again, and the call ends before.
  if (!state.othersLeft && (error.retryAfter ?? 0) >= state.timeLeft) return { kind: 'give-up' }
  const delay = state.othersLeft ? state.minimumDelay : Math.max(state.minimumDelay, state.backIn, waitFor(error, state))
  return delay < state.timeLeft ? { kind: 'retry', delay } : { kind: 'give-up' }
}

/** What one deployment lacks the next may have (a credential, a model); the same one would refuse again. */
const ELSEWHERE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'provider_authentication',
  'provider_permission',
  'provider_not_found',
  'provider_quota',
])

/** Retries for this kind of failure: the policy's number, else the one for all. Pure. */
export function retriesAllowed(error: GatewayError, retries: number, policy: FailurePolicy): number {
  const kind = failureKind(error)
  return (kind === null ? undefined : policy[kind]) ?? retries
}

/** The kind under which policies count an error; null = none of theirs. */
export function failureKind(error: GatewayError): FailureKind | null {
  const name = ERRORS[error.code].class
  switch (name) {
    case 'Timeout':
      return 'TimeoutError'
    case 'BadRequestError':
    case 'UnsupportedParamsError':
    case 'ContextWindowExceededError':
    case 'UnprocessableEntityError':
      return 'BadRequestError'
    case 'AuthenticationError':
    case 'RateLimitError':
    case 'ContentPolicyViolationError':
    case 'InternalServerError':
      return name
    default:
      return error.status >= 500 ? 'InternalServerError' : null
  }
}

function waitFor(error: GatewayError, state: RetryState): number {
  const { retryAfter = 0 } = error
  if (retryAfter > 0 && retryAfter <= RETRY_AFTER_MAX) return retryAfter
  const exponential = Math.min(INITIAL_DELAY * 2 ** (state.attempts - 1), MAX_DELAY)
  return Math.round(exponential * (1 - JITTER * state.jitter))
}
