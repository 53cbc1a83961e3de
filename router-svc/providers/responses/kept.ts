import type { OutputItem } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'

/**
 * What of an answer must come back unchanged in the next turn and has no place in a chat: reasoning with its encrypted content, calls of
 * hosted tools and their results, and the order and ids of it all, for a model refuses its reasoning without the call it led to.
 * It travels as `provider_specific_fields.output_items` of the message: items as they came, but for messages and calls, whose text and
 * arguments the message holds: of those the rest, a message with the `length` of its text.
 */
export const KEPT = 'output_items'

/** The items to keep; empty where a chat holds everything. */
export function keptItems(output: readonly OutputItem[]): Fields[] {
  const worth = output.some(
    ({ type = 'message', ...item }) => !PLAIN.has(type) || item['phase'] != null || item['namespace'] != null,
  )
  return worth ? output.map(withoutText) : []
}

/** Kinds of items a chat holds whole. */
const PLAIN: ReadonlySet<string> = new Set(['message', 'function_call', 'custom_tool_call'])

function withoutText(item: OutputItem): Fields {
  switch (item.type as string | undefined) {
    case undefined:
    case 'message': {
      const { content, ...rest } = item as Fields
      return { ...rest, type: 'message', length: messageText(content).length }
    }
    case 'function_call': {
      const { arguments: _arguments, ...rest } = item as Fields
      return rest
    }
    case 'custom_tool_call': {
      const { input: _input, ...rest } = item as Fields
      return rest
    }
    case 'image_generation_call': {
      // The picture is among the message's `images`: megabytes, which are not to be sent twice.
      const { result: _result, ...rest } = item as Fields
      return rest
    }
    default:
      return { ...item }
  }
}

/** The items of a message a client sends back, or null. */
export function itemsOf(message: Readonly<Fields>): Fields[] | null {
  const fields = message['provider_specific_fields']
  const items = isFields(fields) ? fields[KEPT] : undefined
  return Array.isArray(items) && items.length > 0 ? items.filter(isFields) : null
}

/** All text of a message item's content. */
export function messageText(content: unknown): string {
  if (!Array.isArray(content)) return text(content)
  let all = ''
  for (const part of content as unknown[]) if (isFields(part) && part['type'] === 'output_text') all += text(part['text'])
  return all
}
