import type { FinishReason, ToolCall, Usage } from '../../canonical/chat.ts'
import type { DecodeContext } from '../provider.ts'
import { type Fields, isFields, text } from './wire.ts'

/** What whole answers and the lines of streams read the same way. */

/** Fields of an answer, and of its message, that have a place of their own in the canonical answer. */
const PLACED = new Set([
  'model',
  'created_at',
  'message',
  'response',
  'thinking',
  'done',
  'done_reason',
  'prompt_eval_count',
  'eval_count',
  'logprobs',
  'context',
])
const PLACED_IN_MESSAGE = new Set(['role', 'content', 'thinking', 'tool_calls'])

/** The words of `done_reason` that the finish reason says everything about. */
const PLAIN_REASONS = new Set(['', 'stop', 'length'])

/** The server says "stop" after calls too. */
export function finishReason(doneReason: unknown, calls: number): FinishReason {
  if (doneReason === 'length') return 'length'
  return calls > 0 ? 'tool_calls' : 'stop'
}

/**
 * Usage of the last line, or null where a count is missing, as the prompt's is when all of it was cached: then it is estimated, for a zero
 * would be taken for what was counted.
 */
export function usageOf(answer: Fields): Usage | null {
  const prompt = answer['prompt_eval_count']
  const completion = answer['eval_count']
  if (typeof prompt !== 'number' || typeof completion !== 'number') return null
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

/** Calls of one message. `before`: how many came earlier in the answer. Ids that are missing are made from the answer's own. */
export function toolCalls(message: Fields, before: number, context: DecodeContext): ToolCall[] {
  const calls = Array.isArray(message['tool_calls']) ? (message['tool_calls'] as unknown[]) : []
  return calls.filter(isFields).map((call, at) => {
    const named = isFields(call['function']) ? call['function'] : {}
    const given = named['arguments']
    return {
      id: text(call['id']) || `call_${context.id}_${before + at}`,
      type: 'function',
      function: { name: text(named['name']), arguments: typeof given === 'string' ? given : JSON.stringify(given ?? {}) },
    }
  })
}

/** Unix seconds of `created_at` (RFC 3339); null when it says nothing. */
export function createdAt(answer: Fields): number | null {
  const milliseconds = Date.parse(text(answer['created_at']))
  return milliseconds > 0 ? Math.floor(milliseconds / 1000) : null
}

/** What an answer says beyond the canonical fields: durations in nanoseconds, unusual reasons, and fields not known yet. */
export function ownFields(answer: Fields): Fields {
  const fields: Fields = {}
  for (const [name, value] of Object.entries(answer)) if (value !== null && !PLACED.has(name)) fields[name] = value
  const reason = text(answer['done_reason'])
  if (!PLAIN_REASONS.has(reason)) fields['done_reason'] = reason
  const message = answer['message']
  if (isFields(message))
    for (const [name, value] of Object.entries(message)) if (value !== null && !PLACED_IN_MESSAGE.has(name)) fields[name] = value
  return fields
}

/** Log probabilities in OpenAI's frame; the entries have its form already. */
export function logprobsOf(answer: Fields): { logprobs?: { content: unknown[]; refusal: null } } {
  const entries = answer['logprobs']
  return Array.isArray(entries) && entries.length > 0 ? { logprobs: { content: entries, refusal: null } } : {}
}
