import type { Mode } from '../../proto/endpoints.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse, ToolCall, Usage } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { chatFromCompletion, completionChunkFromChat, completionFromChat } from './completion-from-chat.ts'
import { type MockMediaResponse, mockMedia } from './mock/media.ts'
import { type MockDeployment, type MockScript, mockError, mockScript } from './mock/script.ts'
import { vectorAs } from './openai/response.ts'
import type { Adapter, Provider } from './provider.ts'

export { mockRequested } from './mock/script.ts'

/** What a provider without a network needs of the process. */
export interface LocalDeps {
  /** Unix milliseconds. */
  clock: { now(): number }
  /** 0 ≤ x < 1. */
  random(): number
  /** Makes the response id. */
  callId: string
}

/** One step of a streamed answer: wait `delay` milliseconds, then hand on the chunk, or fail. */
export type LocalStep = { delay: number; chunk: ChatChunk | CompletionChunk } | { delay: number; error: GatewayError }

/**
 * An answer made on the spot. `whole`: canonical response after `delay` milliseconds; `failure` likewise; `stream`: steps, lazily made,
 * complete when they run out. Waiting is the caller's, on its clock.
 */
export type LocalAnswer =
  | { kind: 'whole'; delay: number; response: ChatResponse | CompletionResponse | EmbeddingResponse | MockMediaResponse }
  | { kind: 'failure'; delay: number; error: GatewayError }
  | { kind: 'stream'; steps: Iterable<LocalStep> }

/** A provider that answers itself. */
export interface LocalProvider extends Provider {
  readonly local: true
  /** Throws GatewayError `bad_request` when the request's mock fields are wrong. */
  answer(mode: Mode, request: Readonly<Record<string, unknown>>, deployment: MockDeployment, deps: LocalDeps): LocalAnswer
}

/** Whether a provider answers itself. */
export function isLocal(provider: Provider): provider is LocalProvider {
  return provider.local === true
}

/** The built-in stand-in: any model name, no key, no network. Its fields are documented in mock/script.ts. */
export const mock: LocalProvider = {
  name: 'mock',
  auth: { type: 'none' },
  base: null,
  keyNames: [],
  local: true,
  chat: offered('chat'),
  completion: offered('completion'),
  embedding: offered('embedding'),
  rerank: offered('rerank'),
  moderation: offered('moderation'),
  image: offered('image'),
  image_edit: offered('image_edit'),
  image_variation: offered('image_variation'),
  speech: offered('speech'),
  transcription: offered('transcription'),
  translation: offered('translation'),
  decodeError: (status, _headers, body) => new GatewayError('provider_error', body, { status }),
  answer(mode, request, deployment, deps) {
    const script = mockScript(request, deployment)
    if (mode === 'embedding') return embed(request as EmbeddingRequest, script, deps)
    const { callId } = deps
    if (script.fail === null) {
      const response = mockMedia(mode, request, script, { callId, created: Math.floor(deps.clock.now() / 1000) })
      if (response !== null) return { kind: 'whole', delay: paced(script.latency, script, deps), response }
    } else if (mode !== 'chat' && mode !== 'completion') {
      return { kind: 'failure', delay: paced(script.latency, script, deps), error: mockError(script.fail) }
    }
    const asChat = mode === 'completion' ? chatFromCompletion(request as CompletionRequest) : (request as ChatRequest)
    const answer = chat(asChat, script, deps)
    if (mode === 'chat') return answer
    if (answer.kind === 'whole') return { ...answer, response: completionFromChat(answer.response as ChatResponse) }
    return answer.kind === 'stream' ? { kind: 'stream', steps: completionSteps(answer.steps) } : answer
  },
}

/** Says which modes there are; a local provider is never encoded for. */
function offered<Request, Response, Chunk>(mode: Mode): Adapter<Request, Response, Chunk> {
  const refuse = (): never => {
    throw new GatewayError('internal', 'The mock answers itself.')
  }
  return { mode, encodeRequest: refuse, decodeResponse: refuse }
}

function* completionSteps(steps: Iterable<LocalStep>): Iterable<LocalStep> {
  for (const step of steps) yield 'chunk' in step ? { ...step, chunk: completionChunkFromChat(step.chunk as ChatChunk) } : step
}

