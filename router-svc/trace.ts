import { ERRORS } from '../proto/errors.ts'
import type { Attempt, Outcome, UsageEvent } from '../proto/usage.ts'
import { spanId } from '../shared/ids.ts'
import { callerAttributes, errorAttributes, exceptionEvent } from '../shared/span-attributes.ts'
import {
  readTraceparent,
  type Span,
  type SpanAttributes,
  type SpanContext,
  type Tracer,
  traceparentOf,
} from '../shared/tracer.ts'
import type { Call } from './call.ts'
import type { Observer } from './observe.ts'

/** The router's side of tracing. */
export interface RouterTrace {
  /** Tells `next` everything, and makes the spans of traced calls that are over. */
  observe(next: Observer): Observer
  /** An attempt that begins, the same for each of its requests; null = its call is not traced. */
  attempt(call: Call, record: Attempt): AttemptTrace | null
}

/** What of an attempt its span tells and its record does not. */
export class AttemptTrace {
  readonly context: SpanContext
  readonly #forwards: boolean
  readonly #reasons = new Set<string>()
  /** The end of what was seen, in which a name may have begun. */
  #tail = ''

  constructor(context: SpanContext, forwards: boolean) {
    this.context = context
    this.#forwards = forwards
  }

  /** Headers of a request to the provider, after whatever signed them: no signature covers a header it has not seen. */
  on(headers: Record<string, string>): Record<string, string> {
    return this.#forwards ? { ...headers, traceparent: traceparentOf(this.context) } : headers
  }

  /** Looks for finish reasons in what the client gets, in whatever dialect. */
  sees(bytes: Uint8Array): void {
    const text = this.#tail + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    for (const { groups } of text.matchAll(FINISH_REASON)) this.#reasons.add(groups?.['reason'] as string)
    this.#tail = text.slice(-FINISH_LENGTH)
  }

