import type { Limit } from '../../proto/limits.ts'
import type { AdmitRequest, AdmitScope, ScopeState } from '../../shared/counters/counters.ts'
import { isExtra } from './scopes-of-call.ts'

export interface TicketParts {
  lease: string
  limits: readonly Limit[]
  scopes: readonly AdmitScope[]
  /** Tokens to reserve. */
  tokens: number
  /** Output tokens the call may have; without a bound of its own the settings' guess. */
  output: number
  /** The call limits its output itself. */
  bounded: boolean
  /** Its hold grows with the stream. */
  metered: boolean
  /** Nano-dollars the call costs at most with so many output tokens; null = nothing is held. */
  costOf: ((outputTokens: number) => number) | null
}

/** What a call may have and cost after it went on to another group: nano-dollars by output tokens, and for what is reserved. */
export interface Raise {
  costOf: (outputTokens: number) => number
  hold: number
  reserved: number
  output: number
  bounded: boolean
}

const NONE: readonly string[] = []

/** From here on a stream asks for more: half of what is reserved is left, so that the answer need not wait. */
const ASK_AT = 0.5
/** How much more it asks for: several times as much, and when that is not there a little. */
const GROWTH = 4
const SMALL_STEP = 16

/**
 * What an admitted call holds, and the meter of a stream.
 *
 * States of the meter: calm (less than half of the reserve is used) → asking (an extension is under way) → calm, or last (refused: what is
 * reserved is all there is) → out (the reserve is used: the stream ends).
 */
export class Ticket {
  readonly limits: readonly Limit[]
  readonly metered: boolean
  /** The limits without those of a provider or a deployment. */
  base: readonly Limit[]
  /** Scopes of budgets the call was in before, for what it cost there. */
  past: readonly string[] = NONE
  states: readonly ScopeState[] = []
  readonly #parts: TicketParts
  readonly #extraScopes: readonly string[]
  #costOf: ((outputTokens: number) => number) | null
  #request: AdmitRequest
  #reserved = 0
  #beside = 0
  /** Output tokens the call may have, and whether it says so itself; a fallback that replaces its limit may change both. */
  #output: number
  #bounded: boolean
  #askAt = Number.POSITIVE_INFINITY
  #asking = false
  #last = false
  #out = false
  #extend: ((hold: number) => boolean | Promise<boolean>) | null = null
  #exhausted: (() => void) | null = null

  constructor(parts: TicketParts) {
    this.#parts = parts
    this.limits = parts.limits
    this.#extraScopes = parts.limits.filter(isExtra).map(({ scope }) => scope)
    this.#costOf = parts.costOf
    this.base = parts.limits
    this.metered = parts.metered
    this.#output = parts.output
    this.#bounded = parts.bounded
    this.#request = { lease: parts.lease, scopes: parts.scopes, tokens: parts.tokens, hold: 0 }
    this.reserve(Number.POSITIVE_INFINITY)
  }

  get request(): AdmitRequest {
    return this.#request
  }

  /** Scopes the ledger cannot see in the entry itself. */
  get extraScopes(): readonly string[] {
    if (this.past.length === 0) return this.#extraScopes
    return [...new Set([...this.#extraScopes, ...this.past])]
  }

  /** It holds in budgets of a provider or a deployment. */
  get entered(): boolean {
    return this.base.length < this.limits.length
  }

  /** Some of its scopes has a budget that was asked. */
  get budgeted(): boolean {
    return this.#parts.costOf !== null
  }

  /** Output tokens the hold covers. */
  get reserved(): number {
    return this.#reserved
  }

  /** Nano-dollars held beside what the running attempt may cost: what those before it did cost, and what one that runs beside it may. */
  get beside(): number {
    return this.#beside
  }

  /** What one attempt holds, in nano-dollars. */
  get single(): number {
    return this.#costOf?.(this.#reserved) ?? 0
  }

  /** The counters hold so much beside now, or are about to be asked for it. */
  keepBeside(nano: number): void {
    this.#beside = nano
    this.#request = { ...this.#request, hold: this.#cost(this.#reserved) }
  }

  /** Sets the hold for at most `output` tokens. */
  reserve(output: number): void {
    this.#reserved = Math.min(output, this.#output)
    this.#request = { ...this.#request, hold: this.#cost(this.#reserved) }
    this.#askAt = this.#reserved * ASK_AT
  }

  /** What the call must hold when it may cost that much, and have that many output tokens, too; takes effect with `raise`. */
  dearer(costOf: (outputTokens: number) => number, size: { outputTokens: number; bounded: boolean }): Raise {
    const before = this.#costOf
    const dearest = before === null ? costOf : (tokens: number) => Math.max(before(tokens), costOf(tokens))
    const output = Math.max(this.#output, size.outputTokens)
    // A stream asks for more as it grows.
    const reserved = this.metered ? this.#reserved : output
    return { costOf: dearest, hold: dearest(reserved) + this.#beside, reserved, output, bounded: this.#bounded && size.bounded }
  }

  /** The counters hold it now. */
  raise({ costOf, hold, reserved, output, bounded }: Raise): void {
    this.#costOf = costOf
    this.#request = { ...this.#request, hold }
    this.#reserved = reserved
    this.#output = output
    this.#bounded = bounded
    if (this.#extend === null) return
    this.#last = this.#full
    this.#askAt = this.#last ? Number.POSITIVE_INFINITY : reserved * ASK_AT
  }

  meter(extend: (hold: number) => boolean | Promise<boolean>, exhausted: () => void): void {
    this.#extend = extend
    this.#exhausted = exhausted
    this.#last = this.#full
    if (this.#last) this.#askAt = Number.POSITIVE_INFINITY
  }

  /** So many output tokens have gone by. Called for every chunk: nearly always one comparison. */
  progress(output: number): void {
    if (output < this.#askAt) return
    if (!this.#last) this.#grow(output)
    else if (output >= this.#reserved && !this.#out && !this.#full) {
      this.#out = true
      this.#exhausted?.()
    }
  }

  stopMeter(): void {
    this.#extend = null
    this.#exhausted = null
    this.#askAt = Number.POSITIVE_INFINITY
  }

  /** All the call may ever use is reserved. */
  get #full(): boolean {
    return this.#bounded && this.#reserved >= this.#output
  }

  #cost(output: number): number {
    return this.#costOf === null ? 0 : this.#costOf(output) + this.#beside
  }

  #grow(output: number): void {
    if (this.#asking || this.#extend === null) return
    this.#asking = true
    const most = this.#bounded ? this.#output : Number.POSITIVE_INFINITY
    const steps = [Math.min(most, this.#reserved * GROWTH), Math.min(most, this.#reserved + SMALL_STEP)]
    const ask = async (): Promise<void> => {
      for (const reserved of steps) {
        const hold = this.#cost(reserved)
        if (!(await this.#extend?.(hold))) continue
        this.#reserved = reserved
        this.#request = { ...this.#request, hold }
        this.#askAt = this.#full ? Number.POSITIVE_INFINITY : reserved * ASK_AT
        return
      }
      this.#last = true
      this.#askAt = this.#reserved
    }
    ask()
      // The counters went away in the middle of an answer: what is reserved is all that is sure.
      .catch(() => {
        this.#last = true
        this.#askAt = this.#reserved
      })
      .finally(() => {
        this.#asking = false
        this.progress(output)
      })
  }
}
