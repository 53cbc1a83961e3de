import type { Script } from './script.ts'

/**
 * The bytes a scripted provider answers with: OpenAI chat and text completions, embeddings, models; Anthropic messages. Streams are
 * lists of parts first (protocol), frames after (HTTP framing, pace, faults), so a fault is written once for both protocols.
 */

export type Protocol = 'chat' | 'completion' | 'embedding' | 'models' | 'anthropic' | 'count'

export interface Question {
  protocol: Protocol
  model: string
  stream: boolean
  /** Whether the caller asked for usage in the stream; Anthropic always sends it. */
  includeUsage: boolean
  /** The decoded body, where the answer depends on more of it (embeddings). */
  body: Record<string, unknown>
  script: Readonly<Script>
  /** The text of the script, as a key for answers that can be reused. */
  words: string
}

/** Usage as the provider states it. `prompt` includes cached and written tokens, `completion` includes reasoning. */
export interface StatedUsage {
  prompt: number
  completion: number
  cached: number
  written: number
  reasoning: number
}

/** A piece of the answer as the socket gets it. */
export interface Frame {
  bytes: Buffer
  /** Milliseconds to wait before it; null: none, may share a write with others. */
  wait: number | null
  /** Text chunks and characters in it, for the record. */
  chunks: number
  text: number
  /** Whether the usage is in it. */
  usage: boolean
  /** Where sixteen digits of time stamp go when it is written. */
  stamp?: number
  /** What happens to the connection after it. */
  action?: 'close' | 'reset' | 'stall'
}

export interface Answer {
  status: number
  head: Buffer
  frames: Iterable<Frame>
  usage: StatedUsage
}

/** A server-sent event of the answer. */
interface Part {
  kind: 'open' | 'text' | 'finish' | 'usage' | 'end'
  event: string
  data: string
  text: number
}

const CREATED = 1_700_000_000
const ASCII = 'a turnpike counts every cart once and opens the gate for it, '
const UNICODE = Array.from('Zoll für jeden Wagen: 通行料は一度だけ 🚚 añade é la próxima 🇯🇵 ')
/** Characters of text made at once for a large whole answer. */
const PIECE = 64 * 1024

/** Characters `from` … `from + length` of the endless answer text; what a test compares an answer with. */
export function answerText(from: number, length: number, text = 'ascii'): string {
  if (text === 'stamp') return '0'.repeat(length)
  if (text === 'ascii') {
    const start = from % ASCII.length
    return ASCII.repeat(Math.ceil((start + length) / ASCII.length)).slice(start, start + length)
  }
  let result = ''
  for (let index = from; index < from + length; index += 1) result += UNICODE[index % UNICODE.length]
  return result
}

export function usageOf(script: Script): StatedUsage {
  const { prompt, cached, written, reasoning } = script
  const completion = script.completion >= 0 ? script.completion : script.chunks + script.think + script.tools
  return { prompt, completion, cached, written, reasoning }
}

export function answer(question: Question): Answer {
  const { script } = question
  const usage = usageOf(script)
  if (script.fail > 0) return failure(question, usage)
  if (script.body !== '')
    return whole(question, 200, [Buffer.from(script.body, 'base64').toString('latin1')], script.type, usage, 'latin1')
  if (script.faults.has('empty')) return whole(question, 200, [''], question.stream ? 'text/event-stream' : '', usage)
  if (script.faults.has('html'))
    return whole(question, 200, ['<!doctype html><title>502</title><h1>Bad Gateway</h1>'], 'text/html', usage)
  if (question.stream) {
    const head = headOf(
      question,
      200,
      'text/event-stream; charset=utf-8',
      'transfer-encoding: chunked\r\ncache-control: no-cache\r\n',
    )
    const parts = question.protocol === 'anthropic' ? anthropicParts(question, usage) : openaiParts(question, usage)
    return { status: 200, head, frames: cutFrames(streamFrames(parts, question), script), usage }
  }
  if (script.faults.has('error')) return whole(question, 200, [errorBody(question, 500)], '', usage)
  if (script.faults.has('malformed')) return whole(question, 200, ['{"id": nope'], '', usage)
  const shown = script.faults.has('no-usage') ? null : usage
  return whole(question, 200, bodyPieces(question, shown), '', usage)
}

// ---- whole answers

