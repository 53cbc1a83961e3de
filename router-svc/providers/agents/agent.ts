import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Message, Usage } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { type Fields, isFields, sourceOf, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import { authOf } from '../openai.ts'
import { promptOf, textOf } from '../prompt-text.ts'
import type { Adapter, DecodeContext, Framing, Provider, StreamDecoder, Target, UpstreamRequest } from '../provider.ts'

/** An agent somebody deployed, asked as a model is: it thinks with models of its own, and what tools it has are its own. */
export interface AgentProtocol {
  framing: Framing
  request(asked: AgentAsked, target: Target): UpstreamRequest
  /** What one piece of the answer says: an event of a stream, or a whole answer; null = nothing. */
  read(piece: unknown): AgentSaid | null
  auth?: Provider['auth']
  decodeError?: Provider['decodeError']
}

export interface AgentAsked {
  /** What the agent is told: the last turn in a conversation it remembers, else all of the chat as one text. */
  prompt: string
  /** The client's name for the conversation, where the agent remembers one. */
  session: string | null
  /** Parameters that are the agent's own. */
  given: Fields
}

export interface AgentSaid {
  text?: string
  /** It says again what the pieces before it said: agents end each step with the whole of it. */
  whole?: true
  /** Of one call of a model among several: they add up. */
  usage?: Usage | null
  /** The agent failed; its words. */
  error?: string
}

export function agentProvider(name: string, row: ProviderRow, protocol: AgentProtocol): Provider {
  const readError: Provider['decodeError'] =
    protocol.decodeError ?? ((status, headers, body) => decodeError(name, status, headers, body))
  const parametersOf = agentParameters(row)
  const chat: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
    mode: 'chat',
    framing: protocol.framing,
    encodeRequest(request, target) {
      const given = parametersOf(request, target)
      const session = sessionOf(request)
      return protocol.request({ prompt: saidTo(request.messages, session, target), session, given }, target)
    },
    decodeResponse(body, headers, context) {
      const reader = new AgentReader(protocol, readError)
      const said = reader.all(sourceOf(body), headers)
      if (said === null) throw new GatewayError('provider_malformed', 'The answer of the agent holds no text.')
      return answerOf(said, reader.usage, context)
    },
    decodeStream: (context) => new AgentStream(context, new AgentReader(protocol, readError)),
  }
  return {
    name,
    auth: protocol.auth ?? authOf(row),
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat,
    decodeError: readError,
  }
}

/** A canonical answer of one choice. */
export function answerOf(
  content: string,
  usage: Usage | null,
  { id, created, model }: DecodeContext,
  fields: Fields = {},
  finish = 'stop',
): ChatResponse {
  const own = Object.keys(fields).length === 0 ? {} : { provider_specific_fields: fields }
  return {
    id,
    object: 'chat.completion',
    created,
    model,
    choices: [{ index: 0, message: { role: 'assistant', content, ...own }, finish_reason: finish }],
    ...(usage === null ? {} : { usage }),
  }
}

/** Parameters of the agent's own among a request's; what of OpenAI's it has no use for is refused or dropped by the row. */
export function agentParameters(row: ProviderRow): (request: Readonly<Fields>, target: Target) => Fields {
  const unsupported = (row.unsupported ?? []).map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  return (request, target) => {
    const given: Fields = {}
    const extra = isFields(request['extra_body']) ? request['extra_body'] : {}
    for (const [field, value] of [...Object.entries(request), ...Object.entries(extra)])
      if (!PLACED.has(field) && value !== null && value !== undefined && !isGatewayField(field, value)) given[field] = value
    dropNamed(given, request, target)
    dropQuietly(given, dropped)
    refuseUnsupported(given, unsupported, request, target)
    return given
  }
}

const PLACED: ReadonlySet<string> = new Set(['model', 'messages', 'stream', 'stream_options', 'extra_body', 'session_id'])

/** `session_id` of the request or of its metadata, or `litellm_session_id`. */
export function sessionOf(request: Readonly<Fields>): string | null {
  const { metadata } = request
  const named = [request['session_id'], isFields(metadata) ? metadata['session_id'] : null, request['litellm_session_id']]
  return text(named.find((name) => typeof name === 'string' && name !== '')) || null
}

/** What is new to somebody who remembers the rest: everything after the assistant's last word. */
export function lastTurn(messages: readonly Message[]): readonly Message[] {
  return messages.slice(messages.findLastIndex(({ role }) => role === 'assistant') + 1)
}

function saidTo(messages: readonly Message[], session: string | null, target: Target): string {
  if (session === null) return promptOf(messages, target)
  const turn = lastTurn(messages)
  return turn.map((message) => textOf(message, messages.indexOf(message), target.provider)).join('\n\n')
}

