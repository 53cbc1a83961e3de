import type { TokenUsage } from '../proto/usage.ts'
import { answeringModel, type Call } from './call.ts'
import type { ChatResponse, Usage } from './canonical/chat.ts'
import { tokensOf } from './canonical/usage.ts'
import { roughTokens } from './count-tokens.ts'
import { restoreNames } from './providers/plain-chat.ts'
import type { DecodeContext, Headers } from './providers/provider.ts'
import { countsNothing, estimate } from './read-stream.ts'
import type { Route } from './runtime.ts'
import { adapterOf, type Sent } from './upstream-request.ts'

/** What an answer that is no stream yields. */
export interface UnaryAnswer {
  /** For the client, in its dialect. */
  body: Uint8Array
  usage: TokenUsage
  reportedModel: string | null
  /** Absent = JSON. */
  contentType?: string
}

export interface UnaryReader {
  /** Throws GatewayError when the body is an error or cannot be read. */
  read(body: Uint8Array, headers: Headers): UnaryAnswer
}

/** Facts adapters need to make canonical answers. */
export function decodeContext(call: Call, route: Route, sent: Sent, now: number): DecodeContext {
  return { id: `chatcmpl-${call.message.callId}`, created: Math.floor(now / 1000), model: route.model, request: sent.request }
}

/** Decoded, canonical, encoded again. */
export function translatingUnary(call: Call, route: Route, sent: Sent, now: number): UnaryReader {
  return {
    read(body, headers) {
      return answerOf(call, sent, adapterOf(call, route).decodeResponse(body, headers, decodeContext(call, route, sent, now)))
    },
  }
}

/** A canonical answer in the client's dialect, and what it cost. */
export function answerOf(call: Call, sent: Sent, decoded: unknown): UnaryAnswer {
  const response = decoded as {
    usage?: Usage | null
    model?: string
    service_tier?: string
    billing?: TokenUsage
  }
  if (sent.names !== null) restoreNames(response as ChatResponse, sent.names)
  const shown = call.capture === null ? response : call.capture.response(response)
  const bytes = bytesOf(call.dialect.encodeResponse(shown, answeringModel(call), sent.request))
  const reportedModel = response.model ?? null
  const contentType = call.dialect.contentType?.(shown, sent.request)
  if (response.billing !== undefined || contentType !== undefined) {
    const answer = { body: bytes, usage: response.billing ?? estimate(0), reportedModel }
    return contentType === undefined ? answer : { ...answer, contentType }
  }
  const reported =
    response.usage === undefined || response.usage === null ? null : tokensOf(response.usage, response.service_tier)
  const usage = reported === null || countsNothing(reported) ? estimate(roughTokens(textLength(response))) : reported
  return { body: bytes, usage, reportedModel }
}

export function bytesOf(body: string | Uint8Array): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body
}

/** Characters of the model's own words in an answer whose provider reported no usage. */
function textLength(response: unknown): number {
  const { choices } = response as { choices?: { message?: { content?: unknown; tool_calls?: unknown }; text?: unknown }[] }
  let length = 0
  for (const choice of choices ?? []) {
    const content = choice.message?.content ?? choice.text
    if (typeof content === 'string') length += content.length
    if (choice.message?.tool_calls !== undefined) length += JSON.stringify(choice.message.tool_calls).length
  }
  return length
}
