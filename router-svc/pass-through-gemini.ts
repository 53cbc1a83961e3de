import type { TokenUsage } from '../proto/usage.ts'
import { GatewayError, googleErrorBody } from '../shared/errors.ts'
import { parseSseFrame, type SseEvent, SseSplitter } from '../shared/http/sse.ts'
import type { Call } from './call.ts'
import type { ChatRequest } from './canonical/chat.ts'
import { isGatewayField } from './canonical/gateway-fields.ts'
import { tokensOf } from './canonical/usage.ts'
import { roughTokens } from './count-tokens.ts'
import type { Frames } from './dialects/gemini/stream.ts'
import { type Continuation, TEXT_LIMIT } from './failover/continuation.ts'
import { JsonMembers } from './json-members.ts'
import { type ErrorReader, forwardBody, join } from './pass-through.ts'
import { blockReason } from './providers/gemini/answer.ts'
import { errorInside } from './providers/gemini/errors.ts'
import { searches } from './providers/gemini/grounding.ts'
import type { GeminiAdapter } from './providers/gemini/index.ts'
import { traitsOf } from './providers/gemini/models.ts'
import { decodeUsage, mergeUsage, tierOf } from './providers/gemini/usage.ts'
import { type Fields, isFields, objects, text } from './providers/gemini/wire.ts'
import { jsonObject, jsonValue } from './providers/json.ts'
import type { Target, UpstreamRequest } from './providers/provider.ts'
import { countsNothing, estimate, type StreamReader } from './read-stream.ts'
import { Repetition } from './repetition.ts'

/** The path between a client and a provider that both speak Gemini's protocol: nothing is lost, whatever the gateway knows of it. */

/** How a sentence about it begins. */
const SENT = 'The provider sent what'
/** What the address says, put beside the body's fields on the way in; and what LiteLLM calls a customer. Google refuses them in a body. */
const NOT_SENT: ReadonlySet<string> = new Set(['model', 'stream', 'user'])

/**
 * The upstream request around the client's own bytes. `request` is what shall be sent, in canonical terms; where it differs from what the client
 * said, the adapter encodes it. Throws what that throws.
 */
export function forwardContents(
  call: Pick<Call, 'raw' | 'parsed' | 'decoded'>,
  adapter: Pick<GeminiAdapter, 'encodeRequest' | 'wrap'>,
  request: ChatRequest,
  target: Target,
): UpstreamRequest {
  const body = ownBody(call.parsed, call.decoded, request, target)
  if (body === null) return adapter.encodeRequest(request, target)
  return adapter.wrap(forwardBody(call.raw, call.parsed, body), request, target)
}

/** The client's body as it may be sent; null when it must be translated. */
function ownBody(parsed: Readonly<Fields>, decoded: Readonly<Fields>, request: ChatRequest, target: Target): Fields | null {
  if (target.additionalDropParams.length > 0 || request['additional_drop_params'] !== undefined) return null
  if (request !== decoded) {
    for (const name in request) if (request[name] !== decoded[name] && !isGatewayField(name, request[name])) return null
  }
  // Thoughts that another provider signed: Google would refuse them.
  if (request.messages.some((message) => message.thinking_blocks !== undefined)) return null
  const body: Fields = {}
  for (const name in parsed) if (!NOT_SENT.has(name) && !isGatewayField(name, parsed[name])) body[name] = parsed[name]
  return body
}

const MODEL = Buffer.from('modelVersion')
const USAGE = Buffer.from('usageMetadata')
const CANDIDATES = Buffer.from('candidates')
const FEEDBACK = Buffer.from('promptFeedback')
const QUERIES = Buffer.from('"webSearchQueries"')

/**
 * A whole answer with `modelVersion` restamped; `usage` null = it holds none. `upstream`: the model's name there, which says how searches are
 * billed. Throws GatewayError `provider_malformed`, or the error the body holds.
 */
