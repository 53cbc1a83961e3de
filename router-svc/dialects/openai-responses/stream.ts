import { GatewayError } from '../../../shared/errors.ts'
import { sseEvent } from '../../../shared/http/sse.ts'
import { isObject } from '../../../shared/json-object.ts'
import type { ChatChunk, ChatDelta, FinishReason, ThinkingBlock, ToolCallDelta, Usage } from '../../canonical/chat.ts'
import type { Annotation, OutputContent, OutputItem, ResponseObject } from '../../canonical/responses.ts'
import type { StreamEncoder, StreamOptions } from '../dialect.ts'
import { errorOf } from './error.ts'
import {
  annotationOf,
  callItem,
  customNames,
  type ItemIds,
  itemIds,
  logprobsOf,
  plainInput,
  reasoningItem,
  textPart,
  thinkingText,
} from './items.ts'
import { endingOf, envelope, keyOf, tierOf } from './response.ts'
import { encodeUsage } from './usage.ts'

type Fields = Record<string, unknown>

/** A call of the client's tools. It is `waiting` until its name is known, and cannot go on once `closed`. */
interface Call {
  id: string
  name: string
  custom: boolean
  arguments: string
  state: 'waiting' | 'open' | 'closed'
  place: number
}

interface Thought {
  kind: 'reasoning'
  place: number
  text: string
  blocks: ThinkingBlock[]
}
interface Said {
  kind: 'message'
  place: number
  parts: OutputContent[]
  /** Of the open part, the last one: its kind, text, citations and probabilities. */
  part: 'output_text' | 'refusal' | null
  text: string
  annotations: Annotation[]
  logprobs: unknown[]
}

/**
 * Canonical chunks as events of the Responses API, numbered from 0.
 *
 * States: silent → begun (`response.created`, `response.in_progress`) → items, of which reasoning and messages are open one at a time, calls
 * until they are complete → ended by `response.completed` or `response.incomplete`. `response.failed` ends any state.
 */
export class ResponseStreamEncoder implements StreamEncoder<ChatChunk> {
  readonly #options: Pick<StreamOptions, 'model' | 'responses'>
  readonly #custom: ReadonlySet<string>
  readonly #calls = new Map<number, Call>()
  /** As they are done; what is open has its place reserved. */
  readonly #output: (OutputItem | null)[] = []
  #response: ResponseObject | null = null
  #ids: ItemIds = itemIds('')
  #number = 0
  #open: Thought | Said | null = null
  #finish: FinishReason | null = null
  #usage: Usage | null = null
  #tier: string | undefined
  #note: unknown

  constructor(options: Pick<StreamOptions, 'model' | 'responses'>) {
    this.#options = options
    this.#custom = customNames(options.responses?.body.tools)
  }

  push(chunk: ChatChunk): string {
    if (chunk.usage !== undefined && chunk.usage !== null) this.#usage = chunk.usage
    if (chunk.service_tier !== undefined) this.#tier = chunk.service_tier
    if (chunk['turnpike'] !== undefined) this.#note = chunk['turnpike']
    let text = this.#begin(chunk)
    for (const choice of chunk.choices) {
      // Further choices have no place in this protocol.
      if (choice.index !== 0) continue
      text += this.#delta(choice.delta, choice.logprobs)
      if (choice.finish_reason !== null && choice.finish_reason !== undefined) this.#finish ??= choice.finish_reason
    }
    return text
  }

  end(): string {
    let text = this.#response === null ? this.#begin(NOTHING_SAID) : ''
    const { status, incomplete } = endingOf(this.#finish)
    text += this.#close(status)
    for (const call of this.#calls.values()) text += this.#closeCall(call, status)
    const response = this.#snapshot(status)
    response.incomplete_details = incomplete
    if (status === 'completed') response.completed_at = response.created_at
    return text + this.#event(`response.${status}`, { response })
  }

  error(error: GatewayError): string {
    const told = errorOf(error)
    if (this.#response === null) return this.#event('error', { ...told, param: error.param })
    const response = this.#snapshot('failed')
    response.error = told
    return this.#event('response.failed', { response })
  }

  #begin(chunk: Pick<ChatChunk, 'id' | 'created'>): string {
    if (this.#response !== null) return ''
    const { model, responses } = this.#options
    const key = responses?.key ?? keyOf(chunk.id)
    this.#ids = itemIds(key)
    this.#response = envelope({
      id: responses?.id ?? `resp_${key}`,
      model,
      created: chunk.created,
      body: responses?.body ?? null,
    })
    const response = this.#response
    return this.#event('response.created', { response }) + this.#event('response.in_progress', { response })
  }

  #delta(delta: ChatDelta, logprobs: unknown): string {
    let text = ''
    if (typeof delta.reasoning_content === 'string' && delta.reasoning_content !== '')
      text += this.#thought(delta.reasoning_content)
    for (const block of delta.thinking_blocks ?? []) text += this.#signed(block)
    if (typeof delta.content === 'string' && delta.content !== '') text += this.#said(delta.content, logprobsOf(logprobs))
    if (Array.isArray(delta['annotations']))
      for (const raw of delta['annotations'] as unknown[]) text += this.#annotated(annotationOf(raw))
    if (typeof delta.refusal === 'string' && delta.refusal !== '') text += this.#refused(delta.refusal)
    for (const call of delta.tool_calls ?? []) text += this.#call(call)
    return text
  }