interface Answer {
  text: string | null
  toolCalls: ToolCall[]
  finish: string
  usage: Usage
}

function chat(request: ChatRequest, script: MockScript, deps: LocalDeps): LocalAnswer {
  const { fail } = script
  if (fail !== null && (request.stream !== true || (fail.after_chunks === null && !fail.truncate))) {
    return { kind: 'failure', delay: paced(script.latency, script, deps), error: mockError(fail) }
  }
  const answer = compose(request, script)
  const envelope = { id: `chatcmpl-${deps.callId}`, created: Math.floor(deps.clock.now() / 1000), model: request.model }
  if (request.stream === true) return { kind: 'stream', steps: chatSteps(request, script, answer, envelope, deps) }

  const message: ChatResponse['choices'][number]['message'] = { role: 'assistant', content: answer.text }
  if (script.reasoning !== null) message.reasoning_content = script.reasoning
  if (answer.toolCalls.length > 0) message.tool_calls = answer.toolCalls
  const choices = indexes(request).map((index) => ({ index, message, finish_reason: answer.finish }))
  const response: ChatResponse = { ...envelope, object: 'chat.completion', choices }
  if (!script.omit_usage) response.usage = answer.usage
  return { kind: 'whole', delay: paced(script.latency, script, deps), response }
}

function* chatSteps(
  request: ChatRequest,
  script: MockScript,
  answer: Answer,
  envelope: Pick<ChatChunk, 'id' | 'created' | 'model'>,
  deps: LocalDeps,
): Iterable<LocalStep> {
  const head = { ...envelope, object: 'chat.completion.chunk' as const }
  const many = indexes(request)
  let first = true
  const step = (deltas: ChatChunk['choices']): LocalStep => {
    const delay = paced(first ? script.latency : script.interval, script, deps)
    first = false
    return { delay, chunk: { ...head, choices: deltas } }
  }
  const delta = (fields: ChatChunk['choices'][number]['delta']) =>
    step(many.map((index) => ({ index, delta: first ? { role: 'assistant', ...fields } : fields, finish_reason: null })))

  let sent = 0
  for (const reasoning of pieces(script.reasoning, null)) yield delta({ reasoning_content: reasoning })
  for (const content of pieces(answer.text, script.chunks)) {
    if (script.fail !== null && sent >= (script.fail.after_chunks ?? 1)) break
    yield delta({ content })
    sent += 1
  }
  if (script.fail !== null) {
    yield { delay: paced(script.interval, script, deps), error: mockError(script.fail) }
    return
  }
  for (const [index, call] of answer.toolCalls.entries()) {
    const { name, arguments: given } = call.function as { name: string; arguments: string }
    yield delta({ tool_calls: [{ index, id: call.id, type: 'function', function: { name, arguments: '' } }] })
    yield delta({ tool_calls: [{ index, function: { arguments: given } }] })
  }
  yield step(many.map((index) => ({ index, delta: {}, finish_reason: answer.finish })))
  if (!script.omit_usage) yield { delay: 0, chunk: { ...head, choices: [], usage: answer.usage } }
}

