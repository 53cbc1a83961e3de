import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, ToolCallDelta } from '../../canonical/chat.ts'
import type { OutputItem } from '../../canonical/responses.ts'
import { eventObject, type Fields, isFields, text } from '../json.ts'
import type { ErrorReader } from '../openai/response.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { annotation, decodeUsage, failure, finishReason, PARAGRAPH, picture, reasoningParts, toolCall } from './answer.ts'
import { KEPT, keptItems } from './kept.ts'
import { createdAt } from './response.ts'

/** What of one item is out. Everything is known by `output_index`: some servers change ids between events. */
interface Sent {
  /** How much of the item's texts, refusals and annotations. Not by part: servers are seen that count parts otherwise when the item is done. */
  text: number
  refusal: number
  annotations: number
  /** By content index: where in all text a part begins. */
  starts: Map<number, number>
  /** By index of summary or content: how much of the reasoning. */
  reasoning: Map<number, number>
  /** The kind of reasoning that came first; a server that sends both means the same by them. */
  kind: 'summary' | 'content' | null
  /** A call of the client's tools: its index among them, and how much of its arguments or input is out. */
  call: { index: number; custom: boolean; length: number } | null
  pictured: boolean
}

/**
 * States: open → ended by `response.completed` or `response.incomplete` (`done`), or by the error that `response.failed` and `error` are.
 * What a server leaves out of the deltas is taken from the item when it is done, and from the response when that is.
 */
export function createStream(context: DecodeContext, readError: ErrorReader): StreamDecoder<ChatChunk> {
  return new ResponsesStream(context, readError)
}

class ResponsesStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #readError: ErrorReader
  readonly #items = new Map<number, Sent>()
  /** Items as they were when done, for servers whose last event leaves them out. */
  readonly #finished = new Map<number, Fields>()
  #id: string
  #created: number
  #model: string
  #saidRole = false
  #reasoned = false
  #length = 0
  #calls = 0
  #images = 0
  #done = false

  constructor(context: DecodeContext, readError: ErrorReader) {
    this.#context = context
    this.#readError = readError
    this.#id = context.id
    this.#created = context.created
    this.#model = context.model
  }

  get done(): boolean {
    return this.#done
  }

  push(event: SseEvent): ChatChunk[] {
    if (this.#done || event.data === '' || event.data === '[DONE]') return []
    const fields = eventObject(event.data)
    // A server may name the kind in the frame alone; an error object may have none.
    const type = text(fields['type'], event.event)
    if (type === 'error' || (isFields(fields['error']) && fields['response'] === undefined))
      throw failure({ ...fields, type: 'error' }, {}, this.#readError)
    return this.#read(type, fields)
  }

  end(): ChatChunk[] {
    if (!this.#done) throw new GatewayError('provider_truncated')
    return []
  }

  #read(type: string, fields: Fields): ChatChunk[] {
    const at = number(fields['output_index'])
    const delta = text(fields['delta'])
    switch (type) {
      case 'response.created':
      case 'response.queued':
      case 'response.in_progress':
        this.#envelope(fields)
        return []
      case 'response.output_item.added':
        return isFields(fields['item']) ? this.#open(at, fields['item']) : []
      case 'response.output_text.delta':
        return this.#text(at, number(fields['content_index']), delta, fields['logprobs'])
      case 'response.refusal.delta':
        return this.#refusal(at, delta)
      case 'response.output_text.annotation.added':
        return this.#annotation(at, number(fields['content_index']), fields['annotation'])
      case 'response.reasoning_summary_text.delta':
        return this.#reasoning(at, 'summary', number(fields['summary_index']), delta)
      case 'response.reasoning_text.delta':
        return this.#reasoning(at, 'content', number(fields['content_index']), delta)
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        return this.#argument(at, delta)
      case 'response.output_item.done':
        return isFields(fields['item']) ? this.#settle(at, fields['item']) : []
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
      case 'response.cancelled':
        return this.#finish(type, isFields(fields['response']) ? fields['response'] : {})
      default:
        // Progress of hosted tools, and the ends of what the deltas told.
        return []
    }
  }

  #envelope(fields: Fields): void {
    const { response } = fields
    // What chunks went out with stays.
    if (!isFields(response) || this.#saidRole) return
    this.#id = text(response['id'], this.#id)
    this.#created = createdAt(response) ?? this.#created
    this.#model = text(response['model'], this.#model)
  }

  #sent(at: number): Sent {
    let sent = this.#items.get(at)
    if (sent === undefined) {
      sent = {
        text: 0,
        refusal: 0,
        annotations: 0,
        starts: new Map(),
        reasoning: new Map(),
        kind: null,
        call: null,
        pictured: false,
      }
      this.#items.set(at, sent)
    }
    return sent
  }

  /** Begins a call when the item is one; its arguments may be there already. */
  #open(at: number, item: Fields): ChatChunk[] {
    const sent = this.#sent(at)
    const call = sent.call === null ? toolCall(item, `${this.#context.id}-${this.#calls}`) : null
    if (call === null) return []
    const index = this.#calls
    this.#calls += 1
    const custom = call.type === 'custom'
    const given = custom ? text(call.custom?.input) : text(call.function?.arguments)
    sent.call = { index, custom, length: given.length }
    return [this.#chunk({ tool_calls: [{ index, ...call }] as ToolCallDelta[] })]
  }

  #argument(at: number, piece: string): ChatChunk[] {
    const { call } = this.#sent(at)
    if (call === null || piece === '') return []
    call.length += piece.length
    const delta = call.custom ? { custom: { input: piece } } : { function: { arguments: piece } }
    return [this.#chunk({ tool_calls: [{ index: call.index, ...delta }] })]
  }

  /** Where in all text a part of the item begins; it begins now if it has not. */
  #start(at: number, index: number): number {
    const { starts } = this.#sent(at)
    const start = starts.get(index) ?? this.#length
    starts.set(index, start)
    return start
  }

  #text(at: number, index: number, piece: string, logprobs?: unknown): ChatChunk[] {
    if (piece === '') return []
    this.#start(at, index)
    this.#sent(at).text += piece.length
    this.#length += piece.length
    const chunk = this.#chunk({ content: piece })
    const [choice] = chunk.choices
    if (choice !== undefined && Array.isArray(logprobs) && logprobs.length > 0)
      choice.logprobs = { content: logprobs, refusal: null }
    return [chunk]
  }

  #refusal(at: number, piece: string): ChatChunk[] {
    if (piece === '') return []
    this.#sent(at).refusal += piece.length
    return [this.#chunk({ refusal: piece })]
  }

  #annotation(at: number, index: number, raw: unknown): ChatChunk[] {
    this.#sent(at).annotations += 1
    return [this.#chunk({ annotations: [annotation(raw, this.#start(at, index))] })]
  }

  #reasoning(at: number, kind: 'summary' | 'content', index: number, piece: string): ChatChunk[] {
    const sent = this.#sent(at)
    sent.kind ??= kind
    if (sent.kind !== kind || piece === '') return []
    const begun = sent.reasoning.get(index)
    sent.reasoning.set(index, (begun ?? 0) + piece.length)
    const apart = begun === undefined && this.#reasoned ? PARAGRAPH : ''
    this.#reasoned = true
    return [this.#chunk({ reasoning_content: apart + piece })]
  }

  /** Sends of a finished item what its deltas left out. */
  #settle(at: number, item: Fields): ChatChunk[] {
    this.#finished.set(at, item)
    const chunks = this.#open(at, item)
    const sent = this.#sent(at)
    switch (item['type']) {
      case 'function_call':
      case 'custom_tool_call': {
        const whole = text(item[sent.call?.custom === true ? 'input' : 'arguments'])
        chunks.push(...this.#argument(at, whole.slice(sent.call?.length ?? 0)))
        break
      }
      case 'reasoning':
        if (sent.reasoning.size === 0)
          for (const [index, part] of reasoningParts(item).entries())
            chunks.push(...this.#reasoning(at, sent.kind ?? 'summary', index, part))
        break
      case 'message':
        chunks.push(...this.#settleMessage(at, item['content']))
        break
      case 'image_generation_call': {
        const image = sent.pictured ? null : picture(item, this.#images)
        if (image === null) break
        sent.pictured = true
        this.#images += 1
        chunks.push(this.#chunk({ images: [image] }))
      }
    }
    return chunks
  }

  #settleMessage(at: number, content: unknown): ChatChunk[] {
    if (!Array.isArray(content)) return []
    const sent = this.#sent(at)
    const parts = (content as unknown[]).filter(isFields)
    const refused = parts.map((part) => (part['type'] === 'refusal' ? text(part['refusal']) : '')).join('')
    const chunks = this.#refusal(at, refused.slice(sent.refusal))
    /** Text, and then annotations, of the parts before this one. */
    let length = 0
    let annotations = 0
    for (const [index, part] of parts.entries()) {
      if (part['type'] !== 'output_text') continue
      const whole = text(part['text'])
      const rest = whole.slice(Math.max(0, sent.text - length))
      length += whole.length
      chunks.push(...this.#text(at, index, rest, rest === whole ? part['logprobs'] : undefined))
      for (const one of Array.isArray(part['annotations']) ? (part['annotations'] as unknown[]) : []) {
        annotations += 1
        if (annotations > sent.annotations) chunks.push(...this.#annotation(at, index, one))
      }
    }
    return chunks
  }

  #finish(type: string, response: Fields): ChatChunk[] {
    this.#envelope({ response })
    const status = text(response['status'], type.slice('response.'.length))
    const failed = failure({ ...response, status }, {}, this.#readError)
    if (failed !== null) throw failed
    const chunks: ChatChunk[] = []
    const listed = Array.isArray(response['output']) ? (response['output'] as unknown[]).filter(isFields) : []
    for (const [at, item] of listed.entries()) if (!this.#finished.has(at)) chunks.push(...this.#settle(at, item))
    const items = listed.length > 0 ? listed : [...this.#finished].sort(([a], [b]) => a - b).map(([, item]) => item)
    const kept = keptItems(items.filter((item): item is OutputItem => typeof item['type'] === 'string'))
    if (kept.length > 0) chunks.push(this.#chunk({ provider_specific_fields: { [KEPT]: kept } }))
    this.#done = true
    chunks.push(this.#chunk({}, finishReason({ ...response, status }, this.#calls)))
    const usage = decodeUsage(response['usage'], items)
    const tier = text(response['service_tier'])
    const last: ChatChunk = { ...this.#chunk({}), choices: [] }
    if (tier !== '') last.service_tier = tier
    if (usage !== null) chunks.push({ ...last, usage })
    return chunks
  }

  #chunk(delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    const role = this.#saidRole ? {} : { role: 'assistant' }
    this.#saidRole = true
    return {
      id: this.#id,
      object: 'chat.completion.chunk',
      created: this.#created,
      model: this.#model,
      choices: [{ index: 0, delta: { ...role, ...delta }, finish_reason: finish }],
    }
  }
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
