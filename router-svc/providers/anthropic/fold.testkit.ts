import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk, ResponseMessage, ThinkingBlock, ToolCall, Usage } from '../../canonical/chat.ts'
import type { DecodeContext } from '../provider.ts'
import { MessageStream } from './stream.ts'
import { isFields } from './wire.ts'

export interface Folded {
  id: string
  model: string
  message: ResponseMessage
  finish: string | null
  usage: Usage | null
  serviceTier: string | undefined
}

/** What a client makes of a stream: strings join, lists grow, other fields are set. */
export function fold(chunks: readonly ChatChunk[]): Folded {
  const folded: Folded = {
    id: '',
    model: '',
    message: { role: '', content: '' },
    finish: null,
    usage: null,
    serviceTier: undefined,
  }
  const message = folded.message
  const calls: ToolCall[] = []
  for (const chunk of chunks) {
    folded.id = chunk.id
    folded.model = chunk.model
    folded.serviceTier = chunk.service_tier ?? folded.serviceTier
    if (chunk.usage) folded.usage = chunk.usage
    for (const { delta, finish_reason: finish } of chunk.choices) {
      folded.finish = finish ?? folded.finish
      const { role, content, reasoning_content: reasoning, tool_calls: pieces, thinking_blocks: thinking, ...others } = delta
      if (role !== undefined) message.role = role
      if (content) message.content = (message.content ?? '') + content
      if (reasoning !== undefined) message.reasoning_content = (message.reasoning_content ?? '') + reasoning
      if (thinking !== undefined) message.thinking_blocks = [...(message.thinking_blocks ?? []), ...(thinking as ThinkingBlock[])]
      for (const { index, function: piece, ...rest } of pieces ?? []) {
        calls[index] ??= { id: '', type: '', function: { name: '', arguments: '' } }
        const call = Object.assign(calls[index], rest)
        if (call.function) {
          call.function.name += piece?.name ?? ''
          call.function.arguments += piece?.arguments ?? ''
        }
      }
      merge(message, others)
    }
  }
  if (calls.length > 0) message.tool_calls = calls
  if (message.content === '' && calls.length > 0) message.content = null
  return folded
}

function merge(into: Record<string, unknown>, fields: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(fields)) {
    const before = into[field]
    if (Array.isArray(before) && Array.isArray(value)) into[field] = [...before, ...value]
    else if (isFields(before) && isFields(value)) {
      const both = { ...before }
      merge(both, value)
      into[field] = both
    } else into[field] = value
  }
}

export function context(request: Record<string, unknown> = {}): DecodeContext {
  return { id: 'chatcmpl-made', created: 1_700_000_000, model: 'claude-asked', request }
}

/** Chunks of a stream whose bytes arrive in the given pieces. */
export function decodePieces(pieces: Iterable<Uint8Array>, request: Record<string, unknown> = {}): ChatChunk[] {
  const parser = new SseParser()
  const decoder = new MessageStream(context(request))
  const chunks: ChatChunk[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
  for (const event of parser.end()) chunks.push(...decoder.push(event))
  chunks.push(...decoder.end())
  return chunks
}

export function decodeText(stream: string, request: Record<string, unknown> = {}): ChatChunk[] {
  return decodePieces([Buffer.from(stream)], request)
}
