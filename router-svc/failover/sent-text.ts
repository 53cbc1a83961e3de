import type { ChatChunk, ChatDelta } from '../canonical/chat.ts'
import type { StreamEncoder } from '../dialects/dialect.ts'
import { type Continuation, type Envelope, TEXT_LIMIT } from './continuation.ts'

/** Fields of a delta that are thinking: what a client got of it needs no continuation. */
const THINKING: ReadonlySet<string> = new Set(['reasoning_content', 'reasoning', 'reasoning_details', 'thinking_blocks'])

export function isThinking(field: string): boolean {
  return THINKING.has(field)
}

/** What the client got of an answer, read from its canonical chunks. One with anything but text and thinking is not continued. */
export class SentText {
  #text: string
  #reasoning: boolean
  #envelope: Envelope | null
  #safe = true

  constructor(before: Continuation | null) {
    this.#text = before?.text ?? ''
    this.#reasoning = before?.reasoning ?? false
    this.#envelope = before?.envelope ?? null
  }

  add(chunk: ChatChunk): void {
    if (!this.#safe) return
    this.#envelope ??= { id: chunk.id, created: chunk.created, fingerprint: chunk.system_fingerprint ?? null }
    for (const choice of chunk.choices) {
      if (choice.index !== 0 || choice.finish_reason != null || choice.delta === undefined) this.#safe = false
      else this.#read(choice.delta)
    }
  }

  /** Null = going on is not safe. */
  continuation(encoder: StreamEncoder<ChatChunk>, pending: string): Continuation | null {
    if (!this.#safe || this.#text.length > TEXT_LIMIT) return null
    return {
      text: this.#text,
      reasoning: this.#reasoning,
      envelope: this.#envelope,
      encoder,
      point: { begun: this.#envelope !== null },
      pending,
    }
  }

  #read(delta: ChatDelta): void {
    for (const field in delta) {
      const value = delta[field]
      if (field === 'content' && typeof value === 'string') this.#text += value
      else if (field === 'role' || isNothing(value)) continue
      else if (isThinking(field)) this.#reasoning = true
      else this.#safe = false
    }
  }
}

function isNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === false) return true
  return Array.isArray(value) && value.length === 0
}
