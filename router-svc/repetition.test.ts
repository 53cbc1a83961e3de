import { describe, expect, it } from 'vitest'
import { hashOf, Repetition } from './repetition.ts'

function seen(pieces: readonly string[]): number {
  const guard = new Repetition()
  for (const [index, piece] of pieces.entries()) {
    try {
      guard.see(piece, piece.length)
    } catch (error) {
      expect(error).toMatchObject({ code: 'looping_model', status: 500 })
      return index + 1
    }
  }
  return 0
}

describe('the loop guard', () => {
  it('ends a stream at the hundredth equal piece in a row', () => {
    expect(seen(Array(300).fill('again'))).toBe(100)
    expect(seen(['begin', ...Array(300).fill('again')])).toBe(101)
  })

  it('lets an answer repeat itself with something in between, and short pieces as often as they like', () => {
    expect(seen(Array(99).fill('again'))).toBe(0)
    expect(seen(Array.from({ length: 600 }, (_, index) => (index % 2 === 0 ? 'ping' : 'pong')))).toBe(0)
    expect(seen([...Array(99).fill('again'), 'other', ...Array(99).fill('again')])).toBe(0)
    expect(seen(Array(300).fill('\n\n'))).toBe(0)
  })

  it('tells pieces of bytes apart by a hash of them alone', () => {
    const bytes = Buffer.from('again and again, agaim')
    expect(hashOf(bytes, 0, 5)).toBe(hashOf(bytes, 10, 15))
    expect(hashOf(bytes, 0, 5)).not.toBe(hashOf(bytes, 17, 22))
  })
})
