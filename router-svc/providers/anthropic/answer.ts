import { entryOf } from '../../../shared/entry.ts'
import type { FinishReason, ToolCall } from '../../canonical/chat.ts'
import { type Sanitiser, toolNames } from './names.ts'
import { type Block, type Fields, isFields, JSON_TOOL, text } from './wire.ts'

/** What whole answers and streams read the same way. */

const FINISH: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  compaction: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

/** Stop reasons the canonical finish reason says everything about. */
const PLAIN_STOPS = new Set(['end_turn', 'max_tokens', 'tool_use'])

/** Fields of a message that have a place of their own in the canonical answer. */
const PLACED = new Set(['id', 'type', 'role', 'model', 'content', 'usage', 'stop_reason', 'stop_sequence'])

/** How the request decides the reading of the answer. */
export interface Reading {
  names: Sanitiser
  /** Calls of the JSON tool are content: structured output was asked for, and the name is not one of the client's tools. */
  jsonTool: boolean
}

export function readingOf(request: Readonly<Record<string, unknown>>, names = toolNames(request)): Reading {
  const format = request['response_format']
  const asked = isFields(format) && (format['type'] === 'json_schema' || format['type'] === 'json_object')
  return { names, jsonTool: asked && !names.has(JSON_TOOL) }
}

/** `calls`: tool calls the client will see; `json`: the JSON tool was called. An unknown reason reads as `stop`. */
export function finishReason(stopReason: string, calls: number, json: boolean): FinishReason {
  if (stopReason === 'tool_use' && json && calls === 0) return 'stop'
  return entryOf(FINISH, stopReason) ?? (calls > 0 ? 'tool_calls' : 'stop')
}

/** A `tool_use` block as a canonical call. A call from inside other tools keeps its `caller`. */
export function toolCall(block: Block, reading: Reading, argumentsText: string): ToolCall {
  const call: ToolCall = {
    id: text(block['id']),
    type: 'function',
    function: { name: reading.names.original(text(block['name'])), arguments: argumentsText },
  }
  const caller = block['caller']
  if (isFields(caller) && caller['type'] !== 'direct') call['caller'] = caller
  return call
}

/** Citations of web pages as OpenAI annotations of the text from `start` to `end` (UTF-16 units of `content`). */
export function annotations(citations: readonly unknown[], start: number, end: number): Fields[] {
  const found: Fields[] = []
  for (const citation of citations) {
    if (!isFields(citation) || typeof citation['url'] !== 'string') continue
    const target = { url: citation['url'], title: text(citation['title']), start_index: start, end_index: end }
    found.push({ type: 'url_citation', url_citation: target })
  }
  return found
}

/** What a message says beyond the canonical fields: container, context management, how it stopped, and fields not known yet. */
export function messageFields(message: Fields): Fields {
  const fields: Fields = {}
  for (const [field, value] of Object.entries(message)) if (value !== null && !PLACED.has(field)) fields[field] = value
  const reason = text(message['stop_reason'])
  if (reason !== '' && !PLAIN_STOPS.has(reason)) fields['stop_reason'] = reason
  if (typeof message['stop_sequence'] === 'string') fields['stop_sequence'] = message['stop_sequence']
  return fields
}

/** Why the model refused, when it says so. */
export function refusal(message: Fields): string | undefined {
  const details = message['stop_details']
  if (message['stop_reason'] !== 'refusal' || !isFields(details)) return undefined
  return typeof details['explanation'] === 'string' ? details['explanation'] : undefined
}
