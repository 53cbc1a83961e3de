import { GatewayError } from '../../../shared/errors.ts'
import { isObject } from '../../../shared/json-object.ts'
import type { ChatResponse, ResponseMessage, ToolCall } from '../../canonical/chat.ts'
import { citationsIn, encodeUsage, PLACED, stopReason } from './usage.ts'

type Fields = Record<string, unknown>

/**
 * A canonical answer as a message; further choices than the first have no place in this protocol. Throws GatewayError
 * `provider_malformed` when a call's arguments are no JSON object although the model finished them.
 */
export function encodeResponse(response: ChatResponse, model: string): Fields {
  const choice = response.choices[0]
  const message = choice?.message
  const kept = isObject(message?.provider_specific_fields) ? message.provider_specific_fields : {}
  const cut = choice?.finish_reason === 'length'
  const encoded: Fields = {
    id: response.id,
    type: 'message',
    role: 'assistant',
    model,
    content: message === undefined ? [] : contentOf(message, kept, cut),
    stop_reason: stopReason(choice?.finish_reason ?? null, (message?.tool_calls ?? []).length > 0, kept['stop_reason']),
    stop_sequence: kept['stop_sequence'] ?? null,
  }
  for (const name in kept) if (!PLACED.has(name)) encoded[name] = kept[name]
  encoded['usage'] = encodeUsage(
    response.usage ?? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    response.service_tier,
  )
  return encoded
}

/** In the order of the protocol: thinking, what server tools did, text, calls. */
function contentOf(message: ResponseMessage, kept: Readonly<Fields>, cut: boolean): Fields[] {
  const blocks: Fields[] = []
  if (message.thinking_blocks !== undefined && message.thinking_blocks.length > 0) {
    blocks.push(...(message.thinking_blocks as unknown as Fields[]))
  } else if (typeof message.reasoning_content === 'string' && message.reasoning_content !== '') {
    blocks.push({ type: 'thinking', thinking: message.reasoning_content, signature: '' })
  }
  if (Array.isArray(kept['content_blocks'])) blocks.push(...(kept['content_blocks'] as Fields[]))
  const text = message.content ?? ''
  if (text !== '') {
    const citations = citationsIn(kept)
    blocks.push(citations.length > 0 ? { type: 'text', text, citations } : { type: 'text', text })
  } else if (typeof message.refusal === 'string' && message.refusal !== '') blocks.push({ type: 'text', text: message.refusal })
  for (const call of message.tool_calls ?? []) blocks.push(toolUse(call, cut))
  return blocks
}

function toolUse(call: ToolCall, cut: boolean): Fields {
  const { id, type: _type, function: named, custom, ...rest } = call
  if (custom !== undefined) return { type: 'tool_use', id, name: custom.name, input: { input: custom.input } }
  return { type: 'tool_use', id, name: named?.name ?? '', input: inputOf(named?.arguments ?? '', cut), ...rest }
}

/** A call that the output limit cut off has no input that could be trusted; the stop reason says so. */
function inputOf(text: string, cut: boolean): Fields {
  if (text.trim() === '') return {}
  let input: unknown
  try {
    input = JSON.parse(text)
  } catch (cause) {
    if (cut) return {}
    throw new GatewayError('provider_malformed', 'The arguments of a tool call are not valid JSON.', { cause })
  }
  if (isObject(input)) return input
  if (input === null || cut) return {}
  throw new GatewayError('provider_malformed', 'The arguments of a tool call are not a JSON object.')
}
