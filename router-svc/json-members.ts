/**
 * A scanner for the top-level members of a JSON object in bytes. It finds where members are and reads none of them, so that one can
 * be replaced in a body of megabytes without parsing the rest. It trusts the bytes to be JSON: what it meets it does not check further
 * than it must to find its way.
 */

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/** Positions of the members of one object. Made once and filled again: a stream scans every frame. */
export class JsonMembers {
  /** Four numbers each: the name's opening and closing quote, first byte of the value, byte after it. */
  readonly #at: number[] = []
  #count = 0
  #bytes: Uint8Array = new Uint8Array(0)
  /** Index of the opening brace, and after the closing one. */
  start = 0
  end = 0

  /** Finds the members of the object that begins at or after `from`. False when there is no whole object. */
  scan(bytes: Uint8Array, from = 0): boolean {
    this.#bytes = bytes
    this.#count = 0
    let at = skipSpace(bytes, from)
    if (bytes[at] !== OPEN_BRACE) return false
    this.start = at
    at = skipSpace(bytes, at + 1)
    if (bytes[at] === CLOSE_BRACE) {
      this.end = at + 1
      return true
    }
    for (;;) {
      if (bytes[at] !== QUOTE) return false
      const nameEnd = stringEnd(bytes, at)
      if (nameEnd < 0) return false
      const colon = skipSpace(bytes, nameEnd)
      if (bytes[colon] !== COLON) return false
      const value = skipSpace(bytes, colon + 1)
      const after = valueEnd(bytes, value)
      if (after < 0) return false
      const slot = 4 * this.#count++
      this.#at[slot] = at
      this.#at[slot + 1] = nameEnd - 1
      this.#at[slot + 2] = value
      this.#at[slot + 3] = after
      at = skipSpace(bytes, after)
      if (bytes[at] === CLOSE_BRACE) {
        this.end = at + 1
        return true
      }
      if (bytes[at] !== COMMA) return false
      at = skipSpace(bytes, at + 1)
    }
  }

  get count(): number {
    return this.#count
  }

  nameStart(member: number): number {
    return this.#at[4 * member] as number
  }

  valueStart(member: number): number {
    return this.#at[4 * member + 2] as number
  }

  valueEnd(member: number): number {
    return this.#at[4 * member + 3] as number
  }

  /** A member's name, escapes undone. */
  name(member: number): string {
    const from = this.nameStart(member)
    const to = (this.#at[4 * member + 1] as number) + 1
    let plain = ''
    for (let at = from + 1; at < to - 1; at++) {
      const byte = this.#bytes[at] as number
      // Rare: escapes and letters beyond ASCII.
      if (byte === BACKSLASH || byte > 0x7f) return JSON.parse(textOf(this.#bytes, from, to)) as string
      plain += String.fromCharCode(byte)
    }
    return plain
  }

  /** Index of the member whose name is these ASCII bytes, or -1. A name written with escapes is not found: see `name`. */
  find(name: Uint8Array): number {
    const length = name.length
    for (let member = 0; member < this.#count; member++) {
      const from = (this.#at[4 * member] as number) + 1
      if ((this.#at[4 * member + 1] as number) - from !== length) continue
      let same = 0
      while (same < length && this.#bytes[from + same] === name[same]) same += 1
      if (same === length) return member
    }
    return -1
  }

  /** The text of a member's value. */
  text(member: number): string {
    return textOf(this.#bytes, this.valueStart(member), this.valueEnd(member))
  }
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('utf8')
}

export function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from
  for (;;) {
    const byte = bytes[at]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at
    at += 1
  }
}

/** Index after the string whose opening quote is at `from`; -1 when it does not end. */
export function stringEnd(bytes: Uint8Array, from: number): number {
  const { length } = bytes
  let at = from + 1
  // Names and short texts are the rule; long ones (images, documents) are left to the native search below.
  const near = Math.min(length, at + 64)
  while (at < near) {
    const byte = bytes[at]
    if (byte === QUOTE) return at + 1
    at += byte === BACKSLASH ? 2 : 1
  }
  for (;;) {
    const quote = bytes.indexOf(QUOTE, at)
    if (quote < 0) return -1
    let backslashes = 0
    while (quote - 1 - backslashes >= at && bytes[quote - 1 - backslashes] === BACKSLASH) backslashes += 1
    if (backslashes % 2 === 0) return quote + 1
    at = quote + 1
  }
}

/** Index after the value at `from`; -1 when it does not end. */
function valueEnd(bytes: Uint8Array, from: number): number {
  const first = bytes[from]
  if (first === QUOTE) return stringEnd(bytes, from)
  const { length } = bytes
  let at = from
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    while (at < length) {
      const byte = bytes[at] as number
      if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte <= 0x20) break
      at += 1
    }
    return at === from ? -1 : at
  }
  let depth = 0
  while (at < length) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      at = stringEnd(bytes, at)
      if (at < 0) return -1
      continue
    }
    at += 1
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1
      if (depth === 0) return at
    }
  }
  return -1
}
