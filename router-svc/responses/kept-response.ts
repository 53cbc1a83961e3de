import type { InputItem, OutputItem, ResponseObject } from '../canonical/responses.ts'
import { isFields, text } from '../providers/json.ts'

/** A response the gateway keeps: what it answered, and all that was said up to it. */
export interface KeptResponse {
  response: ResponseObject
  /** The whole conversation it answers, earlier turns included. */
  input: InputItem[]
}

/** Deployment named in ids of responses that the gateway keeps itself. */
export const OWN = 'gateway'

/** Ids of items the gateway made: the key of their response, and their place in it (dialects/openai-responses/items.ts). */
const OWN_ITEM = /^(?:msg|rs|fc|ctc|ig)_([0-9a-f]{32})[0-9a-f]{4}$/

/** Key of the response an item of the gateway's is part of; null for others. */
export function keyOfItem(id: string): string | null {
  return OWN_ITEM.exec(id)?.[1] ?? null
}

/** What a client may leave out of input: the items that stand for text. */
export function itemsOf(input: unknown): InputItem[] {
  if (typeof input === 'string') return [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: input }] }]
  return Array.isArray(input) ? (input as InputItem[]) : []
}

/**
 * Items of answers the gateway made, for a provider that never made them: without their ids, and without reasoning, which only its own model
 * takes back.
 */
export function foreignItems(items: readonly InputItem[]): InputItem[] {
  return items.flatMap((item): InputItem[] => {
    const { id, status: _status, ...rest } = item as Record<string, unknown>
    if (typeof id !== 'string' || keyOfItem(id) === null) return [item]
    if (item.type === 'reasoning' || item.type === 'image_generation_call') return []
    if (item.type !== 'message') return [rest as unknown as InputItem]
    const parts = Array.isArray(item['content']) ? (item['content'] as unknown[]).filter(isFields) : []
    const said = parts.map((part) => text(part['text']) || text(part['refusal'])).join('')
    return said === '' ? [] : [{ role: 'assistant', content: said }]
  })
}

/** An item as `input_items` lists it: with an id, which clients need not give. */
export function listedItem(item: InputItem | OutputItem, key: string, place: number): Record<string, unknown> {
  const listed: Record<string, unknown> = { ...item }
  listed['type'] ??= 'message'
  if (typeof listed['content'] === 'string' && listed['type'] === 'message') {
    const type = listed['role'] === 'assistant' ? 'output_text' : 'input_text'
    listed['content'] = [{ type, text: listed['content'], ...(type === 'output_text' ? { annotations: [], logprobs: [] } : {}) }]
  }
  if (listed['type'] === 'message') listed['status'] ??= 'completed'
  listed['id'] ??= `item_${key}${place.toString(16).padStart(4, '0')}`
  return listed
}
