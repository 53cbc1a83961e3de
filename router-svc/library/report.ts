import type { Attempt, Outcome, TokenUsage, UsageEvent } from '../../proto/usage.ts'
import type { TurnpikeError } from './errors.ts'

/** What happened to one call, told when it is over. */
export interface CallReport {
  callId: string
  /** `acompletion`, `aembedding`, … as the gateway's ledger names them. */
  endpoint: string
  stream: boolean
  /** As the caller named it, and the group that answered in the end. */
  model: string
  modelGroup: string
  /** Of the last attempt; null = nobody was asked. */
  provider: string | null
  outcome: Outcome
  /** HTTP status that a gateway would have answered with. */
  status: number
  error: TurnpikeError | null
  /** It was answered from the cache. */
  cacheHit: boolean
  /** Tokens and units of the last attempt that used something; null = none did. */
  usage: TokenUsage | null
  /** Nano-dollars (a billionth of a dollar) of all attempts, an integer; null = something was used whose price is not known. */
  cost: number | null
  /** Every try, failed ones included, with its own usage and cost. */
  attempts: readonly Attempt[]
  /** Unix milliseconds. */
  startedAt: number
  /** Milliseconds. */
  duration: number
  /** Milliseconds to the first token; null = there was none. */
  timeToFirstToken: number | null
  tags: readonly string[]
  metadata: Readonly<Record<string, unknown>> | null
}

export function reportOfEvent(event: UsageEvent, error: TurnpikeError | null): CallReport {
  const { attempts } = event
  return {
    callId: event.callId,
    endpoint: event.endpoint,
    stream: event.stream,
    model: event.requestedModel,
    modelGroup: event.modelGroup,
    provider: attempts.at(-1)?.provider ?? null,
    outcome: event.outcome,
    status: event.status,
    error,
    cacheHit: event.cacheHit === true,
    usage: attempts.findLast(({ usage }) => usage !== undefined)?.usage ?? null,
    cost: costOfAttempts(attempts),
    attempts,
    startedAt: event.startedAt,
    duration: event.endedAt - event.startedAt,
    timeToFirstToken: event.firstTokenAt === null ? null : event.firstTokenAt - event.startedAt,
    tags: event.tags,
    metadata: event.metadata ?? null,
  }
}

function costOfAttempts(attempts: readonly Attempt[]): number | null {
  let sum = 0
  for (const { usage, cost } of attempts) {
    if (cost === undefined && usage !== undefined) return null
    sum += cost ?? 0
  }
  return sum
}

/** Where an answer carries its report: a symbol, so that it is neither listed nor serialized. */
const REPORT = Symbol('turnpike.report')

/** A report that may still be to come: that of a stream is there when the stream has ended. */
export interface ReportSlot {
  report: CallReport | null
}

/** Ties an answer to its report. */
export function withReport<Answer extends object>(answer: Answer, slot: ReportSlot): Answer {
  return Object.defineProperty(answer, REPORT, { value: slot })
}

/** What happened to the call that gave this answer (a response, or a stream that has ended); null = not known, or not yet. */
export function callReport(answer: object): CallReport | null {
  return (answer as { [REPORT]?: ReportSlot })[REPORT]?.report ?? null
}

/** What an answer of this library cost: nano-dollars, an integer; null = not known, or its stream has not ended yet. */
export function completionCost(answer: object): number | null {
  return callReport(answer)?.cost ?? null
}
