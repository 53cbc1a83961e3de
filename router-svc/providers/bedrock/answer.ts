import { entryOf } from '../../../shared/entry.ts'
import type { FinishReason, ThinkingBlock } from '../../canonical/chat.ts'
import { type Fields, isFields, text } from './wire.ts'

/** What whole answers and streams read the same way. */

const FINISH: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  malformed_model_output: 'stop',
  malformed_tool_use: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
}

/** Stop reasons the canonical finish reason says everything about. */
const PLAIN_STOPS = new Set(['end_turn', 'max_tokens', 'tool_use'])

/** Members of an answer that have a place of their own in the canonical one; `$metadata` is an SDK's, `p` pads frames. */
const PLACED = new Set(['output', 'stopReason', 'usage', 'role', 'p', '$metadata'])

/** `calls`: tool calls the client will see; `json`: the JSON tool was called. An unknown reason reads as `stop`. */
export function finishReason(stopReason: string, calls: number, json: boolean): FinishReason {
  if (stopReason === 'tool_use' && calls === 0) return 'stop'
  if (json && calls === 0 && entryOf(FINISH, stopReason) === undefined) return 'stop'
  return entryOf(FINISH, stopReason) ?? (calls > 0 ? 'tool_calls' : 'stop')
}

/** What an answer says beyond the canonical fields: metrics, the guardrail's trace, how it stopped, and members not known yet. */
export function messageFields(message: Fields): Fields {
  const fields: Fields = {}
  for (const [name, value] of Object.entries(message))
    if (value !== null && value !== undefined && !PLACED.has(name)) fields[name] = value
  const reason = text(message['stopReason'])
  if (reason !== '' && !PLAIN_STOPS.has(reason)) fields['stop_reason'] = reason
  return fields
}

/** A block of thinking as the client sends it back. */
export function thinkingBlock(content: Fields): ThinkingBlock {
  if (content['redactedContent'] !== undefined) return { type: 'redacted_thinking', data: text(content['redactedContent']) }
  const reasoning = isFields(content['reasoningText']) ? content['reasoningText'] : {}
  const block: ThinkingBlock = { type: 'thinking', thinking: text(reasoning['text']) }
  if (typeof reasoning['signature'] === 'string') block.signature = reasoning['signature']
  return block
}

/** A call that the service itself answers, in the same message. */
export function isServerTool(use: Fields): boolean {
  return text(use['type']).startsWith('server')
}

export function serviceTier(message: Fields): string | undefined {
  const tier = message['serviceTier']
  return isFields(tier) && typeof tier['type'] === 'string' ? tier['type'] : undefined
}
