import { anthropicErrorBody, GatewayError } from '../../../shared/errors.ts'
import { sseEvent } from '../../../shared/http/sse.ts'
import { isObject } from '../../../shared/json-object.ts'
import type { ChatChunk, ChatDelta, FinishReason, ThinkingBlock, ToolCallDelta, Usage } from '../../canonical/chat.ts'
import type { StreamEncoder, StreamOptions } from '../dialect.ts'
import { citationsIn, encodeUsage, PLACED, stopReason } from './usage.ts'

type Fields = Record<string, unknown>

/** One tool call of the stream. It is `waiting` until its block can be opened, and cannot go on once that is `closed`. */
interface Call {
  id: string
  name: string
  /** Other fields of the call (`caller`). */
  rest: Fields
  arguments: string
  /** What the arguments still need when the block closes. */
  ending: string
  state: 'waiting' | 'open' | 'closed'
}

/** The open block; `whole` needs no more. */
type Open = 'text' | 'thinking' | 'whole' | Call

/** Message fields that belong beside the delta of `message_delta`; the others belong into it. */
const BESIDE: ReadonlySet<string> = new Set(['context_management', 'turnpike'])

/** About; for answers whose provider reports no usage. */
const CHARACTERS_PER_TOKEN = 4

/**
 * Canonical chunks as Anthropic's events, one block open at a time.
 *
 * States: silent (nothing said: whatever came so far names no content, so that another deployment may still be tried) → between blocks
 * (`message_start` is out) ⇄ text | thinking | call (that block is open) → ended. `error` ends any state.
 */
export class MessageStreamEncoder implements StreamEncoder<ChatChunk> {
  readonly #model: string
  readonly #calls = new Map<number, Call>()
  /** Message fields to tell at the end. */
  readonly #fields: Fields = {}
  #id = ''
  #begun = false
  #open: Open | null = null
  #index = -1
  #finish: FinishReason | null = null
  #usage: Usage | null = null
  #tier: string | undefined
  #characters = 0

  constructor({ model, resume }: Pick<StreamOptions, 'model' | 'resume'>) {
    this.#model = model
    if (resume === undefined) return
    this.#begun = resume.begun
    this.#index = (resume.blocks ?? 0) - 1
    this.#open = resume.open ?? null
  }

