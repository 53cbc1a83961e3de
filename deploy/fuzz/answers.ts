import type { Mode } from '../../proto/endpoints.ts'
import { awsEvent } from '../../router-svc/aws-event-stream.testkit.ts'
import { answersOf, filesOf, folders, haveRecordings } from '../tests/recorded-answers.testkit.ts'
import { readingOf } from '../tests/recorded-routes.testkit.ts'

/** A whole answer of a provider, as it comes. */
export interface Answer {
  provider: string
  model: string
  mode: Mode | 'responses'
  stream: 'sse' | 'lines' | 'aws' | null
  headers: Readonly<Record<string, string>>
  body: Uint8Array
}

/** Answers written by hand, one of each family of protocols, and the recorded ones where they are beside the checkout. */
export function answers(): Answer[] {
  return haveRecordings() ? [...OWN, ...recorded()] : [...OWN]
}

/** One of each kind is as good as a hundred. */
const ALIKE_MAX = 12

function recorded(): Answer[] {
  const counts = new Map<string, number>()
  const found: Answer[] = []
  for (const folder of folders()) {
    for (const file of filesOf(folder)) {
      for (const one of answersOf(folder, file)) {
        const reading = one.status < 400 ? readingOf(one) : null
        if (reading === null || reading.mode === 'carried') continue
        const { provider, model, mode } = reading
        const kind = `${provider} ${mode} ${one.stream}`
        const count = (counts.get(kind) ?? 0) + 1
        counts.set(kind, count)
        if (count <= ALIKE_MAX && one.body.length < 64 * 1024)
          found.push({ provider, model, mode, stream: one.stream, headers: one.headers, body: one.body })
      }
    }
  }
  return found
}

const sse = (...events: object[]): Uint8Array =>
  Buffer.from(
    events
      .map((event) => `${'type' in event ? `event: ${String(event.type)}\n` : ''}data: ${JSON.stringify(event)}\n\n`)
      .join(''),
  )
const withDone = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Buffer.from('data: [DONE]\n\n')])
const lines = (...events: object[]): Uint8Array => Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''))

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm' }
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 1 } }
const delta = (fields: object, reason: string | null = null) => ({
  ...HEAD,
  choices: [{ index: 0, delta: fields, finish_reason: reason }],
})

