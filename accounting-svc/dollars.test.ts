import fc from 'fast-check'
import { expect, it } from 'vitest'
import { nanoOf } from '../shared/money.ts'
import { dollars, dollarsPerToken } from './dollars.ts'

it('writes money as a JSON number with every digit and without an exponent', () => {
  expect(
    JSON.stringify({ spend: dollars(1), big: dollars(Number.MAX_SAFE_INTEGER), none: dollars(0), back: dollars(-1500) }),
  ).toBe('{"spend":0.000000001,"big":9007199.254740991,"none":0,"back":-0.0000015}')
})

it('loses nothing on the way out and back in', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (nano) => {
      expect(nanoOf(JSON.stringify(dollars(nano)))).toBe(nano)
    }),
  )
})

it('writes a price per million tokens as dollars per token', () => {
  expect(JSON.stringify([2_500_000_000, 37_500_000, 1, 0, 3e15].map(dollarsPerToken))).toBe(
    '[0.0000025,0.0000000375,0.000000000000001,0,3]',
  )
})