  get finishReasons(): string[] {
    return [...this.#reasons]
  }
}

/** Quotes in what a model says are escaped, so that it cannot be mistaken for this. */
const FINISH_REASON = /"(?:finish_reason|stop_reason|finishReason)"\s{0,8}:\s{0,8}"(?<reason>[A-Za-z_]{1,40})"/g
/** Characters of its longest match. */
const FINISH_LENGTH = 80

/** A call that was cancelled did not fail: its client left, or another attempt was quicker. */
const FAILED: ReadonlySet<Outcome> = new Set<Outcome>(['failure', 'partial', 'unsettled'])

/** Spans are made from what the ledger is told when a call is over. */
export function createRouterTrace(tracer: Tracer): RouterTrace {
  const traces = new WeakMap<Attempt, AttemptTrace>()

  function record(call: Call, event: UsageEvent, traceparent: string): void {
    const parent = readTraceparent(traceparent)
    if (parent === null) return
    const router = { traceId: parent.traceId, spanId: spanId() }
    const callers = tracer.namesCallers ? callerAttributes(call.identity) : {}
    tracer.record({
      ...router,
      parentId: parent.spanId,
      name: 'router',
      kind: 'internal',
      startedAt: event.startedAt,
      endedAt: event.endedAt,
      attributes: routerAttributes(call, event),
      failed: FAILED.has(event.outcome),
    })
    for (const attempt of event.attempts) {
      const trace = traces.get(attempt)
      const reasons = trace?.finishReasons ?? []
      const attributes = {
        ...attemptAttributes(call, attempt),
        ...callers,
        ...(reasons.length === 0 ? {} : { 'gen_ai.response.finish_reasons': reasons }),
      }
      const span = { traceId: parent.traceId, spanId: trace?.context.spanId ?? spanId(), parentId: router.spanId }
      tracer.record({ ...span, ...attemptSpan(call, attempt, attributes) })
    }
  }

  return {
    observe: (next) => ({
      ...next,
      call(call, event, cost) {
        next.call(call, event, cost)
        if (call.message.traceparent !== undefined) record(call, event, call.message.traceparent)
      },
    }),
    attempt({ message }, record) {
      if (message.traceparent === undefined) return null
      const known = traces.get(record)
      const parent = known === undefined ? readTraceparent(message.traceparent) : null
      if (parent === null) return known ?? null
      const trace = new AttemptTrace({ traceId: parent.traceId, spanId: spanId() }, tracer.forwards)
      traces.set(record, trace)
      return trace
    },
  }
}

function routerAttributes(call: Call, event: UsageEvent): SpanAttributes {
  return {
    service: 'router',
    call_type: call.endpoint.mode,
    'litellm.call_id': call.message.clientCallId ?? call.message.callId,
    'gen_ai.request.model': event.requestedModel,
    'router.model_group': event.modelGroup,
    'router.attempts': event.attempts.length,
    'router.retries': call.retries,
    'router.fallbacks': call.fallbacks,
    'router.id': event.routerId,
    ...(event.cacheHit === true ? { cache_hit: true } : {}),
    ...(event.error === undefined ? {} : errorAttributes(event.error.code)),
  }
}

/** The gateway's modes as OpenTelemetry's conventions for generative AI call them. */
const OPERATIONS: Readonly<Record<string, string>> = {
  chat: 'chat',
  completion: 'text_completion',
  embedding: 'embeddings',
  image: 'generate_content',
}

/** What an attempt was and used; never what was said. */
function attemptAttributes(call: Call, attempt: Attempt): SpanAttributes {
  const { usage, cost, error } = attempt
  const { mode } = call.endpoint
  return {
    'gen_ai.system': attempt.provider,
    'gen_ai.operation.name': OPERATIONS[mode] ?? mode,
    'gen_ai.request.model': attempt.model,
    'gen_ai.request.id': call.message.clientCallId ?? call.message.callId,
    ...asked(call),
    'gen_ai.response.model': attempt.reportedModel ?? attempt.model,
    'llm.request.type': mode,
    'llm.is_streaming': call.stream,
    ...(call.options.endUser === null ? {} : { 'llm.user': call.options.endUser }),
    'hidden_params.model_id': attempt.deploymentId,
    'router.attempt': attempt.index,
    'router.outcome': attempt.outcome,
    ...(usage === undefined
      ? {}
      : {
          'gen_ai.usage.input_tokens': usage.input,
          'gen_ai.usage.output_tokens': usage.output,
          'gen_ai.usage.total_tokens': usage.input + usage.output,
          'gen_ai.usage.cache_read.input_tokens': usage.cacheRead,
        }),
    ...(cost === undefined ? {} : { 'gen_ai.cost.total_cost': cost / 1e9 }),
    ...(error === undefined
      ? {}
      : { ...errorAttributes(error.code), 'http.response.status_code': error.status ?? ERRORS[error.code].status }),
  }
}

/** Numbers the client set. */
function asked({ request }: Call): SpanAttributes {
  const attributes: SpanAttributes = {}
  for (const name of ['max_tokens', 'max_completion_tokens', 'temperature', 'top_p']) {
    const value = request[name]
    if (typeof value === 'number') attributes[`gen_ai.request.${name.replace('_completion', '')}`] = value
  }
  return attributes
}

function attemptSpan(
  call: Call,
  attempt: Attempt,
  attributes: SpanAttributes,
): Pick<Span, 'name' | 'kind' | 'startedAt' | 'endedAt' | 'attributes' | 'events' | 'failed'> {
  const { startedAt, endedAt, firstTokenAt, error } = attempt
  const events: NonNullable<Span['events']> = []
  if (call.stream && firstTokenAt !== null) {
    attributes['gen_ai.response.time_to_first_chunk'] = (firstTokenAt - startedAt) / 1000
    events.push({ name: 'first_token', at: firstTokenAt, attributes: {} })
  }
  if (error !== undefined) events.push(exceptionEvent(ERRORS[error.code].class, endedAt))
  const failed = FAILED.has(attempt.outcome)
  return { name: 'litellm_request', kind: 'client', startedAt, endedAt, attributes, events, failed }
}
