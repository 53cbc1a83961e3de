import { NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import type { GatewayError } from '../shared/errors.ts'
import type { SseEvent } from '../shared/http/sse.ts'
import type { Capture } from './call.ts'
import type { ChatChunk, Usage } from './canonical/chat.ts'
import { tokensOf } from './canonical/usage.ts'
import { roughTokens } from './count-tokens.ts'
import type { StreamEncoder } from './dialects/dialect.ts'
import type { Continuation } from './failover/continuation.ts'
import type { Resumption } from './failover/resume.ts'
import type { SentText } from './failover/sent-text.ts'
import { type EventParser, eventParser } from './framing.ts'
import { OPENING_LIMIT } from './pass-through.ts'
import type { Framing, StreamDecoder } from './providers/provider.ts'
import { Repetition } from './repetition.ts'

/** An upstream stream on its way to the client: bytes in, bytes out, and what was learnt from them. */
export interface StreamReader {
  /** Bytes for the client, possibly none. Throws GatewayError when the stream is broken or says so. */
  push(bytes: Uint8Array): Uint8Array
  /** The input ended. Throws GatewayError `provider_truncated` when the protocol's end was not seen. */
  finish(): Uint8Array
  /** The protocol's end was seen. */
  readonly done: boolean
  /** Something of the answer itself was seen. */
  readonly firstToken: boolean
  /** Output tokens that went by so far, about. */
  readonly outputTokens: number
  /** What the provider reported, else an estimate of what went through so far. */
  usage(): TokenUsage
  /** The terminator, kept back until the call is reported. */
  last(): string
  /** What was read before the stream broke and not handed out, and the error in the client's dialect. */
  errorEvent(error: GatewayError): string
  /** Where another attempt may go on now that the stream is dead; null = nowhere, it would not be safe. */
  continuation(): Continuation | null
  readonly reportedModel: string | null
  /** Where it is not that of the dialect's streams. */
  readonly contentType?: string
}

export interface ChunkWatch {
  capture?: Capture | null
  /** Kept when the answer may have to be continued. */
  sent?: SentText | null
  /** Set when these chunks continue another stream's answer. */
  resumed?: Resumption | null
  /** Goes out before the first chunk. */
  pending?: string
}

/** Canonical chunks → bytes for the client, counting what goes by. */
export class ChunkEncoder {
  readonly #encoder: StreamEncoder<ChatChunk>
  readonly #capture: Capture | null
  readonly #sent: SentText | null
  readonly #resumed: Resumption | null
  readonly #repetition = new Repetition()
  #pending: string
  /** The opening, until the model speaks: until then another deployment may still be tried. Null = it is out. */
  #held: string | null
  #usage: Usage | null = null
  /** Of the provider; it says what the tokens cost. */
  #tier: string | undefined
  #characters = 0
  reportedModel: string | null = null

  constructor(encoder: StreamEncoder<unknown>, watch: ChunkWatch = {}) {
    this.#encoder = encoder as StreamEncoder<ChatChunk>
    this.#capture = watch.capture ?? null
    this.#sent = watch.sent ?? null
    this.#resumed = watch.resumed ?? null
    this.#pending = watch.pending ?? ''
    this.#held = this.#resumed === null ? '' : null
  }

  get firstToken(): boolean {
    return this.#characters > 0
  }

  get outputTokens(): number {
    return roughTokens(this.#characters)
  }

  push(canonical: unknown): string {
    const chunk = canonical as ChatChunk
    if (chunk.usage !== undefined && chunk.usage !== null) this.#usage = chunk.usage
    if (chunk.service_tier !== undefined) this.#tier = chunk.service_tier
    this.reportedModel ??= chunk.model
    this.#characters += charactersOf(chunk)
    const piece = chunk.choices[0]?.delta?.content
    if (typeof piece === 'string' && piece !== '') this.#repetition.see(piece, piece.length)
    if (this.#resumed === null) return this.#handOut(chunk, this.#show(chunk))
    let bytes = ''
    for (const shown of this.#resumed.show(chunk)) bytes += this.#show(shown)
    if (bytes === '') return ''
    bytes = this.#pending + bytes
    this.#pending = ''
    return bytes
  }

  end(): string {
    return this.#pending + this.#encoder.end()
  }

  error(error: GatewayError): string {
    return this.#pending + (this.#held ?? '') + this.#encoder.error(error)
  }

  /** Where another attempt may go on. `unsent`: what this encoder made last and nobody handed out. */
  continuation(unsent = ''): Continuation | null {
    return this.#sent?.continuation(this.#encoder, this.#pending + (this.#held ?? '') + unsent) ?? null
  }

  #handOut(chunk: ChatChunk, bytes: string): string {
    if (this.#held === null) return bytes
    const all = this.#held + bytes
    const spoke = this.#characters > 0 || chunk.choices.some(({ finish_reason: reason }) => typeof reason === 'string')
    this.#held = spoke || all.length >= OPENING_LIMIT ? null : all
    return this.#held === null ? all : ''
  }

  /** A chunk as the client gets it. */
  #show(chunk: ChatChunk): string {
    this.#sent?.add(chunk)
    this.#capture?.chunk(chunk)
    return this.#encoder.push(chunk)
  }

  /** What the provider reported at the end; else what it told `soFar`, the output estimated; else an estimate. */
  usage(soFar: Usage | null): TokenUsage {
    const reported = this.#usage === null ? null : tokensOf(this.#usage, this.#tier)
    if (reported !== null && !countsNothing(reported)) return reported
    const seen = roughTokens(this.#characters)
    if (soFar === null || this.#usage !== null) return estimate(seen)
    const told = tokensOf(soFar, this.#tier)
    return { ...told, output: Math.max(told.output, seen), estimated: true }
  }
}

/** Decoded, canonical, encoded again: for a client and a provider of different protocols. */
export class TranslatingReader implements StreamReader {
  readonly #decoder: StreamDecoder<unknown>
  readonly #encoder: ChunkEncoder
  readonly #parser: EventParser
  /** Encoded when the stream broke, and not handed out. */
  #unsent = ''

  constructor(decoder: StreamDecoder<unknown>, encoder: ChunkEncoder, framing: Framing = 'sse') {
    this.#parser = eventParser(framing)
    this.#decoder = decoder
    this.#encoder = encoder
  }

  get done(): boolean {
    return this.#decoder.done
  }

  get firstToken(): boolean {
    return this.#encoder.firstToken
  }

  get outputTokens(): number {
    return this.#encoder.outputTokens
  }

  get reportedModel(): string | null {
    return this.#encoder.reportedModel
  }

  push(bytes: Uint8Array): Uint8Array {
    return this.#encode(this.#parser.push(bytes), false)
  }

  finish(): Uint8Array {
    return this.#encode(this.#parser.end(), true)
  }

  usage(): TokenUsage {
    return this.#encoder.usage(this.#decoder.usage ?? null)
  }

  last(): string {
    return this.#encoder.end()
  }

  errorEvent(error: GatewayError): string {
    return this.#unsent + this.#encoder.error(error)
  }

  continuation(): Continuation | null {
    return this.#encoder.continuation(this.#unsent)
  }

  #encode(events: SseEvent[], ended: boolean): Uint8Array {
    let text = ''
    try {
      for (const event of events) {
        if (this.#decoder.done) break
        for (const chunk of this.#decoder.push(event)) text += this.#encoder.push(chunk)
      }
      if (ended) for (const chunk of this.#decoder.end()) text += this.#encoder.push(chunk)
    } catch (thrown) {
      this.#unsent = text
      throw thrown
    }
    return text === '' ? NOTHING : Buffer.from(text)
  }
}

const NOTHING = new Uint8Array(0)

/** A provider that reports zeros for an answer has not counted: what it billed is estimated as if it had said nothing. */
export function countsNothing({ input, output, units, reportedCost, toolCalls }: TokenUsage): boolean {
  return input === 0 && output === 0 && units === undefined && reportedCost === undefined && toolCalls === undefined
}

/** Usage nobody reported: output as seen going by, input left 0 for whoever books it to count from the request. */
export function estimate(output: number): TokenUsage {
  return { ...NO_TOKENS, output, estimated: true }
}

/** Characters of model output in a chunk: text, reasoning and tool arguments all cost tokens. */
function charactersOf(chunk: ChatChunk): number {
  let count = 0
  for (const choice of chunk.choices) {
    const { delta } = choice
    // A text completion chunk has no delta but `text`.
    if (delta === undefined) {
      if (typeof choice['text'] === 'string') count += choice['text'].length
      continue
    }
    if (typeof delta.content === 'string') count += delta.content.length
    if (typeof delta.reasoning_content === 'string') count += delta.reasoning_content.length
    for (const tool of delta.tool_calls ?? [])
      count += (tool.function?.arguments?.length ?? 0) + (tool.function?.name?.length ?? 0)
  }
  return count
}
