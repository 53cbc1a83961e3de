import type { Call, Capture } from '../call.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import { assemble, isKeepable } from './assemble.ts'

/** Sees the answer of a call go by. */
export interface Recorder extends Capture {
  /** The whole answer, when it is one worth keeping, else null. Only after the call ended well. */
  answer(): Record<string, unknown> | null
}

/** Chunks held at most: answers beyond are not kept. */
const CHUNKS_MAX = 100_000

/** Records an answer. What attempts before the last one said is forgotten. */
export function createRecorder(call: Call): Recorder {
  let whole: unknown = null
  let chunks: ChatChunk[] = []
  let attempt = call.attempts.length

  function begin(): void {
    if (attempt === call.attempts.length) return
    attempt = call.attempts.length
    whole = null
    chunks = []
  }

  return {
    response(response) {
      begin()
      whole = response
      return response
    },
    chunk(chunk) {
      begin()
      if (chunks.length < CHUNKS_MAX) chunks.push(chunk as ChatChunk)
    },
    answer() {
      // A fallback's answer would hide the group's own; one that two models wrote is nobody's.
      if (call.fallbacks > 0 || call.attempts.some(({ outcome }) => outcome === 'partial')) return null
      if (chunks.length === CHUNKS_MAX || (call.routing.hedgeAfter !== null && isMixed(chunks))) return null
      const answer = whole ?? assemble(chunks)
      return isKeepable(answer, call.endpoint.mode) ? answer : null
    },
  }
}

/** Of attempts side by side the client got one; where both spoke, the chunks do not say which. */
function isMixed(chunks: readonly ChatChunk[]): boolean {
  return new Set(chunks.map(({ id }) => id).filter((id) => id !== '')).size > 1
}
