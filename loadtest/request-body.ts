import { createHash, type Hash } from 'node:crypto'

/** Bodies up to this size are parsed; of larger ones the ends are kept and searched. */
const WHOLE_BODY = 1024 * 1024
const BODY_END = 64 * 1024

/** A request body: all of it while small, both ends and a running hash when large, so 64 MB cost 128 KB of memory. */
export class RequestBody {
  bytes = 0
  #parts: Buffer[] = []
  #tail: Buffer = Buffer.alloc(0)
  #hash: Hash | null = null

  add(bytes: Buffer): void {
    this.bytes += bytes.length
    if (this.#hash === null && this.bytes <= WHOLE_BODY) {
      this.#parts.push(bytes)
      return
    }
    if (this.#hash === null) {
      const start = Buffer.concat(this.#parts)
      this.#hash = createHash('sha256').update(start)
      this.#parts = [Buffer.from(start.subarray(0, BODY_END))]
    }
    this.#hash.update(bytes)
    this.#tail = Buffer.from(Buffer.concat([this.#tail, bytes]).subarray(-BODY_END))
  }

  /** Whether `text` is the whole body. */
  get whole(): boolean {
    return this.#hash === null
  }

  text(): string {
    const only = this.#parts[0]
    if (this.#parts.length === 1 && only !== undefined && this.#tail.length === 0) return only.toString()
    return Buffer.concat([...this.#parts, this.#tail]).toString('utf8')
  }

  /** Call once. */
  sha256(): string {
    return (this.#hash ?? createHash('sha256').update(Buffer.concat(this.#parts))).digest('hex')
  }
}