function whole(
  question: Question,
  status: number,
  pieces: Iterable<string>,
  type: string,
  usage: StatedUsage,
  encoding: 'utf8' | 'latin1' = 'utf8',
): Answer {
  const { script } = question
  let length = 0
  for (const piece of pieces) length += encoding === 'latin1' ? piece.length : Buffer.byteLength(piece)
  const half = Math.floor(length / 2)
  const stop = script.faults.has('cut')
    ? 'close'
    : script.faults.has('rst')
      ? 'reset'
      : script.faults.has('stall')
        ? 'stall'
        : null
  const limit = stop !== null || script.faults.has('truncate') ? half : length
  const chunked = script.framing === 'chunked'
  const framing = chunked
    ? 'transfer-encoding: chunked\r\n'
    : `content-length: ${script.faults.has('truncate') ? half : length}\r\n`
  const head = headOf(question, status, type || 'application/json', framing)
  const text = script.chunks * script.size
  function* frames(): Generator<Frame> {
    let sent = 0
    for (const piece of pieces) {
      let bytes: Buffer = Buffer.from(piece, encoding)
      if (sent + bytes.length > limit) bytes = bytes.subarray(0, limit - sent)
      if (bytes.length === 0) continue
      sent += bytes.length
      yield plain(chunked ? chunk(bytes) : bytes)
    }
    const complete = sent === length
    const end = plain(chunked && stop === null ? LAST_CHUNK : EMPTY)
    if (complete) Object.assign(end, { chunks: script.chunks, text, usage: status === 200 && !script.faults.has('no-usage') })
    if (stop !== null) end.action = stop
    yield end
  }
  return { status, head, frames: cutFrames({ [Symbol.iterator]: frames }, script), usage }
}

function bodyPieces(question: Question, usage: StatedUsage | null): Iterable<string> {
  const { script, protocol } = question
  if (protocol === 'models')
    return [JSON.stringify({ object: 'list', data: [{ id: 'bench', object: 'model', created: CREATED, owned_by: 'upstream' }] })]
  if (protocol === 'count') return [JSON.stringify({ input_tokens: script.prompt })]
  if (protocol === 'embedding') return [embeddings(question, usage)]
  // The text goes where this mark is, so that 200 MB of it never exist at once.
  const mark = '\u0001'
  const shape = protocol === 'anthropic' ? message(question, mark, usage) : completion(question, mark, usage)
  const [before = '', after = ''] = JSON.stringify(shape).split(JSON.stringify(mark).slice(1, -1))
  const total = script.chunks * script.size
  function* pieces(): Generator<string> {
    if (total <= PIECE) {
      yield before + answerText(0, total, script.text) + after
      return
    }
    yield before
    for (let from = 0; from < total; from += PIECE) yield answerText(from, Math.min(PIECE, total - from), script.text)
    yield after
  }
  return { [Symbol.iterator]: pieces }
}

