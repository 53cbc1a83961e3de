import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { Adapter, Conversation, DecodeContext, StreamDecoder, UpstreamRequest } from './provider.ts'
import { wrappedStream } from './wrapped-stream.ts'

/**
 * A chat adapter dressed as one for text completions: the prompt becomes a user message, the answer's text the completion. For
 * providers without the legacy endpoint.
 */
export function completionOverChat(
  chat: Adapter<ChatRequest, ChatResponse, ChatChunk>,
): Adapter<CompletionRequest, CompletionResponse, CompletionChunk> {
  const chatContext = (context: DecodeContext): DecodeContext => ({
    ...context,
    request: chatFromCompletion(context.request as CompletionRequest),
  })
  const { decodeStream, converse } = chat
  return {
    mode: 'completion',
    encodeRequest: (request, target) => chat.encodeRequest(chatFromCompletion(request), target),
    decodeResponse: (body, headers, context) => completionFromChat(chat.decodeResponse(body, headers, chatContext(context))),
    ...(decodeStream === undefined
      ? {}
      : { decodeStream: (context) => completionStreamFromChat(decodeStream(chatContext(context))) }),
    ...(converse === undefined
      ? {}
      : {
          converse: (request, target, context) => {
            const inner = converse(chatFromCompletion(request), target, chatContext(context))
            return inner === null ? null : completing(inner)
          },
        }),
  }
}

function* completing(inner: Conversation<ChatResponse>): Conversation<CompletionResponse> {
  const answer = yield* inner
  return isLast(answer) ? answer : completionFromChat(answer)
}

function isLast(answer: ChatResponse | { last: UpstreamRequest }): answer is { last: UpstreamRequest } {
  return 'last' in answer && !('choices' in answer)
}

/** Fields of a text completion that a chat has no place for, and the values of them that ask for nothing. */
const WITHOUT_PLACE: readonly [string, (value: unknown) => boolean][] = [
  ['suffix', (value) => value === ''],
  ['echo', (value) => value === false],
  ['best_of', (value) => value === 1],
]

/**
 * The chat that answers a text completion. Throws GatewayError `bad_request` for prompts that are no text, `unsupported_parameter`
 * for what a chat cannot do (unless the request says `drop_params`).
 */
export function chatFromCompletion(request: CompletionRequest): ChatRequest {
  const { prompt, logprobs, ...rest } = request
  const chat: ChatRequest = { ...rest, messages: [{ role: 'user', content: promptText(prompt) }] }
  for (const [name, asksNothing] of WITHOUT_PLACE) {
    const value = chat[name]
    delete chat[name]
    if (value === undefined || value === null || asksNothing(value) || request['drop_params'] === true) continue
    throw new GatewayError(
      'unsupported_parameter',
      `'${name}' is not supported: this model is served through chat completions.`,
      {
        param: name,
      },
    )
  }
  if (typeof logprobs === 'number') {
    chat['logprobs'] = true
    chat['top_logprobs'] = logprobs
  }
  return chat
}

function promptText(prompt: CompletionRequest['prompt']): string {
  if (typeof prompt === 'string') return prompt
  if (prompt.length === 1 && typeof prompt[0] === 'string') return prompt[0]
  const text =
    typeof prompt[0] === 'string'
      ? 'one prompt per request'
      : 'a prompt of text, not of tokens: this model is served through chat completions'
  throw new GatewayError('bad_request', `'prompt' must be ${text}.`, { param: 'prompt' })
}

/** A chat's answer as a text completion. */
export function completionFromChat(response: ChatResponse): CompletionResponse {
  const { choices, object: _object, ...rest } = response
  return {
    ...rest,
    object: 'text_completion',
    choices: choices.map((choice) => ({
      text: choice.message.content ?? '',
      index: choice.index,
      logprobs: choice.logprobs ?? null,
      finish_reason: choice.finish_reason,
    })),
  }
}

/** A chat's stream as one of a text completion. */
export function completionStreamFromChat(chat: StreamDecoder<ChatChunk>): StreamDecoder<CompletionChunk> {
  return wrappedStream(chat, (chunks) => chunks.map(completionChunkFromChat))
}

/** A piece of a chat's answer as a piece of a text completion. */
export function completionChunkFromChat(chunk: ChatChunk): CompletionChunk {
  const { choices, object: _object, ...rest } = chunk
  return {
    ...rest,
    object: 'text_completion',
    choices: choices.map((choice) => ({
      text: choice.delta.content ?? '',
      index: choice.index,
      logprobs: choice.logprobs ?? null,
      finish_reason: choice.finish_reason,
    })),
  }
}
