import { entryOf } from '../../../shared/entry.ts'
import type { Message, ToolCall } from '../../canonical/chat.ts'
import { type Fields, isFields, parsedInput, text } from '../json.ts'
import { textOf } from '../prompt-text.ts'
import { cohereFormat, listOf, ownMembers, put, refused, toolsOf } from './generic.ts'

/** Cohere's first form: the last word of the user, what was said before, and results of tools apart. */

const NAMES: Readonly<Record<string, string>> = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  frequency_penalty: 'frequencyPenalty',
  presence_penalty: 'presencePenalty',
  seed: 'seed',
}

const PLACED = new Set([
  ...Object.keys(NAMES),
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'tools',
  'tool_choice',
  'response_format',
  'parallel_tool_calls',
  'n',
])

export function cohereRequest(body: Fields, limit: number, provider: string): Fields {
  const chat: Fields = { apiFormat: 'COHERE', ...turnsOf(body['messages'] as Message[], provider) }
  for (const [from, to] of Object.entries(NAMES)) put(chat, to, body[from])
  if (body['stream'] === true) Object.assign(chat, { isStream: true, streamOptions: { isIncludeUsage: true } })
  chat['maxTokens'] = body['max_completion_tokens'] ?? body['max_tokens'] ?? limit
  put(chat, 'stopSequences', listOf(body['stop']))
  const format = body['response_format']
  if (isFields(format)) chat['responseFormat'] = cohereFormat(format)
  const choice = body['tool_choice']
  if (choice !== undefined && choice !== null && choice !== 'auto' && choice !== 'none')
    throw refused('tool_choice', 'can only be "auto" or "none" for this model')
  const tools = choice === 'none' ? [] : toolsOf(body)
  if (tools.length > 0)
    chat['tools'] = tools.map(({ function: named }) => ({
      name: named?.name,
      description: named?.description ?? '',
      parameterDefinitions: definitionsOf(named?.parameters),
    }))
  return { ...chat, ...ownMembers(body, PLACED) }
}

/** Results of tools at the end are this turn's; the user's question is in the history then, and there is no other message. */
function turnsOf(messages: readonly Message[], provider: string): Fields {
  const said = messages.map((message, at) => textOf(message, at, provider))
  const calls = new Map<string, ToolCall>()
  for (const { tool_calls: made } of messages) for (const call of made ?? []) calls.set(call.id, call)

  let last = messages.length
  while (last > 0 && messages[last - 1]?.role === 'tool') last -= 1
  const answering = last < messages.length
  const message = answering ? '' : (said[messages.length - 1] as string)
  if (!answering) {
    last -= 1
    if (messages[last]?.role !== 'user')
      throw refused(`messages[${last}].role`, 'must be user or tool at the end of a chat with this model,')
  }

  const resultAt = (at: number): Fields => resultOf(messages[at] as Message, said[at] as string, calls)
  const preamble: string[] = []
  const chatHistory: Fields[] = []
  for (let at = 0; at < last; at += 1) {
    const { role, tool_calls: made } = messages[at] as Message
    const words = said[at] as string
    if (role === 'system' || role === 'developer') {
      if (chatHistory.length === 0) preamble.push(words)
      else chatHistory.push({ role: 'SYSTEM', message: words })
    } else if (role === 'user') chatHistory.push({ role: 'USER', message: words })
    else if (role === 'assistant')
      chatHistory.push({ role: 'CHATBOT', message: words, ...(made === undefined ? {} : { toolCalls: made.map(callOf) }) })
    else if (role === 'tool') {
      const before = chatHistory.at(-1)
      if (before?.['role'] === 'TOOL') (before['toolResults'] as Fields[]).push(resultAt(at))
      else chatHistory.push({ role: 'TOOL', toolResults: [resultAt(at)] })
    } else throw refused(`messages[${at}].role`, `is ${role}, which has no counterpart`)
  }
  const turns: Fields = { message }
  if (preamble.length > 0) turns['preambleOverride'] = preamble.join('\n\n')
  if (chatHistory.length > 0) turns['chatHistory'] = chatHistory
  if (answering) turns['toolResults'] = messages.slice(last).map((_, index) => resultAt(last + index))
  return turns
}

function callOf({ function: named }: ToolCall): Fields {
  const parameters = parsedInput(named?.arguments || '{}')
  return { name: named?.name ?? '', parameters: isFields(parameters) ? parameters : {} }
}

/** Outputs are objects: a text that is none stands in one. */
function resultOf({ tool_call_id: id, name }: Message, said: string, calls: ReadonlyMap<string, ToolCall>): Fields {
  const call = calls.get(id ?? '')
  const output = parsedInput(said)
  return {
    call: call === undefined ? { name: name ?? '', parameters: {} } : callOf(call),
    outputs: [isFields(output) ? output : { output: said }],
  }
}

/** Python's names for JSON's types. */
const TYPES: Readonly<Record<string, string>> = {
  string: 'str',
  integer: 'int',
  number: 'float',
  boolean: 'bool',
  array: 'list',
  object: 'dict',
}

/** One entry a parameter. What a flat list of types cannot say, the model reads as the parameter's schema in its description. */
function definitionsOf(schema: unknown): Fields {
  const { properties, required }: Fields = isFields(schema) ? schema : {}
  const needed = Array.isArray(required) ? (required as unknown[]) : []
  const definitions: Fields = {}
  for (const [name, given] of Object.entries(isFields(properties) ? properties : {})) {
    const { type, description, ...rest }: Fields = isFields(given) ? given : {}
    const kind = Array.isArray(type) ? (type as unknown[]).find((one) => one !== 'null') : type
    const more = Object.keys(rest).length === 0 ? '' : `JSON schema: ${JSON.stringify(given)}`
    definitions[name] = {
      type: entryOf(TYPES, text(kind)) ?? 'str',
      description: [text(description), more].filter((part) => part !== '').join(' '),
      isRequired: needed.includes(name),
    }
  }
  return definitions
}