export function addUsage(one: Usage | null, other: Usage | null | undefined): Usage | null {
  if (other === null || other === undefined) return one
  if (one === null) return other
  return {
    prompt_tokens: one.prompt_tokens + other.prompt_tokens,
    completion_tokens: one.completion_tokens + other.completion_tokens,
    total_tokens: one.total_tokens + other.total_tokens,
  }
}

/** Members of server-sent events that hold no answer. */
const ASIDE = /^(?:event|id|retry)\s*:|^:/

/**
 * Agents answer JSON where a stream was asked for and streams where none was, as whoever wrote them liked: both are read the same way, as lines,
 * each JSON or `data: JSON`; lines that are no JSON by themselves are parts of one document.
 */
class AgentReader {
  readonly #protocol: AgentProtocol
  readonly #readError: Provider['decodeError']
  readonly #rest: string[] = []
  /** Said since the last whole. */
  #pieces = ''
  #spoke = false
  usage: Usage | null = null

  constructor(protocol: AgentProtocol, readError: Provider['decodeError']) {
    this.#protocol = protocol
    this.#readError = readError
  }

  /** A whole answer; null = nothing was said. Throws the agent's error. */
  all(source: string, headers: Readonly<Record<string, string>>): string | null {
    const whole = parsed(source)
    let said = ''
    if (whole !== undefined) said = this.#piece(whole, headers)
    else {
      for (const line of source.split(/\r?\n/)) said += this.line(line.trim())
      said += this.end()
    }
    return this.#spoke ? said : null
  }

  get spoke(): boolean {
    return this.#spoke
  }

  line(line: string): string {
    if (line === '' || ASIDE.test(line)) return ''
    const data = line.startsWith('data:') ? line.slice('data:'.length).trim() : line
    if (data === '' || data === '[DONE]') return ''
    const value = parsed(data)
    if (value !== undefined && this.#rest.length === 0 && (isFields(value) || line.startsWith('data:')))
      return this.#piece(value, {})
    if (value === undefined && line.startsWith('data:')) return this.#piece(data, {})
    this.#rest.push(line)
    return ''
  }

  end(): string {
    if (this.#rest.length === 0) return ''
    const source = this.#rest.splice(0).join('\n')
    return this.#piece(parsed(source) ?? source, {})
  }

  #piece(value: unknown, headers: Readonly<Record<string, string>>): string {
    const said = this.#protocol.read(value)
    if (said === null) return ''
    if (said.error !== undefined) throw this.#readError(200, headers, JSON.stringify({ message: said.error }))
    this.usage = addUsage(this.usage, said.usage)
    if (said.text === undefined) return ''
    this.#spoke = true
    if (said.whole !== true) {
      this.#pieces += said.text
      return said.text
    }
    const before = this.#pieces
    this.#pieces = ''
    if (before === '') return said.text
    return said.text.startsWith(before) ? said.text.slice(before.length) : ''
  }
}

function parsed(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    return undefined
  }
}

/** Nothing tells of its end but the end of the body, which HTTP tells from a broken connection. */
class AgentStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #reader: AgentReader
  #begun = false
  done = false

  constructor(context: DecodeContext, reader: AgentReader) {
    this.#context = context
    this.#reader = reader
  }

  push({ data }: SseEvent): ChatChunk[] {
    return this.#said(this.#reader.line(data))
  }

  end(): ChatChunk[] {
    if (this.done) return []
    const chunks = this.#said(this.#reader.end())
    if (!this.#reader.spoke) throw new GatewayError('provider_malformed', 'The agent sent an empty stream.')
    this.done = true
    chunks.push(this.#chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]))
    const { usage } = this.#reader
    return usage === null ? chunks : [...chunks, { ...this.#chunk([]), usage }]
  }

  #said(content: string): ChatChunk[] {
    if (content === '') return []
    const delta = this.#begun ? { content } : { role: 'assistant', content }
    this.#begun = true
    return [this.#chunk([{ index: 0, delta, finish_reason: null }])]
  }

  #chunk(choices: ChatChunk['choices']): ChatChunk {
    const { id, created, model } = this.#context
    return { id, object: 'chat.completion.chunk', created, model, choices }
  }
}

/** The text of whatever an agent answers with: text, a message, parts of one, or an object that holds one under one of these names. */
export function textIn(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return (value as unknown[]).map(textIn).join('')
  if (!isFields(value)) return value === null || value === undefined ? '' : JSON.stringify(value)
  const name = HOLDERS.find((holder) => value[holder] !== undefined && value[holder] !== null)
  return name === undefined ? JSON.stringify(value) : textIn(value[name])
}

/** First found counts. */
const HOLDERS = ['result', 'response', 'output', 'answer', 'completion', 'message', 'content', 'parts', 'text'] as const

/** Whether an object holds an answer by one of those names. */
export function holdsText(value: Fields): boolean {
  return HOLDERS.some((holder) => value[holder] !== undefined && value[holder] !== null)
}