function completion(question: Question, content: string, usage: StatedUsage | null): Record<string, unknown> {
  const { script, model } = question
  const chat = question.protocol === 'chat'
  const tools = toolCalls(script)
  const reason = script.finish || (tools.length > 0 ? 'tool_calls' : 'stop')
  const choice = chat
    ? {
        index: 0,
        message: {
          role: 'assistant',
          content: script.chunks > 0 ? content : null,
          refusal: null,
          ...(script.think > 0 ? { reasoning_content: answerText(0, script.think * script.size, script.text) } : {}),
          ...(tools.length > 0 ? { tool_calls: tools } : {}),
        },
        logprobs: null,
        finish_reason: reason,
      }
    : { index: 0, text: content, logprobs: null, finish_reason: reason }
  return {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${script.id ?? 'upstream'}`,
    object: chat ? 'chat.completion' : 'text_completion',
    created: CREATED,
    model,
    choices: [choice],
    ...(usage === null ? {} : { usage: openaiUsage(usage) }),
  }
}

function message(question: Question, content: string, usage: StatedUsage | null): Record<string, unknown> {
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

function embeddings(question: Question, usage: StatedUsage | null): string {
  const { input, dimensions, encoding_format: format } = question.body
  const count = Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1
  const size = typeof dimensions === 'number' ? dimensions : 8
  const vector = Float32Array.from({ length: size }, (_, index) => Math.fround(1 / (index + 2)))
  const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : Array.from(vector)
  return JSON.stringify({
    object: 'list',
    data: Array.from({ length: count }, (_, index) => ({ object: 'embedding', index, embedding })),
    model: question.model,
    ...(usage === null ? {} : { usage: { prompt_tokens: usage.prompt, total_tokens: usage.prompt } }),
  })
}

// ---- streams

function* openaiParts(question: Question, usage: StatedUsage): Generator<Part> {
  const { script, model, protocol } = question
  const chat = protocol === 'chat'
  const base = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${script.id ?? 'upstream'}`,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    created: CREATED,
    model,
  }
  const tail = question.includeUsage ? { usage: null } : {}
  const part = (kind: Part['kind'], delta: Record<string, unknown>, finish: string | null, text = 0): Part => {
    const choice = chat
      ? { index: 0, delta, finish_reason: finish }
      : { index: 0, text: delta['content'] ?? '', logprobs: null, finish_reason: finish }
    return { kind, event: '', data: JSON.stringify({ ...base, choices: [choice], ...tail }), text }
  }
  if (chat) yield part('open', { role: 'assistant', content: '' }, null)
  if (chat) for (const piece of texts(script.think, script)) yield part('text', { reasoning_content: piece }, null, piece.length)
  for (const piece of texts(script.chunks, script)) yield part('text', { content: piece }, null, piece.length)
  for (const [index, tool] of toolCalls(script).entries()) {
    const { id, type } = tool
    yield part('text', { tool_calls: [{ index, id, type, function: { name: tool.function.name, arguments: '' } }] }, null)
    for (const piece of slices(tool.function.arguments, script.size)) {
      yield part('text', { tool_calls: [{ index, function: { arguments: piece } }] }, null)
    }
  }
  yield part('finish', {}, script.finish || (script.tools > 0 ? 'tool_calls' : 'stop'))
  if (question.includeUsage) {
    yield { kind: 'usage', event: '', data: JSON.stringify({ ...base, choices: [], usage: openaiUsage(usage) }), text: 0 }
  }
  yield { kind: 'end', event: '', data: '[DONE]', text: 0 }
}

