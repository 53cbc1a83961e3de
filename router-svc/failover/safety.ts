import type { Call } from '../call.ts'
import type { ChatRequest } from '../canonical/chat.ts'

/**
 * Whether a stream of this call may be continued by another attempt when it dies: the settings want it, and what is asked for is text. How far
 * the answer got is judged when it dies (SentText, SentBytes).
 */
export function failsOver(call: Pick<Call, 'routing' | 'stream' | 'endpoint' | 'request'>): boolean {
  return call.routing.failover.enabled && call.stream && call.endpoint.mode === 'chat' && isText(call.request as ChatRequest)
}

/**
 * One answer in plain text. A JSON document is not continued: a second model would have to hit the very character. Log probabilities belong to
 * one model's tokens.
 */
function isText(request: ChatRequest): boolean {
  if (typeof request.n === 'number' && request.n > 1) return false
  const { logprobs, top_logprobs: top, modalities, audio } = request
  if (logprobs === true || typeof top === 'number') return false
  const format = request.response_format
  if (format !== undefined && format !== null && format.type !== 'text') return false
  if (audio !== undefined && audio !== null) return false
  return !Array.isArray(modalities) || modalities.every((kind) => kind === 'text')
}
