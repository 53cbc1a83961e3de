import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { Provider } from '../provider.ts'
import { decodeError } from './errors.ts'
import { encoders } from './request.ts'
import { decodeChat, decodeCompletion, decodeEmbedding } from './response.ts'
import { ChatStream, CompletionStream } from './stream.ts'
import { parseAnswer } from './wire.ts'

/** Ollama by its own API: the OpenAI endpoint beside it cannot set the size of the context and reads no tool choice either. */
export function ollama(name: string, row: ProviderRow): Provider {
  const encode = encoders(row)
  return {
    name,
    auth: { type: 'bearer', optional: true },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: {
      mode: 'chat',
      framing: 'lines',
      encodeRequest: encode.chat,
      decodeResponse: (body, headers, context) => decodeChat(parseAnswer(body, headers, name), context),
      decodeStream: (context) => new ChatStream(context, name),
    },
    completion: {
      mode: 'completion',
      framing: 'lines',
      encodeRequest: encode.completion,
      decodeResponse: (body, headers, context) => decodeCompletion(parseAnswer(body, headers, name), context),
      decodeStream: (context) => new CompletionStream(context, name),
    },
    embedding: {
      mode: 'embedding',
      encodeRequest: encode.embedding,
      decodeResponse: (body, headers, context) => decodeEmbedding(parseAnswer(body, headers, name), context),
    },
    decodeError: (status, headers, body) => decodeError(name, status, headers, body),
  }
}
