import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, Usage } from '../../canonical/chat.ts'
import { jsonValue } from '../json.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { answerFields, blockReason, Choice, malformed } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { searches } from './grounding.ts'
import { traitsOf } from './models.ts'
import { blockedChoice } from './response.ts'
import { decodeUsage, mergeUsage, tierOf } from './usage.ts'
import { type Fields, isFields, objects, text } from './wire.ts'

/**
 * Each event is a whole `GenerateContentResponse` with some of the parts. States: nothing seen → candidates speak → every one has its
 * finish reason, or the prompt was blocked → input ends. There is no terminator but the end of input, and counts may come after the
 * finish reason (older versions repeat it on every event), so finish and usage are told in `end`.
 */
export class GenerateStream implements StreamDecoder<ChatChunk> {
  readonly #provider: string
  readonly #context: DecodeContext
  readonly #choices = new Map<number, Choice>()
  readonly #usage: Fields = {}
  /** Fields of the answer seen so far, without candidates and counts. */
  readonly #answer: Fields = {}
  #seen = false

  constructor(provider: string, context: DecodeContext) {
    this.#provider = provider
    this.#context = context
  }

  /** Only the end of input ends it. */
  get done(): boolean {
    return false
  }

  get usage(): Usage | null {
    return Object.keys(this.#usage).length === 0 ? null : this.#decodedUsage()
  }

  push(event: SseEvent): ChatChunk[] {
    if (event.data === '' || event.data === '[DONE]') return []
    const payload = this.#parse(event)
    this.#seen = true
    const { candidates, usageMetadata, ...answer } = payload
    Object.assign(this.#answer, answer)
    mergeUsage(this.#usage, usageMetadata)
    const chunks: ChatChunk[] = []
    for (const [position, candidate] of objects(candidates).entries()) {
      const index = typeof candidate['index'] === 'number' ? candidate['index'] : position
      let choice = this.#choices.get(index)
      if (choice === undefined) {
        choice = new Choice(index, this.#context.id)
        this.#choices.set(index, choice)
        chunks.push(this.#chunk(index, { role: 'assistant', content: '' }))
      }
      for (const delta of choice.read(candidate)) chunks.push(this.#chunk(index, delta))
    }
    return chunks
  }

  end(): ChatChunk[] {
    if (!this.#seen) throw malformed('The provider sent an empty stream.')
    const choices = [...this.#choices.values()]
    const chunks: ChatChunk[] = []
    if (choices.length === 0) {
      if (blockReason(this.#answer) === '') throw new GatewayError('provider_truncated')
      const { message, finish_reason: reason } = blockedChoice(this.#answer)
      const fields = message.provider_specific_fields
      chunks.push(
        this.#chunk(0, { role: 'assistant', content: '', ...(fields === undefined ? {} : { provider_specific_fields: fields }) }),
      )
      chunks.push(this.#chunk(0, {}, reason))
    }
    if (!choices.every((choice) => choice.finished)) throw new GatewayError('provider_truncated')
    for (const choice of choices) {
      const rest = choice.rest()
      if (rest !== null) chunks.push(this.#chunk(choice.index, rest))
      const finish = this.#chunk(choice.index, {}, choice.finishReason)
      const [only] = finish.choices
      if (only !== undefined && choice.logprobs !== null) only.logprobs = choice.logprobs
      chunks.push(finish)
    }
    const last = chunks.at(-1)
    if (last !== undefined) Object.assign(last, answerFields(choices))
    if (Object.keys(this.#usage).length > 0) chunks.push(this.#usageChunk())
    return chunks
  }

  #parse(event: SseEvent): Fields {
    const payload = jsonValue(event.data, 'An event of the stream')
    if (errorInside(payload)) throw decodeError(this.#provider, 200, {}, event.data)
    if (!isFields(payload)) throw malformed('An event of the stream is not a JSON object.')
    return payload
  }

  #decodedUsage(): Usage {
    const candidates = [...this.#choices.values()].map(({ candidate }) => candidate)
    return decodeUsage(this.#usage, searches(candidates, traitsOf(this.#context.model).billsSearches))
  }

  #usageChunk(): ChatChunk {
    const chunk: ChatChunk = { ...this.#chunk(0, {}), choices: [], usage: this.#decodedUsage() }
    const tier = tierOf(this.#usage)
    if (tier !== undefined) chunk.service_tier = tier
    return chunk
  }

  #chunk(index: number, delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    return {
      id: text(this.#answer['responseId'], this.#context.id),
      object: 'chat.completion.chunk',
      created: this.#context.created,
      model: text(this.#answer['modelVersion'], this.#context.model),
      choices: [{ index, delta, finish_reason: finish }],
    }
  }
}
