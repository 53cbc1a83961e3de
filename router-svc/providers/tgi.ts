import type { Usage } from '../canonical/chat.ts'
import { type Fields, isFields, jsonObject, text } from './json.ts'
import { finishReason } from './openai/normalise.ts'
import { type Said, usageFrom } from './text-protocol.ts'

/** Hugging Face's Text Generation Inference and those that answer as it does (LoRAX). */

/** A whole answer, one entry a sequence. */
export function generatedTexts(answer: unknown): Said[] {
  const one: unknown = Array.isArray(answer) ? answer[0] : answer
  if (!isFields(one) || typeof one['generated_text'] !== 'string') return []
  const details = isFields(one['details']) ? one['details'] : {}
  const others = Array.isArray(details['best_of_sequences']) ? (details['best_of_sequences'] as unknown[]).filter(isFields) : []
  const usage = usageOf(details)
  const said: Said = { text: one['generated_text'], finish: finishReason(details['finish_reason'], false), usage }
  return [
    said,
    ...others.map((other) => ({ text: text(other['generated_text']), finish: finishReason(other['finish_reason'], false) })),
  ]
}

/** One token of a stream; the one with the whole text is the last. */
export function generatedToken(data: string): Said {
  const event = jsonObject(data, 'An event of the stream')
  const token = isFields(event['token']) ? event['token'] : {}
  const piece = token['special'] === true ? '' : text(token['text'])
  if (typeof event['generated_text'] !== 'string') return { text: piece }
  const details = isFields(event['details']) ? event['details'] : {}
  return { text: piece, finish: finishReason(details['finish_reason'], false) ?? 'stop', usage: usageOf(details), ends: true }
}

/** Null where the prompt is not counted: half a count would stand in the way of the estimate. */
function usageOf(details: Fields): Usage | null {
  const prompt =
    details['prompt_tokens'] ??
    (Array.isArray(details['prefill']) && details['prefill'].length > 0 ? details['prefill'].length : null)
  return typeof prompt === 'number' ? usageFrom(prompt, details['generated_tokens']) : null
}