/** What it says and what that is reported to cost. */
function compose(request: ChatRequest, script: MockScript): Answer {
  const question = lastQuestion(request)
  const toolCalls = script.tool_calls.map((call, index) => ({
    id: call.id ?? `call_mock_${index}`,
    type: 'function',
    function: { name: call.name, arguments: call.arguments },
  }))
  let text = script.text
  if (text === null && toolCalls.length === 0)
    text = `This is Turnpike's mock model. You said: ${question.slice(0, 200) || '(nothing)'}`
  let finish = script.finish_reason ?? (toolCalls.length > 0 ? 'tool_calls' : 'stop')
  const limit = request.max_completion_tokens ?? request.max_tokens
  if (typeof limit === 'number' && text !== null && tokens(text) > limit && script.completion_tokens === null) {
    text = text.slice(0, limit * CHARACTERS_PER_TOKEN)
    finish = script.finish_reason ?? 'length'
  }
  const called = toolCalls.reduce((sum, call) => sum + tokens(call.function.name + call.function.arguments), 0)
  const reasoning = script.reasoning_tokens ?? tokens(script.reasoning ?? '')
  const prompt = script.prompt_tokens ?? tokens(request.messages.map((message) => textOf(message.content)).join(' '))
  const completion = script.completion_tokens ?? (tokens(text ?? '') + called + reasoning) * indexes(request).length
  const usage: Usage = { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
  if (script.cached_tokens > 0) usage.prompt_tokens_details = { cached_tokens: script.cached_tokens }
  if (reasoning > 0) usage.completion_tokens_details = { reasoning_tokens: reasoning }
  return { text, toolCalls, finish, usage }
}

function embed(request: EmbeddingRequest, script: MockScript, deps: LocalDeps): LocalAnswer {
  const delay = paced(script.latency, script, deps)
  if (script.fail !== null) return { kind: 'failure', delay, error: mockError(script.fail) }
  const { input } = request
  const texts = typeof input === 'string' || typeof input[0] === 'number' ? [input] : (input as unknown[])
  const prompt =
    script.prompt_tokens ??
    texts.reduce<number>((sum, text) => sum + (typeof text === 'string' ? tokens(text) : (text as []).length), 0)
  const dimensions = bounded(request.dimensions ?? script.dimensions, MOST_DIMENSIONS, 'dimensions')
  const response: EmbeddingResponse = {
    object: 'list',
    data: texts.map((text, index) => ({
      object: 'embedding',
      index,
      embedding: vectorAs(unitVector(JSON.stringify(text), dimensions), request.encoding_format === 'base64'),
    })),
    model: request.model,
    usage: { prompt_tokens: prompt, completion_tokens: 0, total_tokens: prompt },
  }
  return { kind: 'whole', delay, response }
}

/** A vector of length 1 that depends on the text alone: xorshift32 seeded with its FNV-1a hash. */
export function unitVector(text: string, dimensions: number): number[] {
  let state = 0x811c9dc5
  for (let index = 0; index < text.length; index++) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193) >>> 0
  if (state === 0) state = 1
  const vector: number[] = []
  let squares = 0
  for (let index = 0; index < dimensions; index++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    const value = (state >>> 0) / 0xffffffff - 0.5
    vector.push(value)
    squares += value * value
  }
  const length = Math.sqrt(squares) || 1
  return vector.map((value) => value / length)
}

const CHARACTERS_PER_TOKEN = 4
/** OpenAI's own limit of `n`; and twice the longest vector any vendor sells. */
const MOST_CHOICES = 128
const MOST_DIMENSIONS = 8192

function tokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN)
}

/** Cut into `count` pieces of about one length, or one a word. Nothing is lost: the pieces joined are the text. */
function pieces(text: string | null, count: number | null): string[] {
  if (text === null || text === '') return []
  // Without a word, every place of the text would be tried to its end: minutes, of text that clients may send.
  if (count === null) return /\S/.test(text) ? (text.match(/\s*\S+\s*$|\s*\S+/g) ?? [text]) : [text]
  const letters = [...text]
  const size = Math.max(1, Math.ceil(letters.length / count))
  const cut: string[] = []
  for (let at = 0; at < letters.length; at += size) cut.push(letters.slice(at, at + size).join(''))
  return cut
}

function paced(milliseconds: number, script: MockScript, deps: LocalDeps): number {
  return script.jitter === 0 ? milliseconds : milliseconds * (1 + script.jitter * (2 * deps.random() - 1))
}

function indexes(request: ChatRequest): number[] {
  return Array.from({ length: bounded(request.n ?? 1, MOST_CHOICES, 'n') }, (_, index) => index)
}

/** What a real provider would refuse must not cost this process its memory. */
function bounded(value: number, most: number, param: string): number {
  if (value <= most) return value
  throw new GatewayError('bad_request', `Invalid value for '${param}': at most ${most}.`, { param })
}

function lastQuestion(request: ChatRequest): string {
  return textOf(request.messages.findLast((message) => message.role === 'user')?.content)
}

function textOf(content: ChatRequest['messages'][number]['content']): string {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? content.map((part) => (typeof part['text'] === 'string' ? part['text'] : '')).join(' ') : ''
}
