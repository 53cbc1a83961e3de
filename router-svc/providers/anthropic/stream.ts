import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, ThinkingBlock, Usage } from '../../canonical/chat.ts'
import { eventObject, parsedInput } from '../json.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { annotations, finishReason, messageFields, type Reading, readingOf, refusal, toolCall } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { decodeUsage, mergeUsage } from './usage.ts'
import { type Block, type Fields, isBlock, isFields, JSON_TOOL, text } from './wire.ts'

/** A content block between its start and its stop. */
type Open =
  | { kind: 'text'; start: number; citations: unknown[] }
  | { kind: 'thinking'; block: ThinkingBlock }
  /** `index` counts the calls the client sees; the JSON tool has -1. `sent`: some of its arguments went out. */
  | { kind: 'call'; index: number; input: unknown; sent: boolean }
  /** Blocks without a canonical place are collected and handed on whole. */
  | { kind: 'kept'; block: Block; input: string }

/**
 * States: started? (before and after `message_start`) → blocks open and close → finished (a stop reason came: finish and usage chunks
 * are out) → done (`message_stop`). An `error` event throws in any state.
 */
export class MessageStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #reading: Reading
  readonly #open = new Map<number, Open>()
  /** All message-level fields seen so far; the stop reason among them. */
  readonly #message: Fields = {}
  readonly #usage: Fields = {}
  #started = false
  #finished = false
  #done = false
  #length = 0
  #calls = 0
  #json = false

  constructor(context: DecodeContext) {
    this.#context = context
    this.#reading = readingOf(context.request)
  }

  get done(): boolean {
    return this.#done
  }

  /** Counts so far, for an answer that breaks off: input tokens are known from the first event. Null before it. */
  get usage(): Usage | null {
    return this.#started ? decodeUsage(this.#usage) : null
  }

  push(event: SseEvent): ChatChunk[] {
    if (this.#done || event.data === '' || event.data === '[DONE]') return []
    const payload = eventObject(event.data)
    switch (text(payload['type'], event.event)) {
      case 'content_block_delta':
        return this.#delta(payload)
      case 'message_start':
        return this.#start(payload)
      case 'content_block_start':
        return isBlock(payload['content_block']) ? this.#openBlock(number(payload['index']), payload['content_block']) : []
      case 'content_block_stop':
        return this.#closeBlock(number(payload['index']))
      case 'message_delta':
        return this.#messageDelta(payload)
      case 'message_stop': {
        const chunks = this.#finished ? [] : this.#finish()
        this.#done = true
        return chunks
      }
      case 'error':
        throw decodeError(200, {}, event.data)
      default:
        // `ping`, and events this version does not know: the protocol asks clients to ignore them.
        if (errorInside(payload)) throw decodeError(200, {}, event.data)
        return []
    }
  }

  end(): ChatChunk[] {
    if (!this.#started) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (!this.#done) throw new GatewayError('provider_truncated')
    return []
  }

  #start(payload: Fields): ChatChunk[] {
    if (this.#started) return []
    this.#started = true
    if (isFields(payload['message'])) {
      Object.assign(this.#message, payload['message'])
      mergeUsage(this.#usage, payload['message']['usage'])
    }
    return [this.#chunk({ role: 'assistant', content: '' })]
  }

  #openBlock(index: number, block: Block): ChatChunk[] {
    switch (block.type) {
      case 'text': {
        const citations = Array.isArray(block['citations']) ? [...block['citations']] : []
        this.#open.set(index, { kind: 'text', start: this.#length, citations })
        return this.#content(text(block['text']))
      }
      case 'thinking':
      case 'redacted_thinking':
        this.#open.set(index, { kind: 'thinking', block: { ...block } as ThinkingBlock })
        return text(block['thinking']) === '' ? [] : [this.#chunk({ reasoning_content: text(block['thinking']) })]
      case 'tool_use': {
        if (this.#reading.jsonTool && block['name'] === JSON_TOOL) {
          this.#json = true
          this.#open.set(index, { kind: 'call', index: -1, input: block['input'], sent: false })
          return []
        }
        const call = { index: this.#calls, ...toolCall(block, this.#reading, '') }
        this.#open.set(index, { kind: 'call', index: this.#calls, input: block['input'], sent: false })
        this.#calls += 1
        return [this.#chunk({ tool_calls: [call] })]
      }
      default:
        this.#open.set(index, { kind: 'kept', block: { ...block }, input: '' })
        return []
    }
  }

  #delta(payload: Fields): ChatChunk[] {
    const delta = payload['delta']
    if (!isBlock(delta)) return []
    const open = this.#open.get(number(payload['index']))
    // Tolerated: a server that leaves out the start of a text block.
    if (open === undefined) return delta.type === 'text_delta' ? this.#content(text(delta['text'])) : []
    switch (open.kind) {
      case 'text':
        if (delta.type === 'citations_delta') open.citations.push(delta['citation'])
        return delta.type === 'text_delta' ? this.#content(text(delta['text'])) : []
      case 'call':
        return delta.type === 'input_json_delta' ? this.#input(open, text(delta['partial_json'])) : []
      case 'thinking':
        return this.#thinking(open.block, delta)
      case 'kept':
        if (delta.type === 'input_json_delta') open.input += text(delta['partial_json'])
        else extend(open.block, delta)
        return []
    }
  }

  #content(piece: string): ChatChunk[] {
    if (piece === '') return []
    this.#length += piece.length
    return [this.#chunk({ content: piece })]
  }

  #input(open: Open & { kind: 'call' }, piece: string): ChatChunk[] {
    if (piece === '') return []
    open.sent = true
    if (open.index < 0) return this.#content(piece)
    return [this.#chunk({ tool_calls: [{ index: open.index, function: { arguments: piece } }] })]
  }

  #thinking(block: ThinkingBlock, delta: Block): ChatChunk[] {
    if (delta.type === 'signature_delta') block.signature = (block.signature ?? '') + text(delta['signature'])
    const piece = delta.type === 'thinking_delta' ? text(delta['thinking']) : ''
    if (piece === '') return []
    block.thinking = (block.thinking ?? '') + piece
    return [this.#chunk({ reasoning_content: piece })]
  }

  #closeBlock(index: number): ChatChunk[] {
    const open = this.#open.get(index)
    if (open === undefined) return []
    this.#open.delete(index)
    switch (open.kind) {
      case 'text':
        return open.citations.length === 0 ? [] : [this.#chunk(cited(open.citations, open.start, this.#length))]
      case 'thinking':
        // Whole, so that whoever replays it has the text its signature covers.
        return [this.#chunk({ thinking_blocks: [open.block] })]
      case 'call':
        // A call without arguments has no deltas; some servers put the whole input into the start.
        return open.sent ? [] : this.#input(open, JSON.stringify(open.input ?? {}))
      case 'kept':
        if (open.input !== '') open.block['input'] = parsedInput(open.input)
        return [this.#chunk({ provider_specific_fields: { content_blocks: [open.block] } })]
    }
  }

  #messageDelta(payload: Fields): ChatChunk[] {
    mergeUsage(this.#usage, payload['usage'])
    const { type: _type, delta, usage: _usage, ...rest } = payload
    Object.assign(this.#message, rest)
    if (isFields(delta)) for (const [field, value] of Object.entries(delta)) if (value !== null) this.#message[field] = value
    // Counts that come after the finish replace the ones sent with it.
    if (this.#finished) return [this.#usageChunk()]
    return typeof this.#message['stop_reason'] === 'string' ? this.#finish() : []
  }

  #finish(): ChatChunk[] {
    const chunks: ChatChunk[] = []
    for (const index of [...this.#open.keys()]) chunks.push(...this.#closeBlock(index))
    this.#finished = true
    const fields = messageFields(this.#message)
    if (Object.keys(fields).length > 0) chunks.push(this.#chunk({ provider_specific_fields: fields }))
    const refused = refusal(this.#message)
    if (refused !== undefined) chunks.push(this.#chunk({ refusal: refused }))
    chunks.push(this.#chunk({}, finishReason(text(this.#message['stop_reason']), this.#calls, this.#json)))
    chunks.push(this.#usageChunk())
    return chunks
  }

  #usageChunk(): ChatChunk {
    const chunk: ChatChunk = { ...this.#chunk({}), choices: [], usage: decodeUsage(this.#usage) }
    if (typeof this.#usage['service_tier'] === 'string') chunk.service_tier = this.#usage['service_tier']
    return chunk
  }

  #chunk(delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    return {
      id: text(this.#message['id'], this.#context.id),
      object: 'chat.completion.chunk',
      created: this.#context.created,
      model: text(this.#message['model'], this.#context.model),
      choices: [{ index: 0, delta, finish_reason: finish }],
    }
  }
}

function cited(citations: unknown[], start: number, end: number): ChatDelta {
  const delta: ChatDelta = { provider_specific_fields: { citations: [citations] } }
  const found = annotations(citations, start, end)
  if (found.length > 0) delta['annotations'] = found
  return delta
}

/** Applies a delta of a kind this version does not know: strings continue strings, anything else replaces. */
function extend(block: Block, delta: Block): void {
  for (const [field, value] of Object.entries(delta)) {
    if (field === 'type' || value === null) continue
    const before = block[field]
    block[field] = typeof before === 'string' && typeof value === 'string' ? before + value : value
  }
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
