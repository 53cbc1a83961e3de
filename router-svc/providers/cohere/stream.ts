import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason } from '../../canonical/chat.ts'
import { eventObject, type Fields, isFields } from '../json.ts'
import { argumentsOf } from '../openai/normalise.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { decodeError } from './errors.ts'
import { decodeLogprobs, finishReason } from './response.ts'
import { decodeUsage } from './usage.ts'
import { isError, list, text } from './wire.ts'

/**
 * States: before `message-start` → blocks of content, a plan, calls and citations, each between its start and its end → done
 * (`message-end`, with finish reason and usage). A `[DONE]` that follows says nothing more. An error throws in any state.
 */
export class ChatStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  #id: string
  #started = false
  #done = false
  #calls = 0
  /** The open call had arguments. */
  #sent = true

  constructor(context: DecodeContext) {
    this.#context = context
    this.#id = context.id
  }

  get done(): boolean {
    return this.#done
  }

  push(event: SseEvent): ChatChunk[] {
    if (this.#done || event.data === '' || event.data === '[DONE]') return []
    const payload = eventObject(event.data)
    if (isError(payload)) throw decodeError(200, {}, event.data)
    const delta = isFields(payload['delta']) ? payload['delta'] : {}
    const message = isFields(delta['message']) ? delta['message'] : {}
    const type = text(payload['type']) || event.event
    if (type === 'message-end') return this.#end(payload, delta)
    return [...this.#start(payload), ...this.#deltas(type, message, payload)]
  }

  end(): ChatChunk[] {
    if (!this.#started && !this.#done) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (!this.#done) throw new GatewayError('provider_truncated')
    return []
  }

  /** The first chunk, whatever the first event is. */
  #start(payload: Fields): ChatChunk[] {
    if (this.#started) return []
    this.#started = true
    this.#id = text(payload['id']) || this.#id
    return [this.#chunk({ role: 'assistant', content: '' })]
  }

  #deltas(type: string, message: Fields, payload: Fields): ChatChunk[] {
    switch (type) {
      case 'content-start':
      case 'content-delta':
        return this.#content(message['content'], payload['logprobs'])
      case 'tool-plan-delta':
        return this.#said({ content: text(message['tool_plan']) })
      case 'tool-call-start':
        return this.#call(first(message['tool_calls']))
      case 'tool-call-delta': {
        const named = first(message['tool_calls'])['function']
        return this.#arguments(isFields(named) ? argumentsOf(named['arguments'], false) : '')
      }
      case 'tool-call-end':
        return this.#settle()
      case 'citation-start': {
        const cited = message['citations']
        const citations = Array.isArray(cited) ? cited : isFields(cited) ? [cited] : []
        return citations.length === 0 ? [] : [this.#chunk({ provider_specific_fields: { citations } })]
      }
      default:
        // Ends of blocks, `debug`, and events this version does not know.
        return []
    }
  }

  #content(content: unknown, raw: unknown): ChatChunk[] {
    const block = first(content)
    const chunks = [
      ...this.#said({ reasoning_content: text(block['thinking']) }),
      ...this.#said({ content: text(block['text']) }),
    ]
    const logprobs = decodeLogprobs(raw)
    const choice = chunks.at(-1)?.choices[0]
    if (logprobs !== null && choice !== undefined) choice.logprobs = logprobs
    return chunks
  }

  #said(delta: ChatDelta): ChatChunk[] {
    return Object.values(delta).every((piece) => piece === '') ? [] : [this.#chunk(delta)]
  }

  #call(call: Fields): ChatChunk[] {
    const before = this.#settle()
    const named = isFields(call['function']) ? call['function'] : {}
    const index = this.#calls
    this.#calls += 1
    const given = argumentsOf(named['arguments'], false)
    this.#sent = given !== ''
    const opened = {
      index,
      id: text(call['id']) || `call_${index}`,
      type: 'function',
      function: { name: text(named['name']), arguments: given },
    }
    return [...before, this.#chunk({ tool_calls: [opened] })]
  }

  #arguments(piece: string): ChatChunk[] {
    if (piece === '' || this.#calls === 0) return []
    this.#sent = true
    return [this.#chunk({ tool_calls: [{ index: this.#calls - 1, function: { arguments: piece } }] })]
  }

  /** A call without arguments has no deltas. */
  #settle(): ChatChunk[] {
    return this.#sent ? [] : this.#arguments('{}')
  }

  #end(payload: Fields, delta: Fields): ChatChunk[] {
    const finish = finishReason(delta['finish_reason'], this.#calls, delta['error'])
    const chunks = [...this.#start(payload), ...this.#settle(), this.#chunk({}, finish)]
    this.#done = true
    const usage = decodeUsage(delta['usage'])
    if (usage !== null) chunks.push({ ...this.#chunk({}), choices: [], usage })
    return chunks
  }

  #chunk(delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    return {
      id: this.#id,
      object: 'chat.completion.chunk',
      created: this.#context.created,
      model: this.#context.model,
      choices: [{ index: 0, delta, finish_reason: finish }],
    }
  }
}

/** Deltas hold one object where whole messages hold a list. */
function first(value: unknown): Fields {
  const one = Array.isArray(value) ? list(value)[0] : value
  return isFields(one) ? one : {}
}
