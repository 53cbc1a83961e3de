import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Hasher, hashOf } from './hash.ts'
import { createHashMemory } from './hash-memory.ts'

describe('createHashMemory', () => {
  it('gives back what was set last, unless it is too old', () => {
    const memory = createHashMemory(64)
    const hash = hashOf('x')
    expect(memory.get(hash, 0)).toBe(-1)
    memory.set(hash, 7, 10_000)
    memory.set(hash, 9, 20_000)
    expect(memory.get(hash, 20_000)).toBe(9)
    expect(memory.get(hash, 21_000)).toBe(-1)
    expect(memory.get(hashOf('y'), 0)).toBe(-1)
  })

  it('lets the oldest go where there is no room', () => {
    const memory = createHashMemory(8)
    const hashes = Array.from({ length: 9 }, (_, n) => ({ high: n + 1, low: 0 }))
    for (const [n, hash] of hashes.entries()) memory.set(hash, n, n * 1_000)
    expect(hashes.map((hash) => memory.get(hash, 0))).toEqual([-1, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('never gives one hash what was set for another', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.nat(65_535)), { maxLength: 60 }), (entries) => {
        const memory = createHashMemory(32)
        const last = new Map<string, number>()
        for (const [text, value] of entries) {
          memory.set(hashOf(text), value, 1_000)
          last.set(text, value)
        }
        for (const [text, value] of last) expect([-1, value]).toContain(memory.get(hashOf(text), 0))
      }),
    )
  })
})

describe('Hasher', () => {
  it('tells values apart that differ anywhere it reads, and by length everywhere', () => {
    const of = (value: unknown) => {
      const hasher = new Hasher()
      hasher.json(value, 'skip')
      const { high, low } = hasher.value
      return `${high}.${low}`
    }
    const long = 'x'.repeat(5_000)
    const values = [
      null,
      true,
      false,
      0,
      1,
      '',
      'a',
      'b',
      ['a', 'b'],
      ['ab'],
      { a: 1 },
      { a: 2 },
      { b: 1 },
      [[]],
      [],
      long,
      `${long}x`,
      `y${long.slice(1)}`,
      `${long.slice(1)}y`,
    ]
    expect(new Set(values.map(of)).size).toBe(values.length)
    expect(of({ a: 1, skip: 2 })).toBe(of({ a: 1 }))
  })
})
