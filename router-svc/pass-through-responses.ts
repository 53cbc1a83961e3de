import { NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import { GatewayError } from '../shared/errors.ts'
import { parseSseFrame, type SseEvent, SseSplitter, sseEvent } from '../shared/http/sse.ts'
import type { Call } from './call.ts'
import type { ChatRequest } from './canonical/chat.ts'
import { isGatewayField } from './canonical/gateway-fields.ts'
import { tokensOf } from './canonical/usage.ts'
import { roughTokens } from './count-tokens.ts'
import { errorOf } from './dialects/openai-responses/error.ts'
import { SAME } from './dialects/openai-responses/request.ts'
import { type ErrorReader, forwardBody, join } from './pass-through.ts'
import { type Fields, isFields, jsonObject, sourceOf, text } from './providers/json.ts'
import { dropNamed } from './providers/openai/parameters.ts'
import type { Target, UpstreamRequest } from './providers/provider.ts'
import { decodeUsage } from './providers/responses/answer.ts'
import type { ResponsesAdapter } from './providers/responses/native.ts'
import { countsNothing, estimate, type StreamReader } from './read-stream.ts'
import { Repetition } from './repetition.ts'
import type { ResponsesTurn } from './responses/turn.ts'
import type { Route } from './runtime.ts'

/** The path between a client and a provider that both speak the Responses API: nothing is lost, whatever the gateway knows of it. */

/** Fields of the protocol that in other protocols speak to the gateway. */
const SENT: ReadonlySet<string> = new Set(['metadata', 'prompt'])
/** Canonical names for what this protocol calls otherwise. */
const RENAMED: Readonly<Record<string, string>> = {
  max_tokens: 'max_output_tokens',
  max_completion_tokens: 'max_output_tokens',
  top_logprobs: 'top_logprobs',
}
/** Canonical fields whose change cannot be said in the client's own words without translating. */
const TRANSLATED: ReadonlySet<string> = new Set([
  'messages',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'verbosity',
  'logprobs',
  'web_search_options',
])
/** How a sentence about it begins. */
const WHAT = 'The provider sent what'

/**
 * The upstream request around the client's own bytes. `request` is what shall be sent, in canonical terms; where it differs from what the client
 * said in a way its own words have no place for, the adapter encodes it. Throws what that throws.
 */
export function forwardResponses(
  call: Pick<Call, 'raw' | 'parsed' | 'decoded' | 'responses'>,
  adapter: ResponsesAdapter,
  request: ChatRequest,
  target: Target,
): UpstreamRequest {
  const body = ownBody(call, request, target)
  if (body === null) return adapter.encodeRequest(request, target)
  if (adapter.stateless) {
    if (call.parsed['store'] !== undefined) body['store'] = false
    delete body['previous_response_id']
  }
  return adapter.wrap(target, forwardBody(call.raw, call.parsed, body))
}

/** The client's body as it may be sent; null when it must be translated. */
function ownBody(
  { parsed, decoded, responses }: Pick<Call, 'parsed' | 'decoded' | 'responses'>,
  request: ChatRequest,
  target: Target,
): Fields | null {
  const body: Fields = {}
  for (const name in parsed) if (SENT.has(name) || !isGatewayField(name, parsed[name])) body[name] = parsed[name]
  if (request !== decoded) {
    for (const name in request) {
      if (request[name] === decoded[name] || name === 'model' || name === 'responses') continue
      if (TRANSLATED.has(name)) return null
      const own = RENAMED[name]
      if (own !== undefined) body[own] = request[name]
      else if (SAME.includes(name) || !isGatewayField(name, request[name])) body[name] = request[name]
    }
  }
  Object.assign(body, responses?.replaced ?? {})
  for (const name in body) if (body[name] === undefined) delete body[name]
  dropNamed(body, request, target)
  body['model'] = target.model
  return body
}

/** What is written anew in a response object on its way to the client. */
export interface Restamp {
  /** Model name the client asked for. */
  model: string
  readError: ErrorReader
  /** Of the route that answers. */
  route: Route
  turn: ResponsesTurn | null
}

/**
 * A whole answer with `model` and the ids of responses restamped; `running`: the provider's id of one that is not done. Throws GatewayError
 * `provider_malformed`, or the error the body holds.
 */
export function forwardResponseObject(
  body: Uint8Array,
  stamp: Restamp,
): { body: Uint8Array; usage: TokenUsage; reportedModel: string | null; running: string | null } {
  const source = sourceOf(body)
  const response = jsonObject(source, WHAT)
  if (!Array.isArray(response['output'])) throw stamp.readError(200, {}, source)
  if (response['status'] === 'failed' && isFields(response['error'])) throw failure(response, stamp.readError)
  const { status, id } = response
  const running = (status === 'queued' || status === 'in_progress') && typeof id === 'string' ? id : null
  const counted = estimate(roughTokens(JSON.stringify(response['output']).length - 2))
  return {
    body: forwardBody(body, response, restamped(response, stamp)),
    // One that runs on in the background is booked when it is done (carried/settle-objects.ts).
    usage: reportedOf(response) ?? (running === null ? counted : NO_TOKENS),
    reportedModel: typeof response['model'] === 'string' ? response['model'] : null,
    running,
  }
}

function restamped(response: Fields, { model, route, turn }: Restamp): Fields {
  const stamped: Fields = { ...response, model }
  if (turn === null) return stamped
  if (typeof response['id'] === 'string') stamped['id'] = turn.idOf(route, response['id'])
  if (Object.hasOwn(response, 'previous_response_id')) stamped['previous_response_id'] = turn.previousId
  return stamped
}

function failure(response: Fields, readError: ErrorReader): GatewayError {
  const error = isFields(response['error']) ? response['error'] : {}
  const status = error['code'] === 'rate_limit_exceeded' ? 429 : error['code'] === 'server_error' ? 500 : 400
  return readError(status, {}, JSON.stringify({ error }))
}

/** Null = nothing was counted. */
function reportedOf(response: Fields): TokenUsage | null {
  const output = Array.isArray(response['output']) ? (response['output'] as unknown[]) : []
  const usage = decodeUsage(response['usage'], output)
  const tokens = usage === null ? null : tokensOf(usage, response['service_tier'])
  return tokens === null || countsNothing(tokens) ? null : tokens
}

/** Events that hold the response as it stands. */
const ENVELOPE = /^response\.(?:created|queued|in_progress|completed|incomplete|failed)$/

/** Whether an event only announces words. */
function isOpening(type: string, item: unknown): boolean {
  if (type !== 'response.output_item.added') return type === 'response.content_part.added'
  return isFields(item) && (item['type'] === 'reasoning' || item['type'] === 'message')
}

/**
 * A stream of the protocol's events on its way to the client, each as it came but for the names in response objects. The terminal event is kept
 * back for `last`.
 *
 * States: held (`response.created` and the like wait for the model to speak: until then another deployment may still be tried) → open → done
 * (a terminal event seen). Errors are thrown and leave it unusable.
 */
export class ResponsesPassThrough implements StreamReader {
  readonly #stamp: Restamp
  readonly #splitter = new SseSplitter()
  readonly #repetition = new Repetition()
  #held: (Uint8Array | string)[] | null = []
  #unsent: (Uint8Array | string)[] = []
  #last = ''
  /** As it was told last, restamped. */
  #response: Fields | null = null
  #number = -1
  #usage: TokenUsage | null = null
  #characters = 0
  #done = false
  /** The provider's own word of its failure, for the client. */
  #failed = ''
  reportedModel: string | null = null

  constructor(stamp: Restamp) {
    this.#stamp = stamp
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
      if (!this.#done)
        throw this.#response === null
          ? new GatewayError('provider_malformed', 'The provider sent an empty stream.')
          : new GatewayError('provider_truncated')
    })
  }

  usage(): TokenUsage {
    return this.#usage ?? estimate(roughTokens(this.#characters))
  }

  last(): string {
    return this.#last
  }

  errorEvent(error: GatewayError): string {
    const pending = Buffer.from(join([...(this.#held ?? []), ...this.#unsent])).toString('utf8')
    if (this.#failed !== '') return pending + this.#failed
    const told = errorOf(error)
    const sequence_number = this.#number + 1
    if (this.#response === null)
      return pending + sseEvent(JSON.stringify({ type: 'error', sequence_number, ...told, param: error.param }), 'error')
    const response = { ...this.#response, status: 'failed', error: told }
    return pending + sseEvent(JSON.stringify({ type: 'response.failed', sequence_number, response }), 'response.failed')
  }

  /** An answer with items, ids and calls of its own is not another model's to go on with. */
  continuation(): null {
    return null
  }

  /** Bytes for the client, their own memory. What was relayed before a fault goes out before the word of it. */
  #collect(relay: (out: (Uint8Array | string)[]) => void): Uint8Array {
    const out: (Uint8Array | string)[] = []
    try {
      relay(out)
    } catch (thrown) {
      this.#unsent = out
      throw thrown
    }
    return join(out)
  }

  #relay(event: SseEvent, frame: Uint8Array | null, out: (Uint8Array | string)[]): void {
    if (event.data === '' || event.data === '[DONE]') return
    const payload = jsonObject(event.data, WHAT)
    const type = text(payload['type'], event.event)
    if (typeof payload['sequence_number'] === 'number') this.#number = payload['sequence_number']
    if (type === 'error' || (isFields(payload['error']) && !isFields(payload['response']))) this.#fail(type, payload, event.data)
    if (ENVELOPE.test(type) && isFields(payload['response'])) {
      this.#envelope(type, payload, payload['response'], out)
      return
    }
    this.#read(type, payload)
    const piece = frame !== null && event.event === type ? frame : sseEvent(event.data, type)
    // An item that opens with nothing in it is not the model speaking yet.
    if (this.#characters === 0 && isOpening(type, payload['item'])) this.#put(piece, out)
    else {
      this.#release(out)
      out.push(piece)
    }
  }

  #envelope(type: string, payload: Fields, given: Fields, out: (Uint8Array | string)[]): void {
    if (typeof given['model'] === 'string') this.reportedModel = given['model']
    const response = restamped(given, this.#stamp)
    const piece = sseEvent(JSON.stringify({ ...payload, response }), type)
    this.#response = response
    this.#usage = reportedOf(given) ?? this.#usage
    if (type === 'response.failed') {
      this.#failed = piece
      throw failure(given, this.#stamp.readError)
    }
    if (type === 'response.completed' || type === 'response.incomplete') {
      this.#release(out)
      this.#last = piece
      this.#done = true
      return
    }
    this.#put(piece, out)
    // Whoever polls needs the id now, and no other deployment may run it again.
    if (response['background'] === true) this.#release(out)
  }

  #fail(type: string, payload: Fields, data: string): never {
    if (type !== 'error') throw this.#stamp.readError(200, {}, data)
    this.#failed = sseEvent(data, 'error')
    const error = isFields(payload['error']) ? payload['error'] : payload
    throw failure({ error }, this.#stamp.readError)
  }

  /** What the bill needs of an event. */
  #read(type: string, payload: Fields): void {
    const delta = payload['delta']
    if (typeof delta === 'string') {
      this.#characters += delta.length
      if (type === 'response.output_text.delta' && delta !== '') this.#repetition.see(delta, delta.length)
    } else if (type.endsWith('.partial_image')) this.#characters += 1
  }

  #put(piece: Uint8Array | string, out: (Uint8Array | string)[]): void {
    if (this.#held === null) out.push(piece)
    // Frames are views into the socket's bytes.
    else this.#held.push(typeof piece === 'string' ? piece : Uint8Array.from(piece))
  }

  #release(out: (Uint8Array | string)[]): void {
    if (this.#held === null) return
    out.push(...this.#held)
    this.#held = null
  }
}
