import { numeric } from '../../../shared/numeric.ts'
import type { Message, ToolCall } from '../../canonical/chat.ts'
import type { InputItem } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'
import { encodeContent, refuse, textOf } from './content.ts'
import { itemsOf } from './kept.ts'

export interface Input {
  /** The first message where it instructs; null = none does. */
  instructions: string | null
  items: InputItem[]
}

/** What is known while going through the messages. */
interface Progress {
  items: InputItem[]
  /** Ids of calls to custom tools, whose results are items of another kind. */
  custom: Set<string>
  /** The answer is stored at the provider, which then knows its items by id. */
  stored: boolean
  /** Calls of the deprecated form have no ids: how many there were. */
  legacy: number
}

/** The longest id of a call; other providers' may be longer. Call and result are cut alike. */
const ID_LENGTH = 64

/** Throws GatewayError `bad_request` naming the message or part that cannot be carried. */
export function encodeInput(messages: readonly Message[], stored: boolean): Input {
  const progress: Progress = { items: [], custom: new Set(), stored, legacy: 0 }
  let instructions: string | null = null
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    switch (message.role) {
      case 'system':
      case 'developer':
        if (index === 0) instructions = textOf(message.content, `${path}.content`)
        else progress.items.push({ role: message.role, content: encodeContent(message.content, `${path}.content`) })
        break
      case 'user':
        progress.items.push({ role: 'user', content: encodeContent(message.content, `${path}.content`) })
        break
      case 'assistant':
        assistant(message, path, progress)
        break
      case 'tool':
      case 'function':
        progress.items.push(toolResult(message, path, progress))
        break
      default:
        throw refuse(`${path}.role`, `${path}.role ${JSON.stringify(message.role)} is not known.`)
    }
  }
  return { instructions, items: progress.items }
}

/** One answer of an earlier turn: the items it came as, where the client kept them, else what can be told from its text and calls. */
function assistant(message: Message, path: string, progress: Progress): void {
  const said = [textOf(message.content, `${path}.content`), text(message['refusal'])].filter((part) => part !== '').join('\n')
  const calls = new Map((message.tool_calls ?? []).map((call) => [call.id, call]))
  for (const call of calls.values()) if (call.type === 'custom') progress.custom.add(call.id)
  const kept = itemsOf(message)
  if (kept !== null) replay(kept, said, calls, message, progress)
  else if (said !== '') progress.items.push({ role: 'assistant', content: said })
  // Those the kept items did not name; they come last in every answer.
  for (const call of calls.values()) progress.items.push(callItem(call))
  if (!message.function_call) return
  progress.legacy += 1
  const { name, arguments: given } = message.function_call
  progress.items.push({ type: 'function_call', call_id: `call_${progress.legacy}`, name, arguments: given })
}

/** Puts text and arguments back into the items they were taken from (kept.ts), and takes the calls it used out of `calls`. */
function replay(kept: Fields[], said: string, calls: Map<string, ToolCall>, message: Message, progress: Progress): void {
  // Without its encrypted content a provider that stored nothing cannot find an item, nor then those that belong to it.
  const whole = progress.stored || kept.every((item) => item['type'] !== 'reasoning' || text(item['encrypted_content']) !== '')
  const owned = (item: Fields): Fields => {
    if (whole) return item
    const { id: _id, ...rest } = item
    return rest
  }
  const pictures = imagesOf(message)
  // Text that a guardrail or the client changed goes into the first message whole.
  const lengths = kept.filter((item) => item['type'] === 'message').map((item) => numeric(item['length']) || 0)
  const sliced = lengths.reduce((sum, length) => sum + length, 0) === said.length
  let at = 0
  for (const item of kept) {
    switch (item['type']) {
      case 'message': {
        const { length, ...rest } = item
        const end = sliced ? at + (Number(length) || 0) : said.length
        const piece = said.slice(at, end)
        at = end
        // One that was empty from the start may be what the reasoning before it led to.
        if (piece !== '' || (sliced && whole)) progress.items.push(messageItem(owned(rest), piece))
        break
      }
      case 'function_call':
      case 'custom_tool_call': {
        const id = text(item['call_id'])
        const call = calls.get(id)
        // A call the client dropped has no result either.
        if (call === undefined) break
        calls.delete(id)
        progress.items.push({ ...owned(item), ...callItem(call) } as InputItem)
        break
      }
      case 'reasoning':
        if (whole) progress.items.push(item as unknown as InputItem)
        break
      case 'image_generation_call': {
        const result = pictures.shift()
        if (result !== undefined) progress.items.push({ ...item, result } as unknown as InputItem)
        break
      }
      default:
        progress.items.push(item as unknown as InputItem)
    }
  }
  if (at < said.length) progress.items.push({ role: 'assistant', content: said.slice(at) })
}

/** With its id an item of an answer, without it a message like any other. */
function messageItem(item: Fields, piece: string): InputItem {
  const phase = item['phase'] === undefined ? {} : { phase: item['phase'] }
  if (text(item['id']) === '') return { role: 'assistant', content: piece, ...phase }
  const content = [{ type: 'output_text', text: piece, annotations: [], logprobs: [] }]
  return { status: 'completed', ...item, type: 'message', role: 'assistant', content } as InputItem
}

function callItem(call: ToolCall): InputItem {
  const id = callId(call.id)
  if (call.type === 'custom')
    return { type: 'custom_tool_call', call_id: id, name: text(call.custom?.name), input: text(call.custom?.input) }
  return { type: 'function_call', call_id: id, name: text(call.function?.name), arguments: text(call.function?.arguments, '{}') }
}

function toolResult(message: Message, path: string, progress: Progress): InputItem {
  const output = encodeContent(message.content, `${path}.content`)
  const id = text(message.tool_call_id)
  if (id === '' && message.role === 'function' && progress.legacy > 0)
    return { type: 'function_call_output', call_id: `call_${progress.legacy}`, output }
  if (id === '') throw refuse(`${path}.tool_call_id`, `${path} is a result without tool_call_id.`)
  const type = progress.custom.has(id) ? 'custom_tool_call_output' : 'function_call_output'
  return { type, call_id: callId(id), output }
}

function callId(id: string): string {
  return id.slice(0, ID_LENGTH)
}

/** The base64 data of a message's pictures, in order. */
function imagesOf(message: Message): string[] {
  const images = message['images']
  if (!Array.isArray(images)) return []
  return (images as unknown[]).flatMap((image) => {
    const url = isFields(image) && isFields(image['image_url']) ? text(image['image_url']['url']) : ''
    return url.startsWith('data:') ? [url.slice(url.indexOf(',') + 1)] : []
  })
}
