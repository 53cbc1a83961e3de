import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRepetition, OverlapCutter, type Repeats } from './overlap.ts'

function run(sent: string, pieces: readonly string[], repeats: Repeats = 'any'): string {
  const cutter = new OverlapCutter(sent, repeats)
  return pieces.map((piece) => cutter.push(piece)).join('') + cutter.end()
}

/** The same by brute force, on the whole text. */
function reference(sent: string, continuation: string, repeats: Repeats): string {
  for (let length = Math.min(sent.length, continuation.length); length > 0; length--) {
    const start = sent.length - length
    if (length > 200 && (start > 0 || repeats === 'space')) continue
    if (continuation.startsWith(sent.slice(start)) && isRepetition(sent, start, repeats)) return continuation.slice(length)
  }
  return continuation
}

/** Texts of few words repeat themselves by chance all the time. */
const words = fc
  .array(fc.constantFrom('the ', 'no ', 'brown', 'fox', ' ', '\n', 'Grüße', 'word and another ', '1, ', '好', '—', '🙂'), {
    maxLength: 30,
  })
  .map((list) => list.join(''))
const repeats = fc.constantFrom<Repeats>('any', 'all', 'space')

/** `text` in pieces that end at `cuts`. */
function piecesOf(text: string, cuts: readonly number[]): string[] {
  const ends = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b)
  return [...ends, text.length].map((end, index) => text.slice(index === 0 ? 0 : ends[index - 1], end))
}

describe('a repetition at the beginning of a continuation', () => {
  it.each([
    ['The quick brown fox', 'quick brown fox jumps', ' jumps'],
    ['The quick bro', 'brown fox', 'wn fox'],
    ['Hello', 'Hello, world', ', world'],
    ['A list:\n\n', '\n\n- one', '- one'],
    ['A list:\n', '\n\n- one', '\n- one'],
    ['Once upon a time ', 'Once upon a time there was', 'there was'],
  ])('is cut: %j + %j', (sent, continuation, shown) => {
    expect(run(sent, [continuation])).toBe(shown)
    expect(run(sent, [...continuation])).toBe(shown)
  })

  it.each([
    ['I said no', ' no no'],
    ['The sum is 1', '1.5'],
    ['ha', 'ha'.repeat(3)],
    ['It was very ', 'very good'],
    ['| a | b |\n|---------------|', '---------------|\n| 1 |'],
    ['The quick', ' brown fox'],
    ['', 'Hello'],
  ])('is left where it may be chance: %j + %j', (sent, continuation) => {
    // Doubled words and rows of dashes are text.
    expect(run(sent, [continuation])).toBe(continuation)
    expect(run(sent, [...continuation])).toBe(continuation)
  })

  it('is the whole text where the provider sends all of it again, however long', () => {
    const sent = 'All work and no play makes Jack a dull boy.\n'.repeat(500)
    expect(run(sent, [...`${sent}The end.`], 'all')).toBe('The end.')
    expect(run(sent, [sent.slice(0, 9_000), sent.slice(9_000), 'The end.'], 'any')).toBe('The end.')
    expect(run('I', ['I', ' am'], 'all')).toBe(' am')
    expect(run(sent, ['dull boy.\n'], 'all')).toBe('dull boy.\n')
  })

  it('is white space only where the provider goes on by itself', () => {
    expect(run('na na na na na na \n', ['\n', 'na na na na na na '], 'space')).toBe('na na na na na na ')
    expect(run('na na na na na na', ['na na na na na na'], 'space')).toBe('na na na na na na')
  })

  it('is the same in any pieces as in one, and the longest there is', () => {
    fc.assert(
      fc.property(words, words, fc.nat(), fc.array(fc.nat(), { maxLength: 8 }), repeats, (sent, rest, from, cuts, kind) => {
        const continuation = sent.slice(from % (sent.length + 1)) + rest
        expect(run(sent, piecesOf(continuation, cuts), kind)).toBe(reference(sent, continuation, kind))
      }),
      { numRuns: 500 },
    )
  })

  it('is never anything but the exact end of what was sent', () => {
    fc.assert(
      fc.property(words, words, fc.array(fc.nat(), { maxLength: 8 }), repeats, (sent, continuation, cuts, kind) => {
        const shown = run(sent, piecesOf(continuation, cuts), kind)
        expect(continuation.endsWith(shown)).toBe(true)
        expect(sent.endsWith(continuation.slice(0, continuation.length - shown.length))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it('holds back no more than 200 characters to find out', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 600 }), fc.nat(), (text, from) => {
        const sent = `x${text.repeat(3)}`
        const continuation = text.repeat(2).slice(from % (text.length + 1))
        const cutter = new OverlapCutter(sent, 'any')
        let shown = 0
        for (let at = 0; at < continuation.length; at++) {
          shown += cutter.push(continuation[at] as string).length
          if (shown === 0) expect(at).toBeLessThan(200)
        }
      }),
    )
  })
})
