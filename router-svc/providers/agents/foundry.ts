import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Message, Usage } from '../../canonical/chat.ts'
import { eventObject, type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { readUsage } from '../openai/usage.ts'
import { textOf } from '../prompt-text.ts'
import type {
  Adapter,
  Conversation,
  DecodeContext,
  Provider,
  StreamDecoder,
  Target,
  UpstreamAnswer,
  UpstreamRequest,
} from '../provider.ts'
import { agentParameters, answerOf, lastTurn } from './agent.ts'

/** The first stable version. */
const VERSION = '2025-05-01'
/** Milliseconds between two looks at a run. */
const POLL = 1000

const RUNNING = new Set(['queued', 'in_progress', 'cancelling'])

/**
 * Agents of Azure's Foundry: a thread with the chat, and a run of the agent on it. A client that names a thread (`thread_id`, which every answer
 * tells) goes on in it.
 */
export function foundryAgents(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const parametersOf = agentParameters(row)
  const begin = (request: ChatRequest, target: Target): UpstreamRequest => {
    const { thread_id: thread, max_tokens: older, max_completion_tokens: limit, ...given } = parametersOf(request, target)
    const run: Fields = { assistant_id: target.model, ...given }
    if ((limit ?? older) !== undefined) run['max_completion_tokens'] = limit ?? older
    if (request.stream === true) run['stream'] = true
    const isNew = typeof thread !== 'string' || thread === ''
    const { messages, instructions } = split(isNew ? request.messages : lastTurn(request.messages), target.provider)
    if (instructions !== '') run['additional_instructions'] ??= instructions
    if (isNew) return post(target, '/threads/runs', { ...run, thread: { messages } })
    return post(target, `/threads/${encodeURIComponent(thread)}/runs`, { ...run, additional_messages: messages })
  }
  const chat: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
    mode: 'chat',
    encodeRequest: begin,
    converse: (request, target, context) =>
      request.stream === true ? null : run(begin(request, target), target, context, readError),
    // Never asked: a whole answer takes several requests.
    decodeResponse(body, headers) {
      throw readError(200, headers, sourceOf(body))
    },
    decodeStream: (context) => new RunStream(context, readError),
  }
  return {
    name,
    auth: { type: 'made', kind: 'azure-agents' },
    base: null,
    keyNames: [],
    baseNames: ['AZURE_AI_API_BASE'],
    chat,
    decodeError: readError,
  }
}

function* run(
  start: UpstreamRequest,
  target: Target,
  context: DecodeContext,
  readError: Provider['decodeError'],
): Conversation<ChatResponse> {
  let state = read(yield { send: [start] })
  const thread = text(state['thread_id'])
  const id = text(state['id'])
  if (thread === '' || id === '') throw new GatewayError('provider_malformed', 'The run of the agent has no id.')
  const path = `/threads/${encodeURIComponent(thread)}`
  while (RUNNING.has(text(state['status']))) {
    state = read(yield { send: [get(target, `${path}/runs/${encodeURIComponent(id)}`)], after: POLL })
  }
  const finish = finishOf(state, readError)
  const listed = read(yield { send: [get(target, `${path}/messages`, { run_id: id, order: 'asc', limit: '100' })] })
  const messages = Array.isArray(listed['data']) ? (listed['data'] as unknown[]).filter(isFields) : []
  const said = messages.filter(
    ({ role, run_id }) => role === 'assistant' && (run_id === undefined || run_id === null || run_id === id),
  )
  if (said.length === 0) throw new GatewayError('provider_malformed', 'The run of the agent ended without a message.')
  return answerOf(
    said.map(({ content }) => wordsOf(content)).join('\n\n'),
    readUsage(state['usage']),
    context,
    { thread_id: thread },
    finish,
  )
}

/** Throws what the run failed with. */
function finishOf(state: Fields, readError: Provider['decodeError']): string {
  const status = text(state['status'])
  if (status === 'completed') return 'stop'
  if (status === 'incomplete') {
    const { reason } = isFields(state['incomplete_details']) ? state['incomplete_details'] : {}
    return reason === 'content_filter' ? 'content_filter' : 'length'
  }
  if (status === 'requires_action')
    throw new GatewayError('provider_bad_request', 'The agent waits for the result of a function, which nobody here can call.')
  const error = isFields(state['last_error'])
    ? state['last_error']
    : { message: `the run of the agent is ${status || 'nowhere'}` }
  throw readError(200, {}, JSON.stringify({ error }))
}

