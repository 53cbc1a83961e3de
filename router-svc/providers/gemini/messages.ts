import { GatewayError } from '../../../shared/errors.ts'
import type { Message, ToolCall } from '../../canonical/chat.ts'
import { encodeContent } from './content.ts'
import type { Traits } from './models.ts'
import { callId, keptParts, signCalls, textSignature } from './signatures.ts'
import { type Content, type Fields, isFields, type Part, text } from './wire.ts'

export interface Conversation {
  system: Part[]
  contents: Content[]
}

/** Stands where the API demands a user turn and the client has none. */
const PLACEHOLDER = '.'

/**
 * Messages as a system instruction and alternating turns: neighbours of one role merge, results of functions become the user's. System
 * messages are one instruction wherever they stand. Throws `bad_request` naming the message.
 */
export function encodeMessages(messages: readonly Message[], traits: Traits): Conversation {
  const names = new Map<string, string>()
  const system: Part[] = []
  const contents: Content[] = []
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    switch (message.role) {
      case 'system':
      case 'developer':
        system.push(...encodeContent(message.content, `${path}.content`))
        break
      case 'user':
        add(contents, 'user', encodeContent(message.content, `${path}.content`))
        break
      case 'assistant':
        for (const call of message.tool_calls ?? []) names.set(text(call.id), text(call.function?.name ?? call.custom?.name))
        add(contents, 'model', assistantParts(message, path, traits))
        break
      case 'tool':
      case 'function':
        add(contents, 'user', resultParts(message, path, names, traits))
        break
      default:
        throw refuse(`${path}.role`, `is the unknown role ${JSON.stringify(message.role)}`)
    }
  }
  return framed(system, contents, traits)
}

/** What the API demands of the whole: a user's turn first, and no instruction where the model knows none. */
function framed(system: Part[], contents: Content[], traits: Traits): Conversation {
  const first = contents[0]
  if (first?.role !== 'user') contents.unshift({ role: 'user', parts: [{ text: PLACEHOLDER }] })
  if (traits.system || system.length === 0) return { system, contents }
  const [start, ...others] = contents as [Content, ...Content[]]
  return { system: [], contents: [{ role: 'user', parts: [...system, ...start.parts] }, ...others] }
}

function add(contents: Content[], role: Content['role'], parts: Part[]): void {
  if (parts.length === 0) return
  const last = contents.at(-1)
  if (last?.role === role) last.parts.push(...parts)
  else contents.push({ role, parts })
}

/** In the order the model makes them: what it ran, text, calls. Thoughts go back by their signatures alone. */
function assistantParts(message: Message, path: string, traits: Traits): Part[] {
  const parts = keptParts(message)
  const words = encodeContent(message.content, `${path}.content`)
  const refusal = message['refusal']
  if (words.length === 0 && typeof refusal === 'string' && refusal !== '') words.push({ text: refusal })
  const signature = textSignature(message)
  const last = words.at(-1)
  if (signature !== '' && last !== undefined) last['thoughtSignature'] = signature
  // It came on a part without text, which is how it goes back.
  else if (signature !== '' && message.tool_calls === undefined) words.push({ text: '', thoughtSignature: signature })
  parts.push(...words)
  const calls = message.tool_calls ?? []
  const encoded = calls.map((call, index) => functionCall(call, `${path}.tool_calls[${index}]`))
  signCalls(encoded, calls, traits.signed)
  parts.push(...encoded)
  if (message.function_call) {
    const { name, arguments: given } = message.function_call
    parts.push({ functionCall: { name, args: parseArguments(given, `${path}.function_call`) } })
  }
  return parts
}

function functionCall(call: ToolCall, path: string): Part {
  if (call.custom) {
    const { name, input } = call.custom
    return { functionCall: { ...identity(call.id), name, args: { input: text(input) } } }
  }
  const name = text(call.function?.name)
  if (name === '') throw refuse(`${path}.function.name`, 'is missing')
  return { functionCall: { ...identity(call.id), name, args: parseArguments(call.function?.arguments, `${path}.function`) } }
}

function identity(id: unknown): Fields {
  const own = callId(text(id))
  return own === '' ? {} : { id: own }
}

/** The result of a function, and what it holds beside text: inside it where the model takes that, else behind it. */
function resultParts(message: Message, path: string, names: ReadonlyMap<string, string>, traits: Traits): Part[] {
  const id = text(message.tool_call_id)
  const name = names.get(id) || text(message.name)
  if (name === '') throw refuse(`${path}.tool_call_id`, 'belongs to no tool call before it')
  const parts = encodeContent(message.content, `${path}.content`)
  const words = parts.filter((part) => part['text'] !== undefined).map((part) => text(part['text']))
  const media = parts.filter((part) => part['text'] === undefined)
  const result: Fields = { ...identity(id), name, response: responseOf(words.join('\n'), message['is_error'] === true) }
  if (!traits.signed) return [{ functionResponse: result }, ...media]
  if (media.length > 0) result['parts'] = media
  return [{ functionResponse: result }]
}

/** An object: the result itself when it is one. */
function responseOf(result: string, failed: boolean): Fields {
  if (failed) return { error: result }
  if (result.trimStart().startsWith('{')) {
    try {
      const parsed: unknown = JSON.parse(result)
      if (isFields(parsed)) return parsed
    } catch {
      // Text that merely begins like one.
    }
  }
  return { content: result }
}

/** Arguments are a JSON object as text; empty text and null mean no arguments. */
function parseArguments(source: unknown, path: string): Fields {
  if (isFields(source)) return source
  const value = text(source)
  if (value.trim() === '') return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch (cause) {
    throw new GatewayError('bad_request', `litellm.BadRequestError: ${path}.arguments is not valid JSON.`, {
      param: `${path}.arguments`,
      cause,
    })
  }
  if (parsed === null) return {}
  if (isFields(parsed)) return parsed
  throw refuse(`${path}.arguments`, 'must be a JSON object')
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
