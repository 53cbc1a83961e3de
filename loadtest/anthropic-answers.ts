import { answerText, type Part, type Question, type StatedUsage, slices, texts, toolCalls } from './answer-text.ts'
import type { Script } from './script.ts'

/** Answers in Anthropic's words: messages, their events, errors. */

export function message(question: Question, content: string, usage: StatedUsage | null): Record<string, unknown> {
  const { script, model } = question
  const blocks: unknown[] = []
  if (script.think > 0)
    blocks.push({ type: 'thinking', thinking: answerText(0, script.think * script.size, script.text), signature: 'sig' })
  if (script.chunks > 0) blocks.push({ type: 'text', text: content })
  for (const tool of toolCalls(script)) {
    blocks.push({ type: 'tool_use', id: tool.id, name: tool.function.name, input: JSON.parse(tool.function.arguments) })
  }
  return {
    id: `msg_${script.id ?? 'upstream'}`,
    type: 'message',
    role: 'assistant',
    model,
    content: blocks,
    stop_reason: stopReason(script),
    stop_sequence: null,
    ...(usage === null ? {} : { usage: { ...anthropicInput(usage), output_tokens: usage.completion } }),
  }
}

export function* anthropicParts(question: Question, usage: StatedUsage): Generator<Part> {
  const { script } = question
  const part = (kind: Part['kind'], type: string, fields: Record<string, unknown>, text = 0): Part => {
    return { kind, event: type, data: JSON.stringify({ type, ...fields }), text }
  }
  const silent = script.faults.has('no-usage')
  const start = { ...message(question, '', null), content: [], stop_reason: null }
  const begun = silent ? start : { ...start, usage: { ...anthropicInput(usage), output_tokens: 1 } }
  yield part('open', 'message_start', { message: begun })
  yield part('open', 'ping', {})
  let index = -1
  const open = (block: Record<string, unknown>): Part => {
    index += 1
    return part('open', 'content_block_start', { index, content_block: block })
  }
  const delta = (fields: Record<string, unknown>, text = 0): Part =>
    part('text', 'content_block_delta', { index, delta: fields }, text)
  const stop = (): Part => part('open', 'content_block_stop', { index })
  if (script.think > 0) {
    yield open({ type: 'thinking', thinking: '', signature: '' })
    for (const thinking of texts(script.think, script)) yield delta({ type: 'thinking_delta', thinking }, thinking.length)
    yield { ...delta({ type: 'signature_delta', signature: 'sig' }), kind: 'open' }
    yield stop()
  }
  if (script.chunks > 0) {
    yield open({ type: 'text', text: '' })
    for (const text of texts(script.chunks, script)) yield delta({ type: 'text_delta', text }, text.length)
    yield stop()
  }
  for (const tool of toolCalls(script)) {
    yield open({ type: 'tool_use', id: tool.id, name: tool.function.name, input: {} })
    for (const piece of slices(tool.function.arguments, script.size))
      yield delta({ type: 'input_json_delta', partial_json: piece })
    yield stop()
  }
  const end = { delta: { stop_reason: stopReason(script), stop_sequence: null } }
  yield silent
    ? part('finish', 'message_delta', end)
    : part('usage', 'message_delta', { ...end, usage: { output_tokens: usage.completion } })
  yield part('end', 'message_stop', {})
}

const ANTHROPIC_ERRORS: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

export function anthropicError({ script }: Question, status: number): string {
  const type = script.code || ANTHROPIC_ERRORS[status] || 'api_error'
  const message = script.message || `scripted failure ${status}`
  return JSON.stringify({ type: 'error', error: { type, message }, request_id: `req_${script.id ?? 'upstream'}` })
}

/** Anthropic counts cache reads and writes beside `input_tokens`, OpenAI inside `prompt_tokens`. */
function anthropicInput(usage: StatedUsage) {
  return {
    input_tokens: usage.prompt - usage.cached - usage.written,
    cache_creation_input_tokens: usage.written,
    cache_read_input_tokens: usage.cached,
  }
}

function stopReason(script: Script): string {
  const reasons: Record<string, string> = {
    stop: 'end_turn',
    length: 'max_tokens',
    tool_calls: 'tool_use',
    content_filter: 'refusal',
  }
  return reasons[script.finish || (script.tools > 0 ? 'tool_calls' : 'stop')] ?? script.finish
}
