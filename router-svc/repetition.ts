import { GatewayError } from '../shared/errors.ts'

/** LiteLLM's REPEATED_STREAMING_CHUNK_LIMIT (surface reference §7.1). */
const LIMIT = 100
/** Shorter pieces repeat in good answers: blank lines, the dots of a table, a row of zeros. */
const SHORTEST = 3

/**
 * Ends the stream of a model that has fallen into a loop: the same piece of text a hundred times in a row. It would go on until its token
 * limit, and be paid for.
 */
export class Repetition {
  #last: string | number = ''
  #count = 0

  /** The next piece of text, or something that stands for it, and its length. Throws GatewayError `looping_model`. */
  see(piece: string | number, length: number): void {
    if (piece !== this.#last) {
      this.#last = piece
      this.#count = 1
      return
    }
    this.#count += 1
    if (this.#count >= LIMIT && length >= SHORTEST)
      throw new GatewayError('looping_model', `The model is looping: it sent the same piece of text ${LIMIT} times in a row.`)
  }
}

/** FNV-1a of a piece of text as bytes: kept instead of them, for they are the socket's. */
export function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  return hash
}
