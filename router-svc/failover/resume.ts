import type { Attempt, TokenUsage } from '../../proto/usage.ts'
import type { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import type { ChatChunk, ChatDelta, Usage } from '../canonical/chat.ts'
import type { StreamEncoder } from '../dialects/dialect.ts'
import type { Prefill } from '../providers/provider.ts'
import { type Continuation, isContinued } from './continuation.ts'
import { OverlapCutter, type Repeats } from './overlap.ts'
import { isThinking } from './sent-text.ts'

/** What an answer says of its failover: in the first chunk that another deployment wrote, as `turnpike.failover`. */
export interface FailoverNote {
  /** Deployment ids. */
  from: string
  to: string
  /** Model group that goes on. */
  model: string
  /** Of text, when the first stream died. */
  after_characters: number
}

/** The encoder that goes on: the one that wrote the beginning, or a new one at the same place. */
export function encoderOf(call: Call, { encoder, point }: Continuation): StreamEncoder<ChatChunk> {
  if (encoder !== null) return encoder
  const { requestedModel, includeUsage } = call
  return call.dialect.encodeStream({
    model: point.model ?? requestedModel,
    includeUsage,
    resume: point,
  }) as StreamEncoder<ChatChunk>
}

/** Tells the client that nobody could go on: what is still to be handed out, and the error in its dialect. */
export function brokenOff(call: Call, from: Continuation, error: GatewayError): string {
  return from.pending + encoderOf(call, from).error(error)
}

/** What continues the answer of `call` on deployment `to`. */
export function resumption(call: Call, from: Continuation, to: string, prefill: Prefill | null): Resumption {
  const halves = call.attempts.filter(({ outcome }) => outcome === 'partial')
  const note = {
    from: halves.at(-1)?.deploymentId ?? '',
    to,
    model: call.modelGroup,
    after_characters: from.text.length,
  }
  return new Resumption(from, note, halves, prefill)
}

/**
 * Makes the chunks of a continuation go on where another stream died: one id, one role, no text twice, no thinking anew, and usage that counts
 * both halves.
 */
export class Resumption {
  readonly #from: Continuation
  readonly #before: readonly TokenUsage[]
  readonly #overlap: OverlapCutter
  readonly #silent: boolean
  /** Null = it is out. */
  #note: FailoverNote | null

  constructor(from: Continuation, note: FailoverNote, halves: readonly Pick<Attempt, 'usage'>[], prefill: Prefill | null) {
    this.#from = from
    this.#note = note
    this.#before = halves.flatMap(({ usage }) => usage ?? [])
    this.#overlap = new OverlapCutter(from.text, repeatsOf(from.text, prefill))
    this.#silent = from.reasoning || from.text !== ''
  }

  /** The client's view of a chunk; what may be a repetition is held back. */
  show(chunk: ChatChunk): ChatChunk[] {
    const { choices, usage, ...rest } = chunk
    const shown: ChatChunk[] = []
    const envelope = this.#envelope({ ...rest, choices: [] } as ChatChunk)
    const choice = choices.find(({ index }) => index === 0)
    if (choice !== undefined) {
      const { delta, finish_reason: reason, logprobs: _logprobs, ...others } = choice
      const over = reason !== null && reason !== undefined
      const said = this.#said(delta, over)
      if (Object.keys(said).length > 0)
        shown.push(this.#noted({ ...envelope, choices: [{ ...others, delta: said, finish_reason: null }] }))
      if (over) shown.push(this.#noted({ ...envelope, choices: [{ ...others, delta: {}, finish_reason: reason }] }))
    }
    if (usage !== undefined && usage !== null) {
      shown.push({ ...envelope, usage: this.#before.reduce(addUsage, usage) })
    }
    return shown
  }

  #said(delta: ChatDelta, over: boolean): ChatDelta {
    const said: ChatDelta = {}
    let other = false
    for (const field in delta) {
      if (field === 'role' || field === 'content') continue
      if (isThinking(field)) {
        if (!this.#silent) said[field] = delta[field]
        continue
      }
      const value = delta[field]
      if (value === null || value === undefined || value === '') continue
      said[field] = value
      other = true
    }
    let text = typeof delta.content === 'string' ? this.#overlap.push(delta.content) : ''
    if (over || other) text += this.#overlap.end()
    if (text !== '') said.content = text
    return said
  }

  /** A chunk of nothing but what all chunks of the answer share. */
  #envelope(own: ChatChunk): ChatChunk {
    const { envelope } = this.#from
    if (envelope === null) return own
    const { id, created, fingerprint } = envelope
    const shared = { ...own, id, created }
    delete shared.system_fingerprint
    if (fingerprint !== null) shared.system_fingerprint = fingerprint
    return shared
  }

  #noted(chunk: ChatChunk): ChatChunk {
    if (this.#note === null) return chunk
    const noted = { ...chunk, turnpike: { failover: this.#note } }
    this.#note = null
    return noted
  }
}

function repeatsOf(text: string, prefill: Prefill | null): Repeats {
  if (!isContinued(text)) return 'space'
  if (prefill === null) return 'any'
  return prefill === 'echo' ? 'all' : 'space'
}

/** Usage in OpenAI's shape with what an earlier attempt used added. */
export function addUsage(usage: Usage, before: TokenUsage): Usage {
  const prompt = usage.prompt_tokens + before.input
  const completion = usage.completion_tokens + before.output
  const sum: Usage = { ...usage, prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
  if (before.cacheRead > 0) {
    const details = usage.prompt_tokens_details
    sum.prompt_tokens_details = { ...details, cached_tokens: (details?.cached_tokens ?? 0) + before.cacheRead }
    if (usage.cache_read_input_tokens !== undefined)
      sum.cache_read_input_tokens = usage.cache_read_input_tokens + before.cacheRead
  }
  const written = before.cacheWrite + before.cacheWrite1h
  if (written > 0) sum.cache_creation_input_tokens = (usage.cache_creation_input_tokens ?? 0) + written
  if (before.reasoning > 0) {
    const details = usage.completion_tokens_details
    sum.completion_tokens_details = { ...details, reasoning_tokens: (details?.reasoning_tokens ?? 0) + before.reasoning }
  }
  return sum
}
