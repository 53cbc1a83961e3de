import type { ChatChunk, ChatRequest, ChatResponse, ContentPart, Message, Tool, ToolCall } from '../canonical/chat.ts'
import { Sanitiser, toolName } from './anthropic/names.ts'
import type { StreamDecoder } from './provider.ts'
import { wrappedStream } from './wrapped-stream.ts'

/** What OpenAI and those who speak its protocol take as the name of a function; Anthropic takes 128. */
const NAME_LIMIT = 64

type Fields = Readonly<Record<string, unknown>>

export interface PlainChat {
  request: ChatRequest
  /** Names of tools that had to be shortened; null when none had. */
  names: Sanitiser | null
}

/**
 * The request of an Anthropic client for a provider of another protocol: without the blocks, tools and fields that only Anthropic has, text
 * kept where there is any. What the provider lacks beside is left out (`drop_params`, unless the client says otherwise): the client speaks to
 * one API and cannot know which parameters another one takes. Never changes `request`.
 */
export function plainChat({ anthropic: _native, thinking: _thinking, ...request }: ChatRequest): PlainChat {
  const names = namesOf(request.tools ?? [])
  const plain: ChatRequest = { drop_params: true, ...request, messages: plainMessages(request.messages, names) }
  const tools = (request.tools ?? []).filter((tool) => tool.function !== undefined).map((tool) => plainTool(tool, names))
  if (tools.length > 0) plain.tools = tools
  else {
    delete plain.tools
    delete plain.tool_choice
    delete plain.parallel_tool_calls
  }
  const choice = plain.tool_choice
  if (typeof choice === 'object' && choice !== null && choice.function !== undefined) {
    const name = names?.clean(choice.function.name) ?? choice.function.name
    // One of Anthropic's own tools, which is not among them any more.
    if (tools.some((tool) => tool.function?.name === name)) plain.tool_choice = { type: 'function', function: { name } }
    else delete plain.tool_choice
  }
  return { request: plain, names }
}

/** Puts the client's own tool names back into an answer, in place. */
export function restoreNames(answer: ChatResponse | ChatChunk, names: Sanitiser): void {
  for (const choice of answer.choices) {
    const { tool_calls: calls } = ('message' in choice ? choice.message : choice.delta) as { tool_calls?: ToolCall[] }
    for (const { function: named } of calls ?? []) if (named?.name !== undefined) named.name = names.original(named.name)
  }
}

/** A decoder whose chunks carry the client's own tool names. */
export function restoringNames(decoder: StreamDecoder<ChatChunk>, names: Sanitiser): StreamDecoder<ChatChunk> {
  const restored = (chunks: ChatChunk[]): ChatChunk[] => {
    for (const chunk of chunks) restoreNames(chunk, names)
    return chunks
  }
  return wrappedStream(decoder, restored)
}

function namesOf(tools: readonly Tool[]): Sanitiser | null {
  const given = tools.map(toolName)
  if (!given.some((name) => name.length > NAME_LIMIT)) return null
  const names = new Sanitiser(NAME_LIMIT)
  // Names that are short enough keep their form whatever comes before them.
  for (const name of given) if (name.length <= NAME_LIMIT) names.clean(name)
  for (const name of given) names.clean(name)
  return names
}

function plainTool(tool: Tool, names: Sanitiser | null): Tool {
  const definition = tool.function as NonNullable<Tool['function']>
  const plain: Tool = {
    type: 'function',
    function: names === null ? definition : { ...definition, name: names.clean(definition.name) },
  }
  if (tool.cache_control !== undefined) plain.cache_control = tool.cache_control
  return plain
}

function plainMessages(messages: readonly Message[], names: Sanitiser | null): Message[] {
  const plain: Message[] = []
  /** Pictures and files in tool results, which only a user may send. */
  let shown: ContentPart[] = []
  for (const message of messages) {
    if (message.role === 'tool') {
      const { parts, rest } = toolParts(message.content)
      plain.push({ role: 'tool', tool_call_id: message.tool_call_id as string, content: parts })
      shown.push(...rest)
      continue
    }
    if (shown.length > 0 && message.role !== 'user') plain.push({ role: 'user', content: shown })
    const before = message.role === 'user' ? shown : []
    shown = []
    const made = message.role === 'assistant' ? assistant(message, names) : spoken(message, before)
    if (made === null) continue
    const last = plain.at(-1)
    if (made.role === 'assistant' && last?.role === 'assistant') plain[plain.length - 1] = joined(last, made)
    else plain.push(made)
  }
  if (shown.length > 0) plain.push({ role: 'user', content: shown })
  return plain
}

