import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { SseEvent } from '../../shared/http/sse.ts'
import { isNestedDeeper } from '../../shared/nesting.ts'
import type { ChatChunk, ChatRequest, ChatResponse, FinishReason, Message, Usage } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import { completionFromChat, completionStreamFromChat } from './completion-from-chat.ts'
import { type Fields, isFields, jsonValue, parsedInput, sourceOf } from './json.ts'
import { decodeError } from './openai/error.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from './openai/parameters.ts'
import { authOf } from './openai.ts'
import { promptOf } from './prompt-text.ts'
import type { Adapter, DecodeContext, Framing, Provider, StreamDecoder, Target, UpstreamRequest } from './provider.ts'

export { postJson } from './post-json.ts'

/** A provider that continues a text and knows neither tools nor, on the wire, messages: what is its own. */
export interface TextProtocol {
  /** `given`: parameters under the row's own names, `stop` as a list. */
  request(asked: Asked, given: Fields, target: Target): UpstreamRequest
  /** One entry a choice; the answer is parsed JSON and no error. */
  answer(answer: unknown, context: DecodeContext): Said[]
  /** Whether an answer of status 200 is an error; default: it has an `error` that is not null, false or empty. */
  isError?(answer: Fields): boolean
  /** An error of its own form in the common one, `{"error": {"message"}}`; anything else as it is. */
  error?(body: Fields): Fields
  /** It takes messages with more than text in them; `prompt` is empty then. */
  textOnly?: false
  /** Absent = it answers whole, and a stream is that answer in one piece. */
  stream?: TextStream
}

export interface TextStream {
  framing: Framing
  /** What one event says; null = nothing. Events that hold an error are not asked about. */
  read(data: string, context: DecodeContext): Said | null
  /** Nothing in the stream tells of its end: the end of the body does, which HTTP tells from a broken connection. */
  untilEnd?: true
}

export interface Asked {
  /** All of it as one text. */
  prompt: string
  messages: readonly Message[]
  stream: boolean
}

export interface Said {
  text: string
  /** Of several choices; default 0. */
  index?: number
  finish?: FinishReason | null
  usage?: Usage | null
  /** The provider's own. */
  fields?: Fields
  /** Nothing comes after it. */
  ends?: true
}

/** A provider of chats and text completions over such a protocol. Parameters are those its row lets through. */
export function textProvider(name: string, row: ProviderRow, protocol: TextProtocol): Provider {
  const unsupported = (row.unsupported ?? []).map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  const { error: plain } = protocol
  const readError: Provider['decodeError'] = (status, headers, body) => {
    const fields = plain === undefined ? undefined : parsedInput(body)
    // Too deep to be written again; nobody's error is.
    const isPlain = plain !== undefined && isFields(fields) && !isNestedDeeper(fields)
    return decodeError(name, status, headers, isPlain ? JSON.stringify(plain(fields)) : body)
  }

  const parametersOf = (request: Readonly<Fields>, target: Target): Fields => {
    const given: Fields = {}
    for (const [field, value] of Object.entries(request))
      if (!TRANSLATED.has(field) && value !== null && value !== undefined && !isGatewayField(field, value)) given[field] = value
    const extra = request['extra_body']
    if (isFields(extra)) Object.assign(given, extra)
    if (given['max_completion_tokens'] !== undefined) given['max_tokens'] ??= given['max_completion_tokens']
    delete given['max_completion_tokens']
    dropNamed(given, request, target)
    dropQuietly(given, dropped)
    refuseUnsupported(given, unsupported, request, target)
    if (given['stop'] !== undefined && !Array.isArray(given['stop'])) given['stop'] = [given['stop']]
    if (given['n'] === 1) delete given['n']
    for (const [from, to] of Object.entries(row.rename ?? {})) {
      if (given[from] === undefined) continue
      given[to] ??= given[from]
      if (to !== from) delete given[from]
    }
    return given
  }
  const send = (request: ChatRequest, target: Target): UpstreamRequest => {
    const given = parametersOf(request, target)
    const prompt = protocol.textOnly === false ? '' : promptOf(request.messages, target)
    const asked = { prompt, messages: request.messages, stream: request.stream === true }
    return protocol.request(asked, given, target)
  }
  const decodeWhole: Adapter<ChatRequest, ChatResponse, ChatChunk>['decodeResponse'] = (body, headers, context) => {
    const source = sourceOf(body)
    const answer = jsonValue(source, 'The answer')
    if (isFields(answer) && (protocol.isError ?? saysError)(answer)) throw readError(200, headers, source)
    return responseOf(protocol.answer(answer, context), context)
  }
  const framing = protocol.stream?.framing ?? 'lines'
  const decodeStream = (context: DecodeContext): StreamDecoder<ChatChunk> =>
    protocol.stream === undefined
      ? new WholeStream(context, (body) => decodeWhole(body, {}, context))
      : new TextChunks(context, protocol.stream, protocol.isError ?? saysError, readError)

  const chat: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
    mode: 'chat',
    framing,
    encodeRequest: send,
    decodeResponse: decodeWhole,
    decodeStream,
  }
  const completion: Adapter<CompletionRequest, CompletionResponse, CompletionChunk> = {
    mode: 'completion',
    framing,
    encodeRequest: ({ prompt, ...request }, target) =>
      send({ ...request, messages: [{ role: 'user', content: promptText(prompt, name) }] } as ChatRequest, target),
    decodeResponse: (body, headers, context) => completionFromChat(decodeWhole(body, headers, context)),
    decodeStream: (context) => completionStreamFromChat(decodeStream(context)),
  }
  return {
    name,
    auth: authOf(row),
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat,
    completion,
    decodeError: readError,
  }
}