  push(chunk: ChatChunk): string {
    if (this.#id === '') this.#id = chunk.id
    if (chunk.usage !== undefined && chunk.usage !== null) this.#usage = chunk.usage
    if (chunk.service_tier !== undefined) this.#tier = chunk.service_tier
    if (chunk['turnpike'] !== undefined) this.#fields['turnpike'] = chunk['turnpike']
    let text = ''
    for (const choice of chunk.choices) {
      // Further choices have no place in this protocol.
      if (choice.index !== 0) continue
      text += this.#delta(choice.delta)
      if (choice.finish_reason !== null && choice.finish_reason !== undefined) this.#finish ??= choice.finish_reason
    }
    return text
  }

  end(): string {
    let text = this.#begin() + this.#close()
    for (const call of this.#calls.values()) if (call.state === 'waiting') text += this.#openCall(call) + this.#close()
    const { stop_reason: own, stop_sequence: sequence, ...fields } = this.#fields
    const delta: Fields = { stop_reason: stopReason(this.#finish, this.#calls.size > 0, own), stop_sequence: sequence ?? null }
    const beside: Fields = {}
    for (const name in fields) (BESIDE.has(name) ? beside : delta)[name] = fields[name]
    const usage =
      this.#usage === null
        ? { output_tokens: Math.ceil(this.#characters / CHARACTERS_PER_TOKEN) }
        : encodeUsage(this.#usage, this.#tier)
    return text + event('message_delta', { delta, usage, ...beside }) + event('message_stop', {})
  }

  error(error: GatewayError): string {
    return sseEvent(JSON.stringify(anthropicErrorBody(error)), 'error')
  }

  #delta(delta: ChatDelta): string {
    let text = ''
    if (typeof delta.reasoning_content === 'string' && delta.reasoning_content !== '')
      text += this.#thinking(delta.reasoning_content)
    for (const block of delta.thinking_blocks ?? []) text += this.#thinkingBlock(block)
    if (typeof delta.content === 'string' && delta.content !== '') text += this.#text(delta.content)
    if (isObject(delta.provider_specific_fields)) text += this.#kept(delta.provider_specific_fields)
    // What an Anthropic provider explains of a refusal is told in `stop_details`.
    if (typeof delta.refusal === 'string' && delta.refusal !== '' && this.#fields['stop_details'] === undefined)
      text += this.#text(delta.refusal)
    for (const call of delta.tool_calls ?? []) text += this.#call(call)
    return text
  }

  #text(piece: string): string {
    const opened = this.#open === 'text' ? '' : this.#openBlock('text', { type: 'text', text: '' })
    this.#characters += piece.length
    return opened + this.#blockDelta({ type: 'text_delta', text: piece })
  }

  #thinking(piece: string): string {
    const opened = this.#open === 'thinking' ? '' : this.#openBlock('thinking', { type: 'thinking', thinking: '', signature: '' })
    this.#characters += piece.length
    return opened + this.#blockDelta({ type: 'thinking_delta', thinking: piece })
  }

  /** A block of thinking as a whole, behind its deltas or without any: what is missing is its signature. */
  #thinkingBlock(block: ThinkingBlock): string {
    if (block.type !== 'thinking') return this.#whole(block as unknown as Fields)
    let text = ''
    if (this.#open !== 'thinking') {
      text = this.#openBlock('thinking', { type: 'thinking', thinking: '', signature: '' })
      if (block.thinking) text += this.#blockDelta({ type: 'thinking_delta', thinking: block.thinking })
    }
    if (block.signature) text += this.#blockDelta({ type: 'signature_delta', signature: block.signature })
    return text + this.#close()
  }

  /** What an Anthropic provider said beyond the canonical fields. */
  #kept(kept: Readonly<Fields>): string {
    let text = ''
    if (Array.isArray(kept['content_blocks'])) for (const block of kept['content_blocks'] as Fields[]) text += this.#whole(block)
    const citations = this.#open === 'text' ? citationsIn(kept) : []
    if (citations.length > 0) {
      for (const citation of citations) text += this.#blockDelta({ type: 'citations_delta', citation })
      // They came when their block closed.
      text += this.#close()
    }
    for (const name in kept)
      if (name === 'stop_reason' || name === 'stop_sequence' || !PLACED.has(name)) this.#fields[name] = kept[name]
    return text
  }

  #whole(block: Fields): string {
    return this.#openBlock('whole', block) + this.#close()
  }

  /**
   * Providers send one call after the other. Where fragments alternate, a call that is not complete keeps its block, and the others wait
   * for it.
   */
  #call({ index, id, function: named, custom, type: _type, ...rest }: ToolCallDelta): string {
    if (isObject(custom)) return this.#customCall(index, id, custom)
    let call = this.#calls.get(index)
    if (call === undefined) {
      call = { id: id ?? '', name: '', rest, arguments: '', ending: '', state: 'waiting' }
      this.#calls.set(index, call)
    }
    if (call.id === '' && id !== undefined) call.id = id
    const piece = named?.arguments ?? ''
    this.#characters += piece.length + (named?.name?.length ?? 0)
    if (call.state === 'closed') {
      if (piece === '') return ''
      throw new GatewayError('provider_malformed', 'The provider went on with a tool call after other content.')
    }
    call.name += named?.name ?? ''
    call.arguments += piece
    if (call.state === 'open') return piece === '' ? '' : this.#blockDelta({ type: 'input_json_delta', partial_json: piece })
    const open = this.#open
    const busy = open !== null && typeof open === 'object' && !isComplete(open.arguments)
    return busy || call.name === '' ? '' : this.#openCall(call)
  }

  /** The input of a custom tool is text: here the one member of an object, as in whole answers. */
  #customCall(index: number, id: string | undefined, { name, input }: Readonly<Fields>): string {
    const isNew = !this.#calls.has(index)
    if (isNew) this.#calls.set(index, { id: id ?? '', name: '', rest: {}, arguments: '', ending: '"}', state: 'waiting' })
    const piece = typeof input === 'string' ? JSON.stringify(input).slice(1, -1) : ''
    const named = { arguments: `${isNew ? '{"input":"' : ''}${piece}`, ...(typeof name === 'string' ? { name } : {}) }
    return this.#call({ index, function: named })
  }

  #openCall(call: Call): string {
    const block = { type: 'tool_use', id: call.id, name: call.name, input: {}, ...call.rest }
    const text = this.#openBlock(call, block)
    call.state = 'open'
    return call.arguments === '' ? text : text + this.#blockDelta({ type: 'input_json_delta', partial_json: call.arguments })
  }

  #openBlock(open: Open, block: Fields): string {
    const before = this.#begin() + this.#close()
    this.#open = open
    this.#index += 1
    return before + event('content_block_start', { index: this.#index, content_block: block })
  }

  #blockDelta(delta: Fields): string {
    return event('content_block_delta', { index: this.#index, delta })
  }

  #close(): string {
    const open = this.#open
    if (open === null) return ''
    this.#open = null
    let ending = ''
    if (typeof open === 'object') {
      open.state = 'closed'
      if (open.ending !== '') ending = this.#blockDelta({ type: 'input_json_delta', partial_json: open.ending })
    }
    return ending + event('content_block_stop', { index: this.#index })
  }

  #begin(): string {
    if (this.#begun) return ''
    this.#begun = true
    const usage = this.#usage === null ? { input_tokens: 0, output_tokens: 0 } : encodeUsage(this.#usage, this.#tier)
    const message = {
      id: this.#id,
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    }
    return event('message_start', { message })
  }
}

/** Whether the arguments of a call can hold no more: they are a JSON object. None at all may still come. */
function isComplete(text: string): boolean {
  if (!text.trimEnd().endsWith('}')) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function event(type: string, fields: Fields): string {
  return sseEvent(JSON.stringify({ type, ...fields }), type)
}
