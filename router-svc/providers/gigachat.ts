import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import type { ChatRequest, Message, ToolCall } from '../canonical/chat.ts'
import { type Fields, isFields, jsonObject, parsedInput, sourceOf, text } from './json.ts'
import { openai } from './openai.ts'
import { textOf } from './prompt-text.ts'
import type { DecodeContext, Provider } from './provider.ts'
import { rewrittenStream } from './wrapped-stream.ts'

/** GigaChat: OpenAI's protocol as it was when tools were functions, one call a message, its arguments an object. */
export function gigachat(name: string, row: ProviderRow): Provider {
  const { chat, completion: _made, ...provider } = openai(name, row)
  const stream = chat?.decodeStream
  if (chat === undefined || stream === undefined) throw new Error('a row without chat')
  return {
    ...provider,
    auth: { type: 'made', kind: 'gigachat' },
    chat: {
      ...chat,
      encodeRequest: (request, target) => chat.encodeRequest(withFunctions(request, name), target),
      decodeResponse(body, headers, context) {
        const answer = jsonObject(sourceOf(body), 'The answer')
        return chat.decodeResponse(Buffer.from(JSON.stringify(withTools(answer, context))), headers, context)
      },
      decodeStream: (context) => rewrittenStream(stream(context), (fields) => withTools(fields, context)),
    },
  }
}

function withFunctions({ tools, tool_choice: choice, messages, ...request }: ChatRequest, provider: string): ChatRequest {
  const functions = (tools ?? []).flatMap(({ function: definition }) =>
    definition === undefined ? [] : [plainFunction(definition)],
  )
  const made: ChatRequest = { ...request, messages: ownMessages(messages, provider) }
  if (functions.length > 0) made['functions'] = functions
  const [only] = functions
  if (choice === 'auto' || choice === 'none') made['function_call'] = choice
  else if (choice === 'required' && functions.length === 1) made['function_call'] = { name: only?.name }
  else if (isFields(choice) && isFields(choice['function'])) made['function_call'] = { name: choice['function']['name'] }
  // What cannot be said is refused, or left out, by the row's rules.
  else if (choice !== undefined && choice !== null) made.tool_choice = choice
  return made
}

function plainFunction({ strict: _strict, ...definition }: NonNullable<NonNullable<ChatRequest['tools']>[number]['function']>) {
  return { ...definition, parameters: definition.parameters ?? { type: 'object', properties: {} } }
}

/** One system message, the first; each call followed by its result. */
function ownMessages(messages: readonly Message[], provider: string): Message[] {
  const system: string[] = []
  const own: Message[] = []
  const calls = new Map<string, { call: ToolCall; said: Message }>()
  for (const [index, message] of messages.entries()) {
    if (message.role === 'system' || message.role === 'developer') system.push(textOf(message, index, provider))
    else if (message.role === 'tool') {
      const known = calls.get(message.tool_call_id ?? '')
      if (known !== undefined) own.push(calling(known.call, known.said))
      const name = known?.call.function?.name ?? message.name ?? ''
      own.push({ role: 'function', name, content: resultOf(textOf(message, index, provider)) })
    } else if (message.role === 'assistant' && message.tool_calls !== undefined) {
      for (const [at, call] of message.tool_calls.entries())
        calls.set(call.id, { call, said: at === 0 ? message : { role: 'assistant', content: '' } })
    } else own.push(message)
  }
  return system.length === 0 ? own : [{ role: 'system', content: system.join('\n\n') }, ...own]
}

function calling({ function: named }: ToolCall, { content, functions_state_id: state }: Message): Message {
  const call = { name: named?.name ?? '', arguments: parsedInput(named?.arguments ?? '{}') }
  return {
    role: 'assistant',
    content: content ?? '',
    function_call: call as never,
    ...(typeof state === 'string' ? { functions_state_id: state } : {}),
  }
}

/** Results must be JSON objects. */
function resultOf(said: string): string {
  return isFields(parsedInput(said)) ? said : JSON.stringify({ result: said })
}

/** An answer, or an event of a stream, as OpenAI writes it now. */
function withTools(answer: Fields, context: DecodeContext): Fields {
  if (!Array.isArray(answer['choices'])) return answer
  const legacy = context.request['functions'] !== undefined
  const choices = (answer['choices'] as unknown[]).map((choice) =>
    isFields(choice) ? choiceOf(choice, legacy, context) : choice,
  )
  return { ...answer, choices, ...(isFields(answer['usage']) ? { usage: usageOf(answer['usage']) } : {}) }
}

const FINISH: Readonly<Record<string, string>> = { blacklist: 'content_filter' }

function choiceOf(choice: Fields, legacy: boolean, context: DecodeContext): Fields {
  const reason = text(choice['finish_reason'])
  const made: Fields = { ...choice, finish_reason: entryOf(FINISH, reason) ?? choice['finish_reason'] }
  if (reason === 'function_call' && !legacy) made['finish_reason'] = 'tool_calls'
  for (const member of ['message', 'delta']) {
    const said = choice[member]
    if (!isFields(said)) continue
    const { function_call: call, ...rest } = said
    // How long a built-in function will still take is no part of the answer.
    if (said['role'] === 'function_in_progress') made[member] = {}
    else if (isFields(call)) {
      const named = { name: call['name'], arguments: JSON.stringify(call['arguments'] ?? {}) }
      made[member] = legacy
        ? { ...rest, function_call: named }
        : { ...rest, tool_calls: [{ index: 0, id: `call_${context.id}`, type: 'function', function: named }] }
    }
  }
  return made
}

/** What was read from its cache is not in the prompt it counts. */
function usageOf(usage: Fields): Fields {
  const { precached_prompt_tokens: cached, prompt_tokens: prompt, completion_tokens: completion } = usage
  if (typeof cached !== 'number' || typeof prompt !== 'number' || typeof completion !== 'number') return usage
  const whole = prompt + cached
  return { ...usage, prompt_tokens: whole, total_tokens: whole + completion, prompt_tokens_details: { cached_tokens: cached } }
}
