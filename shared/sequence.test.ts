import { describe, expect, it } from 'vitest'
import { createSequence } from './sequence.ts'

function firstBits(seed: number): number[] {
  const next = createSequence(seed)
  return [next(), next(), next()].map((number) => number * 2 ** 32)
}

describe('a sequence', () => {
  // Seeds are kept, of simulations and of loads: other numbers would make them tests of something else.
  it('has the numbers of mulberry32, of a negative seed those of its 32 bits', () => {
    expect(firstBits(1)).toEqual([2_693_262_067, 11_749_833, 2_265_367_787])
    expect(firstBits(-5)).toEqual([2_078_107_854, 227_493_659, 4_033_117_029])
    expect(firstBits(-5)).toEqual(firstBits(2 ** 32 - 5))
  })

  it('stays within [0, 1) and falls evenly into ten parts', () => {
    const next = createSequence(7)
    const parts = Array.from({ length: 10 }, () => 0)
    for (let index = 0; index < 10_000; index += 1) {
      const part = Math.floor(next() * 10)
      parts[part] = (parts[part] as number) + 1
    }
    // Five standard deviations of a binomial count of 10,000 at 0.1.
    for (const count of parts) expect(Math.abs(count - 1_000)).toBeLessThan(150)
    expect(parts).toHaveLength(10)
  })
})
