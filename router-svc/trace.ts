import { ERRORS } from '../proto/errors.ts'
import type { Attempt, Outcome, UsageEvent } from '../proto/usage.ts'
import { spanId } from '../shared/ids.ts'
import { callerAttributes } from '../shared/span-attributes.ts'
import { readTraceparent, type Span, type SpanAttributes, type Tracer, traceparentOf } from '../shared/tracer.ts'
import type { Call } from './call.ts'
import type { Observer } from './observe.ts'

/** The router's side of tracing. */
export interface RouterTrace {
  /** Tells `next` everything, and makes the spans of traced calls that are over. */
  observe(next: Observer): Observer
  /** The `traceparent` a provider gets with an attempt of a traced call; null = none. */
  outgoing(call: Call, record: Attempt): string | null
}

/** A call that was cancelled did not fail: its client left, or another attempt was quicker. */
const FAILED: ReadonlySet<Outcome> = new Set<Outcome>(['failure', 'partial', 'unsettled'])

/** Spans are made from what the ledger is told: a traced call carries nothing but the id of the attempt its provider was told. */
export function createRouterTrace(tracer: Tracer): RouterTrace {
  const told = new WeakMap<Attempt, string>()

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
      const attributes = { ...attemptAttributes(call, attempt), ...callers }
      const span = { traceId: parent.traceId, spanId: told.get(attempt) ?? spanId(), parentId: router.spanId }
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
    outgoing({ message }, attempt) {
      const parent = message.traceparent === undefined || !tracer.forwards ? null : readTraceparent(message.traceparent)
      if (parent === null) return null
      const id = told.get(attempt) ?? spanId()
      told.set(attempt, id)
      return traceparentOf({ traceId: parent.traceId, spanId: id })
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
    ...(event.error === undefined ? {} : { 'error.type': ERRORS[event.error.code].class, 'error.code': event.error.code }),
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
      : {
          'error.type': ERRORS[error.code].class,
          'error.code': error.code,
          'http.response.status_code': error.status ?? ERRORS[error.code].status,
        }),
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
  if (error !== undefined)
    events.push({ name: 'exception', at: endedAt, attributes: { 'exception.type': ERRORS[error.code].class } })
  const failed = FAILED.has(attempt.outcome)
  return { name: 'litellm_request', kind: 'client', startedAt, endedAt, attributes, events, failed }
}
