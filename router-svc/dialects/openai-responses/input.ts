import { isObject } from '../../../shared/json-object.ts'
import type { ContentPart, Message, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import type { InputItem } from '../../canonical/responses.ts'

type Fields = Readonly<Record<string, unknown>>

export interface Conversation {
  messages: Message[]
  /** Places of items and parts that have no counterpart in a chat, and what they are. */
  unplaced: { place: string; type: string }[]
}

/** What hosted tools did earlier: their results are in the text that followed. */
const DONE_ELSEWHERE: ReadonlySet<string> = new Set([
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'mcp_list_tools',
  'mcp_call',
  'tool_search_call',
  'tool_search_output',
])

/**
 * Instructions and items as messages. Everything the model said between two inputs is one assistant message: in a chat calls are part of the
 * message, and results must follow it.
 */
export function conversationOf(instructions: unknown, input: unknown): Conversation {
  const said = new Said()
  if (typeof instructions === 'string') {
    if (instructions !== '') said.messages.push({ role: 'system', content: instructions })
  } else if (Array.isArray(instructions)) said.addAll(instructions as InputItem[], 'instructions')
  if (typeof input === 'string') said.put({ role: 'user', content: input })
  else if (Array.isArray(input)) said.addAll(input as InputItem[], 'input')
  said.flush()
  return { messages: said.messages, unplaced: said.unplaced }
}

/** The messages so far, and the assistant's that is still growing. */
class Said {
  readonly messages: Message[] = []
  readonly unplaced: Conversation['unplaced'] = []
  #texts: string[] = []
  #calls: ToolCall[] = []
  #reasoning: string[] = []
  #thinking: ThinkingBlock[] = []
  #refusal = ''

  addAll(items: readonly InputItem[], place: string): void {
    for (const [index, item] of items.entries()) this.#add(item as Fields, `${place}[${index}]`)
    this.flush()
  }

  put(message: Message): void {
    this.flush()
    this.messages.push(message)
  }

  flush(): void {
    const calls = this.#calls
    const silent = this.#texts.length === 0 && this.#reasoning.length === 0 && this.#thinking.length === 0
    if (silent && calls.length === 0 && this.#refusal === '') return
    const message: Message = { role: 'assistant', content: this.#texts.length > 0 ? this.#texts.join('\n\n') : null }
    if (calls.length > 0) message.tool_calls = calls
    if (this.#reasoning.length > 0) message.reasoning_content = this.#reasoning.join('\n\n')
    if (this.#thinking.length > 0) message.thinking_blocks = this.#thinking
    if (this.#refusal !== '') message['refusal'] = this.#refusal
    this.messages.push(message)
    this.#texts = []
    this.#calls = []
    this.#reasoning = []
    this.#thinking = []
    this.#refusal = ''
  }

  #add(item: Fields, place: string): void {
    const type = (item['type'] ?? 'message') as string
    switch (type) {
      case 'message':
        if (item['role'] === 'assistant') this.#assistant(item['content'], place)
        else this.put({ role: item['role'] as string, content: this.#content(item['content'], `${place}.content`) })
        return
      case 'function_call': {
        const named = { name: item['name'] as string, arguments: item['arguments'] as string }
        this.#calls.push({ id: item['call_id'] as string, type: 'function', function: named })
        return
      }
      case 'custom_tool_call': {
        const named = { name: item['name'] as string, input: item['input'] as string }
        this.#calls.push({ id: item['call_id'] as string, type: 'custom', custom: named })
        return
      }
      case 'function_call_output':
      case 'custom_tool_call_output':
        this.put({
          role: 'tool',
          tool_call_id: item['call_id'] as string,
          content: this.#content(item['output'], `${place}.output`),
        })
        return
      case 'reasoning':
        this.#thought(item)
        return
      default:
        if (!DONE_ELSEWHERE.has(type)) this.unplaced.push({ place, type })
    }
  }

  #assistant(content: unknown, place: string): void {
    if (typeof content === 'string') {
      if (content !== '') this.#texts.push(content)
      return
    }
    let text = ''
    for (const [index, part] of (content as Fields[]).entries()) {
      const type = part['type']
      if (type === 'output_text' || type === 'input_text' || type === 'text') text += part['text']
      else if (type === 'refusal') this.#refusal += part['refusal']
      else this.unplaced.push({ place: `${place}.content[${index}]`, type: String(type) })
    }
    if (text !== '') this.#texts.push(text)
  }

  #thought(item: Fields): void {
    const blocks = openThinking(item['encrypted_content'])
    if (blocks !== null) {
      this.#thinking.push(...blocks)
      return
    }
    for (const list of [item['summary'], item['content']]) {
      const parts = Array.isArray(list) ? (list as Fields[]) : []
      const texts = parts.map((part) => part['text']).filter((text): text is string => typeof text === 'string' && text !== '')
      if (texts.length === 0) continue
      this.#reasoning.push(...texts)
      return
    }
  }

  #content(content: unknown, place: string): string | ContentPart[] {
    if (typeof content === 'string') return content
    const parts: ContentPart[] = []
    for (const [index, part] of (content as Fields[]).entries()) {
      const made = partOf(part)
      if (made === null) this.unplaced.push({ place: `${place}[${index}]`, type: String(part['type']) })
      else parts.push(made)
    }
    // The usual one part of text is what every provider takes.
    const [only] = parts
    return parts.length === 1 && only?.type === 'text' ? (only['text'] as string) : parts
  }
}

function partOf(part: Fields): ContentPart | null {
  switch (part['type']) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return { type: 'text', text: part['text'] as string }
    case 'refusal':
      return { type: 'text', text: part['refusal'] as string }
    case 'input_image':
      return imageOf(part)
    case 'input_file':
      return fileOf(part)
    case 'input_audio':
      return isObject(part['input_audio']) ? (part as ContentPart) : null
    default:
      return null
  }
}

function imageOf({ image_url: url, file_id: id, detail }: Fields): ContentPart | null {
  if (typeof url === 'string' && url !== '')
    return { type: 'image_url', image_url: typeof detail === 'string' ? { url, detail } : { url } }
  return typeof id === 'string' ? { type: 'file', file: { file_id: id, format: 'image/*' } } : null
}

/** LiteLLM's place for the address of a file is `file_id`. */
function fileOf({ file_id: id, file_data: data, file_url: url, filename }: Fields): ContentPart | null {
  const named = typeof filename === 'string' ? { filename } : {}
  if (typeof data === 'string') return { type: 'file', file: { ...named, file_data: data } }
  const where = typeof id === 'string' ? id : url
  return typeof where === 'string' ? { type: 'file', file: { ...named, file_id: where } } : null
}

/** What a provider signed of its thinking, in the place clients carry such things in. */
const THINKING = 'thinking.v1.'

export function sealThinking(blocks: readonly ThinkingBlock[]): string {
  return THINKING + Buffer.from(JSON.stringify(blocks)).toString('base64url')
}

/** The blocks that `sealThinking` wrote; null for what another made. */
function openThinking(content: unknown): ThinkingBlock[] | null {
  if (typeof content !== 'string' || !content.startsWith(THINKING)) return null
  try {
    const blocks: unknown = JSON.parse(Buffer.from(content.slice(THINKING.length), 'base64url').toString('utf8'))
    return Array.isArray(blocks) ? blocks.filter((block): block is ThinkingBlock => isObject(block)) : null
  } catch {
    return null
  }
}
