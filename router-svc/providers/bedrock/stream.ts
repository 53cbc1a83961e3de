import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, ThinkingBlock } from '../../canonical/chat.ts'
import { type Reading, readingOf } from '../anthropic/answer.ts'
import { EXCEPTION } from '../aws-exception.ts'
import { eventObject, parsedInput } from '../json.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { finishReason, isServerTool, messageFields, serviceTier } from './answer.ts'
import { decodeError } from './errors.ts'
import { toolNames } from './tools.ts'
import { decodeUsage } from './usage.ts'
import { type Fields, isFields, JSON_TOOL, text } from './wire.ts'

/** A content block between its first event and its stop. Text has no state: it goes out as it comes. */
type Open =
  | { kind: 'thinking'; block: ThinkingBlock }
  /** `index` counts the calls the client sees; the JSON tool has -1. `sent`: some of its arguments went out. */
  | { kind: 'call'; index: number; sent: boolean }
  | { kind: 'cited'; citations: unknown[] }
  /** Blocks without a canonical place are collected and handed on whole; `input` of a tool of the service as text. */
  | { kind: 'kept'; block: Fields; input: string }

/**
 * States: started? (`messageStart` or a first block) → blocks open and close → stopped (`messageStop` told the reason) and told (`metadata` the
 * usage, after it as a rule) → done (both: finish and usage chunks are out). The finish waits for the metadata, so that no stream looks whole whose usage is missing. An
 * exception throws in any state.
 */