/** Members of a request that become the text, its address, or the choice of a stream. */
const TRANSLATED: ReadonlySet<string> = new Set(['model', 'messages', 'prompt', 'stream', 'stream_options', 'extra_body'])

/** Usage from the two counts; null when neither is one. */
export function usageFrom(prompt: unknown, completion: unknown): Usage | null {
  if (typeof prompt !== 'number' && typeof completion !== 'number') return null
  const input = typeof prompt === 'number' ? prompt : 0
  const output = typeof completion === 'number' ? completion : 0
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
}

function saysError({ error }: Fields): boolean {
  return error !== undefined && error !== null && error !== false && error !== ''
}

function promptText(prompt: CompletionRequest['prompt'], provider: string): string {
  const only: unknown = Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt
  if (typeof only === 'string') return only
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: prompt must be one string: ${provider} takes no tokens and no lists.`,
    {
      param: 'prompt',
    },
  )
}

function responseOf(said: readonly Said[], context: DecodeContext): ChatResponse {
  if (said.length === 0) throw new GatewayError('provider_malformed', 'The answer holds no text.')
  const usage = said.find((one) => one.usage)?.usage
  return {
    id: context.id,
    object: 'chat.completion',
    created: context.created,
    model: context.model,
    choices: said.map(({ text, finish, index, fields }, position) => ({
      index: index ?? position,
      message: {
        role: 'assistant',
        content: text,
        ...(fields === undefined ? {} : { provider_specific_fields: fields }),
      },
      finish_reason: finish ?? 'stop',
    })),
    ...(usage ? { usage } : {}),
  }
}

/** States: open → done by an event that says so, or by the end of the body where the protocol knows no other. */
class TextChunks implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #stream: TextStream
  readonly #isError: (answer: Fields) => boolean
  readonly #readError: Provider['decodeError']
  /** Choices by index: whether they finished. */
  readonly #finished = new Map<number, boolean>()
  done = false

  constructor(
    context: DecodeContext,
    stream: TextStream,
    isError: (answer: Fields) => boolean,
    readError: Provider['decodeError'],
  ) {
    this.#context = context
    this.#stream = stream
    this.#isError = isError
    this.#readError = readError
  }

  push({ event, data }: SseEvent): ChatChunk[] {
    if (this.done || data === '') return []
    if (this.#stream.framing !== 'raw') {
      const fields = data === '[DONE]' ? null : jsonValue(data, 'An event of the stream')
      if (event === 'error' || (isFields(fields) && this.#isError(fields))) throw this.#readError(200, {}, data)
    }
    const said = this.#stream.read(data, this.#context)
    if (said === null) return []
    const { text, index = 0, finish = null, usage = null, fields } = said
    const chunks: ChatChunk[] = []
    if (text !== '' || finish !== null || fields !== undefined) {
      const first = !this.#finished.has(index)
      this.#finished.set(index, finish !== null)
      const delta = {
        ...(first ? { role: 'assistant' } : {}),
        ...(text === '' ? {} : { content: text }),
        ...(fields === undefined ? {} : { provider_specific_fields: fields }),
      }
      chunks.push(this.#chunk([{ index, delta, finish_reason: finish }]))
    }
    if (said.ends === true) {
      this.done = true
      chunks.push(...this.#rest())
    }
    if (usage !== null) chunks.push({ ...this.#chunk([]), usage })
    return chunks
  }

  end(): ChatChunk[] {
    if (this.done) return []
    if (this.#finished.size === 0) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (this.#stream.untilEnd !== true && [...this.#finished.values()].includes(false))
      throw new GatewayError('provider_truncated')
    this.done = true
    return this.#rest()
  }

  /** The end of choices that were not told theirs. */
  #rest(): ChatChunk[] {
    const open = [...this.#finished].filter(([, finished]) => !finished)
    if (open.length === 0) return []
    return [this.#chunk(open.map(([index]) => ({ index, delta: {}, finish_reason: 'stop' })))]
  }

  #chunk(choices: ChatChunk['choices']): ChatChunk {
    const { id, created, model } = this.#context
    return { id, object: 'chat.completion.chunk', created, model, choices }
  }
}

/** A whole answer where a stream was asked for: one piece, read at its end. */
class WholeStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #decode: (body: Uint8Array) => ChatResponse
  #lines: string[] = []
  done = false

  constructor(context: DecodeContext, decode: (body: Uint8Array) => ChatResponse) {
    this.#context = context
    this.#decode = decode
  }

  push({ data }: SseEvent): ChatChunk[] {
    this.#lines.push(data)
    return []
  }

  end(): ChatChunk[] {
    if (this.done) return []
    this.done = true
    const { usage, choices } = this.#decode(Buffer.from(this.#lines.join('\n')))
    const { id, created, model } = this.#context
    const chunk: ChatChunk = {
      id,
      object: 'chat.completion.chunk',
      created,
      model,
      choices: choices.map(({ index, message: { tool_calls: _none, ...delta }, finish_reason }) => ({
        index,
        delta,
        finish_reason,
      })),
    }
    return usage === undefined ? [chunk] : [chunk, { ...chunk, choices: [], usage }]
  }
}
