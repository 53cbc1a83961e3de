import type { ChatRequest, Message, ToolCall } from '../canonical/chat.ts'
import { isFields } from './json.ts'
import { type PlainChat, plainChat } from './plain-chat.ts'

/**
 * The request of a client of Gemini's protocol for a provider of another one: without what only Google has. What the provider lacks beside is left
 * out, as for Anthropic's clients (plain-chat.ts). `thinks`: it takes Anthropic's thinking back, and `top_k`. Never changes `request`.
 */
export function plainGemini({ gemini: native, ...request }: ChatRequest, thinks: boolean): PlainChat {
  const messages = (request as ChatRequest).messages.map((message) => plainMessage(message, thinks))
  const plain = { ...request, messages } as ChatRequest
  if (!thinks) return plainChat(plain)
  const config = isFields(native) ? native['generationConfig'] : undefined
  const topK = isFields(config) ? config['topK'] : undefined
  return { request: { drop_params: true, ...plain, ...(typeof topK === 'number' ? { top_k: topK } : {}) }, names: null }
}

function plainMessage(message: Message, thinks: boolean): Message {
  const { provider_specific_fields: _own, thinking_blocks: thinking, ...plain } = message
  if (Array.isArray(plain.content)) plain.content = plain.content.filter((part) => part.type !== 'gemini')
  if (plain.tool_calls !== undefined) plain.tool_calls = plain.tool_calls.map(plainCall)
  return (thinks && thinking !== undefined ? { ...plain, thinking_blocks: thinking } : plain) as Message
}

function plainCall({ provider_specific_fields: _own, ...call }: ToolCall): ToolCall {
  return call as ToolCall
}
