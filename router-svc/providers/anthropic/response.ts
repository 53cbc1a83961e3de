import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse, ResponseMessage, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { jsonObject, sourceOf } from '../json.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { annotations, finishReason, messageFields, type Reading, readingOf, refusal, toolCall } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { decodeUsage } from './usage.ts'
import { type Block, type Fields, isBlock, isFields, JSON_TOOL, text } from './wire.ts'

/** Text and all that came with it, collected over the blocks of one message. */
interface Parts {
  text: string
  json: string | null
  reasoning: string
  thinking: ThinkingBlock[]
  calls: ToolCall[]
  citations: unknown[][]
  annotations: Fields[]
  kept: Block[]
}

/** Reads a whole message. Throws `provider_malformed`, or the provider's error when the body is one. */
export function decodeResponse(body: Uint8Array, headers: Headers, context: DecodeContext): ChatResponse {
  const message = parse(body, headers)
  const blocks = message['content']
  if (!Array.isArray(blocks)) throw new GatewayError('provider_malformed', 'The answer holds no content blocks.')
  const reading = readingOf(context.request)
  const parts: Parts = { text: '', json: null, reasoning: '', thinking: [], calls: [], citations: [], annotations: [], kept: [] }
  for (const block of blocks) if (isBlock(block)) collect(parts, block, reading)
  const usage = isFields(message['usage']) ? message['usage'] : {}
  const finish = finishReason(text(message['stop_reason']), parts.calls.length, parts.json !== null)
  const response: ChatResponse = {
    id: text(message['id'], context.id),
    object: 'chat.completion',
    created: context.created,
    model: text(message['model'], context.model),
    choices: [{ index: 0, message: assemble(parts, message), finish_reason: finish }],
    usage: decodeUsage(usage),
  }
  if (typeof usage['service_tier'] === 'string') response.service_tier = usage['service_tier']
  return response
}

function parse(body: Uint8Array, headers: Headers): Fields {
  const source = sourceOf(body)
  const message = jsonObject(source, 'The answer')
  if (errorInside(message)) throw decodeError(200, headers, source)
  return message
}

function collect(parts: Parts, block: Block, reading: Reading): void {
  switch (block.type) {
    case 'text': {
      const start = parts.text.length
      parts.text += text(block['text'])
      const citations = block['citations']
      if (Array.isArray(citations) && citations.length > 0) {
        parts.citations.push(citations)
        parts.annotations.push(...annotations(citations, start, parts.text.length))
      }
      return
    }
    case 'thinking':
      parts.reasoning += text(block['thinking'])
      parts.thinking.push(block as ThinkingBlock)
      return
    case 'redacted_thinking':
      parts.thinking.push(block as ThinkingBlock)
      return
    case 'tool_use': {
      const input = JSON.stringify(block['input'] ?? {})
      if (reading.jsonTool && block['name'] === JSON_TOOL) parts.json = (parts.json ?? '') + input
      else parts.calls.push(toolCall(block, reading, input))
      return
    }
    default:
      parts.kept.push(block)
  }
}

function assemble(parts: Parts, source: Fields): ResponseMessage {
  const content = parts.json ?? parts.text
  const message: ResponseMessage = { role: 'assistant', content: content === '' && parts.calls.length > 0 ? null : content }
  const refused = refusal(source)
  if (refused !== undefined) message.refusal = refused
  if (parts.calls.length > 0) message.tool_calls = parts.calls
  if (parts.reasoning !== '') message.reasoning_content = parts.reasoning
  if (parts.thinking.length > 0) message.thinking_blocks = parts.thinking
  if (parts.annotations.length > 0) message.annotations = parts.annotations
  const fields = messageFields(source)
  if (parts.citations.length > 0) fields['citations'] = parts.citations
  if (parts.kept.length > 0) fields['content_blocks'] = parts.kept
  if (Object.keys(fields).length > 0) message.provider_specific_fields = fields
  return message
}
