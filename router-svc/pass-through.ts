import { GatewayError } from '../shared/errors.ts'
import { parseSseFrame, type SseEvent, SseSplitter, sseEvent } from '../shared/http/sse.ts'
import type { Usage } from './canonical/chat.ts'
import type { Continuation } from './failover/continuation.ts'
import { SentBytes } from './failover/sent-bytes.ts'
import { JsonMembers, skipSpace, stringEnd } from './json-members.ts'
import { readUsage } from './providers/openai/usage.ts'
import type { OpenAIAdapter } from './providers/openai.ts'
import type { Adapter, Headers, Target, UpstreamRequest } from './providers/provider.ts'
import { hashOf, Repetition } from './repetition.ts'

/**
 * The fast path between a client and a provider that both speak OpenAI's protocol: bytes go through, and only what must change is cut
 * out or put in. An adapter says by its `protocol` that its bytes may pass.
 */

type Fields = Readonly<Record<string, unknown>>

/**
 * The upstream request around the client's own bytes. `parsed` is what they hold, `request` what shall be sent in the gateway's terms
 * (deployment defaults and extra fields applied). Throws GatewayError `unsupported_parameter`.
 */
export function forwardRequest<Request extends object>(
  adapter: Adapter<Request, unknown, unknown>,
  raw: Uint8Array,
  parsed: Fields,
  request: Request,
  target: Target,
): UpstreamRequest {
  const { encoder } = adapter as Partial<OpenAIAdapter<Request, unknown, unknown>>
  if (encoder === undefined) return adapter.encodeRequest(request, target)
  return encoder.wrap(target, forwardBody(raw, parsed, encoder.shape(request as Fields, target)))
}

/**
 * `raw`, the bytes of `parsed`, changed into those of `shaped`: members whose value is the very same stay as they are written, others
 * are replaced, removed or added. A name that occurs twice is left once, so that no reader can see another one than we did.
 */
export function forwardBody(raw: Uint8Array, parsed: Fields, shaped: Fields): Uint8Array {
  const members = new JsonMembers()
  const begin = raw[0] === 0xef && raw[1] === 0xbb && raw[2] === 0xbf ? 3 : 0
  if (!members.scan(raw, begin)) return Buffer.from(JSON.stringify(shaped))
  if (begin === 0 && onlyModelDiffers(parsed, shaped, members.count)) {
    const model = members.find(MODEL)
    if (model >= 0) {
      return join([
        raw.subarray(0, members.valueStart(model)),
        JSON.stringify(shaped['model']),
        raw.subarray(members.valueEnd(model)),
      ])
    }
  }

  const parts: (Uint8Array | string)[] = []
  const written = new Set<string>()
  const { count } = members
  // JSON.parse takes the last of two members of one name, so the last one counts.
  const last = new Map<string, number>()
  for (let member = 0; member < count; member++) last.set(members.name(member), member)
  let runStart = -1
  let runEnd = -1
  const closeRun = (): void => {
    if (runStart >= 0) parts.push(parts.length === 0 ? '{' : ',', raw.subarray(runStart, runEnd))
    runStart = -1
  }
  for (const [name, member] of [...last].sort((a, b) => a[1] - b[1])) {
    if (!Object.hasOwn(shaped, name)) continue
    written.add(name)
    // The model is written anew even when equal: `parsed` may have it from the path, over another in the body.
    const kept = shaped[name] === parsed[name] && name !== 'model'
    const follows = kept && runStart >= 0 && member > 0 && runEnd === members.valueEnd(member - 1)
    if (follows) runEnd = members.valueEnd(member)
    else {
      closeRun()
      if (kept) {
        runStart = members.nameStart(member)
        runEnd = members.valueEnd(member)
      } else parts.push(parts.length === 0 ? '{' : ',', `${JSON.stringify(name)}:${JSON.stringify(shaped[name])}`)
    }
  }
  closeRun()
  for (const [name, value] of Object.entries(shaped)) {
    if (written.has(name) || value === undefined) continue
    parts.push(parts.length === 0 ? '{' : ',', `${JSON.stringify(name)}:${JSON.stringify(value)}`)
  }
  parts.push(parts.length === 0 ? '{}' : '}')
  return join(parts)
}

/** The common case: another model name in the same body, whose `members` names each occur once. */
function onlyModelDiffers(parsed: Fields, shaped: Fields, members: number): boolean {
  let count = 0
  for (const name in shaped) {
    count += 1
    if (name !== 'model' && shaped[name] !== parsed[name]) return false
  }
  if (count !== members) return false
  for (const name in parsed) if (!Object.hasOwn(shaped, name)) return false
  return true
}

