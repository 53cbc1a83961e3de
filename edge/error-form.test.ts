import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { errorFormOf } from './error-form.ts'

describe('an error of the edge itself', () => {
  it.each(['/v1/messages', '/messages', '/v1/messages/'])('has Anthropic’s envelope on %s', (path) => {
    const form = errorFormOf(path)
    const error = new GatewayError('unknown_key')
    expect(form.status(error)).toBe(401)
    expect(JSON.parse(form.body(error))).toEqual({
      type: 'error',
      error: { type: 'authentication_error', message: error.message },
    })
  })

  it('asks Anthropic’s clients to come back with 529, and tells of it in mid-stream under its event name', () => {
    const form = errorFormOf('/v1/messages')
    const error = new GatewayError('no_router')
    expect(form.status(error)).toBe(529)
    expect(form.event(error)).toMatch(/^event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error"/)
  })

  it.each(['/v1/responses', '/responses', '/openai/v1/responses/', '/openai/deployments/gpt/responses', '/v1/responses/resp_1'])(
    'is an event of the Responses API in the midst of a stream of %s',
    (path) => {
      const form = errorFormOf(path)
      const error = new GatewayError('no_router')
      expect(form.status(error)).toBe(503)
      expect(JSON.parse(form.body(error))).toMatchObject({ error: { code: '503' } })
      expect(form.event(error)).toMatch(/^event: error\ndata: \{"type":"error","sequence_number":\d+,"code":"server_error"/)
    },
  )

  it.each(['/v1beta/models/gemini-pro:generateContent', '/models/a/b:streamGenerateContent', '/v1/models/x:countTokens/'])(
    'has Google’s envelope on %s, and says there when to come back',
    (path) => {
      const form = errorFormOf(path)
      const error = new GatewayError('no_router', 'later', { retryAfter: 1_500 })
      expect(form.status(error)).toBe(503)
      expect(JSON.parse(form.body(error))).toEqual({
        error: {
          code: 503,
          message: 'later',
          status: 'UNAVAILABLE',
          details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '2s' }],
        },
      })
      expect(form.event(error)).toMatch(/^data: \{"error":\{"code":503/)
    },
  )

  it.each(['/v1/chat/completions', '/key/generate', '/v1/messages/batches', '/'])('has OpenAI’s envelope on %s', (path) => {
    const form = errorFormOf(path)
    const error = new GatewayError('no_router')
    expect(form.status(error)).toBe(503)
    expect(JSON.parse(form.body(error))).toMatchObject({ error: { code: '503' } })
    expect(form.event(error)).toMatch(/^data: \{"error"/)
  })
})
