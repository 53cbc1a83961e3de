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

export function embeddings(question: Question, usage: StatedUsage | null): string {
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
