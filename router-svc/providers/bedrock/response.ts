import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse, ResponseMessage, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { type Reading, readingOf } from '../anthropic/answer.ts'
import { jsonObject, sourceOf } from '../json.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { finishReason, isServerTool, messageFields, serviceTier, thinkingBlock } from './answer.ts'
import { decodeError } from './errors.ts'
import { toolNames } from './tools.ts'
import { decodeUsage } from './usage.ts'
import { type Fields, isFields, JSON_TOOL, text } from './wire.ts'

/** Text and all that came with it, collected over the blocks of one message. */
interface Parts {
  text: string
  json: string | null
  reasoning: string
  thinking: ThinkingBlock[]
  calls: ToolCall[]
  citations: unknown[]
  kept: Fields[]
}

/** Reads an answer of Converse. Throws `provider_malformed`, or the provider's error when the body is one. */
export function decodeResponse(body: Uint8Array, headers: Headers, context: DecodeContext): ChatResponse {
  const answer = parse(body, headers)
  const output = answer['output']
  const message = isFields(output) ? output['message'] : undefined
  const blocks = isFields(message) ? message['content'] : undefined
  if (!Array.isArray(blocks)) throw new GatewayError('provider_malformed', 'The answer holds no content blocks.')
  const reading = readingOf(context.request, toolNames(context.request))
  const parts: Parts = { text: '', json: null, reasoning: '', thinking: [], calls: [], citations: [], kept: [] }
  for (const block of blocks) if (isFields(block)) collect(parts, block, reading)
  const finish = finishReason(text(answer['stopReason']), parts.calls.length, parts.json !== null)
  const response: ChatResponse = {
    id: context.id,
    object: 'chat.completion',
    created: context.created,
    model: context.model,
    choices: [{ index: 0, message: assemble(parts, answer), finish_reason: finish }],
    usage: decodeUsage(isFields(answer['usage']) ? answer['usage'] : {}),
  }
  const tier = serviceTier(answer)
  if (tier !== undefined) response.service_tier = tier
  return response
}

function parse(body: Uint8Array, headers: Headers): Fields {
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  if (answer['output'] === undefined && (answer['message'] !== undefined || answer['__type'] !== undefined))
    throw decodeError(200, headers, source)
  return answer
}

function collect(parts: Parts, block: Fields, reading: Reading): void {
  if (typeof block['text'] === 'string') {
    parts.text += block['text']
  } else if (isFields(block['toolUse']) && !isServerTool(block['toolUse'])) {
    const use = block['toolUse']
    const input = JSON.stringify(use['input'] ?? {})
    if (reading.jsonTool && use['name'] === JSON_TOOL) parts.json = (parts.json ?? '') + input
    else {
      const named = { name: reading.names.original(text(use['name'])), arguments: input }
      parts.calls.push({ id: text(use['toolUseId']), type: 'function', function: named })
    }
  } else if (isFields(block['reasoningContent'])) {
    const thinking = thinkingBlock(block['reasoningContent'])
    parts.reasoning += thinking.thinking ?? ''
    parts.thinking.push(thinking)
  } else if (isFields(block['citationsContent'])) {
    const { content, citations } = block['citationsContent']
    if (Array.isArray(content)) for (const piece of content) if (isFields(piece)) parts.text += text(piece['text'])
    if (Array.isArray(citations)) parts.citations.push(citations)
  } else parts.kept.push(block)
}

function assemble(parts: Parts, answer: Fields): ResponseMessage {
  const content = parts.json ?? parts.text
  const message: ResponseMessage = { role: 'assistant', content: content === '' && parts.calls.length > 0 ? null : content }
  if (parts.calls.length > 0) message.tool_calls = parts.calls
  if (parts.reasoning !== '') message.reasoning_content = parts.reasoning
  if (parts.thinking.length > 0) message.thinking_blocks = parts.thinking
  const fields = messageFields(answer)
  if (parts.citations.length > 0) fields['citations'] = parts.citations
  if (parts.kept.length > 0) fields['content_blocks'] = parts.kept
  if (Object.keys(fields).length > 0) message.provider_specific_fields = fields
  return message
}
