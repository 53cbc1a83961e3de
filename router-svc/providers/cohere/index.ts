import type { Mode } from '../../../proto/endpoints.ts'
import { MEDIA } from '../../../shared/catalog/media.ts'
import { entryOf } from '../../../shared/entry.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { mediaAdapters } from '../openai/media.ts'
import type { RequestEncoder } from '../openai/request.ts'
import type { Adapter, Provider } from '../provider.ts'
import { decodeEmbedding, encodeEmbedding } from './embedding.ts'
import { decodeError } from './errors.ts'
import { encodeChat } from './request.ts'
import { decodeChat } from './response.ts'
import { ChatStream } from './stream.ts'
import { endpointUrl } from './wire.ts'

/** What this adapter reads of a row of the provider table. */
export interface CohereRow {
  base: string | null
  keys: readonly string[]
  bases?: readonly string[]
}

const CHAT: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
  mode: 'chat',
  encodeRequest: encodeChat,
  decodeResponse: decodeChat,
  decodeStream: (context) => new ChatStream(context),
}

const EMBEDDING: Adapter<EmbeddingRequest, EmbeddingResponse, never> = {
  mode: 'embedding',
  encodeRequest: encodeEmbedding,
  decodeResponse: decodeEmbedding,
}

/** Cohere's v2 API, under either of LiteLLM's names for it. */
export function cohere(name: string, row: CohereRow): Provider {
  return {
    name,
    auth: { type: 'bearer' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: CHAT,
    embedding: EMBEDDING,
    ...mediaAdapters({ protocol: 'openai', base: row.base, keys: row.keys }, entryOf(MEDIA, name), decodeError, addressed),
    decodeError,
  }
}

/** Its own paths, whatever part of the address the operator gave. */
function addressed(mode: Mode, plain: RequestEncoder): RequestEncoder {
  const endpoint = mode === 'rerank' ? 'rerank' : 'audio/transcriptions'
  const wrap: RequestEncoder['wrap'] = (target, body) => ({
    ...plain.wrap(target, body),
    url: endpointUrl(target.base, endpoint),
  })
  return { ...plain, wrap, encode: (request, target) => wrap(target, JSON.stringify(plain.shape(request, target))) }
}
