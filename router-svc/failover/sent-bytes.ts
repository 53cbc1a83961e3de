import { JsonMembers } from '../json-members.ts'
import { type Continuation, type Envelope, TEXT_LIMIT } from './continuation.ts'
import { isThinking } from './sent-text.ts'

const DELTA = Buffer.from('delta')
const CONTENT = Buffer.from('content')
const ROLE = Buffer.from('role')
const REASONING = Buffer.from('reasoning_content')
/** How nearly every frame of a text stream has its text: alone in the delta. */
const ALONE = Buffer.from('"delta":{"content":')
const QUOTE = 0x22
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const CLOSE_BRACKET = 0x5d
const NOTHING = new Set(['null', '""', '[]', '{}', 'false'])
const EMPTY = Buffer.alloc(0)
const FIRST_SIZE = 512

/**
 * What the client got of an answer whose OpenAI frames pass through: the text as it is written in them, escapes and all, put in a row and read
 * only when the stream dies.
 */
export class SentBytes {
  readonly #choice = new JsonMembers()
  readonly #delta = new JsonMembers()
  #text = EMPTY
  #length = 0
  #confirmed = 0
  #reasoning = false
  #safe = true
  /** The first frame with choices: it has the envelope. */
  #head: Buffer | null = null

  /** The frame added last reaches the client, now or with what follows; one in which the stream broke does not. */
  confirm(): void {
    this.#confirmed = this.#length
  }

  /** A frame whose `choices` begin at `from`; `value` to `end` is the first member `content` in them that is a text and not empty, or -1. */
  add(frame: Buffer, from: number, value: number, end: number): void {
    if (!this.#safe) return
    if (this.#head === null) this.#head = Buffer.from(frame)
    if (value >= 0 && isAlone(frame, value, end)) this.#append(frame, value + 1, end - 1)
    else this.#read(frame, from)
  }

  /** Null = going on is not safe. `model`: as it was stamped on the frames. */
  continuation(pending: string, model: string): Continuation | null {
    if (!this.#safe) return null
    const envelope = this.#head === null ? null : envelopeOf(this.#head)
    const text = textOf(this.#text.subarray(0, this.#confirmed))
    if (text === null || (this.#head !== null && envelope === null)) return null
    return { text, reasoning: this.#reasoning, envelope, encoder: null, point: { begun: envelope !== null, model }, pending }
  }

  /** A frame that is not the usual one, member by member. */
  #read(frame: Buffer, from: number): void {
    const choice = this.#choice
    if (!choice.scan(frame, from + 1)) {
      this.#safe = false
      return
    }
    const at = choice.find(DELTA)
    // A second choice, or a whole message where a delta belongs.
    if (at < 0 || !isLast(frame, choice.end) || frame[choice.valueStart(at)] !== OPEN_BRACE) {
      this.#safe = false
      return
    }
    const delta = this.#delta
    if (!delta.scan(frame, choice.valueStart(at))) {
      this.#safe = false
      return
    }
    const content = delta.find(CONTENT)
    const role = delta.find(ROLE)
    const thinking = delta.find(REASONING)
    for (let member = 0; member < delta.count; member++) {
      const start = delta.valueStart(member)
      if (member === role) continue
      if (member === content && frame[start] === QUOTE) this.#append(frame, start + 1, delta.valueEnd(member) - 1)
      else if (member === thinking && this.#reasoning) continue
      else if (NOTHING.has(delta.text(member))) continue
      else if (member === thinking || isThinking(delta.name(member))) this.#reasoning = true
      else this.#safe = false
    }
  }

  #append(frame: Buffer, from: number, to: number): void {
    const length = this.#length + to - from
    if (length > TEXT_LIMIT) {
      this.#safe = false
      this.#text = EMPTY
      return
    }
    if (length > this.#text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_SIZE, 2 * length))
      this.#text.copy(larger, 0, 0, this.#length)
      this.#text = larger
    }
    // A token is a few bytes: a loop of our own costs less than the call of a native copy.
    if (to - from < 32) {
      let at = this.#length
      for (let index = from; index < to; index++) this.#text[at++] = frame[index] as number
    } else frame.copy(this.#text, this.#length, from, to)
    this.#length = length
  }
}

/** Whether the string from `value` to `end` is the delta's `content`, and nothing else is in the delta. */
function isAlone(frame: Buffer, value: number, end: number): boolean {
  if (frame[end] !== CLOSE_BRACE) return false
  const from = value - ALONE.length
  for (let index = 0; index < ALONE.length; index++) if (frame[from + index] !== ALONE[index]) return false
  return true
}

/** Whether a list ends at `from`. */
function isLast(frame: Buffer, from: number): boolean {
  for (let at = from; at < frame.length; at++) {
    const byte = frame[at] as number
    if (byte > 0x20) return byte === CLOSE_BRACKET
  }
  return false
}

function textOf(escaped: Buffer): string | null {
  try {
    return JSON.parse(`"${escaped.toString('utf8')}"`) as string
  } catch {
    return null
  }
}

function envelopeOf(frame: Buffer): Envelope | null {
  try {
    const {
      id,
      created,
      system_fingerprint: fingerprint,
    } = JSON.parse(frame.toString('utf8').replace(/^data:/, '')) as Record<string, unknown>
    return {
      id: typeof id === 'string' ? id : '',
      created: typeof created === 'number' ? created : 0,
      fingerprint: typeof fingerprint === 'string' ? fingerprint : null,
    }
  } catch {
    return null
  }
}
