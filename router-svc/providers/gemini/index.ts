import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { Provider } from '../provider.ts'
import { decodeEmbedding, encodeEmbedding } from './embedding.ts'
import { decodeError } from './errors.ts'
import { encodeRequest } from './request.ts'
import { decodeResponse } from './response.ts'
import { GenerateStream } from './stream.ts'

/** A provider that speaks Gemini's own protocol: Google AI Studio. */
export function gemini(name: string, row: Pick<ProviderRow, 'base' | 'keys' | 'bases'>): Provider {
  return {
    name,
    // OAuth tokens of Google's accounts are told by their beginning.
    auth: { type: 'header', name: 'x-goog-api-key', bearerPrefix: 'ya29.' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: {
      mode: 'chat',
      encodeRequest,
      decodeResponse: (body, headers, context) => decodeResponse(name, body, headers, context),
      decodeStream: (context) => new GenerateStream(name, context),
    },
    embedding: {
      mode: 'embedding',
      encodeRequest: encodeEmbedding,
      decodeResponse: (body, headers, context) => decodeEmbedding(name, body, headers, context),
    },
    decodeError: (status, headers, body) => decodeError(name, status, headers, body),
  }
}