/** An answer for the client, and what was read from it. */
export interface ForwardedResponse {
  body: Uint8Array
  usage: Usage | null
  reportedModel: string | null
}

/** Reads an error object found inside a 200: the provider's `decodeError`. */
export type ErrorReader = (status: number, headers: Headers, body: string) => GatewayError

const MODEL = Buffer.from('model')
const USAGE = Buffer.from('usage')
const SERVICE_TIER = Buffer.from('service_tier')
const ERROR = Buffer.from('error')
const CHOICES = Buffer.from('choices')
const DATA = Buffer.from('data')

/**
 * A whole answer with `model` restamped. Throws GatewayError `provider_malformed`, or the error the body holds.
 */
export function forwardResponse(body: Uint8Array, model: string, readError: ErrorReader): ForwardedResponse {
  const members = new JsonMembers()
  if (!members.scan(body)) throw new GatewayError('provider_malformed')
  const list = Math.max(members.find(CHOICES), members.find(DATA))
  if (list < 0 || body[members.valueStart(list)] !== OPEN_BRACKET) {
    throwError(members, readError)
    throw new GatewayError('provider_malformed')
  }
  const usage = members.find(USAGE)
  const stamped = members.find(MODEL)
  return {
    body:
      stamped < 0
        ? body
        : join([body.subarray(0, members.valueStart(stamped)), JSON.stringify(model), body.subarray(members.valueEnd(stamped))]),
    usage: usage < 0 ? null : readUsageOf(members, usage),
    reportedModel: stamped < 0 ? null : stringOf(members.text(stamped)),
  }
}

/** Usage, and with it the service tier that stands beside it: both say what the call costs. */
function readUsageOf(members: JsonMembers, index: number): Usage | null {
  const usage = readUsage(parse(members.text(index)))
  const tier = usage === null ? -1 : members.find(SERVICE_TIER)
  if (usage !== null && tier >= 0) usage['service_tier'] = stringOf(members.text(tier))
  return usage
}

export interface PassThroughOptions {
  /** Model name the client asked for; stamped on every chunk. */
  model: string
  /** The client asked for usage; else it is read and taken out. */
  includeUsage: boolean
  /** How many choices were asked for (`n`): each must finish. */
  choices: number
  readError: ErrorReader
  /** What goes by is kept, so that a stream that dies can be continued. Chats of one choice only. */
  keepText?: boolean
}

const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const QUOTE = 0x22
const COLON = 0x3a
const LETTER_D = 0x64
const FINISH_REASON = Buffer.from('"finish_reason"')
const CONTENT = Buffer.from('"content"')
const TEXT = Buffer.from('"text"')
const REASONING = Buffer.from('"reasoning_content"')
/** Groq's and OpenRouter's name for it. */
const THINKING = Buffer.from('"reasoning"')
const ARGUMENTS = Buffer.from('"arguments"')
const NAME = Buffer.from('"name"')
const REFUSAL = Buffer.from('"refusal"')
/** What a model's own words are called; most frequent first. */
const OUTPUT = [CONTENT, ARGUMENTS, TEXT, REASONING, THINKING, NAME, REFUSAL]
const DONE = sseEvent('[DONE]')
const NOTHING = new Uint8Array(0)
/**
 * Bytes held back before the model speaks. An opening (the role, a filter's verdict on the prompt) is 200 to 1,000; a model whose words have a
 * name we do not know must not be held longer than a few of them.
 */
export const OPENING_LIMIT = 2_048

/**
 * A stream of OpenAI chunks on its way to the client. Frames are relayed as they came but for the model name and, when the client did
 * not ask for it, usage. The terminator is kept back for `last`.
 *
 * States: held (nothing of the answer itself was seen: until then another deployment may still be tried) → open → done (`[DONE]` seen, or the input ended after every choice finished). Errors are thrown and leave it unusable.
 */
export class PassThroughStream {
  readonly #options: PassThroughOptions
  readonly #model: Buffer
  readonly #splitter = new SseSplitter()
  readonly #members = new JsonMembers()
  readonly #finished = new Map<number, string>()
  readonly #kept: SentBytes | null
  readonly #repetition = new Repetition()
  #held: Uint8Array[] | null = []
  /** Relayed when the stream broke, and not handed out. */
  #unsent: (Uint8Array | string)[] = []
  #seen = false
  #done = false
  /** As the provider reported it, in canonical form; the last one it sent. */
  usage: Usage | null = null
  /** Frames with output of the model, and bytes of it as written (escapes count). For estimates when usage is missing. */
  deltas = 0
  outputBytes = 0
  reportedModel: string | null = null

