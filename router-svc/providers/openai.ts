import { MEDIA } from '../../shared/catalog/media.ts'
import { canPassThrough, type ProviderRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { completionOverChat } from './completion-from-chat.ts'
import { decodeError } from './openai/error.ts'
import { mediaAdapters } from './openai/media.ts'
import { type RequestEncoder, requestEncoder } from './openai/request.ts'
import { decodeChat, decodeCompletion, decodeEmbedding, type ErrorReader } from './openai/response.ts'
import { chatStream, completionStream } from './openai/stream.ts'
import type { Adapter, Auth, Prefill, Protocol, Provider } from './provider.ts'

/** An adapter whose requests may be made from the client's own bytes (router-svc/pass-through.ts). */
export interface OpenAIAdapter<Request, Response, Chunk> extends Adapter<Request, Response, Chunk> {
  readonly encoder: RequestEncoder
}

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
    auth: authOf(row),
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    ...(row.ownRouting === undefined ? {} : { ownRouting: row.ownRouting }),
    ...(chat === undefined ? {} : { chat }),
    ...(completion === undefined ? {} : { completion }),
    ...(modes.includes('embedding') ? { embedding: embeddingAdapter(row, readError) } : {}),
    ...mediaAdapters(row, entryOf(MEDIA, name), readError),
    ...(row.prefill === undefined ? {} : { prefill: ({ base }) => prefillAt(base, row) }),
    decodeError: readError,
  }
}

/** `keyHeader` of a row, else a bearer token; optional where the row works without. */
export function authOf(row: ProviderRow): Auth {
  return {
    ...(row.keyHeader === undefined ? { type: 'bearer' } : { type: 'header', ...row.keyHeader }),
    ...(row.keyless ? { optional: true } : {}),
  }
}

/** Where only one path takes beginnings, another server in the provider's place is not known to have it. */
function prefillAt(base: string, row: ProviderRow): Prefill | null {
  if (row.prefillPath === undefined || base === row.base) return row.prefill ?? null
  return base.endsWith('/beta') ? (row.prefill ?? null) : null
}

function chatAdapter(row: ProviderRow, readError: ErrorReader): OpenAIAdapter<ChatRequest, ChatResponse, ChatChunk> {
  const encoder = requestEncoder('chat', row)
  return {
    mode: 'chat',
    ...speaks(row, 'openai-chat'),
    encoder,
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeChat(body, headers, context, row, readError),
    decodeStream: (context) => chatStream(context, row, readError),
  }
}

function completionAdapter(
  row: ProviderRow,
  readError: ErrorReader,
): OpenAIAdapter<CompletionRequest, CompletionResponse, CompletionChunk> {
  const encoder = requestEncoder('completion', row)
  return {
    mode: 'completion',
    ...speaks(row, 'openai-completion'),
    encoder,
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeCompletion(body, headers, context, row, readError),
    decodeStream: (context) => completionStream(context, row, readError),
  }
}

function embeddingAdapter(row: ProviderRow, readError: ErrorReader): OpenAIAdapter<EmbeddingRequest, EmbeddingResponse, never> {
  const encoder = requestEncoder('embedding', row)
  return {
    mode: 'embedding',
    ...speaks(row, 'openai-embedding'),
    encoder,
    encodeRequest: encoder.encode,
    decodeResponse: (body, headers, context) => decodeEmbedding(body, headers, context, row, readError),
  }
}

/** The protocol is only named where bytes may pass: a provider that deviates must be read. */
function speaks(row: ProviderRow, protocol: Protocol): { protocol?: Protocol } {
  return canPassThrough(row) ? { protocol } : {}
}