/** A user's or system message; null when nothing is left of it. */
function spoken(message: Message, before: readonly ContentPart[]): Message | null {
  if (!Array.isArray(message.content)) {
    if (before.length === 0) return message
    return { ...message, content: [...before, { type: 'text', text: message.content ?? '' }] }
  }
  const content = [...before, ...message.content.flatMap(plainParts)]
  return content.length === 0 ? null : { ...message, content }
}

function assistant(message: Message, names: Sanitiser | null): Message | null {
  const { content, tool_calls: calls, reasoning_content: reasoning } = message
  const text = Array.isArray(content) ? textOf(content) : (content ?? '')
  if (text === '' && calls === undefined) return null
  const made: Message = { role: 'assistant', content: text === '' ? null : text }
  if (calls !== undefined) made.tool_calls = calls.map((call) => plainCall(call, names))
  if (reasoning !== undefined) made.reasoning_content = reasoning
  return made
}

function plainCall({ id, function: named }: ToolCall, names: Sanitiser | null): ToolCall {
  const name = named?.name ?? ''
  return { id, type: 'function', function: { name: names?.clean(name) ?? name, arguments: named?.arguments ?? '{}' } }
}

/** Two messages of one assistant turn: results must follow the message with the calls at once. */
function joined(first: Message, second: Message): Message {
  const content = `${first.content ?? ''}${second.content ?? ''}`
  const message: Message = { role: 'assistant', content: content === '' ? null : content }
  const calls = [...(first.tool_calls ?? []), ...(second.tool_calls ?? [])]
  if (calls.length > 0) message.tool_calls = calls
  const reasoning = `${first.reasoning_content ?? ''}${second.reasoning_content ?? ''}`
  if (reasoning !== '') message.reasoning_content = reasoning
  return message
}

function toolParts(content: Message['content']): { parts: string; rest: ContentPart[] } {
  if (!Array.isArray(content)) return { parts: content ?? '', rest: [] }
  const plain = content.flatMap(plainParts)
  const texts = plain.filter((part) => part.type === 'text').map((part) => part['text'] as string)
  return { parts: texts.join('\n'), rest: plain.filter((part) => part.type !== 'text') }
}

function textOf(content: readonly ContentPart[]): string {
  let text = ''
  for (const part of content) if (part.type === 'text') text += part['text'] as string
  return text
}

/** A part as others take it: none when it holds nothing for them. */
function plainParts(part: ContentPart): ContentPart[] {
  const mark = part['cache_control'] === undefined ? {} : { cache_control: part['cache_control'] }
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part['text'], ...mark }]
    case 'input_audio':
      return [part]
    case 'image_url':
      return [{ type: 'image_url', image_url: part['image_url'], ...mark }]
    case 'file': {
      const title = part['title']
      const filename = typeof title === 'string' && title !== '' ? title : 'document.pdf'
      return [{ type: 'file', file: { filename, ...(part['file'] as Fields) }, ...mark }]
    }
    case 'document':
      return documentParts(part, mark)
    case 'search_result': {
      const found = Array.isArray(part['content']) ? textOf(part['content'] as ContentPart[]) : ''
      return [{ type: 'text', text: titled(`${part['title'] ?? ''} (${part['source'] ?? ''})`, found), ...mark }]
    }
    default:
      return []
  }
}

/** A document that is text, or made of blocks. */
function documentParts(part: ContentPart, mark: Fields): ContentPart[] {
  const source = part['source'] as Fields
  const title = typeof part['title'] === 'string' ? part['title'] : ''
  const held = source['type'] === 'text' ? source['data'] : source['content']
  if (typeof held === 'string') return [{ type: 'text', text: titled(title, held), ...mark }]
  return Array.isArray(held) ? (held as ContentPart[]).flatMap(plainParts) : []
}

function titled(title: string, text: string): string {
  return title === '' ? text : `${title}\n${text}`
}
