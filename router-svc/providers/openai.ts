import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { completionOverChat } from './completion-from-chat.ts'
import { decodeError } from './openai/error.ts'
import { requestEncoder } from './openai/request.ts'
import { decodeChat, decodeCompletion, decodeEmbedding, type ErrorReader } from './openai/response.ts'
import { chatStream, completionStream } from './openai/stream.ts'
import type { Adapter, Provider } from './provider.ts'

/** The OpenAI protocol, as one provider of the table speaks it. */
export function openai(name: string, row: ProviderRow): Provider {
  const modes = row.modes ?? ['chat']
  const readError: ErrorReader = (status, headers, body) => decodeError(name, status, headers, body)
  const chat = modes.includes('chat') ? chatAdapter(row, readError) : undefined
  const completion = modes.includes('completion')
    ? completionAdapter(row, readError)
    : chat === undefined
      ? undefined
      : completionOverChat(chat)
  return {
    name,
    auth: row.keyless ? { type: 'bearer', optional: true } : { type: 'bearer' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    ...(chat === undefined ? {} : { chat }),
    ...(completion === undefined ? {} : { completion }),
    ...(modes.includes('embedding') ? { embedding: embeddingAdapter(row, readError) } : {}),
    decodeError: readError,
  }
}

function chatAdapter(row: ProviderRow, readError: ErrorReader): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  const encoder = requestEncoder('chat', row)
  return {
    mode: 'chat',
    protocol: 'openai-chat',
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeChat(body, headers, context, row, readError),
    decodeStream: (context) => chatStream(context, row, readError),
  }
}

function completionAdapter(
  row: ProviderRow,
  readError: ErrorReader,
): Adapter<CompletionRequest, CompletionResponse, CompletionChunk> {
  const encoder = requestEncoder('completion', row)
  return {
    mode: 'completion',
    protocol: 'openai-completion',
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeCompletion(body, headers, context, row, readError),
    decodeStream: (context) => completionStream(context, row, readError),
  }
}

function embeddingAdapter(row: ProviderRow, readError: ErrorReader): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const encoder = requestEncoder('embedding', row)
  return {
    mode: 'embedding',
    protocol: 'openai-embedding',
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeEmbedding(body, headers, context, row, readError),
  }
}
