import type { TokenUsage } from '../proto/usage.ts'
import { anthropicErrorBody, GatewayError } from '../shared/errors.ts'
import { parseSseFrame, type SseEvent, SseSplitter, sseEvent } from '../shared/http/sse.ts'
import type { Call } from './call.ts'
import type { ChatRequest } from './canonical/chat.ts'
import { isGatewayField } from './canonical/gateway-fields.ts'
import { tokensOf } from './canonical/usage.ts'
import { roughTokens } from './count-tokens.ts'
import { SAME } from './dialects/anthropic/request.ts'
import { type Continuation, TEXT_LIMIT } from './failover/continuation.ts'
import { JsonMembers } from './json-members.ts'
import { type ErrorReader, forwardBody, join } from './pass-through.ts'
import type { AnthropicAdapter } from './providers/anthropic/index.ts'
import { decodeUsage, mergeUsage } from './providers/anthropic/usage.ts'
import { type Fields, isFields, text } from './providers/anthropic/wire.ts'
import { jsonObject } from './providers/json.ts'
import { dropNamed } from './providers/openai/parameters.ts'
import type { Target, UpstreamRequest } from './providers/provider.ts'
import { countsNothing, estimate, type StreamReader } from './read-stream.ts'
import { Repetition } from './repetition.ts'

/** How a sentence about it begins. */
const SENT = 'The provider sent what'

/** The path between a client and a provider that both speak Anthropic's protocol: nothing is lost, whatever the gateway knows of it. */

/** Fields that go into headers, and what LiteLLM calls a customer: the API refuses them in a body. */
const NOT_SENT: ReadonlySet<string> = new Set(['betas', 'anthropic_beta', 'anthropic_version', 'user'])
/** Canonical fields whose change cannot be said in the client's own words without translating. */
const TRANSLATED: ReadonlySet<string> = new Set([
  'messages',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'stop',
  'reasoning_effort',
  'response_format',
  'service_tier',
  'max_completion_tokens',
  'anthropic',
])

/**
 * The upstream request around the client's own bytes. `request` is what shall be sent, in canonical terms; where it differs from what the client
 * said in a way its own words have no place for, the adapter encodes it. Throws what that throws.
 */
export function forwardMessages(
  call: Pick<Call, 'raw' | 'parsed' | 'decoded'>,
  adapter: Pick<AnthropicAdapter, 'encodeRequest' | 'wrap'>,
  request: ChatRequest,
  target: Target,
): UpstreamRequest {
  const body = ownBody(call.parsed, call.decoded, request, target)
  if (body === null) return adapter.encodeRequest(request, target)
  return adapter.wrap(forwardBody(call.raw, call.parsed, body), call.parsed, target)
}

/** The client's body as it may be sent; null when it must be translated. */
function ownBody(parsed: Readonly<Fields>, decoded: Readonly<Fields>, request: ChatRequest, target: Target): Fields | null {
  if ((request['cache_control_injection_points'] ?? target.settings['cache_control_injection_points']) !== undefined) return null
  const body: Fields = {}
  for (const name in parsed) {
    if (NOT_SENT.has(name) || (name !== 'metadata' && isGatewayField(name, parsed[name]))) continue
    body[name] = parsed[name]
  }
  if (request !== decoded) {
    for (const name in request) {
      if (request[name] === decoded[name]) continue
      if (TRANSLATED.has(name)) return null
      if (SAME.includes(name) || !isGatewayField(name, request[name])) body[name] = request[name]
    }
  }
  // Thinking of another provider has no signature, and the API refuses it.
  for (const message of request.messages) if (message.reasoning_content !== undefined) return null
  const { metadata } = body
  if (isFields(metadata)) body['metadata'] = ownMetadata(metadata)
  dropNamed(body, request, target)
  body['model'] = target.model
  return body
}

/** What the API knows of `metadata`; tags and the like are for us. */
function ownMetadata(metadata: Fields): Fields {
  for (const name in metadata) {
    if (name !== 'user_id') return metadata['user_id'] === undefined ? {} : { user_id: metadata['user_id'] }
  }
  return metadata
}

const MODEL = Buffer.from('model')
const USAGE = Buffer.from('usage')
const CONTENT = Buffer.from('content')
const OPEN_BRACKET = 0x5b