export function forwardContent(
  body: Uint8Array,
  model: string,
  upstream: string,
  readError: ErrorReader,
): { body: Uint8Array; usage: TokenUsage | null; reportedModel: string | null } {
  const members = new JsonMembers()
  const sound = members.scan(body)
  const found = sound ? members.find(CANDIDATES) : -1
  const counted = sound ? members.find(USAGE) : -1
  if (found < 0 && counted < 0 && (!sound || members.find(FEEDBACK) < 0)) {
    const source = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
    const answer = jsonValue(source, 'The answer')
    if (errorInside(Array.isArray(answer) ? answer[0] : answer)) throw readError(200, {}, source)
    throw new GatewayError('provider_malformed', 'The answer holds no candidates.')
  }
  const usage = counted < 0 ? {} : jsonObject(members.text(counted), SENT)
  const searched = found >= 0 && Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(QUERIES)
  const candidates = searched ? objects(jsonValue(members.text(found), 'The answer')) : []
  const stamped = stamp(members, body, model)
  return { ...stamped, usage: reportedOf(usage, searches(candidates, traitsOf(upstream).billsSearches)) }
}

/** The scanned bytes with the client's name of the model; and the provider's, null when it says none. */
function stamp(members: JsonMembers, body: Uint8Array, model: string): { body: Uint8Array; reportedModel: string | null } {
  const at = members.find(MODEL)
  if (at < 0) return { body, reportedModel: null }
  const reported: unknown = JSON.parse(members.text(at))
  return {
    body: join([body.subarray(0, members.valueStart(at)), JSON.stringify(model), body.subarray(members.valueEnd(at))]),
    reportedModel: typeof reported === 'string' ? reported : null,
  }
}

export interface ContentsPassThroughOptions {
  /** Model name the client asked for, and the one upstream. */
  model: string
  upstream: string
  /** How the client wants its stream written. */
  frames: Frames
  readError: ErrorReader
  /** The text that goes by is kept, so that a stream that dies can be continued. */
  keepText: boolean
}

/**
 * A stream of `GenerateContentResponse`s on its way to the client, each as it came but for the model's name, framed as the client asked.
 *
 * States: held (until the model speaks another deployment may still be tried) → open → complete (every candidate has its finish reason, or the
 * prompt was blocked), which only the end of input ends: counts may follow. Errors are thrown and leave it unusable.
 */
export class ContentsPassThrough implements StreamReader {
  readonly #options: ContentsPassThroughOptions
  readonly #splitter = new SseSplitter()
  readonly #members = new JsonMembers()
  readonly #usage: Fields = {}
  /** Whether each candidate seen has finished. */
  readonly #finished = new Map<number, boolean>()
  /** The last grounding of each. */
  readonly #grounded = new Map<number, Fields>()
  readonly #repetition = new Repetition()
  #held: string[] | null = []
  #unsent = ''
  #id = ''
  #seen = false
  #blocked = false
  #characters = 0
  /** For a continuation: what the client has. */
  #text = ''
  #reasoning = false
  #safe = true
  readonly done = false
  reportedModel: string | null = null

  constructor(options: ContentsPassThroughOptions) {
    this.#options = options
  }

  get firstToken(): boolean {
    return this.#characters > 0
  }

