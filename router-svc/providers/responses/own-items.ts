import type { Message } from '../../canonical/chat.ts'
import type { OutputItem } from '../../canonical/responses.ts'
import { type Fields, isFields } from '../json.ts'
import { itemsOf, KEPT, keptItems } from './kept.ts'

/**
 * The messages of a client that speaks this protocol itself, with the items its answers came as: in the chat made of them reasoning has lost
 * what only its model can read. Text and calls stay those of the messages, which limits and guardrails have seen. Messages are told apart by
 * their calls and counted from the end, for a history may stand before them; where they do not agree nothing is put back.
 */
export function withOwnItems(messages: readonly Message[], responses: unknown): readonly Message[] {
  const body = isFields(responses) ? responses['body'] : undefined
  const input = isFields(body) ? body['input'] : undefined
  if (!Array.isArray(input) || !input.some((item) => isFields(item) && item['type'] === 'reasoning')) return messages
  const answers = answersIn(input as unknown[])
  const positions = messages.flatMap(({ role }, position) => (role === 'assistant' ? [position] : []))
  if (answers.length > positions.length) return messages
  const changed = messages.slice()
  for (const [index, items] of answers.entries()) {
    const position = positions[positions.length - answers.length + index] as number
    const message = messages[position] as Message
    if (callsOf(items).join() !== (message.tool_calls ?? []).map(({ id }) => id).join()) return messages
    const kept = keptItems(items as unknown as OutputItem[])
    if (kept.length > 0 && itemsOf(message) === null)
      changed[position] = { ...message, provider_specific_fields: { [KEPT]: kept } }
  }
  return changed
}

/** What the model said between two inputs, item by item; without those that say nothing a chat can hold. */
function answersIn(input: readonly unknown[]): Fields[][] {
  const answers: Fields[][] = [[]]
  for (const item of input.filter(isFields)) {
    if (isInput(item)) answers.push([])
    else answers.at(-1)?.push(item)
  }
  return answers.filter((items) => items.some(saysSomething))
}

function isInput({ type = 'message', role }: Fields): boolean {
  return type === 'message' ? role !== 'assistant' : type === 'function_call_output' || type === 'custom_tool_call_output'
}

function saysSomething(item: Fields): boolean {
  const { type = 'message', content, summary } = item
  if (type === 'function_call' || type === 'custom_tool_call') return true
  const told = type === 'reasoning' ? [summary, content] : type === 'message' ? [content] : []
  return told.some((texts) => (typeof texts === 'string' || Array.isArray(texts)) && texts.length > 0)
}

function callsOf(items: readonly Fields[]): unknown[] {
  return items.flatMap(({ type, call_id: id }) => (type === 'function_call' || type === 'custom_tool_call' ? [id] : []))
}
