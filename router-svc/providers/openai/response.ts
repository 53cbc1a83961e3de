import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse } from '../../canonical/chat.ts'
import type { CompletionResponse } from '../../canonical/completion.ts'
import type { EmbeddingResponse } from '../../canonical/embedding.ts'
import { type Fields, isFields } from '../json.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { argumentsOf, finishReason, settleText, usageIn } from './normalise.ts'

/** How an error object inside a 200 is read. */
export type ErrorReader = (status: number, headers: Headers, body: string) => GatewayError

const decoder = new TextDecoder()

/** The answer as an object with a list under `member`. Throws `provider_malformed`, or the error the body holds. */
function answerOf(body: Uint8Array, headers: Headers, member: string, readError: ErrorReader): Fields {
  const text = decoder.decode(body)
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('provider_malformed', undefined, { cause })
  }
  if (isFields(answer) && Array.isArray(answer[member])) return answer
  if (isFields(answer) && answer['error'] !== undefined && answer['error'] !== null) throw readError(200, headers, text)
  throw new GatewayError('provider_malformed', `The provider's answer has no list of ${member}.`)
}

export function decodeChat(
  body: Uint8Array,
  headers: Headers,
  context: DecodeContext,
  row: ProviderRow,
  readError: ErrorReader,
): ChatResponse {
  const answer = answerOf(body, headers, 'choices', readError)
  const usage = usageIn(answer, row)
  const choices = (answer['choices'] as unknown[]).map((choice, position) => chatChoice(choice, position, context))
  const response = { ...answer, ...identity(answer, context, 'chat.completion'), choices } as ChatResponse
  setUsage(response, usage)
  return response
}

function chatChoice(raw: unknown, position: number, context: DecodeContext): ChatResponse['choices'][number] {
  const choice: Fields = isFields(raw) ? { ...raw } : {}
  const message: Fields = isFields(choice['message']) ? { ...choice['message'] } : {}
  settleText(message)
  if (typeof message['role'] !== 'string') message['role'] = 'assistant'
  if (message['content'] === undefined) message['content'] = null
  const calls = Array.isArray(message['tool_calls']) ? (message['tool_calls'] as unknown[]) : []
  if (calls.length > 0) {
    message['tool_calls'] = calls.map((call, index) => wholeToolCall(call, `call_${context.id}_${position}_${index}`))
  } else delete message['tool_calls']
  if (message['function_call'] === null) delete message['function_call']
  const reason = finishReason(choice['finish_reason'], calls.length > 0)
  return {
    ...choice,
    index: typeof choice['index'] === 'number' ? choice['index'] : position,
    message: message as ChatResponse['choices'][number]['message'],
    finish_reason: reason ?? (calls.length > 0 ? 'tool_calls' : 'stop'),
  }
}

function wholeToolCall(raw: unknown, fallbackId: string): Fields {
  const call: Fields = isFields(raw) ? { ...raw } : {}
  delete call['index']
  if (typeof call['id'] !== 'string' || call['id'] === '') call['id'] = fallbackId
  if (typeof call['type'] !== 'string') call['type'] = 'function'
  const named = call['function']
  if (isFields(named)) call['function'] = { ...named, arguments: argumentsOf(named['arguments'], true) }
  return call
}

export function decodeCompletion(
  body: Uint8Array,
  headers: Headers,
  context: DecodeContext,
  row: ProviderRow,
  readError: ErrorReader,
): CompletionResponse {
  const answer = answerOf(body, headers, 'choices', readError)
  const usage = usageIn(answer, row)
  const choices = (answer['choices'] as unknown[]).map((raw, position) => completionChoice(raw, position, true))
  const response = { ...answer, ...identity(answer, context, 'text_completion'), choices } as CompletionResponse
  setUsage(response, usage)
  return response
}

/** One choice of a text completion, whole or a piece. */
export function completionChoice(raw: unknown, position: number, whole: boolean): CompletionResponse['choices'][number] {
  const choice: Fields = isFields(raw) ? raw : {}
  const reason = finishReason(choice['finish_reason'], false)
  return {
    ...choice,
    text: typeof choice['text'] === 'string' ? choice['text'] : '',
    index: typeof choice['index'] === 'number' ? choice['index'] : position,
    finish_reason: reason ?? (whole ? 'stop' : null),
  }
}

export function decodeEmbedding(
  body: Uint8Array,
  headers: Headers,
  context: DecodeContext,
  row: ProviderRow,
  readError: ErrorReader,
): EmbeddingResponse {
  const answer = answerOf(body, headers, 'data', readError)
  const data = (answer['data'] as unknown[]).map((raw, position) => {
    const item: Fields = isFields(raw) ? raw : {}
    return {
      ...item,
      object: 'embedding' as const,
      index: typeof item['index'] === 'number' ? item['index'] : position,
      embedding: vectorIn(item['embedding'], context.request['encoding_format'], row),
    }
  })
  const usage = usageIn(answer, row) ?? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
  return { ...answer, object: 'list', data, model: modelOf(answer, context), usage }
}

/** Perplexity's vectors are signed bytes in base64. A client that asks for them by the provider's own name (`base64_binary`) gets its form. */
function vectorIn(vector: unknown, form: unknown, { deviates }: ProviderRow): number[] | string {
  const isPlain = deviates?.includes('vectors') !== true || typeof vector !== 'string'
  if (isPlain) return vectorAs(vector, form === 'base64')
  if (typeof form === 'string' && form !== 'float' && form !== 'base64') return vector
  return vectorAs([...new Int8Array(Buffer.from(vector, 'base64'))], form === 'base64')
}

/**
 * A vector in the form that was asked for. The official clients ask for base64 unless told otherwise and decode without looking, so a
 * server that ignores `encoding_format` would break them.
 */
export function vectorAs(vector: unknown, base64: boolean): number[] | string {
  if (base64 && Array.isArray(vector)) {
    const view = new DataView(new ArrayBuffer(4 * vector.length))
    for (let index = 0; index < vector.length; index++) view.setFloat32(4 * index, Number(vector[index]), true)
    return Buffer.from(view.buffer).toString('base64')
  }
  if (!base64 && typeof vector === 'string') {
    const bytes = Buffer.from(vector, 'base64')
    const numbers: number[] = []
    for (let at = 0; at + 4 <= bytes.length; at += 4) numbers.push(bytes.readFloatLE(at))
    return numbers
  }
  if (Array.isArray(vector) || typeof vector === 'string') return vector
  throw new GatewayError('provider_malformed', "The provider's answer holds an embedding that is no vector.")
}

/** Members every answer must have and some servers leave out. */
function identity(answer: Fields, context: DecodeContext, object: string): Fields {
  return {
    id: typeof answer['id'] === 'string' && answer['id'] !== '' ? answer['id'] : context.id,
    object,
    created: typeof answer['created'] === 'number' ? Math.floor(answer['created']) : context.created,
    model: modelOf(answer, context),
  }
}

function modelOf(answer: Fields, context: DecodeContext): string {
  return typeof answer['model'] === 'string' && answer['model'] !== '' ? answer['model'] : context.model
}

function setUsage(response: ChatResponse | CompletionResponse, usage: ChatResponse['usage'] | null): void {
  if (usage === null || usage === undefined) delete response.usage
  else response.usage = usage
}
