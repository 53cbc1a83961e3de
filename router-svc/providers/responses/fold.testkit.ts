import type { ChatChunk, ChatResponse, ResponseMessage, ToolCall } from '../../canonical/chat.ts'

/** A stream's chunks as the whole answer a client makes of them. Throws when they do not fit together. */
export function fold(chunks: readonly ChatChunk[]): ChatResponse {
  const [first] = chunks
  if (first === undefined) throw new Error('an empty stream')
  const message: ResponseMessage = { role: '', content: null }
  const calls: ToolCall[] = []
  const logprobs: unknown[] = []
  const response: ChatResponse = {
    id: first.id,
    object: 'chat.completion',
    created: first.created,
    model: first.model,
    choices: [{ index: 0, message, finish_reason: null }],
  }
  for (const chunk of chunks) {
    if (chunk.id !== first.id || chunk.model !== first.model) throw new Error('the id or model changed')
    if (chunk.usage) response.usage = chunk.usage
    if (chunk.service_tier !== undefined) response.service_tier = chunk.service_tier
    for (const { delta, finish_reason: reason, logprobs: scores } of chunk.choices) {
      const [choice] = response.choices
      if (choice === undefined || choice.finish_reason !== null) throw new Error('a choice after the finish')
      choice.finish_reason = reason
      const { role, content, refusal, reasoning_content: reasoning, tool_calls: pieces, annotations, images, ...rest } = delta
      if (role !== undefined) {
        if (message.role !== '') throw new Error('the role came twice')
        message.role = role
      }
      if (typeof content === 'string') message.content = (message.content ?? '') + content
      if (typeof refusal === 'string') message.refusal = (message.refusal ?? '') + refusal
      if (reasoning !== undefined) message.reasoning_content = (message.reasoning_content ?? '') + reasoning
      for (const piece of pieces ?? []) foldCall(calls, piece as ToolCall & { index: number })
      if (Array.isArray(annotations)) message.annotations = [...(message.annotations ?? []), ...(annotations as unknown[])]
      if (Array.isArray(images))
        message['images'] = [...((message['images'] as unknown[] | undefined) ?? []), ...(images as unknown[])]
      if (scores != null) logprobs.push(...(scores as { content: unknown[] }).content)
      Object.assign(message, rest)
      if (logprobs.length > 0) choice.logprobs = { content: logprobs, refusal: null }
    }
  }
  if (calls.length > 0) message.tool_calls = calls
  return response
}

function foldCall(calls: ToolCall[], { index, ...piece }: ToolCall & { index: number }): void {
  const call = calls[index]
  if (call === undefined) {
    if (index !== calls.length || piece.id === undefined) throw new Error(`call ${index} begins without id or out of order`)
    calls.push(structuredClone(piece) as ToolCall)
    return
  }
  if (piece.id !== undefined) throw new Error(`call ${index} begins twice`)
  if (call.function !== undefined) call.function.arguments += piece.function?.arguments ?? ''
  if (call.custom !== undefined) call.custom.input += piece.custom?.input ?? ''
}
