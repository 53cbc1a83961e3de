import { describe, expect, it } from 'vitest'
import { nextReset, timeAfter } from './budgets.ts'

const iso = (time: number): string => new Date(time).toISOString()
/** A Saturday. */
const NOW = Date.UTC(2026, 10, 21, 13, 47, 12, 345)

describe('nextReset', () => {
  it.each([
    ['1d', '2026-11-22T00:00:00.000Z'],
    ['24h', '2026-11-22T00:00:00.000Z'],
    ['7d', '2026-11-23T00:00:00.000Z'],
    ['1w', '2026-11-23T00:00:00.000Z'],
    ['30d', '2026-12-01T00:00:00.000Z'],
    ['1mo', '2026-12-01T00:00:00.000Z'],
    ['2mo', '2027-01-01T00:00:00.000Z'],
    ['3d', '2026-11-24T00:00:00.000Z'],
    ['1h', '2026-11-21T14:00:00.000Z'],
    ['15m', '2026-11-21T14:00:00.000Z'],
    ['30s', '2026-11-21T13:47:30.000Z'],
  ])('closes a window of %s at %s', (duration, expected) => {
    expect(iso(nextReset(NOW, duration))).toBe(expected)
  })

  it('closes a week that begins on a Monday on the next one', () => {
    expect(iso(nextReset(Date.UTC(2026, 10, 23), '7d'))).toBe('2026-11-30T00:00:00.000Z')
  })

  it.each(['', 'soon', 'd1', '-1d', '999999999mo'])('refuses %j', (duration) => {
    expect(() => nextReset(NOW, duration)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })
})

describe('timeAfter', () => {
  it('adds exactly what is said', () => {
    expect(timeAfter(NOW, '90s') - NOW).toBe(90_000)
    expect(iso(timeAfter(Date.UTC(2027, 0, 31), '1mo'))).toBe('2027-02-28T00:00:00.000Z')
  })

  it.each(['never', '999999999mo'])('refuses %j', (duration) => {
    expect(() => timeAfter(NOW, duration)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })
})
