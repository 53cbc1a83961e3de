import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import { answeredError, errorEvent } from './error-event.ts'

const answered = (status: number, error: object) => answeredError(status, {}, Buffer.from(JSON.stringify({ error })))

describe('errors as events', () => {
  it('keep the words of the answer, its headers and the provider’s own code', () => {
    const error = { message: 'no', type: 'invalid_request_error', param: 'input', code: '400' }
    const own = { ...error, provider_specific_fields: { code: 'context_length_exceeded' } }
    const headers = { 'content-type': 'application/json', 'retry-after': '3' }
    expect(answeredError(400, headers, Buffer.from(JSON.stringify({ error: own })))).toEqual({
      type: 'error',
      status: 400,
      error: { ...own, code: 'context_length_exceeded', headers: { 'retry-after': '3' } },
    })
    expect(answered(400, error).error['code']).toBe('400')
  })

  it('name a response that nobody knows as OpenAI does, whoever missed it', () => {
    const expected = {
      status: 400,
      error: { type: 'invalid_request_error', code: 'previous_response_not_found', param: 'previous_response_id' },
    }
    const param = 'previous_response_id'
    expect(answered(404, { message: 'x', type: 'not_found_error', param, code: '404' })).toMatchObject(expected)
    const own = { message: 'x', param, provider_specific_fields: { code: 'previous_response_not_found' } }
    expect(answered(400, own)).toMatchObject(expected)
    expect(answered(400, { message: 'x', param, code: '400' }).error['code']).toBe('400')
  })

  it('have a type and a text even where the answer is no JSON', () => {
    expect(answeredError(502, {}, Buffer.from('bad gateway')).error).toMatchObject({
      type: 'server_error',
      message: 'bad gateway',
    })
    expect(errorEvent(new GatewayError('overloaded'), 'mine')).toMatchObject({ type: 'error', error: { code: 'mine' } })
  })
})
