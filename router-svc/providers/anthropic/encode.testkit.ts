import type { ChatRequest, Message, Tool } from '../../canonical/chat.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { encodeRequest } from './request.ts'
import type { Block, Fields, MessagesRequest, Turn } from './wire.ts'

export function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'anthropic',
    model: 'claude-sonnet-4-5',
    base: 'https://api.anthropic.com',
    maxOutputTokens: 1000,
    ...changes,
  }
}

/** The body sent for a request; `messages` may be left out where they do not matter. */
export function encode(request: Partial<ChatRequest>, changes: Partial<Target> = {}): MessagesRequest {
  const { body } = encodeRequest({ model: 'group', messages: [{ role: 'user', content: 'Hi' }], ...request }, target(changes))
  return JSON.parse(body as string) as MessagesRequest
}

/** What an OpenAI client would have sent for a request recorded against the Messages API. */
export function canonicalOf(body: Fields): ChatRequest {
  const { max_tokens, messages, model, system, tools, tool_choice: choice, ...rest } = body as unknown as MessagesRequest
  const request = { model, max_tokens, messages: [], ...rest } as Fields as ChatRequest
  if (system !== undefined) request.messages.push({ role: 'system', content: system as Message['content'] & string })
  for (const turn of messages) request.messages.push(...messagesOf(turn))
  if (tools !== undefined) request.tools = tools.map(toolOf)
  if (choice !== undefined) {
    const words: Record<string, 'auto' | 'required' | 'none'> = { auto: 'auto', any: 'required', none: 'none' }
    request.tool_choice = words[String(choice['type'])] ?? { type: 'function', function: { name: String(choice['name']) } }
    if (choice['disable_parallel_tool_use'] === true) request.parallel_tool_calls = false
  }
  return request
}

function toolOf(tool: Fields): Tool {
  const { type, name, description, input_schema: parameters, ...others } = tool
  if (parameters === undefined) return tool as Tool
  const definition: NonNullable<Tool['function']> = { name: String(name), parameters: parameters as Fields }
  if (description !== undefined) definition.description = String(description)
  return { type: 'function', function: definition, ...others }
}

function messagesOf({ role, content }: Turn): Message[] {
  if (typeof content === 'string') return [{ role, content }]
  const parts: Block[] = []
  const calls: NonNullable<Message['tool_calls']> = []
  const results: Message[] = []
  for (const block of content) {
    if (block.type === 'tool_use') {
      const { type, id, name, input, ...others } = block
      calls.push({
        id: String(id),
        type: 'function',
        function: { name: String(name), arguments: JSON.stringify(input) },
        ...others,
      })
    } else if (block.type === 'tool_result') {
      const { type, tool_use_id: id, content: result, ...others } = block
      results.push({ role: 'tool', tool_call_id: String(id), content: result as string, ...others } as Message)
    } else parts.push(partOf(block))
  }
  const message: Message = { role, content: parts.length > 0 ? parts : null }
  if (calls.length > 0) message.tool_calls = calls
  return parts.length === 0 && calls.length === 0 ? results : [...results, message]
}

function partOf(block: Block): Block {
  const source = block['source'] as Fields | undefined
  const { type, source: _source, ...others } = block
  if (type === 'image' && source?.['type'] === 'base64') {
    return {
      type: 'image_url',
      image_url: { url: `data:${String(source['media_type'])};base64,${String(source['data'])}` },
      ...others,
    }
  }
  if (type === 'image' && source?.['type'] === 'url') return { type: 'image_url', image_url: { url: source['url'] }, ...others }
  if (type === 'document' && source?.['type'] === 'base64') {
    return {
      type: 'file',
      file: { file_data: `data:${String(source['media_type'])};base64,${String(source['data'])}` },
      ...others,
    }
  }
  if (type === 'document' && source?.['type'] === 'url') return { type: 'file', file: { file_id: source['url'] }, ...others }
  return block
}

/** The same request in one spelling: the API reads a string as one text block, neighbours of one role as one turn, `stream: false` as nothing. */
export function spelled(body: Fields): Fields {
  const { stream, system, messages, tools, ...rest } = body as unknown as MessagesRequest & { stream?: boolean }
  const spelling: Fields = {
    ...rest,
    messages: merged(messages),
  }
  if (stream === true) spelling['stream'] = true
  if (system !== undefined) spelling['system'] = blocks(system)
  if (tools !== undefined)
    spelling['tools'] = tools.map(({ type, ...tool }) => (type === 'custom' || type === undefined ? tool : { type, ...tool }))
  return spelling
}

function merged(messages: Turn[]): { role: string; content: Block[] }[] {
  const turns: { role: string; content: Block[] }[] = []
  for (const { role, content } of messages) {
    const last = turns.at(-1)
    const list = blocks(content).map(result)
    if (last?.role === role) last.content.push(...list)
    else turns.push({ role, content: list })
  }
  return turns
}

function blocks(content: string | Block[]): Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content
}

function result(block: Block): Block {
  return block.type === 'tool_result'
    ? { is_error: false, ...block, content: blocks((block['content'] ?? []) as string | Block[]) }
    : block
}
