import { isObject } from '../../../shared/json-object.ts'
import { numeric } from '../../../shared/numeric.ts'
import type { ChatRequest, ContentPart, Message, ThinkingBlock, Tool, ToolCall, ToolChoice } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { checkBody } from './check.ts'

type Fields = Readonly<Record<string, unknown>>
interface Block {
  type: string
  [field: string]: unknown
}

/** Fields that have a canonical place of the same name and meaning. */
export const SAME: readonly string[] = ['max_tokens', 'stream', 'temperature', 'top_p', 'metadata', 'thinking']
/** Fields that are put into canonical words below. */
const TRANSLATED: ReadonlySet<string> = new Set([
  ...SAME,
  'model',
  'messages',
  'system',
  'stop_sequences',
  'tools',
  'tool_choice',
  'service_tier',
])
/** OpenAI refuses a longer `user`. */
const USER_LIMIT = 64
/** Thinking budgets in tokens, from which an effort is that high. */
const EFFORTS: readonly (readonly [number, string])[] = [
  [10_000, 'high'],
  [5_000, 'medium'],
  [0, 'low'],
]

/** The canonical request. `limited`: it must limit its answer. Throws GatewayError `bad_request` naming the place that is wrong. */
export function decodeRequest(body: Record<string, unknown>, limited = true): ChatRequest {
  checkBody(body, limited)
  const native: Record<string, unknown> = {}
  const request: ChatRequest = { model: body['model'] as string, messages: messagesOf(body), anthropic: native }
  for (const name of SAME) if (body[name] !== undefined) request[name] = body[name]
  for (const name in body) {
    if (TRANSLATED.has(name) || name === 'anthropic') continue
    if (isGatewayField(name, body[name]) || name === 'user') request[name] = body[name]
    else native[name] = body[name]
  }
  const { stop_sequences: stop, tools, tool_choice: choice, service_tier: tier, metadata } = body
  if (Array.isArray(stop) && stop.length > 0) request.stop = stop as string[]
  if (Array.isArray(tools) && tools.length > 0) request.tools = tools.map(toolOf)
  if (isObject(choice)) {
    request.tool_choice = choiceOf(choice)
    if (choice['disable_parallel_tool_use'] === true) request.parallel_tool_calls = false
  }
  if (typeof tier === 'string') request.service_tier = tier === 'standard_only' ? 'default' : tier
  const user = isObject(metadata) ? metadata['user_id'] : undefined
  if (typeof user === 'string' && user !== '' && request.user === undefined) request.user = user.slice(0, USER_LIMIT)
  equivalents(request, native)
  return request
}

/** What other protocols have instead of native fields; a provider of Anthropic's own takes those. */
function equivalents(request: ChatRequest, native: Fields): void {
  const config = isObject(native['output_config']) ? native['output_config'] : {}
  const effort = effortOf(request.thinking, config['effort'])
  if (effort !== null) request.reasoning_effort = effort
  const format = isObject(config['format']) ? config['format'] : native['output_format']
  if (isObject(format) && format['type'] === 'json_schema' && isObject(format['schema'])) {
    request.response_format = { type: 'json_schema', json_schema: { name: 'answer', schema: { ...format['schema'] } } }
  }
}

function effortOf(thinking: unknown, effort: unknown): string | null {
  // Efforts above `high` exist in the newest models only.
  if (effort === 'low' || effort === 'medium' || effort === 'high') return effort
  if (effort === 'xhigh' || effort === 'max') return 'high'
  if (!isObject(thinking) || thinking['type'] !== 'enabled') return null
  const budget = numeric(thinking['budget_tokens'] ?? 0)
  return EFFORTS.find(([least]) => budget >= least)?.[1] ?? null
}

function messagesOf(body: Fields): Message[] {
  const messages: Message[] = []
  const { system } = body
  if (typeof system === 'string' || Array.isArray(system)) {
    if (system.length > 0) messages.push({ role: 'system', content: system as string | ContentPart[] })
  }
  for (const turn of body['messages'] as { role: string; content: string | Block[] }[]) {
    const { role, content } = turn
    if (typeof content === 'string') messages.push({ role, content })
    else if (role === 'assistant') assistantMessages(content, messages)
    else if (role === 'user') userMessages(content, messages)
    else messages.push({ role, content: content as ContentPart[] })
  }
  return messages
}

