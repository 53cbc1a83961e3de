import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatDelta, FinishReason, ToolCallDelta } from '../../canonical/chat.ts'
import type { CompletionChunk } from '../../canonical/completion.ts'
import { type Fields, isFields } from '../json.ts'
import type { DecodeContext, StreamDecoder } from '../provider.ts'
import { argumentsOf, finishReason, settleText, usageIn } from './normalise.ts'
import { completionChoice, type ErrorReader } from './response.ts'

/** What is known of one choice of the stream. */
interface ChoiceState {
  saidRole: boolean
  finished: boolean
  calledTools: boolean
  /** Tool calls so far, by our index. */
  calls: CallState[]
}

interface CallState {
  wireIndex: number | null
  id: string
  /** The id is ours, because the provider sent none. */
  madeUp: boolean
  /** Its name is out. */
  named: boolean
}

type Choice = ChatChunk['choices'][number]

/**
 * States: open → closed by `[DONE]` (`done`), by end of input after every choice finished, or by an error. Usage is left on the chunk
 * it came with; a provider that sends it in every chunk sends running totals, so the last one counts.
 */
export function chatStream(context: DecodeContext, row: ProviderRow, readError: ErrorReader): StreamDecoder<ChatChunk> {
  const envelope = new Envelope(context, 'chat.completion.chunk')
  const choices = new Map<number, ChoiceState>()
  let done = false

  const readChoice = (raw: unknown, position: number): Choice => {
    const choice: Fields = isFields(raw) ? { ...raw } : {}
    const index = typeof choice['index'] === 'number' ? choice['index'] : position
    let state = choices.get(index)
    if (state === undefined) {
      state = { saidRole: false, finished: false, calledTools: false, calls: [] }
      choices.set(index, state)
    }
    // Some servers send a whole message where a delta belongs; beside a delta it is a running total (Perplexity).
    const source = choice['delta'] ?? (state.saidRole ? undefined : choice['message'])
    delete choice['message']
    delete choice['usage']
    const delta = readDelta(source, state, index, context)
    const reason = state.finished ? null : finishReason(choice['finish_reason'], state.calledTools)
    if (reason !== null) state.finished = true
    return { ...choice, index, delta, finish_reason: reason }
  }

  const finishRest = (): ChatChunk[] => {
    if (choices.size === 0) throw empty()
    const left: Choice[] = []
    for (const [index, state] of choices) {
      if (state.finished) continue
      state.finished = true
      const reason: FinishReason = state.calledTools ? 'tool_calls' : 'stop'
      left.push({ index, delta: {}, finish_reason: reason })
    }
    return left.length === 0 ? [] : [envelope.chunk({}, left) as ChatChunk]
  }

  return {
    get done() {
      return done
    },
    push(event) {
      if (done) return []
      if (event.data === '[DONE]') {
        done = true
        return finishRest()
      }
      const fields = readEvent(event, readError)
      if (fields === null) return []
      const listed = Array.isArray(fields['choices']) ? (fields['choices'] as unknown[]) : []
      throwErrorInside(listed, readError)
      const usage = usageIn(fields, row)
      if (listed.length === 0 && usage === null) return []
      const chunk = envelope.chunk(fields, listed.map(readChoice)) as ChatChunk
      if (usage !== null) chunk.usage = usage
      return [chunk]
    },
    end() {
      if (done) return []
      done = true
      for (const state of choices.values()) if (!state.finished) throw truncated()
      if (choices.size === 0) throw empty()
      return []
    },
  }
}

/** A delta without the repetitions and nulls of clones. */
function readDelta(raw: unknown, state: ChoiceState, choice: number, context: DecodeContext): ChatDelta {
  const delta: Fields = isFields(raw) ? { ...raw } : {}
  settleText(delta)
  if (state.saidRole) delete delta['role']
  else if (typeof delta['role'] === 'string') state.saidRole = true
  for (const name of ['role', 'content', 'refusal', 'function_call', 'audio', 'tool_calls'])
    if (delta[name] === null) delete delta[name]
  if (Array.isArray(delta['tool_calls'])) {
    const calls = (delta['tool_calls'] as unknown[]).map((call) => readToolCall(call, state, choice, context))
    if (calls.length === 0) delete delta['tool_calls']
    else {
      delta['tool_calls'] = calls
      state.calledTools = true
    }
  }
  return delta as ChatDelta
}

/**
 * One fragment of a tool call, under an index that is right. Clones leave the index out, number every call 0 (Ollama), repeat id and
 * name in each fragment (clients join what they get), leave the id out, or send arguments as an object.
 */
