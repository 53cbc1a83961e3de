import { answerText, CREATED, type Part, type Question, type StatedUsage, slices, texts, toolCalls } from './answer-text.ts'

/** Answers in OpenAI's words: chat and text completions, embeddings, errors. */

export function completion(question: Question, content: string, usage: StatedUsage | null): Record<string, unknown> {
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

/** Numbers of an embedding, unless `dimensions` says otherwise: enough that two texts without a word in common are hardly similar. */
const DIMENSIONS = 64
/** What tells the provider how to behave is not what a text is about. */
const MARKERS = /\[\[upstream[^\]]*\]\]/g

export function embeddings(question: Question, usage: StatedUsage | null): string {
  const { input, dimensions, encoding_format: format } = question.body
  const items: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input]
  const size = typeof dimensions === 'number' ? dimensions : DIMENSIONS
  const data = items.map((item, index) => {
    const vector = vectorOf(item, size)
    const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : Array.from(vector)
    return { object: 'embedding', index, embedding }
  })
  return JSON.stringify({
    object: 'list',
    data,
    model: question.model,
    ...(usage === null ? {} : { usage: { prompt_tokens: usage.prompt, total_tokens: usage.prompt } }),
  })
}

/**
 * The words of a text, counted under their hashes: the same text has the same vector always, and the cosine of two texts is about the share of
 * words they have in common. Length 1, as OpenAI's.
 */
function vectorOf(item: unknown, size: number): Float32Array {
  const vector = new Float32Array(size)
  const words = Array.isArray(item)
    ? item.map(String)
    : String(item)
        .replace(MARKERS, '')
        .toLowerCase()
        .match(/[\p{L}\p{N}]+/gu)
  // An empty text, or one without a word, has a direction too.
  for (const word of words ?? ['']) {
    const hash = fnv(word)
    const at = hash % size
    vector[at] = (vector[at] as number) + (hash & 0x8000_0000 ? -1 : 1)
  }
  const length = Math.hypot(...vector)
  // Words whose counts cancel out.
  if (length === 0) vector[0] = 1
  return length === 0 ? vector : vector.map((number) => number / length)
}

/** FNV-1a, 32 bits, mixed once more: its low bits alone follow the last letter. */
function fnv(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

export function* openaiParts(question: Question, usage: StatedUsage): Generator<Part> {
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

const OPENAI_ERRORS: Record<number, [type: string, code: string | null]> = {
  400: ['invalid_request_error', null],
  401: ['invalid_request_error', 'invalid_api_key'],
  403: ['invalid_request_error', 'unsupported_country_region_territory'],
  404: ['invalid_request_error', 'model_not_found'],
  429: ['requests', 'rate_limit_exceeded'],
  503: ['service_unavailable_error', 'slow_down'],
}

export function openaiError({ script }: Question, status: number): string {
  const [type, code] = OPENAI_ERRORS[status] ?? ['server_error', null]
  const message = script.message || `scripted failure ${status}`
  return JSON.stringify({ error: { message, type, param: null, code: script.code || code } })
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