  get outputTokens(): number {
    return roughTokens(this.#characters)
  }

  push(bytes: Uint8Array): Uint8Array {
    return this.#collect(this.#splitter.push(bytes))
  }

  finish(): Uint8Array {
    const bytes = this.#collect([this.#splitter.rest()])
    if (!this.#seen) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (!this.#complete()) {
      this.#unsent = Buffer.from(bytes).toString('utf8')
      throw new GatewayError('provider_truncated')
    }
    return bytes
  }

  /** What the provider reported; where it did not get to its end, the output estimated. */
  usage(): TokenUsage {
    const grounded = [...this.#grounded.values()].map((groundingMetadata) => ({ groundingMetadata }))
    const reported = reportedOf(this.#usage, searches(grounded, traitsOf(this.#options.upstream).billsSearches))
    const seen = roughTokens(this.#characters)
    if (reported === null) return estimate(seen)
    return this.#complete() ? reported : { ...reported, output: Math.max(reported.output, seen), estimated: true }
  }

  last(): string {
    return this.#options.frames.end()
  }

  errorEvent(error: GatewayError): string {
    const { frames } = this.#options
    return this.#unsent + frames.frame(JSON.stringify(googleErrorBody(error))) + frames.end()
  }

  continuation(): Continuation | null {
    if (!this.#options.keepText || !this.#safe || this.#finished.size > 1 || this.#text.length > TEXT_LIMIT) return null
    const begun = this.#held === null
    return {
      text: this.#text,
      reasoning: this.#reasoning,
      envelope: begun ? { id: this.#id, created: 0, fingerprint: null } : null,
      encoder: null,
      point: { begun },
      pending: this.#unsent,
    }
  }

  #complete(): boolean {
    if (this.#finished.size === 0) return this.#blocked
    for (const finished of this.#finished.values()) if (!finished) return false
    return true
  }

  /** Bytes for the client, their own memory. What was relayed before a fault goes out before the word of it. */
  #collect(frames: readonly Uint8Array[]): Uint8Array {
    let out = ''
    try {
      for (const frame of frames) {
        const event = frame.length === 0 ? null : parseSseFrame(frame)
        if (event !== null) out += this.#relay(event)
      }
    } catch (thrown) {
      this.#unsent = out
      throw thrown
    }
    return Buffer.from(out)
  }

  #relay({ data }: SseEvent): string {
    if (data === '' || data === '[DONE]') return ''
    const payload = jsonObject(data, SENT)
    if (errorInside(payload)) throw this.#options.readError(200, {}, data)
    this.#seen = true
    const spoke = this.#read(payload)
    const piece = this.#options.frames.frame(this.#stamped(data, payload))
    if (this.#held === null) return piece
    this.#held.push(piece)
    if (!spoke) return ''
    const all = this.#held.join('')
    this.#held = null
    return all
  }

  #stamped(data: string, payload: Readonly<Fields>): string {
    const reported = payload['modelVersion']
    if (typeof reported !== 'string') return data
    this.reportedModel ??= reported
    const bytes = Buffer.from(data)
    this.#members.scan(bytes)
    return Buffer.from(stamp(this.#members, bytes, this.#options.model).body).toString('utf8')
  }

  /** What the bill and a continuation need of an answer. True when the model spoke in it, or the service for it. */
  #read(payload: Fields): boolean {
    this.#id ||= text(payload['responseId'])
    mergeUsage(this.#usage, payload['usageMetadata'])
    if (blockReason(payload) !== '') this.#blocked = true
    let spoke = this.#blocked
    for (const [position, candidate] of objects(payload['candidates']).entries()) {
      const index = typeof candidate['index'] === 'number' ? candidate['index'] : position
      const finished = text(candidate['finishReason']) !== ''
      this.#finished.set(index, finished || this.#finished.get(index) === true)
      if (isFields(candidate['groundingMetadata'])) this.#grounded.set(index, candidate['groundingMetadata'])
      // The model has finished, or cites: nothing is left that another could continue.
      if (finished || candidate['groundingMetadata'] !== undefined) this.#safe = false
      const before = this.#characters
      const content = candidate['content']
      for (const part of isFields(content) ? objects(content['parts']) : []) this.#part(part)
      spoke ||= finished || this.#characters > before
    }
    return spoke
  }

  #part(part: Fields): void {
    const words = part['text']
    if (typeof words !== 'string') {
      this.#safe = false
      const call = part['functionCall']
      // Media have no words; that they came is what counts.
      this.#characters += isFields(call) ? JSON.stringify(call['args'] ?? {}).length + text(call['name']).length : 1
      return
    }
    this.#characters += words.length
    if (part['thought'] === true) this.#reasoning = true
    else {
      if (words !== '') this.#repetition.see(words, words.length)
      if (this.#options.keepText && this.#text.length <= TEXT_LIMIT) this.#text += words
    }
  }
}

/** What the provider says it counted; null = it does not say, or says nothing of an answer. */
function reportedOf(usage: Fields, searched: number): TokenUsage | null {
  if (Object.keys(usage).length === 0) return null
  const reported = tokensOf(decodeUsage(usage, searched), tierOf(usage))
  return countsNothing(reported) ? null : reported
}
