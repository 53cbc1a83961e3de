import type { ChatResponse } from '../../canonical/chat.ts'
import { callPart, candidateFields, keptFields, logprobsOf, partsOf } from './parts.ts'
import { encodeUsage, finishReason } from './usage.ts'
import type { Fields } from './wire.ts'

/**
 * A canonical answer as a `GenerateContentResponse`. Throws GatewayError `provider_malformed` when a call's arguments are no JSON object although
 * the model finished them.
 */
export function encodeResponse(response: ChatResponse, model: string): Fields {
  const encoded: Fields = {}
  const candidates: Fields[] = []
  for (const { index, message, finish_reason: reason, logprobs } of response.choices) {
    const kept = keptFields(message)
    // A prompt the service would not answer has no candidate.
    if (kept['promptFeedback'] !== undefined) {
      encoded['promptFeedback'] = kept['promptFeedback']
      continue
    }
    const calls = (message.tool_calls ?? []).map((call) => callPart(call, reason === 'length'))
    const candidate: Fields = {
      content: { parts: [...partsOf(message), ...calls], role: 'model' },
      finishReason: finishReason(reason, kept['finishReason']),
      index,
      ...candidateFields(kept),
    }
    const told = logprobsOf(logprobs)
    if (told !== null) candidate['logprobsResult'] = told
    candidates.push(candidate)
  }
  if (candidates.length > 0) encoded['candidates'] = candidates
  if (response.usage !== undefined) encoded['usageMetadata'] = encodeUsage(response.usage, response.service_tier)
  return { ...encoded, modelVersion: model, responseId: response.id }
}
