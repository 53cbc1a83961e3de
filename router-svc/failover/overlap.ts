/**
 * What the beginning of a continuation may repeat of the text before it. `any`: a model that was told to go on may start with the last words,
 * or all over. `all`: the provider sends the whole beginning again. `space`: only white space, which some providers cut off a beginning.
 */
export type Repeats = 'any' | 'all' | 'space'

/** Characters held back at most before they are shown, except while the whole text is being repeated. */
const HOLD = 200
/** A repetition at least so long is one whatever it consists of, if there are words in it. */
const LONG = 12
const LETTERS = 6
/** One of a word or two must be this long, and be glued to the text without it. */
const SHORT = 3

const LETTER = /\p{L}/u
const WORD = /[\p{L}\p{N}_]/u

/**
 * Takes out of a text, which comes in pieces, the longest beginning that is the end of what was sent. States: undecided (pieces are held while
 * they may still be a repetition) → decided (everything goes through).
 */
export class OverlapCutter {
  readonly #sent: string
  readonly #repeats: Repeats
  /** Where in `#sent` the repetition may have begun. */
  #starts: number[]
  #held = ''
  #cut = 0
  #decided: boolean

  constructor(sent: string, repeats: Repeats) {
    this.#sent = sent
    this.#repeats = repeats
    this.#starts = startsIn(sent, repeats)
    this.#decided = this.#starts.length === 0
  }

  /** What of the text so far may be shown now and was not yet. */
  push(piece: string): string {
    if (this.#decided) return piece
    for (let index = 0; index < piece.length; index++) {
      this.#take(piece.charCodeAt(index))
      this.#held += piece[index]
      if (this.#starts.length === 0) return this.end() + piece.slice(index + 1)
    }
    return ''
  }

  /** Nothing more comes, or it cannot wait: what is held, without the repetition. */
  end(): string {
    this.#decided = true
    const shown = this.#held.slice(this.#cut)
    this.#held = ''
    return shown
  }

  /** Drops the starts that the next character rules out, and notes one that reaches the end of what was sent. */
  #take(code: number): void {
    const sent = this.#sent
    const at = this.#held.length
    const left: number[] = []
    for (const start of this.#starts) {
      if (sent.charCodeAt(start + at) !== code) continue
      if (start + at + 1 === sent.length) {
        if (isRepetition(sent, start, this.#repeats)) this.#cut = at + 1
      } else if (at + 1 < HOLD || (start === 0 && this.#repeats !== 'space')) left.push(start)
    }
    this.#starts = left
  }
}

function startsIn(sent: string, repeats: Repeats): number[] {
  const space = sent.trimEnd().length
  const from = repeats === 'any' ? Math.max(0, sent.length - HOLD) : space
  const starts = Array.from({ length: sent.length - from }, (_, index) => from + index)
  if (repeats !== 'space' && from > 0) starts.unshift(0)
  return starts
}

/** Whether text that equals the end of `sent` from `start` on is a repetition, not the same words by chance. */
export function isRepetition(sent: string, start: number, repeats: Repeats): boolean {
  const text = sent.slice(start)
  if (text.trim() === '') return true
  if (repeats === 'space') return false
  if (start === 0 && (repeats === 'all' || text.length >= SHORT)) return true
  if (repeats === 'all') return false
  if (text.length >= LONG && (text.match(/\p{L}/gu)?.length ?? 0) >= LETTERS) return true
  // "The quick bro" + "brown": said without the repetition, two words would be one.
  return (
    text.length >= SHORT &&
    LETTER.test(text[0] as string) &&
    WORD.test(text.at(-1) as string) &&
    !WORD.test(sent[start - 1] ?? ' ')
  )
}
