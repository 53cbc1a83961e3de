import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, Usage } from '../../canonical/chat.ts'
import type { CompletionChunk } from '../../canonical/completion.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { createdAt, finishReason, logprobsOf, ownFields, toolCalls, usageOf } from './answer.ts'
import { decodeError } from './errors.ts'
import { ThinkTags } from './think-tags.ts'
import { type Fields, isError, isFields, text } from './wire.ts'

/**
 * Lines of a stream, one JSON document each. States: open → done (`"done": true` came). A line that is an error throws in any state. One that
 * cannot be read is judged by what follows: it was cut when nothing does.
 */
class Lines {
  readonly #provider: string
  #broken: unknown = null
  #any = false
  done = false

  constructor(provider: string) {
    this.#provider = provider
  }

  /** The document of a line; null when there is nothing to read in it, or no more. */
  read({ data }: SseEvent): Fields | null {
    if (this.done || data === '') return null
    if (this.#broken !== null) throw unreadable(this.#broken)
    this.#any = true
    let line: unknown
    try {
      line = JSON.parse(data)
    } catch (cause) {
      this.#broken = cause
      return null
    }
    if (!isFields(line)) throw new GatewayError('provider_malformed', 'A line of the stream is not a JSON object.')
    if (isError(line)) throw decodeError(this.#provider, 200, {}, data)
    return line
  }

  end(): void {
    if (this.done) return
    if (!this.#any) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    throw new GatewayError('provider_truncated')
  }
}

function unreadable(cause: unknown): GatewayError {
  return new GatewayError('provider_malformed', 'A line of the stream is not valid JSON.', { cause })
}

/** Lines of `/api/chat`. */
export class ChatStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #lines: Lines
  readonly #tags = new ThinkTags()
  #created: number | null = null
  #calls = 0
  #saidRole = false
  #output: number | null = null

  constructor(context: DecodeContext, provider: string) {
    this.#context = context
    this.#lines = new Lines(provider)
  }

  get done(): boolean {
    return this.#lines.done
  }

  /** The output where only that was counted, the prompt having been cached: its part is estimated. Null before the end. */
  get usage(): Usage | null {
    if (this.#output === null) return null
    return { prompt_tokens: 0, completion_tokens: this.#output, total_tokens: this.#output }
  }

  push(event: SseEvent): ChatChunk[] {
    const line = this.#lines.read(event)
    if (line === null) return []
    this.#created ??= createdAt(line)
    const chunks: ChatChunk[] = []
    const message = isFields(line['message']) ? line['message'] : {}
    const delta = this.#delta(message)
    if (Object.keys(delta).length > 0) chunks.push(this.#chunk(line, delta))
    if (line['done'] === true) {
      this.#lines.done = true
      chunks.push(...this.#finish(line))
    }
    return chunks
  }

  end(): ChatChunk[] {
    this.#lines.end()
    return []
  }

  #delta(message: Fields): ChatDelta {
    const delta: ChatDelta = {}
    const { content, thinking } = this.#tags.push(text(message['content']))
    const reasoning = text(message['thinking']) + thinking
    if (reasoning !== '') delta.reasoning_content = reasoning
    if (content !== '') delta.content = content
    // Calls come whole, all of a message in one line.
    const calls = toolCalls(message, this.#calls, this.#context)
    if (calls.length > 0) {
      delta.tool_calls = calls.map((call, at) => ({ index: this.#calls + at, ...call }))
      this.#calls += calls.length
    }
    return delta
  }

  #finish(line: Fields): ChatChunk[] {
    const { content, thinking } = this.#tags.end()
    const delta: ChatDelta = {}
    if (thinking !== '') delta.reasoning_content = thinking
    if (content !== '') delta.content = content
    const fields = ownFields(line)
    if (Object.keys(fields).length > 0) delta.provider_specific_fields = fields
    const chunks = [this.#chunk({ model: line['model'] }, delta, finishReason(line['done_reason'], this.#calls))]
    if (typeof line['eval_count'] === 'number') this.#output = line['eval_count']
    const usage = usageOf(line)
    if (usage !== null) chunks.push({ ...this.#chunk({ model: line['model'] }, {}), choices: [], usage })
    return chunks
  }

  #chunk(line: Fields, delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    const role = this.#saidRole ? {} : { role: 'assistant' }
    this.#saidRole = true
    return {
      id: this.#context.id,
      object: 'chat.completion.chunk',
      created: this.#created ?? this.#context.created,
      model: text(line['model'], this.#context.model),
      choices: [{ index: 0, delta: { ...role, ...delta }, finish_reason: finish, ...logprobsOf(line) }],
    }
  }
}

/** Lines of `/api/generate`. */
export class CompletionStream implements StreamDecoder<CompletionChunk> {
  readonly #context: DecodeContext
  readonly #lines: Lines
  #created: number | null = null

  constructor(context: DecodeContext, provider: string) {
    this.#context = context
    this.#lines = new Lines(provider)
  }

  get done(): boolean {
    return this.#lines.done
  }

  push(event: SseEvent): CompletionChunk[] {
    const line = this.#lines.read(event)
    if (line === null) return []
    this.#created ??= createdAt(line)
    const piece = text(line['response'])
    const thinking = text(line['thinking'])
    const over = line['done'] === true
    this.#lines.done = over
    if (!over && piece === '' && thinking === '') return []
    const fields = over ? ownFields(line) : {}
    const usage = over ? usageOf(line) : null
    return [
      {
        id: this.#context.id,
        object: 'text_completion',
        created: this.#created ?? this.#context.created,
        model: text(line['model'], this.#context.model),
        choices: [
          {
            text: piece,
            index: 0,
            finish_reason: over ? finishReason(line['done_reason'], 0) : null,
            ...(thinking === '' ? {} : { reasoning_content: thinking }),
            ...(Object.keys(fields).length > 0 ? { provider_specific_fields: fields } : {}),
          },
        ],
        ...(usage === null ? {} : { usage }),
      },
    ]
  }

  end(): CompletionChunk[] {
    this.#lines.end()
    return []
  }
}