/** Tool results are messages of their own, before the rest of the turn: so must it be in both protocols. */
function userMessages(blocks: readonly Block[], messages: Message[]): void {
  const content: ContentPart[] = []
  for (const block of blocks) {
    if (block.type !== 'tool_result') content.push(partOf(block))
    else messages.push(toolMessage(block))
  }
  if (content.length > 0) messages.push({ role: 'user', content })
}

function toolMessage(block: Block): Message {
  const { type: _type, tool_use_id: id, content, ...rest } = block
  const parts = Array.isArray(content) ? (content as Block[]).map(partOf) : ((content ?? '') as string)
  return { role: 'tool', tool_call_id: id as string, content: parts, ...rest }
}

/**
 * Text, thinking and what server tools did stay in their order; calls follow the content of their message. A block behind a call begins
 * another message, so that a provider of this protocol, which joins neighbours, gets every block at its place.
 */
function assistantMessages(blocks: readonly Block[], messages: Message[]): void {
  let content: ContentPart[] = []
  let calls: ToolCall[] = []
  let reasoning = ''
  const flush = (): void => {
    if (content.length === 0 && calls.length === 0 && reasoning === '') return
    const message: Message = { role: 'assistant', content: content.length > 0 ? content : null }
    if (calls.length > 0) message.tool_calls = calls
    if (reasoning !== '') message.reasoning_content = reasoning
    messages.push(message)
    content = []
    calls = []
    reasoning = ''
  }
  for (const block of blocks) {
    if (block.type === 'tool_use') {
      calls.push(callOf(block))
      continue
    }
    if (calls.length > 0) flush()
    // Thinking without a signature is of another provider, translated: Anthropic would refuse it, its own provider may want it back.
    if (block.type === 'thinking' && !(block as ThinkingBlock).signature) reasoning += block['thinking'] as string
    else content.push(partOf(block))
  }
  flush()
}

function callOf(block: Block): ToolCall {
  const { type: _type, id, name, input, ...rest } = block
  const named = {
    name: name as string,
    // Written out when somebody reads it: a long conversation has megabytes of inputs, and most go to their provider unread.
    get arguments() {
      return JSON.stringify(input)
    },
  }
  return { id: id as string, type: 'function', function: named, ...rest }
}

/** A content block as a canonical part; one without a canonical counterpart stays what it is. */
function partOf(block: Block): ContentPart {
  if (block.type !== 'image' && block.type !== 'document') return block
  const { type, source, ...rest } = block as Block & { source: Fields }
  const url = urlOf(source)
  if (type === 'image') {
    if (url !== null) return { type: 'image_url', image_url: { url }, ...rest }
    return source['type'] === 'file'
      ? { type: 'file', file: { file_id: source['file_id'] as string, format: 'image/*' }, ...rest }
      : block
  }
  if (source['type'] === 'url') return { type: 'file', file: { file_id: url as string }, ...rest }
  if (source['type'] === 'file') return { type: 'file', file: { file_id: source['file_id'] as string }, ...rest }
  return source['type'] === 'base64' ? { type: 'file', file: { file_data: url as string }, ...rest } : block
}

function urlOf(source: Fields): string | null {
  if (source['type'] === 'base64') return `data:${source['media_type']};base64,${source['data']}`
  return source['type'] === 'url' ? (source['url'] as string) : null
}

/** The client's own tools become functions, their other fields beside them; Anthropic's own stay as they are. */
function toolOf(tool: Fields): Tool {
  const { type, name, description, input_schema: schema, strict, ...rest } = tool
  if (!isObject(schema) || (type !== undefined && type !== null && type !== 'custom')) return tool as Tool
  const definition: NonNullable<Tool['function']> = { name: name as string, parameters: schema as Record<string, unknown> }
  if (typeof description === 'string') definition.description = description
  if (strict === true) definition.strict = true
  return { type: 'function', function: definition, ...rest }
}

function choiceOf(choice: Fields): ToolChoice {
  switch (choice['type']) {
    case 'any':
      return 'required'
    case 'tool':
      return { type: 'function', function: { name: choice['name'] as string } }
    case 'none':
      return 'none'
    default:
      return 'auto'
  }
}
