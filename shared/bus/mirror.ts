import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'

/** A value as a bucket holds it, undefined = none. */
export interface Stored {
  /** Rises with every change; 0 = never written. */
  revision: number
  /** Unix milliseconds of the server. */
  writtenAt: number
  /** Reads the value: only what is new is worth 100 ms of decoding. */
  value(): unknown
}

/** Milliseconds before a failed look is repeated. */
const RETRY_PAUSE = 500

/** Follows one key by looking again whenever asked to, so that lost word of a change costs time and never a change. */
export class Mirror {
  readonly #clock: Clock
  readonly #log: Log
  readonly #look: () => Promise<Stored>
  readonly #onValue: (value: unknown) => void
  #revision = -1
  #writtenAt = -1
  #looking = false
  #again = false
  #stopped = false

  constructor(clock: Clock, log: Log, look: () => Promise<Stored>, onValue: (value: unknown) => void) {
    this.#clock = clock
    this.#log = log
    this.#look = look
    this.#onValue = onValue
  }

  /** Delivers the present value. Rejects when the bucket cannot be read. */
  async start(): Promise<void> {
    const deliver = await this.#read()
    deliver()
  }

  refresh(): void {
    if (this.#looking) {
      this.#again = true
      return
    }
    this.#looking = true
    this.#again = false
    this.#read()
      .then(
        (deliver) => deliver(),
        (error) => {
          this.#log.warn({ err: error }, 'A bucket could not be read.')
          if (!this.#stopped) this.#clock.after(RETRY_PAUSE, () => this.refresh())
        },
      )
      .finally(() => {
        this.#looking = false
        if (this.#again && !this.#stopped) this.refresh()
      })
  }

  stop(): void {
    this.#stopped = true
  }

  /** Looks, and resolves with the delivery of what is new. */
  async #read(): Promise<() => void> {
    const { revision, writtenAt, value } = await this.#look()
    // A lower revision is a replica that is behind, unless it was written later: then the bucket was made anew.
    if (this.#stopped || (revision <= this.#revision && writtenAt <= this.#writtenAt)) return () => undefined
    const present = value()
    this.#revision = revision
    this.#writtenAt = writtenAt
    return () => this.#onValue(present)
  }
}
