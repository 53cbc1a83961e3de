import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, ContentPart, Message, ToolCall } from '../../canonical/chat.ts'
import { type Fields, isFields, text } from './wire.ts'

/**
 * Messages as `/api/chat` takes them: content as one string, pictures as bare base64 beside it, arguments of calls as objects, results under
 * the name of their tool. Throws `bad_request` naming the message or part that cannot be carried.
 */
export function encodeMessages(messages: ChatRequest['messages']): Fields[] {
  /** Call id → name of the tool: results name only the former. */
  const called = new Map<string, string>()
  return messages.map((message, index) => encodeMessage(message, `messages[${index}]`, called))
}

function encodeMessage(message: Message, path: string, called: Map<string, string>): Fields {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', ...encodeContent(message.content, path) }
    case 'user':
      return { role: 'user', ...encodeContent(message.content, path) }
    case 'assistant':
      return encodeAssistant(message, path, called)
    case 'tool': {
      const id = text(message.tool_call_id)
      const name = called.get(id) ?? text(message.name)
      return {
        role: 'tool',
        ...encodeContent(message.content, path),
        ...(name === '' ? {} : { tool_name: name }),
        ...(id === '' ? {} : { tool_call_id: id }),
      }
    }
    case 'function':
      return { role: 'tool', ...encodeContent(message.content, path), tool_name: text(message.name) }
    default:
      throw refuse(`${path}.role`, `${path} has the unknown role ${JSON.stringify(message.role)}.`)
  }
}

function encodeAssistant(message: Message, path: string, called: Map<string, string>): Fields {
  const encoded: Fields = { role: 'assistant', ...encodeContent(message.content, path) }
  if (text(message.reasoning_content) !== '') encoded['thinking'] = message.reasoning_content
  const calls: ToolCall[] = [...(message.tool_calls ?? [])]
  if (message.function_call) calls.push({ id: '', type: 'function', function: message.function_call })
  if (calls.length > 0) encoded['tool_calls'] = calls.map((call, at) => encodeCall(call, `${path}.tool_calls[${at}]`, called))
  return encoded
}

function encodeCall(call: ToolCall, path: string, called: Map<string, string>): Fields {
  const name = text(call.function?.name)
  if (name === '') throw refuse(path, `${path} is not the call of a function.`)
  const id = text(call.id)
  if (id !== '') called.set(id, name)
  return { ...(id === '' ? {} : { id }), function: { name, arguments: argumentsOf(call, path) } }
}

function argumentsOf(call: ToolCall, path: string): Fields {
  const source: unknown = call.function?.arguments
  if (isFields(source)) return source
  if (typeof source !== 'string' || source.trim() === '') return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(source)
  } catch {
    parsed = null
  }
  if (isFields(parsed)) return parsed
  throw refuse(`${path}.function.arguments`, `${path}.function.arguments is not a JSON object.`)
}

function encodeContent(content: Message['content'], path: string): Fields {
  if (!Array.isArray(content)) return { content: content ?? '' }
  const texts: string[] = []
  const images: string[] = []
  for (const [at, part] of content.entries()) encodePart(part, `${path}.content[${at}]`, texts, images)
  return { content: texts.join('\n'), ...(images.length > 0 ? { images } : {}) }
}

function encodePart(part: ContentPart, path: string, texts: string[], images: string[]): void {
  switch (part.type) {
    case 'text':
      texts.push(text(part['text']))
      return
    case 'image_url':
      images.push(imageOf(part['image_url'], path))
      return
    default:
      throw refuse(path, `${path} is of type ${JSON.stringify(part.type)}, which Ollama does not take.`)
  }
}

const DATA_URL = /^data:[^,]*;base64,/

/** The bare base64 the server wants; it fetches nothing itself. */
function imageOf(image: unknown, path: string): string {
  const url = isFields(image) ? text(image['url']) : text(image)
  const head = DATA_URL.exec(url)
  if (head !== null) return url.slice(head[0].length)
  if (url !== '' && !url.includes(':')) return url
  throw refuse(`${path}.image_url`, `${path}.image_url must be a data URL in base64: Ollama fetches no pictures.`)
}

function refuse(param: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${problem}`, { param })
}