function readToolCall(raw: unknown, state: ChoiceState, choice: number, context: DecodeContext): ToolCallDelta {
  const call: Fields = isFields(raw) ? { ...raw } : {}
  const wireIndex = typeof call['index'] === 'number' ? call['index'] : null
  const id = typeof call['id'] === 'string' ? call['id'] : ''
  const piece: Fields = isFields(call['function']) ? { ...call['function'] } : {}
  const name = typeof piece['name'] === 'string' ? piece['name'] : ''
  let index = findCall(state.calls, wireIndex, id, name !== '')
  delete call['id']
  if (index < 0) {
    index = state.calls.length
    const madeUp = id === ''
    state.calls.push({ wireIndex, id: madeUp ? `call_${context.id}_${choice}_${index}` : id, madeUp, named: false })
    call['id'] = state.calls[index]?.id
    if (typeof call['type'] !== 'string') call['type'] = 'function'
  } else delete call['type']
  const known = state.calls[index] as CallState
  if (name === '' || known.named) delete piece['name']
  else known.named = true
  if ('arguments' in piece) piece['arguments'] = argumentsOf(piece['arguments'], false)
  if (isFields(call['function'])) call['function'] = piece
  return { ...call, index }
}

/** Index of the call a fragment belongs to, or -1 when it begins a new one. */
function findCall(calls: readonly CallState[], wireIndex: number | null, id: string, hasName: boolean): number {
  const sameIndex = wireIndex === null ? -1 : calls.findLastIndex((call) => call.wireIndex === wireIndex)
  if (id !== '') {
    const sameId = calls.findLastIndex((call) => call.id === id)
    if (sameId >= 0) return sameId
    // A new id under a known index is a new call, unless that call had none so far.
    return calls[sameIndex]?.madeUp === true ? sameIndex : -1
  }
  if (wireIndex !== null) return sameIndex
  return hasName ? -1 : calls.length - 1
}

/** The same for text completions. */
export function completionStream(
  context: DecodeContext,
  row: ProviderRow,
  readError: ErrorReader,
): StreamDecoder<CompletionChunk> {
  const envelope = new Envelope(context, 'text_completion')
  const finished = new Map<number, boolean>()
  let done = false

  return {
    get done() {
      return done
    },
    push(event) {
      if (done) return []
      if (event.data === '[DONE]') {
        done = true
        if (finished.size === 0) throw truncated()
        const left = [...finished].filter(([, over]) => !over).map(([index]) => ({ text: '', index, finish_reason: 'stop' }))
        return left.length === 0 ? [] : [envelope.chunk({}, left) as CompletionChunk]
      }
      const fields = readEvent(event, readError)
      if (fields === null) return []
      const listed = Array.isArray(fields['choices']) ? (fields['choices'] as unknown[]) : []
      throwErrorInside(listed, readError)
      const usage = usageIn(fields, row)
      if (listed.length === 0 && usage === null) return []
      const choices = listed.map((raw, position) => completionChoice(raw, position, false))
      for (const choice of choices)
        finished.set(choice.index, finished.get(choice.index) === true || choice.finish_reason !== null)
      const chunk = envelope.chunk(fields, choices) as CompletionChunk
      if (usage !== null) chunk.usage = usage
      return [chunk]
    },
    end() {
      if (done) return []
      done = true
      if (finished.size === 0 || [...finished.values()].includes(false)) throw truncated()
      return []
    },
  }
}

/** What is the same in every chunk: id, creation time and model of the first one that names them. */
class Envelope {
  readonly #object: string
  #id: string
  #created: number
  #model: string
  #known = false

  constructor(context: DecodeContext, object: string) {
    this.#object = object
    this.#id = context.id
    this.#created = context.created
    this.#model = context.model
  }

  chunk(fields: Fields, choices: unknown[]): Fields {
    if (!this.#known) {
      this.#known = true
      if (typeof fields['id'] === 'string' && fields['id'] !== '') this.#id = fields['id']
      if (typeof fields['created'] === 'number' && fields['created'] > 0) this.#created = Math.floor(fields['created'])
      if (typeof fields['model'] === 'string' && fields['model'] !== '') this.#model = fields['model']
    }
    const chunk: Fields = { ...fields, id: this.#id, object: this.#object, created: this.#created, model: this.#model, choices }
    delete chunk['usage']
    return chunk
  }
}

/** The event's JSON object; null for one without data. Throws the error it holds, or `provider_malformed`. */
function readEvent(event: SseEvent, readError: ErrorReader): Fields | null {
  if (event.data === '') return null
  let fields: unknown
  try {
    fields = JSON.parse(event.data)
  } catch (cause) {
    if (event.event === 'error') throw readError(200, {}, JSON.stringify({ error: { message: event.data } }))
    throw new GatewayError('provider_malformed', undefined, { cause })
  }
  if (!isFields(fields)) throw new GatewayError('provider_malformed')
  const { error } = fields
  if (event.event === 'error' || isFields(error) || (typeof error === 'string' && error !== ''))
    throw readError(200, {}, event.data)
  return fields
}

/** OpenRouter reports a failure in the middle inside the choice it hit. */
function throwErrorInside(choices: unknown[], readError: ErrorReader): void {
  for (const choice of choices) {
    if (isFields(choice) && isFields(choice['error'])) throw readError(200, {}, JSON.stringify({ error: choice['error'] }))
  }
}

function truncated(): GatewayError {
  return new GatewayError('provider_truncated')
}

function empty(): GatewayError {
  return new GatewayError('provider_malformed', 'The provider sent an empty stream.')
}
