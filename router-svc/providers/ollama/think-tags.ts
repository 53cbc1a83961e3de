const OPEN = '<think>'
const CLOSE = '</think>'

/** A piece of an answer, told apart. */
export interface Told {
  content: string
  thinking: string
}

/**
 * Tells thinking from the answer where both come as content: models whose template the server does not know for one that thinks begin with
 * `<think>`. States: start (what has come may yet become the tag) → inside → gap (white space after it) → after. Without the tag: start → after.
 */
export class ThinkTags {
  #state: 'start' | 'inside' | 'gap' | 'after' = 'start'
  #held = ''

  push(piece: string): Told {
    switch (this.#state) {
      case 'start':
        return this.#start(this.#held + piece)
      case 'inside':
        return this.#inside(this.#held + piece)
      case 'gap':
        return this.#gap(piece)
      case 'after':
        return { content: piece, thinking: '' }
    }
  }

  /** What was held back when the answer ends. */
  end(): Told {
    const held = this.#held
    this.#held = ''
    return this.#state === 'inside' ? { content: '', thinking: held } : { content: held, thinking: '' }
  }

  #start(all: string): Told {
    const begun = all.trimStart()
    if (begun.startsWith(OPEN)) {
      this.#state = 'inside'
      return this.#inside(begun.slice(OPEN.length))
    }
    if (OPEN.startsWith(begun)) {
      this.#held = all
      return { content: '', thinking: '' }
    }
    this.#state = 'after'
    this.#held = ''
    return { content: all, thinking: '' }
  }

  #inside(all: string): Told {
    const at = all.indexOf(CLOSE)
    if (at >= 0) {
      this.#state = 'gap'
      this.#held = ''
      return { content: this.#gap(all.slice(at + CLOSE.length)).content, thinking: all.slice(0, at) }
    }
    let held = Math.min(CLOSE.length - 1, all.length)
    while (held > 0 && !CLOSE.startsWith(all.slice(all.length - held))) held -= 1
    this.#held = all.slice(all.length - held)
    return { content: '', thinking: all.slice(0, all.length - held) }
  }

  #gap(piece: string): Told {
    const content = piece.trimStart()
    if (content !== '') this.#state = 'after'
    return { content, thinking: '' }
  }
}