function read([answer]: UpstreamAnswer[]): Fields {
  return jsonObject(sourceOf((answer as UpstreamAnswer).body), 'The answer')
}

/** A thread knows users and assistants; instructions are the run's. */
function split(messages: readonly Message[], provider: string): { messages: Fields[]; instructions: string } {
  const turns: Fields[] = []
  const instructions: string[] = []
  for (const [at, message] of messages.entries()) {
    const { role } = message
    if (role === 'system' || role === 'developer') instructions.push(textOf(message, at, provider))
    else if (role === 'assistant') turns.push({ role, content: textOf(message, at, provider) })
    else if (role === 'user') turns.push({ role, content: message.content ?? '' })
    else
      throw new GatewayError(
        'bad_request',
        `litellm.BadRequestError: messages[${at}].role is ${role}, which a thread of Foundry does not know.`,
        {
          param: `messages[${at}].role`,
        },
      )
  }
  return { messages: turns, instructions: instructions.join('\n\n') }
}

function wordsOf(content: unknown): string {
  if (!Array.isArray(content)) return text(content)
  return (content as unknown[])
    .map((part) => (isFields(part) && isFields(part['text']) ? text(part['text']['value']) : ''))
    .join('')
}

function urlOf({ base, apiVersion }: Target, path: string, query: Record<string, string> = {}): string {
  return `${base}${path}?${new URLSearchParams({ 'api-version': apiVersion ?? VERSION, ...query })}`
}

function post(target: Target, path: string, body: Fields): UpstreamRequest {
  return { method: 'POST', url: urlOf(target, path), headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

function get(target: Target, path: string, query?: Record<string, string>): UpstreamRequest {
  return { method: 'GET', url: urlOf(target, path, query), headers: {}, body: '' }
}

/** States: open → ended (the run said how) → done (`done`, `[DONE]`). Without the run's end the stream is not whole. */
class RunStream implements StreamDecoder<ChatChunk> {
  readonly #context: DecodeContext
  readonly #readError: Provider['decodeError']
  #begun = false
  #ended = false
  #thread = ''
  done = false

  constructor(context: DecodeContext, readError: Provider['decodeError']) {
    this.#context = context
    this.#readError = readError
  }

  push({ event, data }: { event: string; data: string }): ChatChunk[] {
    if (this.done || data === '') return []
    if (data === '[DONE]') {
      if (!this.#ended) throw new GatewayError('provider_truncated')
      this.done = true
      return []
    }
    const fields = eventObject(data)
    if (event === 'error') throw this.#readError(200, {}, isFields(fields['error']) ? data : JSON.stringify({ error: fields }))
    this.#thread ||= text(fields['thread_id'])
    if (event === 'thread.message.delta') return this.#delta(isFields(fields['delta']) ? fields['delta'] : {})
    if (!event.startsWith('thread.run.') || event.startsWith('thread.run.step.')) return []
    if (RUNNING.has(text(fields['status'])) || this.#ended) return []
    return this.#end(finishOf(fields, this.#readError), readUsage(fields['usage']))
  }

  end(): ChatChunk[] {
    if (!this.#ended) throw new GatewayError('provider_truncated')
    this.done = true
    return []
  }

  #delta({ content }: Fields): ChatChunk[] {
    const words = wordsOf(content)
    if (words === '') return []
    const delta = this.#begun ? { content: words } : { role: 'assistant', content: words }
    this.#begun = true
    return [this.#chunk([{ index: 0, delta, finish_reason: null }])]
  }

  #end(finish: string, usage: Usage | null): ChatChunk[] {
    this.#ended = true
    const own = this.#thread === '' ? {} : { provider_specific_fields: { thread_id: this.#thread } }
    const last = this.#chunk([{ index: 0, delta: own, finish_reason: finish }])
    return usage === null ? [last] : [last, { ...this.#chunk([]), usage }]
  }

  #chunk(choices: ChatChunk['choices']): ChatChunk {
    const { id, created, model } = this.#context
    return { id, object: 'chat.completion.chunk', created, model, choices }
  }
}
