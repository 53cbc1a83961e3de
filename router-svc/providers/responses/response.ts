import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse, ResponseMessage, ToolCall } from '../../canonical/chat.ts'
import type { OutputItem } from '../../canonical/responses.ts'
import { type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import type { ErrorReader } from '../openai/response.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { annotation, decodeUsage, failure, finishReason, PARAGRAPH, picture, reasoningParts, toolCall } from './answer.ts'
import { KEPT, keptItems } from './kept.ts'

/** What the items of one answer add up to. */
interface Parts {
  text: string
  refusal: string
  reasoning: string[]
  calls: ToolCall[]
  annotations: unknown[]
  logprobs: unknown[]
  images: Fields[]
}

/** Reads a whole response object. Throws `provider_malformed`, or the provider's error where the response failed. */
export function decodeResponse(body: Uint8Array, headers: Headers, context: DecodeContext, readError: ErrorReader): ChatResponse {
  const source = sourceOf(body)
  const response = jsonObject(source, 'The answer')
  const failed = failure(response, headers, readError)
  if (failed !== null) throw failed
  const { output } = response
  // A proxy's own error object, or something else entirely.
  if (!Array.isArray(output)) throw readError(200, headers, source)
  const { status } = response
  if (status === 'queued' || status === 'in_progress')
    throw new GatewayError('provider_malformed', `The provider answered before the response was complete (it is ${status}).`)
  const items = (output as unknown[]).filter((item): item is OutputItem => isFields(item) && typeof item['type'] === 'string')
  const parts: Parts = { text: '', refusal: '', reasoning: [], calls: [], annotations: [], logprobs: [], images: [] }
  for (const item of items) collect(parts, item as Fields, context)
  const choice: ChatResponse['choices'][number] = {
    index: 0,
    message: assemble(parts, items),
    finish_reason: finishReason(response, parts.calls.length),
  }
  if (parts.logprobs.length > 0) choice.logprobs = { content: parts.logprobs, refusal: null }
  const chat: ChatResponse = {
    id: text(response['id'], context.id),
    object: 'chat.completion',
    created: createdAt(response) ?? context.created,
    model: text(response['model'], context.model),
    choices: [choice],
  }
  const usage = decodeUsage(response['usage'], items)
  if (usage !== null) chat.usage = usage
  const tier = text(response['service_tier'])
  if (tier !== '') chat.service_tier = tier
  return chat
}

/** Whole Unix seconds, or undefined. */
export function createdAt(response: Fields): number | undefined {
  const at = response['created_at']
  return typeof at === 'number' && at > 0 ? Math.floor(at) : undefined
}

function collect(parts: Parts, item: Fields, context: DecodeContext): void {
  if (item['type'] === 'reasoning') parts.reasoning.push(...reasoningParts(item))
  const image = picture(item, parts.images.length)
  if (image !== null) parts.images.push(image)
  const call = toolCall(item, `${context.id}-${parts.calls.length}`)
  if (call !== null) parts.calls.push(call)
  if (item['type'] !== 'message' || !Array.isArray(item['content'])) return
  for (const part of (item['content'] as unknown[]).filter(isFields)) {
    if (part['type'] === 'refusal') parts.refusal += text(part['refusal'])
    if (part['type'] !== 'output_text') continue
    const start = parts.text.length
    parts.text += text(part['text'])
    if (Array.isArray(part['annotations']))
      for (const raw of part['annotations'] as unknown[]) parts.annotations.push(annotation(raw, start))
    if (Array.isArray(part['logprobs'])) parts.logprobs.push(...(part['logprobs'] as unknown[]))
  }
}

function assemble(parts: Parts, items: readonly OutputItem[]): ResponseMessage {
  const silent = parts.text === '' && (parts.calls.length > 0 || parts.refusal !== '')
  const message: ResponseMessage = { role: 'assistant', content: silent ? null : parts.text }
  if (parts.refusal !== '') message.refusal = parts.refusal
  if (parts.calls.length > 0) message.tool_calls = parts.calls
  if (parts.reasoning.length > 0) message.reasoning_content = parts.reasoning.join(PARAGRAPH)
  if (parts.annotations.length > 0) message.annotations = parts.annotations
  if (parts.images.length > 0) message['images'] = parts.images
  const kept = keptItems(items)
  if (kept.length > 0) message.provider_specific_fields = { [KEPT]: kept }
  return message
}