/** A whole message with `model` restamped; `usage` null = it holds none. Throws GatewayError `provider_malformed`, or the error the body holds. */
export function forwardMessage(
  body: Uint8Array,
  model: string,
  readError: ErrorReader,
): { body: Uint8Array; usage: TokenUsage | null; reportedModel: string | null } {
  const members = new JsonMembers()
  if (!members.scan(body)) throw new GatewayError('provider_malformed')
  const content = members.find(CONTENT)
  if (content < 0 || body[members.valueStart(content)] !== OPEN_BRACKET) {
    const source = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
    if (isFields(jsonObject(source, SENT)['error'])) throw readError(200, {}, source)
    throw new GatewayError('provider_malformed', 'The answer holds no content blocks.')
  }
  const counted = members.find(USAGE)
  const usage = counted < 0 ? {} : jsonObject(members.text(counted), SENT)
  const stamped = members.find(MODEL)
  const reported: unknown = stamped < 0 ? null : JSON.parse(members.text(stamped))
  return {
    body:
      stamped < 0
        ? body
        : join([body.subarray(0, members.valueStart(stamped)), JSON.stringify(model), body.subarray(members.valueEnd(stamped))]),
    usage: reportedOf(usage),
    reportedModel: typeof reported === 'string' ? reported : null,
  }
}

export interface MessagesPassThroughOptions {
  /** Model name the client asked for. */
  model: string
  readError: ErrorReader
  /** The text that goes by is kept, so that a stream that dies can be continued. */
  keepText: boolean
}

type Piece = Uint8Array | string

const THINKING: ReadonlySet<string> = new Set(['thinking', 'redacted_thinking'])

/**
 * A stream of Anthropic's events on its way to the client, each as it came but for the model name in `message_start`. `message_stop` is kept
 * back for `last`.
 *
 * States: held (`message_start`, pings and an empty block wait for the model to speak: until then another deployment may still be tried) → open → done
 * (`message_stop` seen). Errors are thrown and leave it unusable.
 */
export class MessagesPassThrough implements StreamReader {
  readonly #options: MessagesPassThroughOptions
  readonly #splitter = new SseSplitter()
  readonly #usage: Fields = {}
  #held: Piece[] | null = []
  #unsent: Piece[] = []
  #id: string | null = null
  #counted = false
  #done = false
  #characters = 0
  /** For a continuation: what the client has. */
  #text = ''
  #reasoning = false
  #safe = true
  #blocks = 0
  #open: 'text' | 'thinking' | null = null
  readonly #repetition = new Repetition()
  reportedModel: string | null = null

  constructor(options: MessagesPassThroughOptions) {
    this.#options = options
  }

  get done(): boolean {
    return this.#done
  }

  get firstToken(): boolean {
    return this.#characters > 0
  }

  get outputTokens(): number {
    return roughTokens(this.#characters)
  }

  push(bytes: Uint8Array): Uint8Array {
    return this.#collect((out) => {
      for (const frame of this.#splitter.push(bytes)) {
        if (this.#done) break
        const event = parseSseFrame(frame)
        if (event === null) this.#put(frame, out)
        else this.#relay(event, frame, out)
      }
    })
  }

