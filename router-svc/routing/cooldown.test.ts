import { describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { type CooldownInput, decideCooldown, isEligible } from './cooldown.ts'

const input = (fields: Partial<CooldownInput> = {}): CooldownInput => ({
  error: 'provider_error',
  retryAfter: undefined,
  settings: DEFAULT_ROUTING,
  deployment: { modelGroup: 'gpt' },
  groupSize: 2,
  successes: 0,
  failures: 1,
  fails: 1,
  probing: false,
  ...fields,
})

describe('an error that may cool a deployment down', () => {
  it('is one of 429, 401, 408, 404, and what is the provider’s fault, but never a connection that was not made', () => {
    const eligible = (Object.keys(ERRORS) as ErrorCode[]).filter(isEligible)
    expect(eligible).toEqual([
      'provider_authentication',
      'provider_not_found',
      'provider_timeout',
      'provider_rate_limited',
      'provider_quota',
      'provider_error',
      'provider_bad_gateway',
      'provider_unavailable',
      'provider_overloaded',
      'provider_malformed',
      'provider_truncated',
    ])
  })
})

describe('a cooldown by failure rate', () => {
  it('begins with the first 429 where the group has another deployment, and not where it has none', () => {
    expect(decideCooldown(input({ error: 'provider_rate_limited', successes: 999 }))).toBe(5_000)
    expect(decideCooldown(input({ error: 'provider_rate_limited', groupSize: 1 }))).toBeNull()
  })

  it('begins at once after a refused credential and an unknown model, even of the only deployment', () => {
    expect(decideCooldown(input({ error: 'provider_authentication', groupSize: 1 }))).toBe(5_000)
    expect(decideCooldown(input({ error: 'provider_not_found', successes: 10, groupSize: 1 }))).toBe(5_000)
    expect(decideCooldown(input({ error: 'provider_permission' }))).toBeNull()
  })

  it('begins when more than half of at least five calls of the minute failed', () => {
    expect(decideCooldown(input({ failures: 4 }))).toBeNull()
    expect(decideCooldown(input({ failures: 5 }))).toBe(5_000)
    expect(decideCooldown(input({ failures: 3, successes: 3 }))).toBeNull()
    expect(decideCooldown(input({ failures: 4, successes: 3 }))).toBe(5_000)
    expect(decideCooldown(input({ failures: 4, successes: 3, groupSize: 1 }))).toBeNull()
  })

  it('begins for the only deployment when each of a thousand calls of the minute failed', () => {
    expect(decideCooldown(input({ failures: 999, groupSize: 1 }))).toBeNull()
    expect(decideCooldown(input({ failures: 1_000, groupSize: 1 }))).toBe(5_000)
    expect(decideCooldown(input({ failures: 1_000, successes: 1, groupSize: 1 }))).toBeNull()
  })

  it('begins anew with the first failure after one', () => {
    expect(decideCooldown(input({ probing: true }))).toBe(5_000)
    expect(decideCooldown(input({ probing: true, groupSize: 1 }))).toBeNull()
    expect(decideCooldown(input({ probing: true, error: 'provider_connection' }))).toBeNull()
  })
})

describe('a cooldown by allowed failures', () => {
  const settings = { ...DEFAULT_ROUTING, allowedFails: 2 }

  it('begins with the failure after the last allowed one, and a 429 is no more than another failure', () => {
    expect(decideCooldown(input({ settings, fails: 2, failures: 100, error: 'provider_rate_limited' }))).toBeNull()
    expect(decideCooldown(input({ settings, fails: 3 }))).toBe(5_000)
    expect(decideCooldown(input({ settings, fails: 3, groupSize: 1 }))).toBe(5_000)
  })

  it('allows as many of a kind as its policy says, of other kinds three', () => {
    const policy = { ...DEFAULT_ROUTING, allowedFailsPolicy: { RateLimitError: 0, TimeoutError: 10 } }
    expect(decideCooldown(input({ settings: policy, error: 'provider_rate_limited', fails: 1 }))).toBe(5_000)
    expect(decideCooldown(input({ settings: policy, error: 'provider_timeout', fails: 10 }))).toBeNull()
    expect(decideCooldown(input({ settings: policy, error: 'provider_timeout', fails: 11 }))).toBe(5_000)
    expect(decideCooldown(input({ settings: policy, fails: 3 }))).toBeNull()
    expect(decideCooldown(input({ settings: policy, fails: 4 }))).toBe(5_000)
  })

  it('takes the deployment’s own values before those of the settings', () => {
    const own = { modelGroup: 'gpt', allowedFails: 0, allowedFailsPolicy: { TimeoutError: 1 } }
    expect(decideCooldown(input({ settings, deployment: own, fails: 1 }))).toBe(5_000)
    expect(decideCooldown(input({ settings, deployment: own, fails: 1, error: 'provider_timeout' }))).toBeNull()
    expect(decideCooldown(input({ deployment: own, fails: 2, error: 'provider_timeout' }))).toBe(5_000)
  })
})

describe('the length of a cooldown', () => {
  const limited = (fields: Partial<CooldownInput>) => decideCooldown(input({ error: 'provider_rate_limited', ...fields }))

  it('is what the provider says, up to a minute, or longer where the operator says longer', () => {
    expect(limited({ retryAfter: 1_500 })).toBe(1_500)
    expect(limited({ retryAfter: 3_600_000 })).toBe(60_000)
    expect(limited({ retryAfter: 3_600_000, deployment: { modelGroup: 'gpt', cooldownTime: 120_000 } })).toBe(120_000)
    expect(limited({ retryAfter: 0 })).toBe(5_000)
  })

  it('is the deployment’s own before the settings’', () => {
    expect(limited({ settings: { ...DEFAULT_ROUTING, cooldownTime: 7_000 } })).toBe(7_000)
    expect(limited({ deployment: { modelGroup: 'gpt', cooldownTime: 9_000 } })).toBe(9_000)
  })

  it('is none where it is 0, where cooldowns are off, and for a deployment behind a pattern', () => {
    expect(limited({ deployment: { modelGroup: 'gpt', cooldownTime: 0 }, retryAfter: 1_000 })).toBeNull()
    expect(limited({ settings: { ...DEFAULT_ROUTING, disableCooldowns: true } })).toBeNull()
    expect(limited({ deployment: { modelGroup: 'openai/*' } })).toBeNull()
  })
})
