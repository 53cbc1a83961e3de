import type { ContentPart, Message, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { addArguments } from '../../providers/gemini/partial-call.ts'
import { unnamedCall } from '../../providers/gemini/signatures.ts'
import { unmarked } from './signatures.ts'
import { type Fields, fieldsOf, listOf, textOf } from './wire.ts'

/** Formats OpenAI knows sounds by; others are files. */
const SOUNDS: Readonly<Record<string, string>> = { 'audio/wav': 'wav', 'audio/mp3': 'mp3' }

/** The system's words and the turns as messages. */
export function messagesOf(body: Readonly<Fields>): Message[] {
  const messages: Message[] = []
  const system = body['systemInstruction']
  const parts = typeof system === 'string' ? [{ text: system }] : listOf(fieldsOf(system)['parts'])
  const words = parts.map((part) => textOf(part['text'])).filter((text) => text !== '')
  if (words.length > 0) {
    const content = words.length === 1 ? (words[0] as string) : words.map((text) => ({ type: 'text', text }))
    messages.push({ role: 'system', content })
  }
  const open: OpenCalls = []
  for (const [index, content] of listOf(body['contents']).entries()) {
    const turn = listOf(content['parts'])
    if (content['role'] === 'model') new ModelTurn(index, open, messages).read(turn)
    else userMessages(turn, open, messages)
  }
  return messages
}

/** Calls that have no result yet, in their order. */
type OpenCalls = { id: string; name: string }[]

/** Results of functions are messages of their own, before the rest of the turn. */
function userMessages(parts: readonly Fields[], open: OpenCalls, messages: Message[]): void {
  const content: ContentPart[] = []
  for (const part of parts) {
    if (part['functionResponse'] === undefined) content.push(partOf(part))
    else messages.push(resultOf(fieldsOf(part['functionResponse']), open))
  }
  if (content.length > 0) messages.push({ role: 'user', content: plainWhenText(content) })
}

/** A lone text is a string: what every provider takes. */
function plainWhenText(content: ContentPart[]): string | ContentPart[] {
  const [only] = content
  return content.length === 1 && only?.type === 'text' ? (only['text'] as string) : content
}

function resultOf(result: Fields, open: OpenCalls): Message {
  const { id: given, name, response, parts } = result
  const at = open.findIndex((call) => (textOf(given) === '' ? call.name === name : call.id === given))
  const [answered] = at < 0 ? [] : open.splice(at, 1)
  const words = JSON.stringify(response ?? {})
  const media = listOf(parts).map(partOf)
  return {
    role: 'tool',
    tool_call_id: (textOf(given) || answered?.id) ?? textOf(name),
    name: textOf(name),
    content: media.length === 0 ? words : [{ type: 'text', text: words }, ...media],
  }
}

/** A user's part; one without a canonical counterpart stays what it is, under Google's name. */
function partOf(part: Fields): ContentPart {
  const { text, inlineData, fileData, ...others } = part
  if (Object.keys(others).length > 0) return { type: 'gemini', part }
  if (typeof text === 'string') return { type: 'text', text }
  if (inlineData !== undefined) return inlinePart(fieldsOf(inlineData))
  if (fileData !== undefined) return filePart(fieldsOf(fileData))
  return { type: 'gemini', part }
}

function inlinePart(data: Fields): ContentPart {
  const type = textOf(data['mimeType'])
  const bytes = textOf(data['data'])
  const url = `data:${type};base64,${bytes}`
  if (type.startsWith('image/')) return { type: 'image_url', image_url: { url } }
  const sound = SOUNDS[type]
  if (sound !== undefined) return { type: 'input_audio', input_audio: { data: bytes, format: sound } }
  return { type: 'file', file: { file_data: url } }
}

function filePart(data: Fields): ContentPart {
  const uri = textOf(data['fileUri'])
  const type = textOf(data['mimeType'])
  const format = type === '' ? {} : { format: type }
  if (type.startsWith('image/')) return { type: 'image_url', image_url: { url: uri, ...format } }
  return { type: 'file', file: { file_id: uri, ...format } }
}

/**
 * One turn of the model. The adapter of this protocol writes what has no canonical place first, then words, then calls, and joins messages that
 * follow each other: a part out of that order begins another message, so that every part gets back to its place.
 */
class ModelTurn {
  readonly #index: number
  readonly #open: OpenCalls
  readonly #messages: Message[]
  #kept: Fields[] = []
  #content: ContentPart[] = []
  #calls: ToolCall[] = []
  #thinking: ThinkingBlock[] = []
  #reasoning = ''
  #signature = ''
  #position = 0

  constructor(index: number, open: OpenCalls, messages: Message[]) {
    this.#index = index
    this.#open = open
    this.#messages = messages
  }

  read(parts: readonly Fields[]): void {
    for (const part of parts) {
      if (part['functionCall'] !== undefined) this.#call(part)
      else if (part['thought'] === true) this.#thought(part)
      else if ((part['text'] ?? part['inlineData'] ?? part['fileData']) !== undefined) this.#said(part)
      else this.#keep(part)
    }
    this.#flush()
  }

  #said({ thoughtSignature, ...part }: Fields): void {
    if (this.#calls.length > 0 || this.#signature !== '') this.#flush()
    // A signature without words: it goes back as it came.
    if (part['text'] !== '') this.#content.push(partOf(part))
    this.#signature = textOf(thoughtSignature)
  }

  #call(part: Fields): void {
    // A signature on a part without words, before the call.
    if (this.#signature !== '' && this.#content.length === 0) this.#flush()
    const { id, name, args, partialArgs } = fieldsOf(part['functionCall'])
    const given: Fields = { ...(args as Fields | undefined) }
    addArguments(given, { partialArgs })
    const called = textOf(id) || unnamedCall(this.#index, this.#position)
    this.#position += 1
    const call: ToolCall = {
      id: called,
      type: 'function',
      function: { name: textOf(name), arguments: JSON.stringify(given) },
    }
    const signature = textOf(part['thoughtSignature'])
    if (signature !== '') call['provider_specific_fields'] = { thought_signature: signature }
    this.#calls.push(call)
    this.#open.push({ id: called, name: textOf(name) })
  }

  #thought(part: Fields): void {
    const words = textOf(part['text'])
    const signature = unmarked(textOf(part['thoughtSignature']))
    if (signature === null) {
      this.#keep(part)
      this.#reasoning += words
      return
    }
    if (this.#content.length > 0 || this.#calls.length > 0) this.#flush()
    this.#thinking.push({ type: 'thinking', thinking: this.#reasoning + words, signature })
    this.#kept = this.#kept.filter((kept) => kept['thought'] !== true)
    this.#reasoning = ''
  }

  #keep(part: Fields): void {
    if (this.#content.length > 0 || this.#calls.length > 0) this.#flush()
    this.#kept.push(part)
  }

  #flush(): void {
    const fields: Fields = {}
    if (this.#kept.length > 0) fields['parts'] = this.#kept
    if (this.#signature !== '') fields['thought_signatures'] = [this.#signature]
    const message: Message = { role: 'assistant', content: this.#content.length === 0 ? null : plainWhenText(this.#content) }
    if (this.#calls.length > 0) message.tool_calls = this.#calls
    if (this.#reasoning !== '') message.reasoning_content = this.#reasoning
    if (this.#thinking.length > 0) message.thinking_blocks = this.#thinking
    if (Object.keys(fields).length > 0) message['provider_specific_fields'] = fields
    if (message.content !== null || Object.keys(message).length > 2) this.#messages.push(message)
    this.#kept = []
    this.#content = []
    this.#calls = []
    this.#thinking = []
    this.#reasoning = ''
    this.#signature = ''
  }
}