  constructor(options: PassThroughOptions) {
    this.#options = options
    this.#model = Buffer.from(JSON.stringify(options.model))
    this.#kept = options.keepText === true ? new SentBytes() : null
  }

  /** The protocol's end was seen: the connection may be closed. */
  get done(): boolean {
    return this.#done
  }

  /** Something of the answer itself was seen. */
  get firstToken(): boolean {
    return this.deltas > 0
  }

  /** Finish reason by choice, as far as seen. */
  get finishReasons(): ReadonlyMap<number, string> {
    return this.#finished
  }

  /**
   * Bytes for the client; its own memory, not a view of `bytes`. Throws GatewayError for an error object in the stream, for what cannot be
   * read, and for a model that is looping.
   */
  push(bytes: Uint8Array): Uint8Array {
    const out: (Uint8Array | string)[] = []
    const kept = this.#kept
    try {
      for (const frame of this.#splitter.push(bytes)) {
        if (this.#done) break
        this.#relay(frame, out)
        kept?.confirm()
      }
    } catch (thrown) {
      this.#unsent = [...(this.#held ?? []), ...out]
      throw thrown
    }
    return this.#handOut(out)
  }

  /** What was held, or relayed in the piece in which the stream broke, before it did. */
  unsent(): string {
    return this.#unsent.length === 0 ? '' : Buffer.from(join(this.#unsent)).toString('utf8')
  }

  /** Where another attempt may go on; null = nowhere. */
  continuation(): Continuation | null {
    return this.#kept === null || this.#finished.size > 0 ? null : this.#kept.continuation(this.unsent(), this.#options.model)
  }

  /** The input ended. Throws GatewayError `provider_truncated`, `provider_malformed` when it was empty, unless it may end here. */
  finish(): Uint8Array {
    const out: (Uint8Array | string)[] = []
    if (!this.#done) {
      const rest = this.#splitter.rest()
      const event = rest.length === 0 ? null : parseSseFrame(rest)
      if (event !== null) this.#relayEvent(event, out)
      this.#kept?.confirm()
      // Servers exist that close without `[DONE]`.
      if (!this.#done && this.#finished.size < Math.max(1, this.#options.choices)) {
        this.#unsent = [...(this.#held ?? []), ...out]
        throw this.#seen ? new GatewayError('provider_truncated') : empty()
      }
      this.#done = true
    }
    return this.#handOut(out)
  }

  #handOut(out: (Uint8Array | string)[]): Uint8Array {
    const bytes = out.length === 0 ? NOTHING : join(out)
    const held = this.#held
    if (held === null) return bytes
    held.push(bytes)
    const spoke = this.deltas > 0 || this.#finished.size > 0 || this.#done
    if (!spoke && held.reduce((sum, piece) => sum + piece.length, 0) < OPENING_LIMIT) return NOTHING
    this.#held = null
    return held.length === 1 ? bytes : join(held)
  }

  /** The terminator. */
  last(): string {
    return DONE
  }