  finish(): Uint8Array {
    return this.#collect((out) => {
      const rest = this.#done ? null : parseSseFrame(this.#splitter.rest())
      if (rest !== null) this.#relay(rest, null, out)
      if (!this.#done) throw this.#id === null ? empty() : new GatewayError('provider_truncated')
    })
  }

  /** What the provider reported at its end; else what it told at its start, the output estimated. */
  usage(): TokenUsage {
    const reported = this.#counted ? reportedOf(this.#usage) : null
    if (reported !== null) return reported
    const seen = roughTokens(this.#characters)
    if (this.#counted || this.#usage['input_tokens'] === undefined) return estimate(seen)
    const told = tokens(this.#usage)
    return { ...told, output: Math.max(told.output, seen), estimated: true }
  }

  last(): string {
    return sseEvent('{"type":"message_stop"}', 'message_stop')
  }

  errorEvent(error: GatewayError): string {
    return this.#pending() + sseEvent(JSON.stringify(anthropicErrorBody(error)), 'error')
  }

  continuation(): Continuation | null {
    if (!this.#options.keepText || !this.#safe || this.#text.length > TEXT_LIMIT) return null
    const begun = this.#held === null
    return {
      text: this.#text,
      reasoning: this.#reasoning,
      envelope: begun ? { id: this.#id ?? '', created: 0, fingerprint: null } : null,
      encoder: null,
      point: begun ? { begun, blocks: this.#blocks, open: this.#open } : { begun, blocks: 0, open: null },
      pending: this.#pending(),
    }
  }

  #pending(): string {
    return this.#unsent.length === 0 ? '' : Buffer.from(join(this.#unsent)).toString('utf8')
  }

  /** Bytes for the client, their own memory. What was relayed before a fault goes out before the word of it. */
  #collect(relay: (out: Piece[]) => void): Uint8Array {
    const out: Piece[] = []
    try {
      relay(out)
    } catch (thrown) {
      this.#unsent = out
      throw thrown
    }
    return join(out)
  }

  #relay(event: SseEvent, frame: Uint8Array | null, out: Piece[]): void {
    if (event.data === '' || event.data === '[DONE]') return
    const payload = jsonObject(event.data, SENT)
    const type = text(payload['type'], event.event)
    // Clients look at the event's name, which some servers leave out.
    const piece = frame !== null && event.event === type ? frame : sseEvent(event.data, type)
    switch (type) {
      case 'message_start':
        this.#start(payload, out)
        return
      case 'ping':
        this.#put(piece, out)
        return
      case 'message_stop':
        if (this.#id === null) throw empty()
        this.#release(out)
        this.#done = true
        return
      case 'error':
        throw this.#options.readError(200, {}, event.data)
    }
    if (isFields(payload['error'])) throw this.#options.readError(200, {}, event.data)
    this.#read(type, payload)
    // A block that opens with nothing in it is not the model speaking yet.
    if (type === 'content_block_start' && this.#open !== null && this.#characters === 0) {
      this.#put(piece, out)
      return
    }
    this.#release(out)
    out.push(piece)
  }

  #start(payload: Fields, out: Piece[]): void {
    if (this.#id !== null) return
    const message = isFields(payload['message']) ? payload['message'] : {}
    this.#id = text(message['id'])
    if (typeof message['model'] === 'string') this.reportedModel = message['model']
    mergeUsage(this.#usage, message['usage'])
    const stamped = { ...payload, message: { ...message, model: this.#options.model } }
    this.#put(sseEvent(JSON.stringify(stamped), 'message_start'), out)
  }

  /** What the bill and a continuation need of an event. */
  #read(type: string, payload: Fields): void {
    const { delta, content_block: block } = payload
    if (type === 'content_block_delta' && isFields(delta)) this.#readDelta(delta)
    else if (type === 'content_block_start' && isFields(block)) {
      this.#blocks += 1
      this.#open = block['type'] === 'text' ? 'text' : THINKING.has(text(block['type'])) ? 'thinking' : null
      this.#safe &&= this.#open !== null
      this.#said(text(block['text']))
      this.#characters += text(block['thinking']).length + text(block['name']).length
    } else if (type === 'content_block_stop') this.#open = null
    else if (type === 'message_delta') {
      mergeUsage(this.#usage, payload['usage'])
      if (isFields(payload['usage']) && typeof payload['usage']['output_tokens'] === 'number') this.#counted = true
      // The model has finished: nothing is left to continue.
      if (isFields(delta) && typeof delta['stop_reason'] === 'string') this.#safe = false
    }
  }

  #readDelta(delta: Fields): void {
    switch (delta['type']) {
      case 'text_delta':
        this.#said(text(delta['text']))
        return
      case 'thinking_delta':
        this.#reasoning = true
        this.#characters += text(delta['thinking']).length
        return
      case 'input_json_delta':
        this.#characters += text(delta['partial_json']).length
        return
      case 'citations_delta':
        // Another model cannot cite on.
        this.#safe = false
    }
  }

  #said(piece: string): void {
    if (piece !== '') this.#repetition.see(piece, piece.length)
    this.#characters += piece.length
    if (this.#options.keepText && this.#text.length <= TEXT_LIMIT) this.#text += piece
  }

  #put(piece: Piece, out: Piece[]): void {
    if (this.#held === null) out.push(piece)
    // Frames are views into the socket's bytes.
    else this.#held.push(typeof piece === 'string' ? piece : Uint8Array.from(piece))
  }

  #release(out: Piece[]): void {
    if (this.#held === null) return
    out.push(...this.#held)
    this.#held = null
  }
}

/** What the provider says it counted; null = it does not say, or says nothing of an answer. */
function reportedOf(usage: Fields): TokenUsage | null {
  if (typeof usage['output_tokens'] !== 'number') return null
  const reported = tokens(usage)
  return countsNothing(reported) ? null : reported
}

function empty(): GatewayError {
  return new GatewayError('provider_malformed', 'The provider sent an empty stream.')
}

function tokens(usage: Fields): TokenUsage {
  return tokensOf(decodeUsage(usage), usage['service_tier'])
}
