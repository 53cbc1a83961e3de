import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import type { FallbackLists, FallbackTarget } from '../../proto/routing.ts'
import { GatewayError } from '../../shared/errors.ts'
import { fallbacksFor, mayFallBack, type RequestFallbacks, withHistory } from './fallback.ts'

const list = (...models: string[]): FallbackTarget[] => models.map((model) => ({ model }))
const NOTHING: RequestFallbacks = { own: null, contextWindow: null, contentPolicy: null, disabled: false }
const GENERAL: FallbackLists = { general: { gpt: list('a'), '*': list('z') }, contextWindow: null, contentPolicy: null }

const names = (code: ErrorCode, group: string, lists: FallbackLists, request: Partial<RequestFallbacks> = {}): string[] =>
  fallbacksFor(new GatewayError(code), group, lists, { ...NOTHING, ...request }).map(({ model }) => model)

describe('fallbacksFor', () => {
  it('takes the list of the group, of its name without the provider, of everybody', () => {
    expect(names('provider_error', 'gpt', GENERAL)).toEqual(['a'])
    expect(names('provider_error', 'openai/gpt', GENERAL)).toEqual(['a'])
    expect(names('provider_error', 'other', GENERAL)).toEqual(['z'])
    expect(names('provider_error', 'other', { ...GENERAL, general: { gpt: list('a') } })).toEqual([])
    expect(names('provider_error', 'constructor', { ...GENERAL, general: {} })).toEqual([])
  })

  it('goes by the name asked for too: behind a wildcard first, else where the group has no list', () => {
    const lists = { ...GENERAL, general: { ...GENERAL.general, nick: list('n'), 'wild/*': list('w'), 'wild/one': list('o') } }
    const asking = (group: string, asked: string): string[] =>
      fallbacksFor(new GatewayError('provider_error'), group, lists, NOTHING, asked).map(({ model }) => model)
    expect(asking('other', 'nick')).toEqual(['n'])
    expect(asking('gpt', 'nick')).toEqual(['a'])
    expect(asking('wild/*', 'wild/one')).toEqual(['o'])
    expect(asking('wild/*', 'wild/gpt')).toEqual(['a'])
    expect(asking('wild/*', 'wild/two')).toEqual(['w'])
    expect(asking('other', 'two')).toEqual(['z'])
  })

  it('uses the general list for a kind of error that has no lists, and only its own where it has', () => {
    for (const [code, kind] of [
      ['context_window_exceeded', 'contextWindow'],
      ['content_policy', 'contentPolicy'],
    ] as const) {
      expect(names(code, 'gpt', GENERAL)).toEqual(['a'])
      expect(names(code, 'gpt', { ...GENERAL, [kind]: { gpt: list('big') } })).toEqual(['big'])
      expect(names(code, 'gpt', { ...GENERAL, [kind]: { other: list('big') } })).toEqual([])
      expect(names('provider_error', 'gpt', { ...GENERAL, [kind]: { gpt: list('big') } })).toEqual(['a'])
    }
  })

  it('goes by the request’s own list for every kind of error, but for a kind it has a list for', () => {
    const lists = { ...GENERAL, contextWindow: { gpt: list('big') } }
    for (const code of ['provider_error', 'context_window_exceeded', 'content_policy'] as const)
      expect(names(code, 'gpt', lists, { own: list('mine') })).toEqual(['mine'])
    expect(names('context_window_exceeded', 'gpt', lists, { own: list('mine'), contextWindow: list('mine-big') })).toEqual([
      'mine-big',
    ])
    expect(names('content_policy', 'gpt', lists, { contentPolicy: list('calm') })).toEqual(['calm'])
    expect(names('provider_error', 'gpt', lists, { own: [] })).toEqual([])
  })

  it('goes nowhere when the request says so, or for other statuses than it names', () => {
    expect(names('provider_error', 'gpt', GENERAL, { disabled: true, own: list('mine') })).toEqual([])
    expect(names('provider_rate_limited', 'gpt', GENERAL, { own: list('mine'), onStatus: [429] })).toEqual(['mine'])
    expect(names('provider_error', 'gpt', GENERAL, { own: list('mine'), onStatus: [429] })).toEqual([])
  })

  it('follows every failure of a provider and no refusal that holds wherever the call goes', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      if (code.startsWith('provider_')) expect([code, mayFallBack(new GatewayError(code))]).toEqual([code, true])
    }
    for (const code of ['no_deployment', 'context_window_exceeded', 'content_policy', 'unsupported_parameter'] as const)
      expect([code, mayFallBack(new GatewayError(code))]).toEqual([code, true])
    for (const code of ['model_denied', 'budget_exceeded', 'cancelled', 'deadline_exceeded', 'bad_request'] as const)
      expect([code, mayFallBack(new GatewayError(code))]).toEqual([code, false])
  })

  it('never names a target that no list names', () => {
    const targets = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }).map((models) => list(...models))
    const lists = fc.dictionary(fc.constantFrom('gpt', 'x', '*'), targets)
    fc.assert(
      fc.property(
        fc.constantFrom<ErrorCode>('provider_error', 'context_window_exceeded', 'content_policy'),
        fc.constantFrom('gpt', 'openai/gpt', 'x', 'y'),
        fc.record({ general: lists, contextWindow: fc.option(lists), contentPolicy: fc.option(lists) }),
        fc.option(targets),
        (code, group, configured, own) => {
          const found = fallbacksFor(new GatewayError(code), group, configured, { ...NOTHING, own })
          const known = [configured.general, configured.contextWindow ?? {}, configured.contentPolicy ?? {}].flatMap(
            Object.values,
          )
          expect(found.length === 0 || found === own || known.includes(found)).toBe(true)
          if (own !== null) expect(found).toBe(own)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('withHistory', () => {
  it('keeps the error and says what was tried', () => {
    const error = new GatewayError('provider_rate_limited', 'litellm.RateLimitError: slow down', {
      retryAfter: 2_000,
      providerCode: 'x',
      headers: { a: 'b' },
    })
    const told = withHistory(error, {
      group: 'gpt',
      fallbacks: ['a', 'b'],
      retried: 2,
      maxRetries: 3,
      last: new GatewayError('provider_error', 'boom'),
    })
    expect(told).toMatchObject({
      code: 'provider_rate_limited',
      status: 429,
      retryAfter: 2_000,
      providerCode: 'x',
      headers: { a: 'b' },
    })
    expect(told.message).toContain('LiteLLM Retried: 2 times, LiteLLM Max Retries: 3')
    expect(told.message).toContain(
      "Received Model Group=gpt\nAvailable Model Group Fallbacks=['a', 'b']\nError doing the fallback: boom",
    )
  })

  it('says None where there was nothing to go to', () => {
    const told = withHistory(new GatewayError('provider_error'), {
      group: 'gpt',
      fallbacks: [],
      retried: 0,
      maxRetries: 0,
      last: null,
    })
    expect(told.message).toMatch(/Received Model Group=gpt\nAvailable Model Group Fallbacks=None$/)
    expect(told.message).not.toContain('Retried')
  })
})
