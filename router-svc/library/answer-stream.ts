import type { CallMessage, StartHead } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import { receiveWhole } from '../../shared/bus/body.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { fromWire } from '../../shared/errors.ts'
import { TurnpikeError } from './errors.ts'

/** Bytes that wait for a reader before the provider is no longer read: what one stalled reader costs. */
const WINDOW = 64 * 1024

/**
 * A call as the router serves it, with its reader in the same process instead of across a bus. Parts wait until they are read; past WINDOW bytes the
 * router is told to stop reading its provider, and goes on once half of them are gone.
 *
 * States: waiting (no head yet) → open (parts follow) → over (ended, failed or left; what was sent before an end can still be read).
 */
export class AnswerStream implements IncomingStream {
  readonly id: string
  readonly head: CallMessage
  /** `timeout` and the settings limit a call; nothing else does. */
  readonly deadline = Number.POSITIVE_INFINITY
  readonly body: Uint8Array
  onWritable: (() => void) | null = null
  onCancel: ((reason: string) => void) | null = null
  /** The head of the answer. Rejects with what the call ended with before there was one. */
  readonly opened: Promise<StartHead>
  readonly #model: string
  readonly #open: (head: StartHead) => void
  readonly #refuse: (error: unknown) => void
  #parts: Uint8Array[] = []
  #waiting = 0
  #full = false
  #over = false
  #failure: unknown = null
  #wake: (() => void) | null = null

  constructor(head: CallMessage, body: Uint8Array, model: string) {
    this.#model = model
    this.id = head.callId
    this.head = head
    this.body = body
    const { promise, resolve, reject } = Promise.withResolvers<StartHead>()
    this.opened = promise
    this.#open = resolve
    this.#refuse = reject
  }

  get closed(): boolean {
    return this.#over
  }

  receive(take: (part: Uint8Array | null) => void): (consumed: number) => void {
    return receiveWhole(this.body, take)
  }

  async collect(): Promise<Uint8Array> {
    return this.body
  }

  /** The router has booked a failure: what it sends from here on only tells of it, in words for another process. */
  failing(error: unknown): void {
    if (!this.#over) this.#failure = error
  }

  refuse(error: WireError): void {
    this.#end(this.#failure ?? this.#unbooked(error))
  }

  start(head: StartHead): void {
    if (this.#failure === null) this.#open(head)
  }

  data(bytes: Uint8Array): boolean {
    if (this.#over || this.#failure !== null) return true
    this.#parts.push(bytes)
    this.#waiting += bytes.length
    this.#full = this.#waiting >= WINDOW
    this.#tell()
    return !this.#full
  }

  end(): void {
    this.#end(this.#failure)
  }

  fail(error: WireError): void {
    this.#end(this.#failure ?? this.#unbooked(error))
  }

  whole(head: StartHead, body: Uint8Array): void {
    this.start(head)
    this.data(body)
    this.end()
  }

  /** Ends the call from the reader's side: the provider's connection is closed, and the reader gets `error`; null = nobody reads any more. */
  cancel(reason: string, error: unknown): void {
    if (this.#over) return
    this.#parts = []
    this.#end(error)
    this.onCancel?.(reason)
  }

  /** The next part; null = the answer is complete. Rejects with what it ended with. One reader at a time. */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const part = this.#parts.shift()
      if (part !== undefined) {
        this.#waiting -= part.length
        if (this.#full && this.#waiting <= WINDOW / 2) {
          this.#full = false
          this.onWritable?.()
        }
        return part
      }
      if (this.#over) {
        if (this.#failure !== null) throw this.#failure
        return null
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** A call that was turned away before it became one, or that a fault of ours ended. */
  #unbooked(error: WireError): TurnpikeError {
    return new TurnpikeError(fromWire(error), { callId: this.id, model: this.#model, provider: null })
  }

  #end(failure: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#failure = failure
    // Whoever got the head hears of it while reading; a rejection that nobody waits for must not end the process.
    this.#refuse(failure ?? new Error('the call was left before it was answered'))
    this.opened.catch(() => {})
    this.#tell()
  }

  #tell(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