function* anthropicParts(question: Question, usage: StatedUsage): Generator<Part> {
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

function* streamFrames(parts: Iterable<Part>, question: Question): Generator<Frame> {
  const { script } = question
  const { faults } = script
  const after = script.after >= 0 ? script.after : Math.floor(script.chunks / 2)
  let seen = 0
  let struck = false
  for (const part of parts) {
    if (part.kind === 'end' && faults.has('no-done')) continue
    if (part.kind === 'usage' && part.event === '' && faults.has('no-usage')) continue
    if (!struck && part.kind !== 'open' && seen >= after) {
      struck = true
      const fault = faultFrames(question)
      yield* fault.frames
      if (fault.last) return
    }
    const frame = eventFrame(part)
    if (part.kind === 'text') {
      const wait = seen === 0 ? script.first : script.interval
      frame.wait = wait > 0 ? wait : null
      if (script.text === 'stamp') frame.stamp = frame.bytes.indexOf('0'.repeat(script.size))
      seen += 1
      if (faults.has('dup')) yield { ...frame }
    }
    yield frame
  }
  yield plain(LAST_CHUNK)
}

/** What a fault puts into a stream, and whether the stream ends there. */
function faultFrames(question: Question): { frames: Frame[]; last: boolean } {
  const { faults } = question.script
  if (faults.has('cut')) return { frames: [{ ...plain(EMPTY), action: 'close' }], last: true }
  if (faults.has('rst')) return { frames: [{ ...plain(EMPTY), action: 'reset' }], last: true }
  if (faults.has('stall')) return { frames: [{ ...plain(EMPTY), action: 'stall' }], last: true }
  if (faults.has('truncate')) return { frames: [plain(LAST_CHUNK)], last: true }
  if (faults.has('malformed')) return { frames: [plain(chunk(Buffer.from('data: {"id": nope\n\n')))], last: false }
  if (faults.has('error')) {
    const event = question.protocol === 'anthropic' ? 'event: error\n' : ''
    return { frames: [plain(chunk(Buffer.from(`${event}data: ${errorBody(question, 500)}\n\n`))), plain(LAST_CHUNK)], last: true }
  }
  return { frames: [], last: false }
}

/** Cuts frames into writes of at most `script.write` bytes, each one alone on the socket. */
function cutFrames(frames: Iterable<Frame>, script: Script): Iterable<Frame> {
  if (script.write <= 0) return frames
  function* cut(): Generator<Frame> {
    for (const frame of frames) {
      const { bytes, action, ...counts } = frame
      let from = 0
      for (; from + script.write < bytes.length; from += script.write) {
        const wait = from === 0 && frame.wait !== null ? frame.wait : script.drip
        yield { ...plain(bytes.subarray(from, from + script.write)), wait }
      }
      const last: Frame = {
        ...counts,
        bytes: bytes.subarray(from),
        wait: from === 0 && frame.wait !== null ? frame.wait : script.drip,
      }
      yield action === undefined ? last : { ...last, action }
    }
  }
  return { [Symbol.iterator]: cut }
}

// ---- errors

const OPENAI_ERRORS: Record<number, [type: string, code: string | null]> = {
  400: ['invalid_request_error', null],
  401: ['invalid_request_error', 'invalid_api_key'],
  403: ['invalid_request_error', 'unsupported_country_region_territory'],
  404: ['invalid_request_error', 'model_not_found'],
  429: ['requests', 'rate_limit_exceeded'],
  503: ['service_unavailable_error', 'slow_down'],
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

function failure(question: Question, usage: StatedUsage): Answer {
  const { script } = question
  const body = script.body === '' ? errorBody(question, script.fail) : Buffer.from(script.body, 'base64').toString('latin1')
  return whole(question, script.fail, [body], script.type, usage, script.body === '' ? 'utf8' : 'latin1')
}

function errorBody(question: Question, status: number): string {
  const { script } = question
  const text = script.message || `scripted failure ${status}`
  if (question.protocol === 'anthropic' || question.protocol === 'count') {
    const type = script.code || ANTHROPIC_ERRORS[status] || 'api_error'
    return JSON.stringify({ type: 'error', error: { type, message: text }, request_id: `req_${script.id ?? 'upstream'}` })
  }
  const [type, code] = OPENAI_ERRORS[status] ?? ['server_error', null]
  return JSON.stringify({ error: { message: text, type, param: null, code: script.code || code } })
}

// ---- pieces

const EMPTY = Buffer.alloc(0)
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

function plain(bytes: Buffer): Frame {
  return { bytes, wait: null, chunks: 0, text: 0, usage: false }
}

function eventFrame(part: Part): Frame {
  const text = part.event === '' ? `data: ${part.data}\n\n` : `event: ${part.event}\ndata: ${part.data}\n\n`
  const counts = { chunks: part.kind === 'text' ? 1 : 0, text: part.text, usage: part.kind === 'usage' }
  return { bytes: chunk(Buffer.from(text)), wait: null, ...counts }
}

/** HTTP/1.1 chunk framing (RFC 9112 §7.1). */
function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}

function headOf(question: Question, status: number, type: string, framing: string): Buffer {
  const { script } = question
  const request = question.protocol === 'anthropic' ? 'request-id' : 'x-request-id'
  const retry = script.fail > 0 && script.retry !== '' ? `retry-after: ${script.retry}\r\n` : ''
  const retryMs = script.fail > 0 && script.retryms !== '' ? `retry-after-ms: ${script.retryms}\r\n` : ''
  const reason = status === 200 ? 'OK' : 'Scripted'
  const names = `${request}: req_${script.id ?? 'upstream'}\r\n${retry}${retryMs}`
  return Buffer.from(`HTTP/1.1 ${status} ${reason}\r\ncontent-type: ${type}\r\n${names}${framing}\r\n`)
}

function* texts(count: number, script: Script): Generator<string> {
  for (let index = 0; index < count; index += 1) yield answerText(index * script.size, script.size, script.text)
}

function* slices(text: string, size: number): Generator<string> {
  const step = Math.max(1, size)
  for (let from = 0; from < text.length; from += step) yield text.slice(from, from + step)
}

function toolCalls(script: Script) {
  return Array.from({ length: script.tools }, (_, index) => ({
    id: `call_${script.id ?? 'upstream'}_${index}`,
    type: 'function',
    function: { name: `lookup_${index}`, arguments: JSON.stringify({ query: answerText(index, script.toolsize) }) },
  }))
}

function openaiUsage(usage: StatedUsage) {
  return {
    prompt_tokens: usage.prompt,
    completion_tokens: usage.completion,
    total_tokens: usage.prompt + usage.completion,
    prompt_tokens_details: {
      cached_tokens: usage.cached,
      audio_tokens: 0,
      ...(usage.written > 0 ? { cache_write_tokens: usage.written } : {}),
    },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }
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
