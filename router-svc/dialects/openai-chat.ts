import { type GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { sseEvent } from '../../shared/http/sse.ts'
import { isObject } from '../../shared/json-object.ts'
import type { ChatChunk, ChatDelta, ChatRequest, ChatResponse, Usage } from '../canonical/chat.ts'
import type { Dialect, StreamEncoder, StreamOptions } from './dialect.ts'
import { checkFields, checkModel, invalid, type Kind } from './request-fields.ts'

/** OpenAI's Chat Completions, as clients speak it. */
export const openaiChat: Dialect<ChatRequest, ChatResponse, ChatChunk> = {
  name: 'openai-chat',
  mode: 'chat',
  protocol: 'openai-chat',
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: (response, model) => JSON.stringify({ ...response, model }),
  encodeStream: (options) => new ChatStreamEncoder(options),
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

/** Only what some part here or every provider relies on; ranges and vendor fields are the provider's to judge. */
const FIELDS: readonly (readonly [string, Kind])[] = [
  ['stream', 'boolean'],
  ['stream_options', 'object'],
  ['max_tokens', 'positive integer'],
  ['max_completion_tokens', 'positive integer'],
  ['temperature', 'number'],
  ['top_p', 'number'],
  ['frequency_penalty', 'number'],
  ['presence_penalty', 'number'],
  ['n', 'positive integer'],
  ['stop', 'string or list of strings'],
  ['seed', 'integer'],
  ['logit_bias', 'object'],
  ['logprobs', 'boolean'],
  ['top_logprobs', 'integer'],
  ['tools', 'list'],
  ['tool_choice', 'string or object'],
  ['parallel_tool_calls', 'boolean'],
  ['functions', 'list'],
  ['function_call', 'string or object'],
  ['response_format', 'object'],
  ['reasoning_effort', 'string'],
  ['thinking', 'object'],
  ['user', 'string'],
  ['metadata', 'object'],
  ['service_tier', 'string'],
  ['modalities', 'list of strings'],
]

function decodeRequest(body: Record<string, unknown>): ChatRequest {
  checkModel(body)
  const { messages, tools } = body
  if (!Array.isArray(messages) || messages.length === 0) throw invalid('messages', 'non-empty list', messages)
  for (let index = 0; index < messages.length; index++) checkMessage(messages[index], `messages[${index}]`)
  checkFields(body, FIELDS)
  if (Array.isArray(tools)) for (let index = 0; index < tools.length; index++) checkTool(tools[index], `tools[${index}]`)
  const format = body['response_format']
  if (isObject(format) && typeof format['type'] !== 'string') throw invalid('response_format.type', 'string', format['type'])
  return body as ChatRequest
}

function checkMessage(message: unknown, place: string): void {
  if (!isObject(message)) throw invalid(place, 'object', message)
  const { role, content } = message
  if (typeof role !== 'string' || role === '') throw invalid(`${place}.role`, 'non-empty string', role)
  if (Array.isArray(content)) {
    for (let index = 0; index < content.length; index++) checkPart(content[index], `${place}.content[${index}]`)
  } else if (typeof content !== 'string' && content !== null && content !== undefined) {
    throw invalid(`${place}.content`, 'string or list of parts', content)
  } else if (typeof content !== 'string' && (role === 'user' || role === 'system' || role === 'developer')) {
    throw invalid(`${place}.content`, 'string or list of parts', content)
  }
  if (role === 'tool' && typeof message['tool_call_id'] !== 'string')
    throw invalid(`${place}.tool_call_id`, 'string', message['tool_call_id'])
  const calls = message['tool_calls']
  if (calls === undefined || calls === null) return
  if (!Array.isArray(calls)) throw invalid(`${place}.tool_calls`, 'list', calls)
  for (let index = 0; index < calls.length; index++) checkToolCall(calls[index], `${place}.tool_calls[${index}]`)
}

function checkPart(part: unknown, place: string): void {
  if (!isObject(part)) throw invalid(place, 'object', part)
  const { type } = part
  if (typeof type !== 'string') throw invalid(`${place}.type`, 'string', type)
  switch (type) {
    case 'text':
      if (typeof part['text'] !== 'string') throw invalid(`${place}.text`, 'string', part['text'])
      return
    case 'image_url': {
      const image = part['image_url']
      if (typeof image === 'string') return
      if (!isObject(image)) throw invalid(`${place}.image_url`, 'object', image)
      if (typeof image['url'] !== 'string') throw invalid(`${place}.image_url.url`, 'string', image['url'])
      return
    }
    case 'input_audio':
      if (!isObject(part['input_audio'])) throw invalid(`${place}.input_audio`, 'object', part['input_audio'])
      return
    case 'file':
      if (!isObject(part['file'])) throw invalid(`${place}.file`, 'object', part['file'])
      return
  }
}

function checkToolCall(call: unknown, place: string): void {
  if (!isObject(call)) throw invalid(place, 'object', call)
  if (typeof call['id'] !== 'string') throw invalid(`${place}.id`, 'string', call['id'])
  const named = call['function']
  if (named === undefined && call['type'] !== 'function' && call['type'] !== undefined) return
  if (!isObject(named)) throw invalid(`${place}.function`, 'object', named)
  if (typeof named['name'] !== 'string') throw invalid(`${place}.function.name`, 'string', named['name'])
  if (typeof named['arguments'] !== 'string') throw invalid(`${place}.function.arguments`, 'string', named['arguments'])
}

function checkTool(tool: unknown, place: string): void {
  if (!isObject(tool)) throw invalid(place, 'object', tool)
  if (typeof tool['type'] !== 'string') throw invalid(`${place}.type`, 'string', tool['type'])
  if (tool['type'] !== 'function') return
  const named = tool['function']
  if (!isObject(named)) throw invalid(`${place}.function`, 'object', named)
  if (typeof named['name'] !== 'string' || named['name'] === '')
    throw invalid(`${place}.function.name`, 'non-empty string', named['name'])
  const { parameters } = named
  if (parameters !== undefined && parameters !== null && !isObject(parameters)) {
    throw invalid(`${place}.function.parameters`, 'object', parameters)
  }
}

/**
 * Rules of surface reference §7.1: per choice the role in the first chunk only, then deltas that say something, then one chunk of its
 * own with the finish reason; last of all usage, when asked for, and `[DONE]`.
 */
class ChatStreamEncoder implements StreamEncoder<ChatChunk> {
  readonly #model: string
  readonly #includeUsage: boolean
  readonly #begun = new Set<number>()
  readonly #finished = new Set<number>()
  #usage: Usage | null = null
  /** Envelope of the last chunk: the usage chunk must carry the same id. */
  #last: ChatChunk | null = null

  constructor(options: StreamOptions) {
    this.#model = options.model
    this.#includeUsage = options.includeUsage
    // Only streams of one choice are resumed.
    if (options.resume?.begun === true) this.#begun.add(0)
  }

  push(chunk: ChatChunk): string {
    const { choices, usage, ...envelope } = chunk
    if (usage !== undefined && usage !== null) this.#usage = usage
    this.#last = chunk
    let bytes = ''
    for (const choice of choices) {
      const { delta, finish_reason: reason, ...rest } = choice
      const said = this.#delta(delta, choice.index)
      if (said !== null) bytes += this.#event(envelope, { ...rest, delta: said, finish_reason: null })
      if (reason === null || reason === undefined || this.#finished.has(choice.index)) continue
      this.#finished.add(choice.index)
      bytes += this.#event(envelope, { ...rest, logprobs: undefined, delta: {}, finish_reason: reason })
    }
    return bytes
  }

  end(): string {
    const done = sseEvent('[DONE]')
    if (!this.#includeUsage || this.#usage === null || this.#last === null) return done
    const { choices: _choices, usage: _usage, turnpike: _note, ...envelope } = this.#last
    return sseEvent(JSON.stringify({ ...envelope, model: this.#model, choices: [], usage: this.#usage })) + done
  }

  error(error: GatewayError): string {
    return sseEvent(JSON.stringify(openaiErrorBody(error)))
  }

  /** The delta to send, or null when it says nothing. */
  #delta(delta: ChatDelta, index: number): ChatDelta | null {
    if (!this.#begun.has(index)) {
      this.#begun.add(index)
      return { role: 'assistant', ...delta, ...('content' in delta || 'tool_calls' in delta ? {} : { content: '' }) }
    }
    if (this.#finished.has(index)) return null
    let said = delta
    if ('role' in delta) {
      const { role: _role, ...rest } = delta
      said = rest
    }
    return isEmpty(said) ? null : said
  }

  #event(envelope: Omit<ChatChunk, 'choices'>, choice: object): string {
    return sseEvent(JSON.stringify({ ...envelope, model: this.#model, choices: [choice] }))
  }
}

function isEmpty(delta: ChatDelta): boolean {
  for (const name in delta) {
    const value = delta[name]
    if (value !== '' && value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0)) return false
  }
  return true
}
