import { assert, integer, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { CallWindow, decideEjection, rampShare } from './ejection.ts'

const settings = { ...DEFAULT_ROUTING.ejection, enabled: true }
const input = (fields: Partial<Parameters<typeof decideEjection>[0]> = {}) => ({
  counts: { calls: 20, failures: 15 },
  before: 0,
  groupSize: 4,
  groupEjected: 0,
  ...fields,
})

describe('decideEjection', () => {
  it('ejects who failed too large a share of enough calls', () => {
    expect(decideEjection(input(), settings)).toBe(10_000)
    expect(decideEjection(input({ counts: { calls: 19, failures: 19 } }), settings)).toBeNull()
    expect(decideEjection(input({ counts: { calls: 20, failures: 9 } }), settings)).toBeNull()
    expect(decideEjection(input(), { ...settings, enabled: false })).toBeNull()
  })

  it('ejects for twice as long each time, up to the maximum', () => {
    expect([0, 1, 2, 10].map((before) => decideEjection(input({ before }), settings))).toEqual([10_000, 20_000, 40_000, 300_000])
  })

  it('leaves at least the agreed share of a group in, whatever fails', () => {
    const cases = record({ size: integer({ min: 1, max: 50 }), share: integer({ min: 0, max: 100 }) })
    assert(
      property(cases, ({ size, share }) => {
        let ejected = 0
        for (let each = 0; each < size; each += 1) {
          const all = { ...settings, maxEjected: share / 100 }
          if (decideEjection(input({ groupSize: size, groupEjected: ejected }), all) !== null) ejected += 1
        }
        expect(ejected / size).toBeLessThanOrEqual(share / 100)
        expect((ejected + 1) / size).toBeGreaterThan(share / 100 - 1e-9)
      }),
    )
  })
})

describe('rampShare', () => {
  it('is nothing until the end of the ejection, then rises evenly', () => {
    expect([0, 99, 100, 125, 200, 900].map((now) => rampShare(100, 100, now))).toEqual([0, 0, 0, 0.25, 1, 1])
    expect(rampShare(100, 0, 100)).toBe(1)
  })
})

describe('CallWindow', () => {
  it('counts what fell into the last window, exact to a tenth of it', () => {
    const window = new CallWindow()
    window.add(true, 50, 1_000)
    window.add(false, 450, 1_000)
    expect(window.counts(999, 1_000)).toEqual({ calls: 2, failures: 1 })
    expect(window.counts(1_000, 1_000)).toEqual({ calls: 1, failures: 0 })
    expect(window.counts(9_000, 1_000)).toEqual({ calls: 0, failures: 0 })
  })

  it('never counts more than there was, nor less than fell into the last nine tenths', () => {
    assert(
      property(integer({ min: 1, max: 400 }), integer({ min: 10, max: 400 }), (step, calls) => {
        const window = new CallWindow()
        const times = Array.from({ length: calls }, (_, index) => index * step)
        for (const time of times) window.add(false, time, 1_000)
        const last = times.at(-1) as number
        const counted = window.counts(last, 1_000).calls
        expect(counted).toBeLessThanOrEqual(times.filter((time) => time > last - 1_000).length)
        expect(counted).toBeGreaterThanOrEqual(times.filter((time) => time > last - 900).length)
      }),
    )
  })
})
