import { describe, expect, it } from 'vitest'
import { decodeError, retryAfter } from './error.ts'

const openaiError = (error: object) => JSON.stringify({ error })

describe('an error of an OpenAI-compatible provider', () => {
  it.each([
    [400, { message: "This model's maximum context length is 8192 tokens" }, 'context_window_exceeded', 400],
    [400, { message: 'x', code: 'context_length_exceeded' }, 'context_window_exceeded', 400],
    [500, { message: '`inputs` tokens + `max_new_tokens` must be <= 4097' }, 'context_window_exceeded', 400],
    [400, { message: 'Your request was rejected as a result of our safety system' }, 'content_policy', 400],
    [400, { message: 'Bad thing', type: 'invalid_request_error', code: 'content_policy_violation' }, 'content_policy', 400],
    [401, { message: 'Incorrect API key provided' }, 'provider_authentication', 401],
    [400, { message: 'Invalid API key' }, 'provider_authentication', 401],
    [403, { message: 'no' }, 'provider_permission', 403],
    [404, { message: 'The model `x` does not exist', code: 'model_not_found' }, 'provider_not_found', 404],
    [408, { message: 'slow' }, 'provider_timeout', 408],
    [504, { message: 'slow' }, 'provider_timeout', 504],
    [409, { message: 'busy' }, 'provider_conflict', 409],
    [413, { message: 'Request too large for model' }, 'provider_rate_limited', 429],
    [413, { message: 'Payload' }, 'provider_bad_request', 413],
    [422, { message: 'field required' }, 'provider_unprocessable', 422],
    [429, { message: 'Rate limit reached', type: 'tokens', code: 'rate_limit_exceeded' }, 'provider_rate_limited', 429],
    [429, { message: 'You exceeded your current quota', code: 'insufficient_quota' }, 'provider_quota', 429],
    [402, { message: 'Insufficient credits' }, 'provider_quota', 402],
    [498, { message: 'flex capacity' }, 'provider_overloaded', 503],
    [500, { message: 'oops' }, 'provider_error', 500],
    [500, { message: 'Rate limit hit' }, 'provider_rate_limited', 429],
    [502, { message: 'x' }, 'provider_bad_gateway', 502],
    [503, { message: 'x' }, 'provider_unavailable', 503],
    [503, { message: 'Model is overloaded' }, 'provider_overloaded', 503],
    [529, { message: 'x' }, 'provider_overloaded', 503],
    [418, { message: 'x' }, 'provider_bad_request', 418],
    [524, { message: 'x' }, 'provider_bad_gateway', 502],
  ] as const)('%i %j is %s', (status, error, code, seen) => {
    const read = decodeError('groq', status, {}, openaiError(error))
    expect(read.code).toBe(code)
    expect(read.status).toBe(seen)
  })

  it('keeps type, param and code, and speaks in the grammar clients match on', () => {
    const error = decodeError(
      'openai',
      429,
      {},
      openaiError({ message: 'Slow down', type: 'tokens', param: 'p', code: 'rate_limit_exceeded' }),
    )
    expect(error.message).toBe('litellm.RateLimitError: RateLimitError: OpenAIException - Slow down')
    expect(error).toMatchObject({ type: 'tokens', param: 'p', providerCode: 'rate_limit_exceeded', retryable: true })
    expect(decodeError('together_ai', 400, {}, openaiError({ message: 'No' })).message).toBe(
      'litellm.BadRequestError: Together_aiException - No',
    )
  })

  it('of OpenAI with status 422 is a bad request, as its own client has it', () => {
    expect(decodeError('openai', 422, {}, openaiError({ message: 'x' }))).toMatchObject({
      code: 'provider_bad_request',
      status: 400,
    })
  })

  it.each([
    ['flat', '{"message":"flat one","type":"t","code":"c"}', 'flat one'],
    ['a string', '{"error":"only text"}', 'only text'],
    ['FastAPI', '{"detail":"not here"}', 'not here'],
    ['FastAPI list', '{"detail":[{"msg":"missing"}]}', '[{"msg":"missing"}]'],
    ['in a list', '[{"error":{"message":"first"}}]', 'first'],
    ['plain text', 'upstream connect error', 'upstream connect error'],
    ['HTML', '<html><body>Bad gateway</body></html>', 'HTTP 500 without a readable body'],
    ['nothing', '', 'HTTP 500 without a readable body'],
  ])('is understood when its body is %s', (_form, body, text) => {
    expect(decodeError('x', 500, {}, body).message).toBe(`litellm.InternalServerError: InternalServerError: XException - ${text}`)
  })

  it('never repeats a whole key, nor a page of text', () => {
    const key = `sk-proj-${'a1B2'.repeat(10)}`
    const error = decodeError(
      'openai',
      401,
      {},
      openaiError({ message: `Incorrect API key provided: ${key}. ${'x'.repeat(5000)}` }),
    )
    expect(error.message).not.toContain(key.slice(0, 20))
    expect(error.message.length).toBeLessThan(2200)
  })

  it('inside a 200 takes its status from what it says', () => {
    expect(decodeError('openrouter', 200, {}, openaiError({ message: 'x', code: 502 })).code).toBe('provider_bad_gateway')
    expect(
      decodeError('groq', 200, {}, openaiError({ message: 'x', type: 'invalid_request_error', status_code: 400 })).code,
    ).toBe('provider_bad_request')
    expect(decodeError('vllm', 200, {}, openaiError({ message: 'x' })).code).toBe('provider_error')
  })

  it('is none where a 200 holds something else: a page, nothing, an answer of another kind', () => {
    for (const body of ['<html><body>Bad gateway</body></html>', '', '{"object":"chat.completion","choices":[]}', '17']) {
      const error = decodeError('openai', 200, {}, body)
      expect([error.code, error.status, error.retryable]).toEqual(['provider_malformed', 502, true])
      expect(error.message).toMatch(
        /^litellm\.APIResponseValidationError: APIResponseValidationError: OpenAIException - The answer is neither/,
      )
    }
  })
})

describe('the time to wait', () => {
  it('is read in milliseconds, seconds or as a date against the answer’s own', () => {
    expect(retryAfter({ 'retry-after-ms': '250', 'retry-after': '9' })).toBe(250)
    expect(retryAfter({ 'retry-after': '1.5' })).toBe(1500)
    expect(retryAfter({ 'retry-after': 'Wed, 21 Oct 2015 07:28:30 GMT', date: 'Wed, 21 Oct 2015 07:28:00 GMT' })).toBe(30_000)
    expect(retryAfter({ 'retry-after': 'Wed, 21 Oct 2015 07:27:00 GMT', date: 'Wed, 21 Oct 2015 07:28:00 GMT' })).toBe(0)
    for (const headers of [{}, { 'retry-after': 'soon' }, { 'retry-after': '-3' }, { 'retry-after': '' }])
      expect(retryAfter(headers)).toBeUndefined()
    expect(decodeError('openai', 429, { 'retry-after': '2' }, '{}').retryAfter).toBe(2000)
  })
})
