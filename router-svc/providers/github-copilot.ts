import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse, FinishReason, ToolCall } from '../canonical/chat.ts'
import { openai } from './openai.ts'
import type { DecodeContext, Provider, StreamDecoder } from './provider.ts'

/**
 * GitHub Copilot: OpenAI's protocol with headers that say who asks, and answers that may come in parts: the text in one choice, the calls in the
 * next. They are one answer.
 */
export function githubCopilot(name: string, row: ProviderRow): Provider {
  const { chat, completion: _made, ...provider } = openai(name, row)
  const stream = chat?.decodeStream
  if (chat === undefined || stream === undefined) throw new Error('a row without chat')
  return {
    ...provider,
    auth: { type: 'made', kind: 'github-copilot' },
    chat: {
      ...chat,
      encodeRequest(request, target) {
        const sent = chat.encodeRequest(request, target)
        return { ...sent, headers: { ...sent.headers, ...headersFor(request) } }
      },
      decodeResponse(body, headers, context) {
        const response = chat.decodeResponse(body, headers, context)
        return several(context) ? response : merged(response)
      },
      decodeStream: (context) => (several(context) ? stream(context) : new OneChoice(stream(context), context)),
    },
  }
}

function several({ request }: DecodeContext): boolean {
  return typeof request['n'] === 'number' && request['n'] > 1
}

/** What a turn is billed as, and whether it has pictures. */
function headersFor({ messages }: ChatRequest): Record<string, string> {
  const agent = messages.some(({ role }) => role === 'assistant' || role === 'tool')
  const vision = messages.some(({ content }) => Array.isArray(content) && content.some(({ type }) => type === 'image_url'))
  return { 'x-initiator': agent ? 'agent' : 'user', ...(vision ? { 'copilot-vision-request': 'true' } : {}) }
}

function merged(response: ChatResponse): ChatResponse {
  const [first, ...others] = response.choices
  if (first === undefined || others.length === 0) return response
  const messages = response.choices.map(({ message }) => message)
  const content = messages.map((message) => message.content ?? '').join('')
  const calls: ToolCall[] = messages.flatMap((message) => message.tool_calls ?? [])
  const reasoning = messages.map((message) => message.reasoning_content ?? '').join('')
  const message = {
    ...first.message,
    content: content === '' && calls.length > 0 ? null : content,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
  }
  const finish: FinishReason | null = calls.length > 0 ? 'tool_calls' : first.finish_reason
  return { ...response, choices: [{ ...first, index: 0, message, finish_reason: finish }] }
}

/** All choices of a stream as the first; it finishes once, when all have. */
class OneChoice implements StreamDecoder<ChatChunk> {
  readonly #inner: StreamDecoder<ChatChunk>
  readonly #context: DecodeContext
  /** Our index of each call, by its choice and its index there. */
  readonly #calls = new Map<string, number>()
  #saidRole = false
  #finish: FinishReason | null = null
  #last: ChatChunk | null = null

  constructor(inner: StreamDecoder<ChatChunk>, context: DecodeContext) {
    this.#inner = inner
    this.#context = context
  }

  get done(): boolean {
    return this.#inner.done
  }

  push(event: Parameters<StreamDecoder<ChatChunk>['push']>[0]): ChatChunk[] {
    const chunks = this.#inner.push(event).map((chunk) => this.#one(chunk))
    return this.#inner.done ? [...chunks, ...this.#over()] : chunks
  }

  end(): ChatChunk[] {
    const wasDone = this.#inner.done
    const chunks = this.#inner.end().map((chunk) => this.#one(chunk))
    return wasDone ? chunks : [...chunks, ...this.#over()]
  }

  #one(chunk: ChatChunk): ChatChunk {
    this.#last = chunk
    const choices = chunk.choices.map(
      ({ index, delta: { role, tool_calls: calls, ...delta }, finish_reason: finish, ...rest }) => {
        if (finish !== null) this.#finish = this.#finish === null || finish === 'tool_calls' ? finish : this.#finish
        const said = role !== undefined && !this.#saidRole ? { role } : {}
        if (role !== undefined) this.#saidRole = true
        const ours = calls?.map((call) => ({ ...call, index: this.#indexOf(`${index} ${call.index}`) }))
        return {
          ...rest,
          index: 0,
          delta: { ...said, ...delta, ...(ours === undefined ? {} : { tool_calls: ours }) },
          finish_reason: null,
        }
      },
    )
    return { ...chunk, choices }
  }

  #indexOf(call: string): number {
    let index = this.#calls.get(call)
    if (index === undefined) {
      index = this.#calls.size
      this.#calls.set(call, index)
    }
    return index
  }

  #over(): ChatChunk[] {
    const { id, created, model } = this.#last ?? this.#context
    const reason = this.#calls.size > 0 ? 'tool_calls' : (this.#finish ?? 'stop')
    return [{ id, object: 'chat.completion.chunk', created, model, choices: [{ index: 0, delta: {}, finish_reason: reason }] }]
  }
}
