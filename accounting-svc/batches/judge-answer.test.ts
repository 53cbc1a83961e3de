import { describe, expect, it } from 'vitest'
import { judge, TRIES } from './judge-answer.ts'
import type { LineAnswer } from './line-call.ts'

const line = (failures = 0) => ({ line: 7, customId: 'c', request: '{}', callId: 'call', takes: 1, failures })
const answered = (status: number, body: unknown, headers: Record<string, string> = {}): LineAnswer => ({
  kind: 'answered',
  status,
  headers,
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
})
const failure = (type: string) => ({ error: { message: 'why', type } })

describe('the answer of a line', () => {
  it('is a result in OpenAI’s form when it is good', () => {
    const verdict = judge('batch_1', line(), answered(200, { id: 'x' }))
    expect(verdict).toMatchObject({ what: 'record', state: 'answered' })
    expect(JSON.parse((verdict as { result: string }).result)).toEqual({
      id: 'batch_req_1_7',
      custom_id: 'c',
      response: { status_code: 200, request_id: 'call', body: { id: 'x' } },
      error: null,
    })
  })

  it.each([400, 401, 403, 404, 413, 422])('is kept as it is when the request is refused with %d', (status) => {
    expect(judge('batch_1', line(), answered(status, failure('x')))).toMatchObject({ what: 'record', state: 'refused' })
  })

  it('is waited for as long as there is no room, and that is no try', () => {
    for (const failures of [0, TRIES]) {
      const verdict = judge('batch_1', line(failures), answered(429, failure('rate_limit_error'), { 'retry-after': '7' }))
      expect(verdict).toEqual({ what: 'defer', delay: 7_000, known: true, failed: false, busy: true })
    }
    const overloaded: LineAnswer = { kind: 'refused', error: { code: 'overloaded', message: 'full' } }
    expect(judge('batch_1', line(), overloaded)).toMatchObject({ what: 'defer', known: false, failed: false, busy: true })
  })

  it.each([408, 409, 500, 502, 503])('with %d is asked for again, longer and longer, and kept at the last try', (status) => {
    const delays = [0, 1, 2, 3].map((failures) => judge('batch_1', line(failures), answered(status, 'no JSON')))
    expect(delays).toMatchObject(
      [1_000, 2_000, 4_000, 8_000].map((delay) => ({ what: 'defer', delay, known: true, failed: true })),
    )
    const last = judge('batch_1', line(TRIES - 1), answered(status, 'no JSON'))
    expect(JSON.parse((last as { result: string }).result)).toMatchObject({ response: { status_code: status, body: 'no JSON' } })
  })

  it('that got lost is the same call again, until it was lost too often', () => {
    const lost: LineAnswer = { kind: 'lost', error: { code: 'lost_router', message: 'gone' } }
    expect(judge('batch_1', line(), lost)).toMatchObject({ what: 'defer', known: false, failed: true })
    const last = judge('batch_1', line(TRIES - 1), lost)
    expect(JSON.parse((last as { result: string }).result)).toMatchObject({
      custom_id: 'c',
      response: null,
      error: { code: 'lost_router', message: 'gone' },
    })
  })

  it('for want of a budget is about the batch', () => {
    expect(judge('batch_1', line(TRIES), answered(429, failure('budget_exceeded')))).toEqual({ what: 'unpaid', message: 'why' })
  })
})
