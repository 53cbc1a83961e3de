import { entryOf } from '../../shared/entry.ts'
import { isObject } from '../../shared/json-object.ts'
import type { ChatChunk, ChatDelta, ChatResponse, ResponseMessage, ToolCall, ToolCallDelta, Usage } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionResponse } from '../canonical/completion.ts'

type Fields = Record<string, unknown>
type ChatChoice = ChatResponse['choices'][number]

/** Ends of an answer that was given in full, as far as its request let it. What a filter stopped may be given in full the next time. */
const COMPLETE: ReadonlySet<unknown> = new Set(['stop', 'length', 'tool_calls', 'function_call'])

/** What an answer that is no chat consists of. */
const CONTENT: Readonly<Record<string, readonly string[]>> = {
  rerank: ['results'],
  transcription: ['text', 'raw'],
  image: ['data'],
}

/** Whether a whole answer is worth keeping: something said; of a ChatResponse or CompletionResponse every choice complete, too. */
export function isKeepable(response: unknown, mode = 'chat'): response is Fields {
  const content = CONTENT[mode]
  if (content !== undefined) return isObject(response) && content.some((name) => lengthOf(response[name]) > 0)
  const { choices } = response as { choices?: unknown }
  if (!Array.isArray(choices) || choices.length === 0) return false
  return choices.every((choice) => isObject(choice) && COMPLETE.has(choice['finish_reason']) && saysSomething(choice))
}

function lengthOf(value: unknown): number {
  return typeof value === 'string' || Array.isArray(value) ? value.length : 0
}

function saysSomething(choice: Fields): boolean {
  if (typeof choice['text'] === 'string') return choice['text'] !== ''
  const message = choice['message']
  if (!isObject(message)) return false
  const { content, tool_calls: calls, function_call: call, refusal } = message
  return (
    (typeof content === 'string' && content !== '') ||
    (Array.isArray(calls) && calls.length > 0) ||
    isObject(call) ||
    (typeof refusal === 'string' && refusal !== '')
  )
}

/** The whole answer that a complete stream amounts to; null when it cannot be told (audio comes in pieces of its own kind). */
export function assemble(chunks: readonly ChatChunk[] | readonly CompletionChunk[]): Fields | null {
  if (chunks.length === 0) return null
  return chunks.some(({ object }) => object === 'text_completion')
    ? assembleCompletion(chunks as readonly CompletionChunk[])
    : assembleChat(chunks as readonly ChatChunk[])
}

function assembleChat(chunks: readonly ChatChunk[]): Fields | null {
  const choices: ChatChoice[] = []
  const calls = new Map<ChatChoice, ToolCall[]>()
  for (const chunk of chunks) {
    for (const { index, delta, finish_reason: finish, logprobs, ...rest } of chunk.choices) {
      let choice = choices.find((known) => known.index === index)
      if (choice === undefined) {
        choice = { index, message: { role: 'assistant', content: null }, finish_reason: null }
        choices.push(choice)
      }
      Object.assign(choice, rest)
      if (finish !== null && finish !== undefined) choice.finish_reason ??= finish
      if (isObject(logprobs)) choice.logprobs = joined(choice.logprobs, logprobs)
      if (delta === undefined) continue
      if ('audio' in delta) return null
      addDelta(choice.message, delta)
      if (delta.tool_calls != null) addCalls(listOf(calls, choice), delta.tool_calls)
    }
  }
  for (const [choice, list] of calls) choice.message.tool_calls = list.filter((call) => call !== undefined)
  choices.sort((a, b) => a.index - b.index)
  return { ...envelope(chunks), object: 'chat.completion', choices }
}

function listOf(calls: Map<ChatChoice, ToolCall[]>, choice: ChatChoice): ToolCall[] {
  const list = calls.get(choice) ?? []
  calls.set(choice, list)
  return list
}

/** Text joins, lists grow, objects merge. */
function addDelta(message: ResponseMessage, delta: ChatDelta): void {
  const { role, tool_calls: _calls, ...said } = delta
  if (typeof role === 'string' && role !== '') message.role = role
  for (const name in said) {
    const value = said[name]
    if (value === null || value === undefined) message[name] ??= null
    else message[name] = joined(entryOf(message, name), value)
  }
}

function addCalls(calls: ToolCall[], deltas: readonly ToolCallDelta[]): void {
  for (const { index, function: piece, id, type, ...rest } of deltas) {
    let call = calls[index]
    if (call === undefined) {
      call = { id: '', type: type ?? 'function' }
      calls[index] = call
    }
    if (id !== undefined && id !== '') call.id = id
    for (const name in rest) call[name] = joined(entryOf(call, name), rest[name])
    if (piece === undefined || piece === null) continue
    call.function ??= { name: '', arguments: '' }
    call.function.name += piece.name ?? ''
    call.function.arguments += piece.arguments ?? ''
  }
}

function assembleCompletion(chunks: readonly CompletionChunk[]): Fields {
  const choices: CompletionResponse['choices'] = []
  for (const chunk of chunks) {
    for (const { index, text, finish_reason: finish, logprobs, ...rest } of chunk.choices) {
      let choice = choices.find((known) => known.index === index)
      if (choice === undefined) {
        choice = { text: '', index, logprobs: null, finish_reason: null }
        choices.push(choice)
      }
      Object.assign(choice, rest)
      choice.text += text ?? ''
      if (finish !== null && finish !== undefined) choice.finish_reason ??= finish
      if (isObject(logprobs)) choice.logprobs = joined(choice.logprobs, logprobs)
    }
  }
  choices.sort((a, b) => a.index - b.index)
  return { ...envelope(chunks), object: 'text_completion', choices }
}

/** What all chunks have in common, as the first says it that says something: Azure's first has no id and no time. */
function envelope(chunks: readonly (ChatChunk | CompletionChunk)[]): Fields {
  const all: Fields = {}
  let usage: Usage | undefined
  for (const { choices: _choices, usage: told, ...fields } of chunks) {
    for (const name in fields) all[name] ||= fields[name]
    if (told !== undefined && told !== null) usage = told
  }
  return usage === undefined ? all : { ...all, usage }
}

/** Both in one. Lists and objects are this module's own from their first piece on and grow where they are: a copy for each of 32,000 took a second. */
function joined(before: unknown, value: unknown): unknown {
  if (typeof before === 'string' && typeof value === 'string') return before + value
  if (Array.isArray(value)) {
    const list: unknown[] = Array.isArray(before) ? before : []
    for (const item of value) list.push(item)
    return list
  }
  if (isObject(value)) {
    const merged = isObject(before) ? before : {}
    for (const name in value) {
      const known = entryOf(merged, name)
      merged[name] = value[name] === null ? (known ?? null) : joined(known, value[name])
    }
    return merged
  }
  return value
}
