import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Message } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import { chatVariant, madeProvider } from '../openai-variant.ts'
import type { Adapter, Provider, StreamDecoder } from '../provider.ts'
import { wrappedStream } from '../wrapped-stream.ts'
import { placeOf } from './address.ts'
import { embeddingAdapter } from './embedding.ts'
import { decodeError, errorIn, failedFinish } from './errors.ts'
import { media } from './media.ts'
import { textChat, textCompletion } from './text.ts'

/** watsonx.ai's chats, which are OpenAI's under another address and with a few names of their own, and its embeddings. */
export function watsonx(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    ...madeProvider(name, row, 'watsonx', readError),
    chat: chatAdapter(name, row, readError),
    embedding: embeddingAdapter(name, row),
    ...media(name, row),
  }
}

/** Its prompt models: text is gone on with. A chat is one plain prompt to them. */
export function watsonxText(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    ...madeProvider(name, row, 'watsonx', readError),
    chat: textChat(name),
    completion: textCompletion(name),
  }
}

function chatAdapter(
  name: string,
  row: ProviderRow,
  readError: Provider['decodeError'],
): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  const task = (request: Readonly<Fields>) => (request['stream'] === true ? 'text/chat_stream' : 'text/chat')
  const plain = chatVariant({
    row,
    url: (target, _, request) => placeOf(target, task(request), request).url,
    refine(body, target, _, request) {
      const { fields } = placeOf(target, task(request), body)
      for (const field of ['model', 'stream', 'project_id', 'space_id']) delete body[field]
      Object.assign(body, fields)
      if (typeof body['tool_choice'] === 'string') {
        body['tool_choice_option'] ??= body['tool_choice']
        delete body['tool_choice']
      }
      body['messages'] = (body['messages'] as Message[]).map(asSystem)
    },
    readError,
    errorIn: (source) => errorIn(name, source),
  })
  const { decodeStream } = plain
  return {
    ...plain,
    decodeResponse(bytes, headers, context) {
      const answer = plain.decodeResponse(bytes, headers, context)
      settleReasons(name, answer.choices)
      return answer
    },
    ...(decodeStream === undefined ? {} : { decodeStream: (context) => settled(name, decodeStream(context)) }),
  }
}

/** It knows no developers. */
function asSystem(message: Message): Message {
  return message.role === 'developer' ? { ...message, role: 'system' } : message
}

function settleReasons(name: string, choices: { finish_reason: string | null }[]): void {
  for (const choice of choices) {
    const failure = failedFinish(name, choice.finish_reason)
    if (failure !== null) throw failure
    // It stops writing when the time the client gave it is up.
    if (choice.finish_reason === 'time_limit') choice.finish_reason = 'length'
  }
}

/** Some errors come as reasons to finish. */
function settled(name: string, inner: StreamDecoder<ChatChunk>): StreamDecoder<ChatChunk> {
  return wrappedStream(inner, (chunks) => {
    for (const chunk of chunks) settleReasons(name, chunk.choices)
    return chunks
  })
}
