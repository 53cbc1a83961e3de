import { isObject } from '../../../shared/json-object.ts'
import type { ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import type { Annotation, OutputContent, OutputItem, ReasoningItem } from '../../canonical/responses.ts'
import { sealThinking } from './input.ts'

type Fields = Readonly<Record<string, unknown>>

/** Ids of one answer's items: each is told apart by its place, and leads back to the answer it is part of. */
export type ItemIds = (kind: 'msg' | 'rs' | 'fc' | 'ctc' | 'ig', place: number) => string

export function itemIds(key: string): ItemIds {
  return (kind, place) => `${kind}_${key}${place.toString(16).padStart(4, '0')}`
}

export function reasoningItem(id: string, text: string, thinking: readonly ThinkingBlock[]): ReasoningItem {
  const item: ReasoningItem = { id, type: 'reasoning', summary: text === '' ? [] : [{ type: 'summary_text', text }] }
  if (isSigned(thinking)) item.encrypted_content = sealThinking(thinking)
  return item
}

/** Whether a provider wants it back unchanged. */
function isSigned(thinking: readonly ThinkingBlock[]): boolean {
  return thinking.some(({ signature, data }) => (signature ?? '') !== '' || data !== undefined)
}

/** The text of thinking that came in blocks alone. */
export function thinkingText(blocks: readonly ThinkingBlock[]): string {
  return blocks.map(({ thinking }) => thinking ?? '').join('')
}

export function textPart(text: string, annotations: readonly Annotation[], logprobs: readonly unknown[]): OutputContent {
  return { type: 'output_text', text, annotations: [...annotations], logprobs: [...logprobs] }
}

/**
 * A call in this protocol. `custom`: names of the tools whose input is plain text; where their provider has only functions, it is the one
 * argument of the call.
 */
export function callItem(ids: ItemIds, place: number, call: ToolCall, custom: ReadonlySet<string>, status: string): OutputItem {
  const name = call.custom?.name ?? call.function?.name ?? ''
  const call_id = call.id === '' ? ids('fc', place) : call.id
  if (call.custom !== undefined || custom.has(name)) {
    const input = call.custom?.input ?? plainInput(call.function?.arguments ?? '')
    return { id: ids('ctc', place), type: 'custom_tool_call', status, call_id, name, input }
  }
  return { id: ids('fc', place), type: 'function_call', status, call_id, name, arguments: call.function?.arguments || '{}' }
}

/** The text a custom tool was called with, out of the arguments of the function that stood for it. */
export function plainInput(source: string): string {
  try {
    const given: unknown = JSON.parse(source)
    if (isObject(given) && typeof given['input'] === 'string') return given['input']
  } catch {
    // A model that wrote the text itself, or was cut off.
  }
  return source
}

/** Names of the client's custom tools. */
export function customNames(tools: unknown): ReadonlySet<string> {
  const list = Array.isArray(tools) ? (tools as Fields[]) : []
  return new Set(list.filter(({ type }) => type === 'custom').map(({ name }) => String(name)))
}

/** Chat nests what this protocol says flat. */
export function annotationOf(raw: unknown): Annotation | null {
  if (!isObject(raw) || typeof raw['type'] !== 'string') return null
  const nested = raw[raw['type']]
  return isObject(nested) ? { ...nested, type: raw['type'] } : (raw as Annotation)
}

export function logprobsOf(logprobs: unknown): unknown[] {
  const content = isObject(logprobs) ? logprobs['content'] : undefined
  return Array.isArray(content)
    ? content.map((entry: Fields) => ({ ...entry, bytes: entry['bytes'] ?? [], top_logprobs: entry['top_logprobs'] ?? [] }))
    : []
}
