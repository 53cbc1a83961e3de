import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse, FinishReason, Usage } from '../../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../../canonical/completion.ts'
import { chatFromCompletion, completionFromChat, completionStreamFromChat } from '../completion-from-chat.ts'
import { eventObject, type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import type { Adapter, DecodeContext, StreamDecoder } from '../provider.ts'
import { decodeError, failedFinish, throwErrorIn } from './errors.ts'
import { encodeText } from './text-request.ts'

/** Chats of a model that goes on with text. */
export function textChat(name: string): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  return {
    mode: 'chat',
    encodeRequest: encodeText,
    decodeResponse: (body, _, context) => decodeText(name, body, context),
    decodeStream: (context) => textStream(name, context),
  }
}

/** Text completions, which it was made for. */
export function textCompletion(name: string): Adapter<CompletionRequest, CompletionResponse, CompletionChunk> {
  return {
    mode: 'completion',
    encodeRequest: (request, target) => encodeText(chatFromCompletion(request), target),
    decodeResponse: (body, _, context) => completionFromChat(decodeText(name, body, context)),
    decodeStream: (context) => completionStreamFromChat(textStream(name, context)),
  }
}

const FINISH: Readonly<Record<string, FinishReason>> = {
  eos_token: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  token_limit: 'length',
  time_limit: 'length',
}

/** Canonical finish reason; null while there is none. Throws for those that say that the answer failed. */
function finishReason(name: string, result: Fields): FinishReason | null {
  const reason = text(result['stop_reason']).toLowerCase()
  const failure = failedFinish(name, reason)
  if (failure !== null) throw failure
  if (reason === '' || reason === 'not_finished') return null
  return entryOf(FINISH, reason) ?? reason
}

function usageOf(prompt: number, completion: number): Usage {
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.round(value) : 0
}

function decodeText(name: string, body: Uint8Array, context: DecodeContext): ChatResponse {
  const source = sourceOf(body)
  throwErrorIn(name, source)
  const { results, ...rest } = jsonObject(source, 'The answer')
  const listed = Array.isArray(results) ? (results as unknown[]).filter(isFields) : []
  if (listed.length === 0) throw decodeError(name, 200, {}, source)
  let prompt = 0
  let completion = 0
  const choices = listed.map((result, index) => {
    const { generated_text: said, generated_token_count, input_token_count, stop_reason: _reason, ...kept } = result
    prompt += count(input_token_count)
    completion += count(generated_token_count)
    const message: ChatResponse['choices'][number]['message'] = { role: 'assistant', content: text(said) }
    if (Object.keys(kept).length > 0) message.provider_specific_fields = kept
    return { index, message, finish_reason: finishReason(name, result) ?? 'stop' }
  })
  return { ...rest, ...envelope(context), object: 'chat.completion', choices, usage: usageOf(prompt, completion) }
}

function envelope({ id, created, model }: DecodeContext): Pick<ChatResponse, 'id' | 'created' | 'model'> {
  return { id, created, model }
}

/**
 * States: open → finished by a stop reason other than `not_finished` → done at the end of input; an input that ends before is broken off. The count
 * of the input comes once, that of the output is a running total.
 */
function textStream(name: string, context: DecodeContext): StreamDecoder<ChatChunk> {
  let prompt = 0
  let completion = 0
  let begun = false
  let finished = false
  let done = false
  return {
    get done() {
      return done
    },
    get usage() {
      return begun ? usageOf(prompt, completion) : null
    },
    push(event) {
      if (done || event.data === '') return []
      throwErrorIn(name, event.data)
      if (event.event === 'error') throw decodeError(name, 200, {}, event.data)
      const { results, ...rest } = eventObject(event.data)
      const result = Array.isArray(results) ? (results as unknown[])[0] : undefined
      if (!isFields(result)) return []
      const { generated_text: said, generated_token_count, input_token_count, stop_reason: _reason, ...kept } = result
      prompt = Math.max(prompt, count(input_token_count))
      completion = Math.max(completion, count(generated_token_count))
      const finish = finished ? null : finishReason(name, result)
      const delta: ChatChunk['choices'][number]['delta'] = begun ? {} : { role: 'assistant' }
      begun = true
      if (text(said) !== '') delta.content = text(said)
      if (Object.keys(kept).length > 0) delta.provider_specific_fields = kept
      const chunk: ChatChunk = {
        ...rest,
        ...envelope(context),
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta, finish_reason: finish }],
      }
      if (finish !== null) {
        finished = true
        chunk.usage = usageOf(prompt, completion)
      }
      return [chunk]
    },
    end() {
      if (!finished) throw new GatewayError('provider_truncated')
      done = true
      return []
    },
  }
}
