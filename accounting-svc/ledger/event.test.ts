import { describe, expect, it } from 'vitest'
import { attempt, event, usage } from '../gateway-fixture.ts'
import { checkUsageEvent } from './event.ts'

const reason = (value: unknown): string | null => {
  const checked = checkUsageEvent(value)
  return 'reason' in checked ? checked.reason : null
}

describe('checkUsageEvent', () => {
  it('takes a whole event, and one with only what must be there', () => {
    expect(reason(event())).toBeNull()
    expect(reason(event({ attempts: [], outcome: 'failure', status: 429 }))).toBeNull()
  })

  it('takes fields it does not know: a newer router may send them', () => {
    expect(reason({ ...event(), somethingNew: { deep: true } })).toBeNull()
  })

  it.each<[string, unknown]>([
    ['not a map', null],
    ['not a map', 'text'],
    ['version 2 is newer than this program', { ...event(), v: 2 }],
    ['callId', event({ callId: '' })],
    ['callId', event({ callId: 'x'.repeat(513) })],
    ['take', event({ take: 0 })],
    ['take', event({ take: 1.5 })],
    ['keyHash', { ...event(), keyHash: undefined }],
    ['startedAt', event({ startedAt: Number.NaN })],
    ['startedAt', event({ startedAt: 1e17 })],
    ['outcome', { ...event(), outcome: 'maybe' }],
    ['status', event({ status: 99_999 })],
    ['tags', { ...event(), tags: [1] }],
    ['userId', { ...event(), userId: 7 }],
    ['cacheKey', { ...event(), cacheKey: 7 }],
    ['saved usage.output', event({ attempts: [], savedUsage: usage({ output: -1 }) })],
    ['attempts', { ...event(), attempts: {} }],
    ['attempts: index', event({ attempts: [attempt({ index: -1 })] })],
    ['attempts: two of one index', event({ attempts: [attempt(), attempt()] })],
    ['attempts: usage.input', event({ attempts: [attempt({ usage: usage({ input: -1 }) })] })],
    ['attempts: usage.output', event({ attempts: [attempt({ usage: usage({ output: 0.5 }) })] })],
    ['attempts: usage.output', event({ attempts: [attempt({ usage: usage({ output: 2_000_000_000 }) })] })],
    ['attempts: usage.toolCalls', event({ attempts: [attempt({ usage: usage({ toolCalls: { web: -1 } }) })] })],
    ['attempts: cost', event({ attempts: [attempt({ cost: 1.5 })] })],
  ])('refuses with "%s"', (expected, value) => {
    expect(reason(value)).toBe(expected)
  })
})
