import type { Clock } from '../shared/clock.ts'
import { spanId } from '../shared/ids.ts'
import { callerAttributes, errorAttributes, exceptionEvent } from '../shared/span-attributes.ts'
import type { SpanAttributes, Trace, Tracer } from '../shared/tracer.ts'
import type { Exchange } from './exchange.ts'
import type { ObservedCall } from './inference.ts'

/** What is known of a traced call while it runs. */
export interface CallTrace extends Trace {
  /** The call's id as the client gets it. */
  callId: string
  method: string
  /** Milliseconds from the call's arrival until its caller was known or refused. */
  authenticated: number
}

/** The trace of a call, if it has one. */
export function beginTrace(tracer: Tracer, { headers, method }: Exchange, callId: string): CallTrace | null {
  const trace = tracer.begin(headers['traceparent'])
  return trace === null ? null : { ...trace, callId, method, authenticated: 0 }
}

/** Makes the edge's spans of a call that is over: the call, who asked, and what went wrong (surface reference §9.5). */
export function createTraceObserver(tracer: Tracer, clock: Clock): (observed: ObservedCall) => void {
  return (observed) => {
    const { trace } = observed
    if (trace === null) return
    const endedAt = clock.now()
    const startedAt = endedAt - observed.duration
    const { traceId } = trace
    const failed = observed.end.error !== null || observed.end.status >= 400
    const inside = { traceId, kind: 'internal', parentId: trace.spanId } as const
    tracer.record({
      traceId,
      spanId: trace.spanId,
      parentId: trace.parentId,
      name: 'Received Proxy Server Request',
      kind: 'server',
      startedAt,
      endedAt,
      attributes: attributesOf(observed, trace, tracer.namesCallers),
      failed,
    })
    tracer.record({
      ...inside,
      spanId: spanId(),
      name: 'auth',
      startedAt,
      endedAt: startedAt + trace.authenticated,
      attributes: { service: 'auth', call_type: 'user_api_key_auth' },
      failed: observed.identity === null,
    })
    if (!failed) return
    const attributes = failureOf(observed)
    tracer.record({
      ...inside,
      spanId: spanId(),
      name: 'Failed Proxy Server Request',
      startedAt: endedAt,
      endedAt,
      attributes,
      events: [exceptionEvent(attributes['error.type'], endedAt)],
      failed: true,
    })
  }
}

/** Names of OpenTelemetry's HTTP conventions and of LiteLLM. No path and no query: they may hold what is nobody's business. */
function attributesOf(
  { endpoint, identity, end }: ObservedCall,
  { callId, method }: CallTrace,
  namesCallers: boolean,
): SpanAttributes {
  const headers = end.head?.headers
  const model = headers?.['x-litellm-model-group']
  const deployment = headers?.['x-litellm-model-id']
  return {
    'http.request.method': method,
    'http.route': endpoint.path,
    'http.response.status_code': end.status,
    'http.response.body.size': end.bytes,
    'litellm.call_id': callId,
    ...(model === undefined ? {} : { 'gen_ai.request.model': model }),
    ...(deployment === undefined ? {} : { 'hidden_params.model_id': deployment }),
    ...(namesCallers && identity !== null ? callerAttributes(identity) : {}),
  }
}

function failureOf({ end }: ObservedCall): SpanAttributes & { 'error.type': string } {
  const status = end.error?.status ?? end.status
  const error = end.error === null ? { 'error.type': String(status) } : errorAttributes(end.error.code)
  return { ...error, 'http.response.status_code': status }
}
