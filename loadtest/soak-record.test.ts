import { describe, expect, it } from 'vitest'
import { savedSoaks } from './soak-report.ts'

describe.each(['embedded', 'cluster'])('the last recorded soak: %s', (name) => {
  it('ran for half an hour, and nothing failed, grew or was left', () => {
    const last = savedSoaks().findLast(({ topology }) => topology === name)
    expect(last?.minutes).toBeGreaterThanOrEqual(30)
    expect(last?.calls).toBeGreaterThan(100_000)
    expect(last?.findings.length).toBeGreaterThanOrEqual(15)
    expect(last?.findings.filter(({ good }) => !good)).toEqual([])
  })
})
