import { describe, expect, it } from 'vitest'
import { decodeError } from './errors.ts'

const body = (type: string, message = 'm') => JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_1' })

describe('an error answer', () => {
  it.each([
    [400, 'invalid_request_error', 'provider_bad_request', 400],
    [401, 'authentication_error', 'provider_authentication', 401],
    [402, 'billing_error', 'provider_quota', 429],
    [403, 'permission_error', 'provider_permission', 403],
    [404, 'not_found_error', 'provider_not_found', 404],
    [413, 'request_too_large', 'provider_bad_request', 400],
    [429, 'rate_limit_error', 'provider_rate_limited', 429],
    [500, 'api_error', 'provider_error', 500],
    [502, 'api_error', 'provider_bad_gateway', 502],
    [503, 'api_error', 'provider_unavailable', 503],
    [200, 'api_error', 'provider_error', 500],
    [504, 'timeout_error', 'provider_timeout', 504],
    [529, 'overloaded_error', 'provider_overloaded', 503],
  ])('%i %s is %s', (status, type, code, own) => {
    const error = decodeError(status, {}, body(type))
    expect([error.code, error.status, error.providerCode]).toEqual([code, own, type])
  })

  it.each([
    ['prompt is too long: 210000 tokens > 200000 maximum', 'context_window_exceeded'],
    ['input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000', 'context_window_exceeded'],
    ['Output blocked by content filtering policy', 'content_policy'],
    ['Your credit balance is too low to access the Anthropic API.', 'provider_quota'],
    ['messages: at least one message is required', 'provider_bad_request'],
  ])('of 400 is read by its text: %s', (message, code) => {
    expect(decodeError(400, {}, body('invalid_request_error', message)).code).toBe(code)
  })

  it('of another kind is not refined by its text', () => {
    expect(decodeError(429, {}, body('rate_limit_error', 'prompt is too long')).code).toBe('provider_rate_limited')
  })

  it('speaks LiteLLM’s grammar and repeats the provider', () => {
    const source = body('rate_limit_error', 'Slow down.')
    expect(decodeError(429, {}, source).message).toBe(`litellm.RateLimitError: AnthropicException - ${source}`)
  })

  it.each([
    [502, '<html>Bad gateway</html>', 'provider_bad_gateway', 502],
    [503, '', 'provider_unavailable', 503],
    [520, 'upstream gone', 'provider_error', 520],
    [529, '', 'provider_overloaded', 503],
    [418, '{}', 'provider_bad_request', 418],
    [422, '{"detail":"no"}', 'provider_unprocessable', 422],
    [200, '{"odd":true}', 'provider_malformed', 502],
  ])('of a proxy in between is read by status: %i %s', (status, source, code, own) => {
    const error = decodeError(status, {}, source)
    expect([error.code, error.status]).toEqual([code, own])
    expect(error.message).not.toContain('<html>')
  })

  it('says when to come back, in milliseconds', () => {
    const wait = (headers: Record<string, string>) => decodeError(429, headers, body('rate_limit_error')).retryAfter
    const date = 'Wed, 19 Aug 2026 14:34:11 GMT'
    expect(wait({ 'retry-after': '12' })).toBe(12_000)
    expect(wait({ 'retry-after-ms': '250', 'retry-after': '1' })).toBe(250)
    expect(wait({ 'retry-after': 'Wed, 19 Aug 2026 14:34:41 GMT', date })).toBe(30_000)
    expect(wait({ 'retry-after': 'Wed, 19 Aug 2026 14:34:41 GMT' })).toBeUndefined()
    const reset = {
      'anthropic-ratelimit-input-tokens-remaining': '0',
      'anthropic-ratelimit-input-tokens-reset': '2026-08-19T14:34:21Z',
    }
    expect(wait({ ...reset, date })).toBe(10_000)
    expect(wait({ ...reset, date, 'anthropic-ratelimit-input-tokens-remaining': '5' })).toBeUndefined()
    expect(wait({})).toBeUndefined()
  })
})
