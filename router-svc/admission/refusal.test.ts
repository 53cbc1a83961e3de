import { describe, expect, it } from 'vitest'
import type { Limit } from '../../proto/limits.ts'
import type { ScopeState } from '../../shared/counters/counters.ts'
import { type Refused, refusal, repeatableFor } from './refusal.ts'

const NOON = Date.UTC(2026, 10, 21, 12)
const state: ScopeState = {
  requests: 0,
  tokens: 0,
  parallel: 0,
  spent: 0,
  held: 0,
  revision: 1,
  requestsReset: 0,
  tokensReset: 0,
}

function refused(limit: Partial<Limit>, fields: Partial<Refused> = {}): Refused {
  return {
    limit: { scope: 'key|abc', kind: 'key', owner: 'abc', spent: 0, revision: 0, resetAt: null, ...limit },
    budget: limit.budget ?? null,
    type: 'budget',
    state,
    hold: 10_000_000,
    tokens: 40,
    ...fields,
  }
}

describe('a refusal for a rate limit', () => {
  const over = refused({ requests: 3 }, { type: 'requests', state: { ...state, requests: 3, requestsReset: 41_500 } })

  it('names scope, limit and reset in the words clients know', () => {
    const error = refusal(over, null, NOON)
    expect(error.message).toBe(
      'Rate limit exceeded for api_key: abc. Limit type: requests. Current limit: 3, Remaining: 0. Limit resets at: 2026-11-21 12:00:42 UTC.',
    )
    expect(error).toMatchObject({ status: 429, retryAfter: 41_500 })
    expect(error.headers).toEqual({ rate_limit_type: 'requests', reset_at: '2026-11-21 12:00:42 UTC' })
  })

  it('names a model with its owner', () => {
    const error = refusal(refused({ kind: 'team', owner: 't', model: 'gpt', tokens: 100 }, { type: 'tokens' }), null, NOON)
    expect(error.message).toContain('Rate limit exceeded for model_per_team: t:gpt. Limit type: tokens.')
  })

  it('says max_parallel_requests for slots, and to come back soon', () => {
    const error = refusal(refused({ parallel: 2 }, { type: 'parallel', state: { ...state, parallel: 2 } }), null, NOON)
    expect(error.headers).toMatchObject({ rate_limit_type: 'max_parallel_requests' })
    expect(error.retryAfter).toBe(1000)
  })

  it('may be repeated by the edge for a second, within which running calls may give back what they took, but not for tokens that are left', () => {
    expect(repeatableFor(over, NOON)).toBe(1_000)
    expect(repeatableFor({ ...over, state: { ...over.state, requestsReset: 300 } }, NOON)).toBe(300)
    const tokens = { ...state, tokens: 60, tokensReset: 9_000 }
    expect(repeatableFor(refused({ tokens: 100 }, { type: 'tokens', state: tokens }), NOON)).toBe(0)
    expect(repeatableFor(refused({ tokens: 60 }, { type: 'tokens', state: tokens }), NOON)).toBe(1_000)
  })

  it('is not repeated for what only the body names', () => {
    expect(repeatableFor({ ...over, limit: { ...over.limit, model: 'gpt' } }, NOON)).toBe(0)
    expect(repeatableFor({ ...over, limit: { ...over.limit, kind: 'customer' } }, NOON)).toBe(0)
  })
})

describe('a refusal for a budget', () => {
  const spent = { ...state, spent: 5_000_000_000 }

  it('names cost and budget, and tells clients not to try again', () => {
    const error = refusal(refused({ budget: 5_000_000_000 }, { state: spent }), null, NOON)
    expect(error.message).toBe('Budget has been exceeded! Current cost: 5, Max budget: 5.')
    expect(error).toMatchObject({ status: 429, type: 'budget_exceeded', retryAfter: undefined })
    expect(error.headers).toMatchObject({ 'x-should-retry': 'false' })
  })

  it('says when the budget begins anew', () => {
    const error = refusal(refused({ budget: 5_000_000_000, resetAt: NOON + 3_600_000 }, { state: spent }), null, NOON)
    expect(error.retryAfter).toBe(3_600_000)
    expect(error.headers).toMatchObject({ reset_at: '2026-11-21 13:00:00' })
  })

  it.each([
    [{ kind: 'team', owner: 't' }, 'Budget has been exceeded! Team=t Current cost: 5, Max budget: 5.'],
    [{ kind: 'organization', owner: 'o' }, 'Budget has been exceeded! Organization=o Current cost: 5, Max budget: 5.'],
    [{ kind: 'tag', owner: 'x' }, 'Budget has been exceeded! Tag=x Current cost: 5, Max budget: 5.'],
    [{ kind: 'team_member', owner: 't:u' }, 'Budget has been exceeded! User=u in Team=t Current cost: 5, Max budget: 5.'],
    [{ kind: 'user', owner: 'u' }, 'ExceededBudget: User=u over budget. Spend=5, Budget=5.'],
    [{ kind: 'customer', owner: 'c' }, 'ExceededBudget: End User=c over budget. Spend=5, Budget=5.'],
  ] as [Partial<Limit>, string][])('names the owner as LiteLLM does: %o', (limit, text) => {
    expect(refusal(refused({ ...limit, budget: 5_000_000_000 }, { state: spent }), null, NOON).message).toBe(text)
  })

  it('says what running calls hold when the money is not spent yet, and to come back soon', () => {
    const held = { ...state, spent: 1_000_000_000, held: 3_995_000_000 }
    const error = refusal(refused({ budget: 5_000_000_000 }, { state: held }), null, NOON)
    expect(error.message).toContain('This call may cost 0.01; spent are 1 and 3.995 held by running calls.')
    expect(error.retryAfter).toBe(1000)
    expect(error.headers).not.toHaveProperty('x-should-retry')
    expect(repeatableFor(refused({ budget: 5_000_000_000 }, { state: held }), NOON)).toBe(0)
  })

  it('is repeated by the edge for seconds at most, since budgets are raised', () => {
    expect(repeatableFor(refused({ budget: 5_000_000_000 }, { state: spent }), NOON)).toBe(5_000)
  })
})
