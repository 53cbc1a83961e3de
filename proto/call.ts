import type { CarriedCall } from './carried.ts'
import type { Identity } from './identity.ts'

/**
 * One inference call, edge → router. The body travels beside the message as bytes (see frames.ts), because the edge never
 * looks inside it.
 */
export interface CallMessage {
  v: number
  /** UUID of the edge's making: the bill is unique by it, so a client does not choose it. The same for all takes. */
  callId: string
  /** The client's own `x-litellm-call-id`, when it is a plain token: echoed, and a name under which the call is found. */
  clientCallId?: string
  /**
   * 1, then 2 and 3 when the edge had to publish again because a taker did not answer. Part of the usage event's key, so
   * that work done by several is booked for all and nothing twice.
   */
  take: number
  /** Name of a row in `ENDPOINTS`. */
  endpoint: string
  /** Model named in the path (Azure-style), which wins over the body's. */
  pathModel?: string
  identity: Identity
  /** Lower-case allow-listed request headers (`x-litellm-*`, `traceparent`, `anthropic-beta`, …). Never a credential. */
  headers: Record<string, string>
  /** Of an endpoint that is carried (carried.ts): which, and what the request line said. */
  carried?: CarriedCall & { pattern: string }
  /** Query parameters that matter (`api-version`). */
  query?: Record<string, string>
  /** Address of the client as the edge saw it. */
  clientIp?: string
  /** Of the edge's span, as W3C Trace Context writes it; absent = the call is not traced. */
  traceparent?: string
}

/** The `priority` of calls that wait behind all others, those without a priority included. */
export const LAST_PRIORITY = Number.MAX_SAFE_INTEGER

/** The answer's head, router → edge: status line and headers for the client. */
export interface StartHead {
  v: number
  status: number
  /** Ready to send; names lower case. */
  headers: Record<string, string>
  /**
   * What to book if the router dies before it can report: everything of the usage event that is known when the answer
   * starts. The edge fills in the end and appends it as `unsettled`.
   */
  booking?: Uint8Array
  /**
   * On a refusal that will not change for that many milliseconds: the edge may give the same answer to the same key by itself, so that a
   * flood stays outside.
   */
  refusedFor?: number
}
