import { spanId, traceId } from './ids.ts'

/** Where a span is: its trace, and its own id, which is the parent of whatever follows from it. Both in lower-case hexadecimal. */
export interface SpanContext {
  traceId: string
  spanId: string
}

export type SpanAttributes = Record<string, string | number | boolean | string[]>

export interface SpanEvent {
  name: string
  /** Unix milliseconds, fractional. */
  at: number
  attributes: SpanAttributes
}

/** A span that is over. Made at the end, from what is known of the call anyway: until then a traced call carries two ids, and others nothing. */
export interface Span extends SpanContext {
  name: string
  kind: 'server' | 'client' | 'internal'
  /** Null = the first of its trace. */
  parentId: string | null
  /** Unix milliseconds, fractional. */
  startedAt: number
  endedAt: number
  attributes: SpanAttributes
  events?: SpanEvent[]
  failed: boolean
}

/** The first span of a call, which its edge decided to trace. */
export interface Trace extends SpanContext {
  /** The caller's span; null = the trace begins here. */
  parentId: string | null
}

/** Where spans go. */
export interface SpanOutput {
  /** Never throws and never waits: what there is no room for is dropped. */
  write(span: Span): void
  /** Sends what is left, for at most `limit` milliseconds. Never rejects. */
  close(limit: number): Promise<void>
}

/** Decides which calls are traced, and takes their spans. Where nothing is traced there is none: null in its place. */
export interface Tracer {
  /**
   * The trace of a call with this `traceparent` header; null = it is not traced. A caller that takes part in a trace has decided; for others a
   * share is drawn.
   */
  begin(traceparent: string | undefined): Trace | null
  /** Spans may say who called (`redact_user_api_key_info`). */
  readonly namesCallers: boolean
  /** Providers get a `traceparent` (`forward_traceparent_to_llm_provider`). */
  readonly forwards: boolean
  record(span: Span): void
}

export interface TracerSettings {
  /** Share of calls that are traced where the caller has not decided, 0 to 1. */
  sampleRate: number
  /** Whether a caller's `traceparent` is followed. */
  joins: boolean
  namesCallers: boolean
  forwards: boolean
}

export function createTracer(deps: {
  settings: TracerSettings
  random: () => number
  output: Pick<SpanOutput, 'write'>
}): Tracer {
  const { random, output } = deps
  const { sampleRate, joins, namesCallers, forwards } = deps.settings
  return {
    namesCallers,
    forwards,
    begin(traceparent) {
      const caller = joins && traceparent !== undefined ? readTraceparent(traceparent) : null
      if (caller !== null) return caller.sampled ? { traceId: caller.traceId, spanId: spanId(), parentId: caller.spanId } : null
      return random() < sampleRate ? { traceId: traceId(), spanId: spanId(), parentId: null } : null
    },
    record: (span) => output.write(span),
  }
}

/** Version, trace, parent, flags, none of the ids zero; later versions may say more behind these (W3C Trace Context §3.2, §4.3). */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:-.*)?$/
/** Characters of version 00, which says nothing more. */
const LENGTH = 55
const SAMPLED = 1

/** What a `traceparent` header says; null for one that is malformed, which counts as none. */
export function readTraceparent(header: string): (SpanContext & { sampled: boolean }) | null {
  if (!TRACEPARENT.test(header) || (header.length !== LENGTH && header.startsWith('00'))) return null
  const flags = Number.parseInt(header.slice(53, LENGTH), 16)
  return { traceId: header.slice(3, 35), spanId: header.slice(36, 52), sampled: (flags & SAMPLED) === SAMPLED }
}

/** The header under which whoever is called next joins: sampled, or there would be none. */
export function traceparentOf({ traceId: trace, spanId: parent }: SpanContext): string {
  return `00-${trace}-${parent}-01`
}
