/** 64 bits as two integers, for memories that must be small: what two things share by accident costs a preference, never an answer. */
export interface Hash {
  high: number
  low: number
}

/** Of longer texts this many characters are read: the beginning, the end, and some in between. Their length counts too. */
const WHOLE_MAX = 256
const EDGE = 96
/** Before values that are no text: no text is as long. */
const [NUMBER, LIST, OBJECT, TRUE, FALSE, NOTHING] = [-1, -2, -3, -4, -5, -6] as const

/** Reads values one after the other; `value` may be taken at any time, and names all that was read so far. */
export class Hasher {
  #high = 0x9e3779b9
  #low = 0x85ebca6b
  /** Characters of all texts read, those left out too. */
  characters = 0

  get value(): Hash {
    return { high: final(this.#high ^ this.#low), low: final(Math.imul(this.#low, 0x27d4eb2f) ^ this.#high) }
  }

  number(value: number): void {
    const high = Math.imul(this.#high ^ value, 0x85ebca6b)
    this.#high = high ^ (high >>> 15)
    const low = Math.imul(this.#low + value, 0xc2b2ae35)
    this.#low = low ^ (low >>> 13)
  }

  text(text: string): void {
    const { length } = text
    this.characters += length
    this.number(length)
    if (length <= WHOLE_MAX) {
      this.#read(text, 0, length, 1)
      return
    }
    this.#read(text, 0, EDGE, 1)
    this.#read(text, EDGE, length - EDGE, Math.floor((length - 2 * EDGE) / (WHOLE_MAX - 2 * EDGE)) + 1)
    this.#read(text, length - EDGE, length, 1)
  }

  /** Every `step`th character. The state is in variables meanwhile: this loop is nearly all the time a long conversation takes. */
  #read(text: string, from: number, to: number, step: number): void {
    let high = this.#high
    let low = this.#low
    for (let at = from; at < to; at += step) {
      const code = text.charCodeAt(at)
      high = Math.imul(high ^ code, 0x85ebca6b)
      high ^= high >>> 15
      low = Math.imul(low + code, 0xc2b2ae35)
      low ^= low >>> 13
    }
    this.#high = high
    this.#low = low
  }

  /** Any JSON value. Members called `leaveOut` do not count. */
  json(value: unknown, leaveOut: string): void {
    if (typeof value === 'string') this.text(value)
    else if (typeof value === 'number') {
      this.number(NUMBER)
      this.number(value | 0)
    } else if (Array.isArray(value)) {
      this.number(LIST)
      this.number(value.length)
      for (const item of value) this.json(item, leaveOut)
    } else if (typeof value === 'object' && value !== null) {
      this.number(OBJECT)
      for (const name in value) {
        if (name === leaveOut) continue
        this.text(name)
        this.json((value as Record<string, unknown>)[name], leaveOut)
      }
    } else this.number(value === true ? TRUE : value === false ? FALSE : NOTHING)
  }
}

export function hashOf(...texts: readonly string[]): Hash {
  const hasher = new Hasher()
  for (const text of texts) hasher.text(text)
  return hasher.value
}

/** Two 32-bit integers → one, well mixed, ≥ 0. */
export function mixed(a: number, b: number): number {
  return final(Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) + b)
}

/** The finaliser of MurmurHash3: every bit of the input moves half of those of the output. */
function final(value: number): number {
  let hash = value ^ (value >>> 16)
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
