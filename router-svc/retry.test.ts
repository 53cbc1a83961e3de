import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { decideRetry, type RetryState, retriesAllowed } from './retry.ts'

const state = (changes: Partial<RetryState> = {}): RetryState => ({
  attempts: 1,
  retries: 2,
  othersLeft: false,
  policy: {},
  fallbacksLeft: false,
  backIn: 0,
  timeLeft: 600_000,
  minimumDelay: 0,
  jitter: 0,
  ...changes,
})

describe('retriesAllowed', () => {
  it('is the number of the policy for this kind of failure, else the one for all', () => {
    const policy = { RateLimitError: 0, InternalServerError: 4 }
    expect(retriesAllowed(new GatewayError('provider_rate_limited'), 2, policy)).toBe(0)
    expect(retriesAllowed(new GatewayError('provider_error'), 2, policy)).toBe(4)
    expect(retriesAllowed(new GatewayError('provider_timeout'), 2, policy)).toBe(2)
    expect(retriesAllowed(new GatewayError('no_deployment'), 2, policy)).toBe(0)
    expect(retriesAllowed(new GatewayError('deployment_busy'), 2, {})).toBe(2)
  })
})

describe('decideRetry', () => {
  it('goes to an untried deployment at once', () => {
    expect(decideRetry(new GatewayError('provider_error'), state({ othersLeft: true }))).toEqual({ kind: 'retry', delay: 0 })
  })

  it('waits exponentially when no other deployment is left', () => {
    expect(decideRetry(new GatewayError('provider_error'), state())).toEqual({ kind: 'retry', delay: 500 })
    expect(decideRetry(new GatewayError('provider_error'), state({ attempts: 2 }))).toEqual({ kind: 'retry', delay: 1_000 })
    expect(decideRetry(new GatewayError('provider_error'), state({ attempts: 9, retries: 20 }))).toEqual({
      kind: 'retry',
      delay: 8_000,
    })
  })

  it('takes up to three quarters off the wait as jitter', () => {
    expect(decideRetry(new GatewayError('provider_error'), state({ jitter: 1 }))).toEqual({ kind: 'retry', delay: 125 })
  })

  it('waits as long as the provider said, up to a minute', () => {
    const slow = new GatewayError('provider_rate_limited', undefined, { retryAfter: 7_000 })
    expect(decideRetry(slow, state())).toEqual({ kind: 'retry', delay: 7_000 })
    const absurd = new GatewayError('provider_rate_limited', undefined, { retryAfter: 300_000 })
    expect(decideRetry(absurd, state())).toEqual({ kind: 'retry', delay: 500 })
  })

  it('gives up at once when the provider said longer than the call has, but goes to another deployment all the same', () => {
    const tomorrow = new GatewayError('provider_rate_limited', undefined, { retryAfter: 86_400_000 })
    expect(decideRetry(tomorrow, state())).toEqual({ kind: 'give-up' })
    expect(decideRetry(tomorrow, state({ policy: { RateLimitError: 5 } }))).toEqual({ kind: 'give-up' })
    expect(decideRetry(tomorrow, state({ othersLeft: true }))).toEqual({ kind: 'retry', delay: 0 })
  })

  it('never waits past the deadline, honours what lies within a minute, and takes 0 for nothing said', () => {
    const said = fc.integer({ min: 0, max: 7_200_000 })
    const left = fc.integer({ min: 1, max: 3_600_000 })
    fc.assert(
      fc.property(said, left, fc.double({ min: 0, max: 0.999, noNaN: true }), (retryAfter, timeLeft, jitter) => {
        const decision = decideRetry(
          new GatewayError('provider_rate_limited', undefined, { retryAfter }),
          state({ timeLeft, jitter }),
        )
        if (retryAfter >= timeLeft) expect(decision).toEqual({ kind: 'give-up' })
        else if (retryAfter > 0 && retryAfter <= 60_000) expect(decision).toEqual({ kind: 'retry', delay: retryAfter })
        else if (decision.kind === 'give-up') expect(timeLeft).toBeLessThanOrEqual(500)
        else {
          expect(decision.delay).toBeGreaterThanOrEqual(125)
          expect(decision.delay).toBeLessThanOrEqual(Math.min(500, timeLeft - 1))
        }
      }),
    )
  })

  it('gives up when the retries are used', () => {
    expect(decideRetry(new GatewayError('provider_error'), state({ attempts: 3 }))).toEqual({ kind: 'give-up' })
    expect(decideRetry(new GatewayError('provider_error'), state({ retries: 0 }))).toEqual({ kind: 'give-up' })
  })

  it('gives up when the wait would pass the deadline', () => {
    expect(decideRetry(new GatewayError('provider_error'), state({ timeLeft: 400 }))).toEqual({ kind: 'give-up' })
  })

  it('does not repeat what the client did wrong', () => {
    expect(decideRetry(new GatewayError('context_window_exceeded'), state({ othersLeft: true }))).toEqual({ kind: 'give-up' })
    expect(decideRetry(new GatewayError('provider_bad_request'), state({ othersLeft: true }))).toEqual({ kind: 'give-up' })
  })

  it('tries a refused credential on another deployment but never on the same one', () => {
    expect(decideRetry(new GatewayError('provider_authentication'), state({ othersLeft: true }))).toEqual({
      kind: 'retry',
      delay: 0,
    })
    expect(decideRetry(new GatewayError('provider_authentication'), state())).toEqual({ kind: 'give-up' })
  })
})
