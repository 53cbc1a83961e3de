import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scaleDecimal } from '../../shared/money.ts'
import { budgetNano, countOf, durationOf, jsonOf, objectOf, spentNano } from './values.ts'

describe('dollars of a double', () => {
  it.each([
    ['0.1', 100_000_000],
    ['1e-09', 1],
    // Half to even, by the digits that stand there.
    ['2.5e-09', 2],
    ['3.5e-09', 4],
    ['-2.5e-09', -2],
    ['0.0000000025000001', 3],
    ['1.9999999999999998', 2_000_000_000],
    ['9007199.254740991', Number.MAX_SAFE_INTEGER],
    [null, 0],
  ])('become nano-dollars: %s → %d', (dollars, nano) => {
    expect(spentNano(dollars)).toBe(nano)
  })

  it('are off by half a nano-dollar at most, whatever the double', () => {
    fc.assert(
      fc.property(fc.double({ min: -9e6, max: 9e6, noNaN: true }), (dollars) => {
        const difference = BigInt(spentNano(String(dollars))) * 10n ** 320n - scaleDecimal(dollars, 329)
        expect((difference < 0n ? -difference : difference) * 2n).toBeLessThanOrEqual(10n ** 320n)
      }),
    )
  })

  it.each(['NaN', 'Infinity', '1e16', ''])('that cannot be counted are refused: %s', (dollars) => {
    expect(() => spentNano(dollars)).toThrow(RangeError)
  })
})

describe('a budget', () => {
  it('that is infinite is none, and one beyond counting is the most that can be counted', () => {
    expect([budgetNano(null), budgetNano('Infinity'), budgetNano('1e+12'), budgetNano('0')]).toEqual([
      null,
      null,
      Number.MAX_SAFE_INTEGER,
      0,
    ])
    expect(() => budgetNano('NaN')).toThrow(RangeError)
  })
})

it('cuts limits larger than ours can be', () => {
  expect([countOf(null), countOf('60'), countOf('9223372036854775807')]).toEqual([null, 60, Number.MAX_SAFE_INTEGER])
})

it('reads JSON that was stored as a text of JSON, and leaves other texts alone', () => {
  expect([jsonOf('{"a":1}'), jsonOf('not json'), jsonOf(null), jsonOf([1])]).toEqual([{ a: 1 }, 'not json', null, [1]])
  expect([objectOf('{"a":1}'), objectOf('[1]'), objectOf('x'), objectOf(null)]).toEqual([{ a: 1 }, {}, {}, {}])
})

it('takes what is no duration for none', () => {
  expect(['30d', '1mo', 'daily', '', null].map(durationOf)).toEqual(['30d', '1mo', null, null, null])
})
