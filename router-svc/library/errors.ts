import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import type { GatewayError } from '../../shared/errors.ts'

/** What is known of a failed call beside its error. */
export interface FailedCall {
  callId: string
  /** As the caller named it. */
  model: string
  /** Of the last attempt; null = nobody was asked. */
  provider: string | null
}

/**
 * Every error a call ends with. `name` is the class LiteLLM throws (`RateLimitError`, `AuthenticationError`, `ContextWindowExceededError`, …), so
 * that code written for it finds what it looks for; `code` is exact and the better thing to match on.
 */
export class TurnpikeError extends Error {
  /** LiteLLM's class. */
  override readonly name: string
  readonly code: ErrorCode
  /** HTTP status that a gateway would answer with: the provider's own where it refused. */
  readonly status: number
  /** `error.type` of OpenAI's envelope. */
  readonly type: string
  /** The request field that is wrong; null = none is named. */
  readonly param: string | null
  /** Milliseconds until trying again makes sense; null = nobody said. */
  readonly retryAfter: number | null
  /** The provider's own code for it. */
  readonly providerCode: string | null
  readonly callId: string | null
  readonly model: string | null
  readonly provider: string | null

  constructor(error: GatewayError, call: FailedCall | null = null) {
    super(error.message, error.cause === undefined ? undefined : { cause: error.cause })
    this.name = ERRORS[error.code].class
    this.code = error.code
    this.status = error.status
    this.type = error.type
    this.param = error.param
    this.retryAfter = error.retryAfter ?? null
    this.providerCode = error.providerCode ?? null
    this.callId = call?.callId ?? null
    this.model = call?.model ?? null
    this.provider = call?.provider ?? null
  }

  /** Whether the same call a little later may do better. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}