const OPENAI = withDone(
  sse(
    delta({ role: 'assistant', content: '' }),
    delta({ content: 'Hel' }),
    delta({ reasoning_content: 'hm' }),
    delta({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '' } }] }),
    delta({ tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] }),
    delta({}, 'tool_calls'),
    { ...HEAD, choices: [], usage: USAGE },
  ),
)
const ANTHROPIC = sse(
  {
    type: 'message_start',
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [],
      stop_reason: null,
      usage: { input_tokens: 3, output_tokens: 1 },
    },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'ping' },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'content_block_start', index: 1, content_block: { type: 'tool_use', id: 'toolu_1', name: 'f', input: {} } },
  { type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: '{"a":1}' } },
  { type: 'content_block_stop', index: 1 },
  { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 4 } },
  { type: 'message_stop' },
)
const GEMINI = sse(
  {
    candidates: [{ content: { parts: [{ text: 'Hel' }], role: 'model' }, index: 0 }],
    usageMetadata: { promptTokenCount: 3 },
    modelVersion: 'm',
    responseId: 'r',
  },
  {
    candidates: [
      { content: { parts: [{ functionCall: { name: 'f', args: { a: 1 } } }], role: 'model' }, finishReason: 'STOP', index: 0 },
    ],
    usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 },
  },
)
const RESPONSE = { id: 'resp_1', object: 'response', created_at: 1, status: 'in_progress', model: 'm', output: [] as object[] }
const ITEM = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: 'Hello', annotations: [] }],
}
const RESPONSES = sse(
  { type: 'response.created', sequence_number: 0, response: RESPONSE },
  {
    type: 'response.output_item.added',
    sequence_number: 1,
    output_index: 0,
    item: { ...ITEM, status: 'in_progress', content: [] },
  },
  {
    type: 'response.content_part.added',
    sequence_number: 2,
    item_id: 'msg_1',
    output_index: 0,
    content_index: 0,
    part: { type: 'output_text', text: '', annotations: [] },
  },
  { type: 'response.output_text.delta', sequence_number: 3, item_id: 'msg_1', output_index: 0, content_index: 0, delta: 'Hello' },
  { type: 'response.output_text.done', sequence_number: 4, item_id: 'msg_1', output_index: 0, content_index: 0, text: 'Hello' },
  { type: 'response.output_item.done', sequence_number: 5, output_index: 0, item: ITEM },
  {
    type: 'response.completed',
    sequence_number: 6,
    response: { ...RESPONSE, status: 'completed', output: [ITEM], usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 } },
  },
)
const OLLAMA = lines(
  { model: 'm', created_at: '2025-01-01T00:00:00Z', message: { role: 'assistant', content: 'Hel' }, done: false },
  {
    model: 'm',
    created_at: '2025-01-01T00:00:00Z',
    message: { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }] },
    done: false,
  },
  {
    model: 'm',
    created_at: '2025-01-01T00:00:01Z',
    message: { role: 'assistant', content: '' },
    done: true,
    done_reason: 'stop',
    prompt_eval_count: 3,
    eval_count: 2,
  },
)
const COHERE = sse(
  { type: 'message-start', id: 'c', delta: { message: { role: 'assistant', content: [], tool_plan: '', tool_calls: [] } } },
  { type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
  { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Hello' } } } },
  { type: 'content-end', index: 0 },
  {
    type: 'message-end',
    delta: {
      finish_reason: 'COMPLETE',
      usage: { billed_units: { input_tokens: 3, output_tokens: 2 }, tokens: { input_tokens: 3, output_tokens: 2 } },
    },
  },
)
const CONVERSE = Buffer.concat([
  awsEvent('messageStart', { role: 'assistant' }),
  awsEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'Hello' } }),
  awsEvent('contentBlockStop', { contentBlockIndex: 0 }),
  awsEvent('contentBlockStart', { contentBlockIndex: 1, start: { toolUse: { toolUseId: 't', name: 'f' } } }),
  awsEvent('contentBlockDelta', { contentBlockIndex: 1, delta: { toolUse: { input: '{"a":1}' } } }),
  awsEvent('contentBlockStop', { contentBlockIndex: 1 }),
  awsEvent('messageStop', { stopReason: 'tool_use' }),
  awsEvent('metadata', { usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 }, metrics: { latencyMs: 9 } }),
])

const json = (value: object): Uint8Array => Buffer.from(JSON.stringify(value))
const CALL = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
const JSON_HEADERS = { 'content-type': 'application/json' }
const own = (provider: string, model: string, mode: Answer['mode'], stream: Answer['stream'], body: Uint8Array): Answer => ({
  provider,
  model,
  mode,
  stream,
  headers:
    stream === null
      ? JSON_HEADERS
      : {
          'content-type': { sse: 'text/event-stream', lines: 'application/x-ndjson', aws: 'application/vnd.amazon.eventstream' }[
            stream
          ],
        },
  body,
})

