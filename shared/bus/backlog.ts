/** Bytes handed to the connection and not known to have reached the server at which streams stop reading upstream. */
const FULL = 16 * 1024 * 1024
/** Bytes at which they go on. */
const LOW = 8 * 1024 * 1024
/** Bytes after which a flush is asked for, to learn how much has arrived. */
const PROBE = 1024 * 1024

/** How far the publishing side of a connection is behind. A flush is answered by the server after everything before it. */
export class Backlog {
  readonly #flush: () => Promise<void>
  readonly #onWritable: () => void
  #published = 0
  #confirmed = 0
  #flushing = false
  #full = false

  constructor(flush: () => Promise<void>, onWritable: () => void) {
    this.#flush = flush
    this.#onWritable = onWritable
  }

  get writable(): boolean {
    return !this.#full
  }

  /** Bytes published and not confirmed. */
  get bytes(): number {
    return this.#published - this.#confirmed
  }

  add(bytes: number): void {
    this.#published += bytes
    if (this.bytes >= FULL) this.#full = true
    if (this.bytes >= PROBE && !this.#flushing) void this.#probe()
  }

  /** A new connection: what was under way is gone. */
  reset(): void {
    this.#confirmed = this.#published
    this.#open()
  }

  async #probe(): Promise<void> {
    this.#flushing = true
    const mark = this.#published
    try {
      await this.#flush()
      this.#confirmed = Math.max(this.#confirmed, mark)
      if (this.bytes <= LOW) this.#open()
    } catch {
      // The connection is down; `reset` comes with the next one.
    } finally {
      this.#flushing = false
    }
    if (this.bytes >= PROBE && this.#confirmed >= mark) void this.#probe()
  }

  #open(): void {
    if (!this.#full) return
    this.#full = false
    this.#onWritable()
  }
}
