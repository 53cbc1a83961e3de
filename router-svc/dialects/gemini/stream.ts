import { type GatewayError, googleErrorBody } from '../../../shared/errors.ts'
import { sseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, ToolCall, ToolCallDelta, Usage } from '../../canonical/chat.ts'
import type { StreamEncoder, StreamOptions } from '../dialect.ts'
import { callPart, candidateFields, keptFields, logprobsOf, partsOf } from './parts.ts'
import { encodeUsage, finishReason } from './usage.ts'
import type { Fields } from './wire.ts'

/** How a stream is written: as events (`?alt=sse`), or as one JSON array. */
export interface Frames {
  /** One answer, or the error a stream ends with. */
  frame(json: string): string
  end(): string
}

export function eventFrames(): Frames {
  return { frame: (json) => sseEvent(json), end: () => '' }
}

/** States: nothing written → open (every element after a comma) → ended. `begun`: another one wrote the beginning. */
export function arrayFrames(begun: boolean): Frames {
  let open = begun
  const next = (): string => {
    const before = open ? ',\r\n' : '['
    open = true
    return before
  }
  return { frame: (json) => next() + json, end: () => (open ? ']' : '[]') }
}

/** One candidate so far. */
interface Candidate {
  index: number
  /** The call under way: it goes out when it is whole. */
  call: (ToolCall & { at: number }) | null
  /** Words of a thought went out that may still get a signature. */
  thinking: boolean
  finish: FinishReason | null
  /** What is told beside the finish reason. */
  fields: Fields
  finishOwn: unknown
  logprobs: Fields[]
}

/**
 * Canonical chunks as `GenerateContentResponse`s, each with some of the parts. A call goes out in one piece; finish reasons and usage are told in
 * the last answer.
 *
 * States: silent → speaking → ended (`end` or `error`).
 */
export class GenerateStreamEncoder implements StreamEncoder<ChatChunk> {
  readonly #model: string
  readonly #frames: Frames
  readonly #candidates = new Map<number, Candidate>()
  #id = ''
  #usage: Usage | null = null
  #tier: string | undefined
  #feedback: unknown

  constructor({ model }: Pick<StreamOptions, 'model'>, frames: Frames) {
    this.#model = model
    this.#frames = frames
  }

  push(chunk: ChatChunk): string {
    if (this.#id === '') this.#id = chunk.id
    if (chunk.usage !== undefined && chunk.usage !== null) this.#usage = chunk.usage
    if (chunk.service_tier !== undefined) this.#tier = chunk.service_tier
    let text = ''
    for (const { index, delta, finish_reason: reason, logprobs } of chunk.choices) {
      const candidate = this.#candidate(index)
      const told = logprobsOf(logprobs)
      if (told !== null) candidate.logprobs.push(told)
      if (reason !== null && reason !== undefined) candidate.finish ??= reason
      const parts = this.#read(candidate, delta)
      if (candidate.finish !== null) parts.push(...closed(candidate))
      if (parts.length > 0) text += this.#frame([{ content: { parts, role: 'model' }, index }])
    }
    return text
  }

  end(): string {
    const last: Fields[] = []
    for (const { index, finish, finishOwn, fields, logprobs } of this.#candidates.values()) {
      const candidate: Fields = {
        content: { parts: [{ text: '' }], role: 'model' },
        finishReason: finishReason(finish, finishOwn),
        index,
        ...fields,
      }
      if (logprobs.length > 0) candidate['logprobsResult'] = joined(logprobs)
      last.push(candidate)
    }
    return this.#frame(this.#feedback === undefined ? last : [], true) + this.#frames.end()
  }

  error(error: GatewayError): string {
    return this.#frames.frame(JSON.stringify(googleErrorBody(error))) + this.#frames.end()
  }

  #candidate(index: number): Candidate {
    let candidate = this.#candidates.get(index)
    if (candidate === undefined) {
      candidate = { index, call: null, thinking: false, finish: null, fields: {}, finishOwn: undefined, logprobs: [] }
      this.#candidates.set(index, candidate)
    }
    return candidate
  }

  /** The parts that a delta completes. */
  #read(candidate: Candidate, delta: ChatDelta): Fields[] {
    const kept = keptFields(delta)
    Object.assign(candidate.fields, candidateFields(kept))
    if (kept['finishReason'] !== undefined) candidate.finishOwn = kept['finishReason']
    if (kept['promptFeedback'] !== undefined) this.#feedback = kept['promptFeedback']
    const parts = partsOf(delta, candidate.thinking)
    if (delta.thinking_blocks !== undefined) candidate.thinking = false
    else if (typeof delta.reasoning_content === 'string' && delta.reasoning_content !== '') candidate.thinking = true
    // Words behind a call: it is whole.
    const made = parts.length > 0 ? [...closed(candidate), ...parts] : parts
    for (const piece of delta.tool_calls ?? []) made.push(...called(candidate, piece))
    return made
  }

  #frame(candidates: Fields[], last = false): string {
    const answer: Fields = {}
    if (candidates.length > 0) answer['candidates'] = candidates
    if (last && this.#feedback !== undefined) answer['promptFeedback'] = this.#feedback
    if (this.#usage !== null) answer['usageMetadata'] = encodeUsage(this.#usage, this.#tier)
    return this.#frames.frame(JSON.stringify({ ...answer, modelVersion: this.#model, responseId: this.#id }))
  }
}

/** Takes in a piece of a call; returns the one before it, when another one begins. */
function called(candidate: Candidate, { index, id, function: named, type: _type, ...rest }: ToolCallDelta): Fields[] {
  const before = candidate.call !== null && candidate.call.at !== index ? closed(candidate) : []
  candidate.call ??= { at: index, id: '', type: 'function', function: { name: '', arguments: '' } }
  const { call } = candidate
  if (call.id === '' && id !== undefined) call.id = id
  const own = call.function as { name: string; arguments: string }
  own.name += named?.name ?? ''
  own.arguments += named?.arguments ?? ''
  Object.assign(call, rest)
  return before
}

/** The call under way as a part, which ends it. */
function closed(candidate: Candidate): Fields[] {
  const { call } = candidate
  if (call === null) return []
  candidate.call = null
  const { at: _at, ...whole } = call
  return [callPart(whole, candidate.finish === 'length')]
}

function joined(pieces: readonly Fields[]): Fields {
  const result: Fields = {}
  for (const piece of pieces) {
    for (const name in piece) result[name] = [...((result[name] as unknown[] | undefined) ?? []), ...(piece[name] as unknown[])]
  }
  return result
}