  #relay(frame: Uint8Array, out: (Uint8Array | string)[]): void {
    // `data:` and one JSON object on one line: nearly always.
    if (frame[0] === LETTER_D && frame[4] === COLON) {
      const from = skipSpace(frame, 5)
      if (frame[from] === OPEN_BRACKET) {
        this.#relayOdd(frame, out)
        return
      }
      if (this.#members.scan(frame, from) && skipSpace(frame, this.#members.end) >= frame.length) {
        this.#relayChunk(frame, out)
        return
      }
    }
    this.#relayOdd(frame, out)
  }

  /** Comments, `[DONE]`, several data lines, other fields. */
  #relayOdd(frame: Uint8Array, out: (Uint8Array | string)[]): void {
    const event = parseSseFrame(frame)
    if (event === null) out.push(frame)
    else this.#relayEvent(event, out)
  }

  #relayEvent(event: SseEvent, out: (Uint8Array | string)[]): void {
    if (event.data === '[DONE]') {
      if (!this.#seen) throw empty()
      this.#done = true
      return
    }
    if (event.event === 'error') throw this.#options.readError(200, {}, event.data)
    if (event.data === '') return
    const chunk = parse(event.data)
    if (typeof chunk !== 'object' || chunk === null || Array.isArray(chunk)) throw new GatewayError('provider_malformed')
    const frame = Buffer.from(sseEvent(JSON.stringify(chunk)))
    this.#members.scan(frame, 6)
    this.#relayChunk(frame, out)
  }

  /** One chunk whose members are scanned. */
  #relayChunk(frame: Uint8Array, out: (Uint8Array | string)[]): void {
    const members = this.#members
    throwError(members, this.#options.readError)
    const choices = members.find(CHOICES)
    const empty = choices < 0 || this.#readChoices(frame, members.valueStart(choices), members.valueEnd(choices))
    const usage = members.find(USAGE)
    let cut = -1
    if (usage >= 0) {
      if (frame[members.valueStart(usage)] === OPEN_BRACE) {
        this.usage = readUsageOf(members, usage) ?? this.usage
        if (empty && !this.#options.includeUsage) return
      }
      if (!this.#options.includeUsage) cut = usage
    }
    this.#splice(frame, members.find(MODEL), cut, out)
  }

  /** The frame with the model restamped and one member left out. */
  #splice(frame: Uint8Array, model: number, cut: number, out: (Uint8Array | string)[]): void {
    const members = this.#members
    let from = 0
    const leaveOut = (): void => {
      // With the comma before it, or the one behind the first.
      const start = cut === 0 ? members.nameStart(0) : members.valueEnd(cut - 1)
      const end = cut === 0 && members.count > 1 ? members.nameStart(1) : members.valueEnd(cut)
      out.push(frame.subarray(from, start))
      from = end
    }
    if (cut >= 0 && cut < model) leaveOut()
    if (model >= 0) {
      const start = members.valueStart(model)
      const end = members.valueEnd(model)
      if (this.reportedModel === null) this.reportedModel = stringOf(members.text(model))
      out.push(frame.subarray(from, start), this.#model)
      from = end
    }
    if (cut >= 0 && cut > model) leaveOut()
    out.push(frame.subarray(from))
  }

  /** Reads finish reasons and counts output. True when the list is empty. */
  #readChoices(frame: Uint8Array, from: number, to: number): boolean {
    if (frame[skipSpace(frame, from + 1)] === CLOSE_BRACKET) return true
    this.#seen = true
    const bytes = Buffer.isBuffer(frame) ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
    if (valueIs(bytes, FINISH_REASON, QUOTE, from, to) >= 0) {
      for (const choice of parse(bytes.toString('utf8', from, to)) as { index?: number; finish_reason?: unknown }[]) {
        if (typeof choice?.finish_reason === 'string') this.#finished.set(choice.index ?? 0, choice.finish_reason)
      }
    }
    let content = -1
    let end = -1
    for (const name of OUTPUT) {
      const value = valueIs(bytes, name, QUOTE, from, to)
      if (value < 0 || bytes[value + 1] === QUOTE) continue
      end = stringEnd(bytes, value)
      this.deltas += 1
      this.outputBytes += end - value - 2
      if (name === CONTENT) content = value
      if (name === CONTENT || name === TEXT) this.#repetition.see(hashOf(bytes, value, end), end - value - 2)
      break
    }
    this.#kept?.add(bytes, from, content, end)
    return false
  }
}

/** Throws the error the scanned object holds, if it holds one. */
function throwError(members: JsonMembers, readError: ErrorReader): void {
  const error = members.find(ERROR)
  if (error < 0) return
  const text = members.text(error)
  if (text !== 'null' && text !== '""') throw readError(200, {}, `{"error":${text}}`)
}

/**
 * Where, between `from` and `to`, the value of a member called `name` (with its quotes) begins with `first`; -1 when nowhere. Inside a
 * JSON string a quote is escaped, so the name with bare quotes is always a member's.
 */
function valueIs(bytes: Buffer, name: Buffer, first: number, from: number, to: number): number {
  for (let at = bytes.indexOf(name, from); at >= 0 && at < to; at = bytes.indexOf(name, at + name.length)) {
    const colon = skipSpace(bytes, at + name.length)
    if (bytes[colon] !== COLON) continue
    const value = skipSpace(bytes, colon + 1)
    if (bytes[value] === first) return value
  }
  return -1
}

function empty(): GatewayError {
  return new GatewayError('provider_malformed', 'The provider sent an empty stream.')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('provider_malformed', undefined, { cause })
  }
}

function stringOf(json: string): string | null {
  const value = parse(json)
  return typeof value === 'string' ? value : null
}

/** Bytes and text as one new buffer. */
export function join(parts: readonly (Uint8Array | string)[]): Uint8Array {
  let length = 0
  for (const part of parts) length += typeof part === 'string' ? Buffer.byteLength(part) : part.length
  const joined = Buffer.allocUnsafe(length)
  let at = 0
  for (const part of parts) {
    if (typeof part === 'string') at += joined.write(part, at)
    else {
      joined.set(part, at)
      at += part.length
    }
  }
  return joined
}
