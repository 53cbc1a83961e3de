import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { divideHalfEven, formatDollars, nanoOf, scaleDecimal } from './money.ts'

describe('nanoOf', () => {
  it('reads decimals exactly where float multiplication would not', () => {
    // In floats 1.005 × 10⁹ is 1004999999.9999999 and 8.2 × 10⁹ is 8199999999.999999.
    expect(nanoOf(1.005)).toBe(1_005_000_000)
    expect(nanoOf('8.2')).toBe(8_200_000_000)
    expect(nanoOf(0.000000003)).toBe(3)
    expect(nanoOf('2.5e-06')).toBe(2500)
    expect(nanoOf('.5')).toBe(500_000_000)
    expect(nanoOf('-0.000000001')).toBe(-1)
  })

  it('rounds what is finer than a nano-dollar half to even', () => {
    expect(nanoOf('0.0000000005')).toBe(0)
    expect(nanoOf('0.0000000015')).toBe(2)
    expect(nanoOf('0.00000000251')).toBe(3)
  })

  it('refuses what is not a finite decimal, and what cannot be counted exactly', () => {
    for (const text of ['', '.', 'free', '1,5', '0x10', 'Infinity', '1e99999', '--1'])
      expect(() => nanoOf(text)).toThrow(RangeError)
    expect(() => nanoOf(Number.NaN)).toThrow(RangeError)
    expect(() => nanoOf('10000000')).toThrow(RangeError)
  })
})

describe('formatDollars', () => {
  it('writes an exact decimal without exponent', () => {
    expect(formatDollars(0)).toBe('0')
    expect(formatDollars(1)).toBe('0.000000001')
    expect(formatDollars(1500)).toBe('0.0000015')
    expect(formatDollars(2_000_000_000)).toBe('2')
    expect(formatDollars(-1_250_000_000)).toBe('-1.25')
  })

  it('is undone by nanoOf for every amount', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (nano) => nanoOf(formatDollars(nano)) === (nano === 0 ? 0 : nano)))
  })
})

describe('scaleDecimal', () => {
  it('moves the decimal point and nothing else', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), fc.integer({ min: 0, max: 12 }), (digits, places) => {
        const padded = digits.toString().padStart(places + 1, '0')
        const text = places === 0 ? padded : `${padded.slice(0, -places)}.${padded.slice(-places)}`
        return scaleDecimal(text, places) === digits
      }),
    )
  })
})

describe('divideHalfEven', () => {
  it('goes to the even neighbour from the middle only', () => {
    expect([5n, 15n, 25n, 14n, 16n, 0n].map((value) => divideHalfEven(value, 10n))).toEqual([0n, 2n, 2n, 1n, 2n, 0n])
  })
})
