import { type Attempt, NO_TOKENS, type Outcome, type TokenUsage, type UsageEvent } from '../proto/usage.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { Codec } from '../shared/bus/codec.ts'
import { type GatewayError, toWire } from '../shared/errors.ts'
import { estimate } from './admission/estimate.ts'
import type { Call } from './call.ts'

/** How a call ended, as the client saw it. */
export interface CallEnd {
  outcome: Outcome
  status: number
  error: GatewayError | null
}

/** What happened to a call, as the event accounting books. Pure. */
export function usageEvent(call: Call, end: CallEnd, routerId: string, now: number, attempts = call.attempts): UsageEvent {
  const { identity, message, options } = call
  const event: UsageEvent = {
    v: WIRE_VERSION,
    callId: message.callId,
    take: message.take,
    endpoint: call.endpoint.name,
    stream: call.stream,
    keyHash: identity.keyHash,
    keyAlias: identity.keyAlias,
    userId: identity.userId,
    teamId: identity.teamId,
    organizationId: identity.organizationId,
    endUser: options.endUser,
    tags: options.tags,
    requestedModel: call.requestedModel,
    modelGroup: call.modelGroup,
    startedAt: call.startedAt,
    firstTokenAt: call.firstTokenAt,
    endedAt: now,
    outcome: end.outcome,
    status: end.status,
    attempts,
    routerId,
  }
  if (identity.projectId !== null) event.projectId = identity.projectId
  if (call.ticket !== null && call.ticket.extraScopes.length > 0) event.scopes = [...call.ticket.extraScopes]
  if (end.error !== null) event.error = toWire(end.error)
  if (message.clientIp !== undefined) event.clientIp = message.clientIp
  if (message.clientCallId !== undefined) event.metadata = { ...options.metadata, litellm_call_id: message.clientCallId }
  else if (options.metadata !== null) event.metadata = options.metadata
  if (options.sessionId !== null) event.sessionId = options.sessionId
  if (call.objects !== null) event.objects = call.objects
  return event
}

/** Bytes of one streamed token in its event envelope, about: OpenAI sends 190 to 230 bytes per delta. */
const BYTES_PER_STREAMED_TOKEN = 200

/**
 * What is booked if this router dies before it can report: the event as far as known when an attempt begins, with the input counted roughly.
 * Written to the spool, where the next process of this router finds it.
 */
export function intent(call: Call, open: Attempt, routerId: string): UsageEvent {
  return usageEvent(call, UNSETTLED, routerId, open.startedAt, [...call.attempts, unsettled(call, open)])
}

const UNSETTLED: CallEnd = { outcome: 'unsettled', status: 200, error: null }

/** An attempt that runs, as it is booked if nobody hears how it ended: its input, counted roughly. */
export function unsettled(call: Call, open: Attempt): Attempt {
  const usage: TokenUsage = { ...NO_TOKENS, input: inputTokensOf(call), estimated: true }
  return { ...open, outcome: 'unsettled', usage }
}

/** The intent for the edge, once the answer starts: it fills in the end and the output, estimated from the bytes it relayed. */
export function booking(codec: Codec, call: Call, open: Attempt, routerId: string): Uint8Array {
  return codec.encode({ ...intent(call, open, routerId), outputBytesPerToken: call.stream ? BYTES_PER_STREAMED_TOKEN : 4 })
}

/** Counted once per call. */
function inputTokensOf(call: Call): number {
  call.inputTokens ??= estimate(call.request, call.endpoint.mode, NO_OUTPUT).inputTokens
  return call.inputTokens
}

const NO_OUTPUT = { output: 0, modelOutput: null }
