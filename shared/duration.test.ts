import { describe, expect, it } from 'vitest'
import { addDuration } from './duration.ts'

const at = (text: string): number => Date.parse(`${text}Z`)

describe('addDuration', () => {
  it('adds units that always last the same', () => {
    expect(addDuration(0, '30s')).toBe(30_000)
    expect(addDuration(0, '5m')).toBe(300_000)
    expect(addDuration(0, '24h')).toBe(86_400_000)
    expect(addDuration(0, '7d')).toBe(604_800_000)
    expect(addDuration(0, '1w')).toBe(604_800_000)
  })

  it('adds months by the calendar and stays inside a shorter one', () => {
    expect(addDuration(at('2026-01-31T10:00:00'), '1mo')).toBe(at('2026-02-28T10:00:00'))
    expect(addDuration(at('2027-12-31T10:00:00'), '2mo')).toBe(at('2028-02-29T10:00:00'))
    expect(addDuration(at('2026-12-15T00:00:00'), '1mo')).toBe(at('2027-01-15T00:00:00'))
    expect(addDuration(at('2026-01-31T10:00:00'), '14mo')).toBe(at('2027-03-31T10:00:00'))
  })

  it('ignores what follows the unit and refuses what has none', () => {
    expect(addDuration(0, '30days')).toBe(2_592_000_000)
    for (const text of ['', '30', 'soon', '-1d', 'd', '1y']) {
      expect(() => addDuration(0, text)).toThrow(RangeError)
    }
  })
})