export class ConverseStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #reading: Reading
  readonly #open = new Map<number, Open>()
  /** Members of the last two events. */
  readonly #message: Fields = {}
  #started = false
  #stopped = false
  #told = false
  #done = false
  #calls = 0
  #json = false

  constructor(context: DecodeContext) {
    this.#context = context
    this.#reading = readingOf(context.request, toolNames(context.request))
  }

  get done(): boolean {
    return this.#done
  }

  push(event: SseEvent): ChatChunk[] {
    if (this.#done) return []
    if (event.event.startsWith(EXCEPTION))
      throw decodeError(200, { 'x-amzn-errortype': event.event.slice(EXCEPTION.length) }, event.data)
    const payload = eventObject(event.data)
    switch (event.event) {
      case 'contentBlockDelta':
        return [...this.#start(), ...this.#delta(payload)]
      case 'messageStart':
        return this.#start()
      case 'contentBlockStart':
        return [...this.#start(), ...this.#openBlock(number(payload['contentBlockIndex']), payload['start'])]
      case 'contentBlockStop':
        return this.#closeBlock(number(payload['contentBlockIndex']))
      case 'messageStop':
        this.#stopped = true
        Object.assign(this.#message, payload)
        return [...this.#start(), ...this.#finish()]
      case 'metadata':
        this.#told = true
        Object.assign(this.#message, payload)
        return this.#finish()
      default:
        return []
    }
  }

  end(): ChatChunk[] {
    if (!this.#started) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (!this.#done) throw new GatewayError('provider_truncated')
    return []
  }

  #start(): ChatChunk[] {
    if (this.#started) return []
    this.#started = true
    return [this.#chunk({ role: 'assistant', content: '' })]
  }

  #openBlock(index: number, start: unknown): ChatChunk[] {
    if (!isFields(start)) return []
    const use = start['toolUse']
    if (!isFields(use) || isServerTool(use)) {
      this.#open.set(index, { kind: 'kept', block: structuredClone(start), input: '' })
      return []
    }
    if (this.#reading.jsonTool && use['name'] === JSON_TOOL) {
      this.#json = true
      this.#open.set(index, { kind: 'call', index: -1, sent: false })
      return []
    }
    const call = this.#calls
    this.#calls += 1
    this.#open.set(index, { kind: 'call', index: call, sent: false })
    const named = { name: this.#reading.names.original(text(use['name'])), arguments: '' }
    return [this.#chunk({ tool_calls: [{ index: call, id: text(use['toolUseId']), type: 'function', function: named }] })]
  }

  #delta(payload: Fields): ChatChunk[] {
    const { delta } = payload
    if (!isFields(delta)) return []
    const index = number(payload['contentBlockIndex'])
    if (typeof delta['text'] === 'string') return this.#content(delta['text'])
    if (isFields(delta['reasoningContent'])) return this.#thinking(index, delta['reasoningContent'])
    const open = this.#open.get(index)
    if (isFields(delta['toolUse'])) {
      const piece = text(delta['toolUse']['input'])
      if (open?.kind === 'call') return this.#input(open, piece)
      if (open?.kind === 'kept') open.input += piece
    } else if (delta['citation'] !== undefined) {
      if (open?.kind === 'cited') open.citations.push(delta['citation'])
      else this.#open.set(index, { kind: 'cited', citations: [delta['citation']] })
    } else this.#keep(index, open, delta)
    return []
  }

  /** A delta of a kind this version does not know: lists go on, anything else replaces. */
  #keep(index: number, open: Open | undefined, delta: Fields): void {
    if (open !== undefined && open.kind !== 'kept') return
    const kept = open ?? { kind: 'kept', block: {}, input: '' }
    for (const [name, value] of Object.entries(delta)) {
      const before = kept.block[name]
      if (isFields(before) && Array.isArray(value)) before['content'] = [...list(before['content']), ...value]
      else kept.block[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value
    }
    this.#open.set(index, kept)
  }

  #content(piece: string): ChatChunk[] {
    return piece === '' ? [] : [this.#chunk({ content: piece })]
  }

  #input(open: Open & { kind: 'call' }, piece: string): ChatChunk[] {
    if (piece === '') return []
    open.sent = true
    if (open.index < 0) return this.#content(piece)
    return [this.#chunk({ tool_calls: [{ index: open.index, function: { arguments: piece } }] })]
  }

  #thinking(index: number, delta: Fields): ChatChunk[] {
    let open = this.#open.get(index)
    if (open?.kind !== 'thinking') {
      open = { kind: 'thinking', block: { type: 'thinking', thinking: '' } }
      this.#open.set(index, open)
    }
    const { block } = open
    if (typeof delta['redactedContent'] === 'string')
      open.block = { type: 'redacted_thinking', data: (block.data ?? '') + delta['redactedContent'] }
    if (typeof delta['signature'] === 'string') block.signature = (block.signature ?? '') + delta['signature']
    const piece = text(delta['text'])
    if (piece === '') return []
    block.thinking = (block.thinking ?? '') + piece
    return [this.#chunk({ reasoning_content: piece })]
  }

  #closeBlock(index: number): ChatChunk[] {
    const open = this.#open.get(index)
    if (open === undefined) return []
    this.#open.delete(index)
    switch (open.kind) {
      case 'thinking':
        // Whole, so that whoever replays it has the text its signature covers.
        return [this.#chunk({ thinking_blocks: [open.block] })]
      case 'call':
        // A call without arguments has no deltas.
        return open.sent ? [] : this.#input(open, '{}')
      case 'cited':
        return [this.#chunk({ provider_specific_fields: { citations: [open.citations] } })]
      case 'kept': {
        const use = open.block['toolUse']
        if (isFields(use) && open.input !== '') use['input'] = parsedInput(open.input)
        return [this.#chunk({ provider_specific_fields: { content_blocks: [open.block] } })]
      }
    }
  }

  #finish(): ChatChunk[] {
    if (!this.#stopped || !this.#told) return []
    const chunks: ChatChunk[] = []
    for (const index of [...this.#open.keys()]) chunks.push(...this.#closeBlock(index))
    this.#done = true
    const fields = messageFields(this.#message)
    if (Object.keys(fields).length > 0) chunks.push(this.#chunk({ provider_specific_fields: fields }))
    chunks.push(this.#chunk({}, finishReason(text(this.#message['stopReason']), this.#calls, this.#json)))
    const counts = isFields(this.#message['usage']) ? this.#message['usage'] : {}
    const usage: ChatChunk = { ...this.#chunk({}), choices: [], usage: decodeUsage(counts) }
    const tier = serviceTier(this.#message)
    if (tier !== undefined) usage.service_tier = tier
    chunks.push(usage)
    return chunks
  }

  #chunk(delta: ChatDelta, finish: FinishReason | null = null): ChatChunk {
    return {
      id: this.#context.id,
      object: 'chat.completion.chunk',
      created: this.#context.created,
      model: this.#context.model,
      choices: [{ index: 0, delta, finish_reason: finish }],
    }
  }
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
