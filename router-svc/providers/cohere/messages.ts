import { GatewayError } from '../../../shared/errors.ts'
import type { ContentPart, Message, ToolCall } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { text } from './wire.ts'

/** Messages as the v2 API takes them. Throws `bad_request` naming what it cannot carry. */
export function encodeMessages(messages: readonly Message[]): Fields[] {
  return messages.map((message, index) => encodeMessage(message, `messages[${index}]`))
}

function encodeMessage(message: Message, path: string): Fields {
  const place = `${path}.content`
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: textContent(message.content, place) }
    case 'user':
      return { role: 'user', content: userContent(message.content, place) }
    case 'assistant':
      return assistant(message, place)
    case 'tool':
      return { role: 'tool', tool_call_id: message.tool_call_id, content: toolContent(message.content, place) }
    default:
      throw refuse(`${path}.role`, `is ${message.role}, which Cohere does not support`)
  }
}

/** A turn with calls has no content: what was said before them is their plan. */
function assistant(message: Message, path: string): Fields {
  const content = encodeParts(message.content, path, (part) => textPart(part) ?? thinkingPart(part))
  const calls = message.tool_calls ?? []
  if (calls.length === 0) return { role: 'assistant', content }
  const own = message['tool_plan']
  const plan = typeof own === 'string' ? own : joined(content)
  return { role: 'assistant', ...(plan === '' ? {} : { tool_plan: plan }), tool_calls: calls.map(encodeCall) }
}

function encodeCall({ id, function: named }: ToolCall): Fields {
  return { id, type: 'function', function: { name: named?.name ?? '', arguments: named?.arguments || '{}' } }
}

type Content = string | Fields[]

function textContent(content: Message['content'], path: string): Content {
  return encodeParts(content, path, (part) => textPart(part))
}

function userContent(content: Message['content'], path: string): Content {
  return encodeParts(content, path, (part, at) => textPart(part) ?? imagePart(part, at))
}

/** Results may hold documents, which the model cites. */
function toolContent(content: Message['content'], path: string): Content {
  return encodeParts(content, path, (part) => textPart(part) ?? (part.type === 'document' ? (part as Fields) : null))
}

function encodeParts(
  content: Message['content'],
  path: string,
  encode: (part: ContentPart, path: string) => Fields | null,
): Content {
  if (!Array.isArray(content)) return content ?? ''
  return content.map((part, index) => {
    const at = `${path}[${index}]`
    const encoded = isFields(part) ? encode(part as ContentPart, at) : null
    if (encoded === null)
      throw refuse(
        at,
        `is of type ${isFields(part) ? text(part['type']) || 'unknown' : typeof part}, which Cohere does not support here`,
      )
    return encoded
  })
}

/** Other vendors' marks on a part (cache, citations) stay behind. */
function textPart(part: ContentPart): Fields | null {
  if (part.type === 'text') return { type: 'text', text: text(part['text']) }
  return part.type === 'refusal' ? { type: 'text', text: text(part['refusal']) } : null
}

function thinkingPart(part: ContentPart): Fields | null {
  return part.type === 'thinking' ? { type: 'thinking', thinking: text(part['thinking']) } : null
}

function imagePart(part: ContentPart, path: string): Fields | null {
  if (part.type !== 'image_url') return null
  const image = part['image_url']
  if (typeof image === 'string') return { type: 'image_url', image_url: { url: image } }
  if (!isFields(image) || typeof image['url'] !== 'string') throw refuse(`${path}.image_url.url`, 'must be a string')
  const { url, detail } = image
  return { type: 'image_url', image_url: typeof detail === 'string' ? { url, detail } : { url } }
}

function joined(content: Content): string {
  return typeof content === 'string' ? content : content.map((part) => text(part['text'])).join('')
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