const OWN: readonly Answer[] = [
  own('openai', 'gpt-4o', 'chat', 'sse', OPENAI),
  own('anthropic', 'claude-sonnet-4-5', 'chat', 'sse', ANTHROPIC),
  own('gemini', 'gemini-2.5-pro', 'chat', 'sse', GEMINI),
  own('openai', 'gpt-5', 'responses', 'sse', RESPONSES),
  own('ollama_chat', 'llama3.2', 'chat', 'lines', OLLAMA),
  own('cohere', 'command-r-plus', 'chat', 'sse', COHERE),
  own('bedrock', 'us.amazon.nova-pro-v1:0', 'chat', 'aws', CONVERSE),
  own(
    'openai',
    'gpt-4o',
    'chat',
    null,
    json({
      ...HEAD,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello', tool_calls: [CALL] },
          finish_reason: 'tool_calls',
          logprobs: { content: [{ token: 'a', logprob: -1, bytes: [1], top_logprobs: [] }] },
        },
      ],
      usage: USAGE,
    }),
  ),
  own(
    'anthropic',
    'claude-sonnet-4-5',
    'chat',
    null,
    json({
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [
        { type: 'thinking', thinking: 'h', signature: 's' },
        { type: 'text', text: 'Hello' },
        { type: 'tool_use', id: 't', name: 'f', input: { a: 1 } },
      ],
      stop_reason: 'end_turn',
      usage: { input_tokens: 3, output_tokens: 2 },
    }),
  ),
  own(
    'gemini',
    'gemini-2.5-pro',
    'chat',
    null,
    json({
      candidates: [{ content: { parts: [{ text: 'Hello' }], role: 'model' }, finishReason: 'STOP' }],
      usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 },
    }),
  ),
  own(
    'openai',
    'gpt-5',
    'responses',
    null,
    json({ ...RESPONSE, status: 'completed', output: [ITEM], usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 } }),
  ),
  own(
    'bedrock',
    'us.amazon.nova-pro-v1:0',
    'chat',
    null,
    json({
      output: {
        message: { role: 'assistant', content: [{ text: 'Hello' }, { toolUse: { toolUseId: 't', name: 'f', input: { a: 1 } } }] },
      },
      stopReason: 'end_turn',
      usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 },
    }),
  ),
  own(
    'cohere',
    'command-r-plus',
    'chat',
    null,
    json({
      id: 'c',
      finish_reason: 'COMPLETE',
      message: { role: 'assistant', content: [{ type: 'text', text: 'Hello' }] },
      usage: { tokens: { input_tokens: 3, output_tokens: 2 } },
    }),
  ),
  own(
    'ollama_chat',
    'llama3.2',
    'chat',
    null,
    json({
      model: 'm',
      message: { role: 'assistant', content: 'Hello' },
      done: true,
      done_reason: 'stop',
      prompt_eval_count: 3,
      eval_count: 2,
    }),
  ),
  own(
    'openai',
    'text-embedding-3-small',
    'embedding',
    null,
    json({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [0.1, -0.2] }],
      model: 'm',
      usage: { prompt_tokens: 3, total_tokens: 3 },
    }),
  ),
  own('gemini', 'gemini-embedding-001', 'embedding', null, json({ embeddings: [{ values: [0.1, -0.2] }] })),
  own(
    'cohere',
    'embed-v4.0',
    'embedding',
    null,
    json({ id: 'e', embeddings: { float: [[0.1]] }, texts: ['a'], meta: { billed_units: { input_tokens: 1 } } }),
  ),
  own(
    'cohere',
    'rerank-v3.5',
    'rerank',
    null,
    json({ id: 'r', results: [{ index: 0, relevance_score: 0.5 }], meta: { billed_units: { search_units: 1 } } }),
  ),
  own('openai', 'dall-e-3', 'image', null, json({ created: 1, data: [{ b64_json: 'AAAA', revised_prompt: 'r' }] })),
  own(
    'openai',
    'whisper-1',
    'transcription',
    null,
    json({ text: 'Hello', duration: 1.5, segments: [{ id: 0, start: 0, end: 1, text: 'Hello' }] }),
  ),
  own(
    'openai',
    'omni-moderation-latest',
    'moderation',
    null,
    json({ id: 'm', model: 'm', results: [{ flagged: false, categories: { hate: false }, category_scores: { hate: 0.1 } }] }),
  ),
  // Refusals, in the words of each family.
  own(
    'openai',
    'gpt-4o',
    'chat',
    null,
    json({ error: { message: 'Too many', type: 'tokens', param: null, code: 'rate_limit_exceeded', innererror: { code: 'x' } } }),
  ),
  own(
    'anthropic',
    'claude-sonnet-4-5',
    'chat',
    null,
    json({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }),
  ),
  own(
    'gemini',
    'gemini-2.5-pro',
    'chat',
    null,
    json({
      error: {
        code: 429,
        message: 'm',
        status: 'RESOURCE_EXHAUSTED',
        details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '3s' }],
      },
    }),
  ),
  own('bedrock', 'us.amazon.nova-pro-v1:0', 'chat', null, json({ __type: 'com.amazon#ThrottlingException', message: 'm' })),
  own('cohere', 'command-r-plus', 'chat', null, json({ id: 'e', message: 'm' })),
]