  #thought(piece: string): string {
    let text = ''
    let open = this.#open
    if (open?.kind !== 'reasoning') {
      text = this.#close('completed')
      open = { kind: 'reasoning', place: this.#place(), text: '', blocks: [] }
      this.#open = open
      text += this.#added(open.place, { id: this.#ids('rs', open.place), type: 'reasoning', summary: [] })
    }
    if (piece === '') return text
    const part = { type: 'summary_text', text: '' }
    if (open.text === '') text += this.#summaryEvent('reasoning_summary_part.added', { part })
    open.text += piece
    return text + this.#summaryEvent('reasoning_summary_text.delta', { delta: piece })
  }

  /** A block as a whole, behind its deltas or without any. */
  #signed(block: ThinkingBlock): string {
    const opened = this.#open?.kind === 'reasoning' ? '' : this.#thought('')
    const open = this.#open as Thought
    // Its own text came before it, unless it came whole.
    const text = thinkingText(open.blocks)
    const shown = block.thinking !== undefined && open.text === text ? this.#thought(block.thinking) : ''
    open.blocks.push(block)
    return opened + shown
  }

  #said(piece: string, logprobs: unknown[]): string {
    const text = this.#part('output_text')
    const open = this.#open as Said
    open.text += piece
    open.logprobs.push(...logprobs)
    return text + this.#contentEvent('output_text.delta', { delta: piece, logprobs })
  }

  #refused(piece: string): string {
    const text = this.#part('refusal')
    const open = this.#open as Said
    open.text += piece
    return text + this.#contentEvent('refusal.delta', { delta: piece })
  }

  #annotated(annotation: Annotation | null): string {
    if (annotation === null) return ''
    const text = this.#part('output_text')
    const open = this.#open as Said
    open.annotations.push(annotation)
    const annotation_index = open.annotations.length - 1
    return text + this.#contentEvent('output_text.annotation.added', { annotation_index, annotation })
  }

  /** Opens a part of a message, where it is not open. */
  #part(kind: 'output_text' | 'refusal'): string {
    let open = this.#open
    let text = ''
    if (open?.kind !== 'message') {
      text = this.#close('completed')
      open = { kind: 'message', place: this.#place(), parts: [], part: null, text: '', annotations: [], logprobs: [] }
      this.#open = open
      const item = { id: this.#ids('msg', open.place), type: 'message', role: 'assistant', status: 'in_progress', content: [] }
      text += this.#added(open.place, item)
    }
    if (open.part === kind) return text
    text += this.#closePart(open)
    open.part = kind
    return text + this.#contentEvent('content_part.added', { part: partOf(kind, '', [], []) })
  }

  #closePart(open: Said): string {
    const { part: kind } = open
    if (kind === null) return ''
    const part = partOf(kind, open.text, open.annotations, open.logprobs)
    const said = kind === 'refusal' ? { refusal: open.text } : { text: open.text, logprobs: open.logprobs }
    const text = this.#contentEvent(`${kind}.done`, said) + this.#contentEvent('content_part.done', { part })
    open.parts.push(part)
    open.part = null
    open.text = ''
    open.annotations = []
    open.logprobs = []
    return text
  }

  /** Ends the open message or reasoning, and calls that can hold no more. */
  #close(status: string): string {
    let text = this.#closeOpen(status)
    for (const call of this.#calls.values())
      if (call.state === 'open' && isComplete(call.arguments)) text += this.#closeCall(call, status)
    return text
  }

  #closeOpen(status: string): string {
    const open = this.#open
    if (open === null) return ''
    if (open.kind === 'message') {
      const text = this.#closePart(open)
      this.#open = null
      const id = this.#ids('msg', open.place)
      return text + this.#done(open.place, { id, type: 'message', role: 'assistant', status, content: open.parts })
    }
    let text = ''
    if (open.text !== '') {
      const part = { type: 'summary_text', text: open.text }
      text += this.#summaryEvent('reasoning_summary_text.done', { text: open.text })
      text += this.#summaryEvent('reasoning_summary_part.done', { part })
    }
    this.#open = null
    return text + this.#done(open.place, reasoningItem(this.#ids('rs', open.place), open.text, open.blocks))
  }

  #call({ index, id, function: named, ...rest }: ToolCallDelta): string {
    const custom = isObject(rest['custom']) ? rest['custom'] : null
    let call = this.#calls.get(index)
    if (call === undefined) {
      call = { id: '', name: '', custom: false, arguments: '', state: 'waiting', place: -1 }
      this.#calls.set(index, call)
    }
    if (call.id === '' && id !== undefined) call.id = id
    const said = custom === null ? named?.arguments : custom['input']
    const piece = typeof said === 'string' ? said : ''
    if (call.state === 'closed') {
      if (piece === '') return ''
      throw new GatewayError('provider_malformed', 'The provider went on with a tool call after other content.')
    }
    if (custom !== null) call.custom = true
    call.name += named?.name ?? (typeof custom?.['name'] === 'string' ? custom['name'] : '')
    call.arguments += piece
    if (call.state === 'open') return this.#argued(call, piece)
    return call.name === '' ? '' : this.#openCall(call)
  }

  #openCall(call: Call): string {
    const text = this.#close('completed')
    call.state = 'open'
    call.place = this.#place()
    if (call.id === '') call.id = this.#ids('fc', call.place)
    const empty = callItem(this.#ids, call.place, toolCall({ ...call, arguments: '' }), this.#custom, 'in_progress')
    // Arguments come as deltas, from nothing.
    const added = this.#added(call.place, empty.type === 'function_call' ? { ...empty, arguments: '' } : empty)
    return text + added + this.#argued(call, call.arguments)
  }

  #argued(call: Call, piece: string): string {
    if (piece === '') return ''
    if (call.custom) return this.#callEvent('custom_tool_call_input.delta', call, { delta: piece })
    // The text of a custom tool that goes as a function is only known when all of it is there.
    return this.#custom.has(call.name) ? '' : this.#callEvent('function_call_arguments.delta', call, { delta: piece })
  }

  #closeCall(call: Call, status: string): string {
    if (call.state === 'closed') return ''
    let text = call.state === 'waiting' ? this.#openCall(call) : ''
    call.state = 'closed'
    const item = callItem(this.#ids, call.place, toolCall(call), this.#custom, status)
    if (item.type === 'custom_tool_call') {
      const input = call.custom ? call.arguments : plainInput(call.arguments)
      if (!call.custom) text += this.#callEvent('custom_tool_call_input.delta', call, { delta: input })
      text += this.#callEvent('custom_tool_call_input.done', call, { input })
    } else {
      const given = item['arguments'] as string
      if (call.arguments === '') text += this.#callEvent('function_call_arguments.delta', call, { delta: given })
      text += this.#callEvent('function_call_arguments.done', call, { name: call.name, arguments: given })
    }
    return text + this.#done(call.place, item)
  }

  #snapshot(status: string): ResponseObject {
    const response: ResponseObject = {
      ...(this.#response as ResponseObject),
      status,
      output: this.#output.filter((item): item is OutputItem => item !== null),
    }
    if (this.#usage !== null) response.usage = encodeUsage(this.#usage)
    if (this.#tier !== undefined) response.service_tier = tierOf(this.#tier)
    if (this.#note !== undefined) response['turnpike'] = this.#note
    return response
  }

  #place(): number {
    return this.#output.push(null) - 1
  }

  #added(output_index: number, item: Fields): string {
    return this.#event('response.output_item.added', { output_index, item })
  }

  #done(output_index: number, item: OutputItem): string {
    this.#output[output_index] = item
    return this.#event('response.output_item.done', { output_index, item })
  }

  #contentEvent(name: string, fields: Fields): string {
    const { place, parts } = this.#open as Said
    const at = { item_id: this.#ids('msg', place), output_index: place, content_index: parts.length }
    return this.#event(`response.${name}`, { ...at, ...fields })
  }

  #summaryEvent(name: string, fields: Fields): string {
    const { place } = this.#open as Thought
    return this.#event(`response.${name}`, { item_id: this.#ids('rs', place), output_index: place, summary_index: 0, ...fields })
  }

  #callEvent(name: string, call: Call, fields: Fields): string {
    const kind = call.custom || this.#custom.has(call.name) ? 'ctc' : 'fc'
    return this.#event(`response.${name}`, { item_id: this.#ids(kind, call.place), output_index: call.place, ...fields })
  }

  #event(type: string, fields: Fields): string {
    const event = { type, sequence_number: this.#number, ...fields }
    this.#number += 1
    return sseEvent(JSON.stringify(event), type)
  }
}

/** What a stream that ended without a chunk is made of. */
const NOTHING_SAID = { id: '', created: 0 }

function partOf(kind: 'output_text' | 'refusal', text: string, annotations: Annotation[], logprobs: unknown[]): OutputContent {
  return kind === 'refusal' ? { type: 'refusal', refusal: text } : textPart(text, annotations, logprobs)
}

function toolCall({ id, name, custom, arguments: given }: Call) {
  return custom
    ? { id, type: 'custom', custom: { name, input: given } }
    : { id, type: 'function', function: { name, arguments: given } }
}

/** Whether the arguments of a call can hold no more: they are a JSON object. */
function isComplete(text: string): boolean {
  if (!text.trimEnd().endsWith('}')) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
