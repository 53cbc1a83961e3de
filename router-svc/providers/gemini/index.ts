import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { googleImages } from '../images/google.ts'
import { ownSpeech } from '../own-speech.ts'
import type { Adapter, Provider, Target, UpstreamRequest } from '../provider.ts'
import { countAdapter } from './count.ts'
import { decodeEmbedding, encodeEmbedding } from './embedding.ts'
import { decodeError } from './errors.ts'
import { encodeRequest, modelUrl, wrapBody } from './request.ts'
import { decodeResponse } from './response.ts'
import { geminiSpeech } from './speech.ts'
import { GenerateStream } from './stream.ts'

/** An adapter whose requests may be made from the client's own bytes (router-svc/pass-through-gemini.ts). */
export interface GeminiAdapter extends Adapter<ChatRequest, ChatResponse, ChatChunk> {
  wrap(body: Uint8Array, request: Pick<ChatRequest, 'stream'>, target: Target): UpstreamRequest
}

/** A provider that speaks Gemini's own protocol: Google AI Studio. */
export function gemini(name: string, row: Pick<ProviderRow, 'base' | 'keys' | 'bases'>): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    name,
    // OAuth tokens of Google's accounts are told by their beginning.
    auth: { type: 'header', name: 'x-goog-api-key', bearerPrefix: 'ya29.' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: {
      mode: 'chat',
      protocol: 'gemini',
      takesGemini: true,
      encodeRequest,
      wrap: wrapBody,
      decodeResponse: (body, headers, context) => decodeResponse(name, body, headers, context),
      decodeStream: (context) => new GenerateStream(name, context),
    } satisfies GeminiAdapter as GeminiAdapter,
    count_tokens: countAdapter(name),
    embedding: {
      mode: 'embedding',
      encodeRequest: encodeEmbedding,
      decodeResponse: (body, headers, context) => decodeEmbedding(name, body, headers, context),
    },
    ...googleImages(name, (target, method) => `${modelUrl(target)}:${method}`),
    speech: ownSpeech(
      geminiSpeech((target) => `${modelUrl(target)}:generateContent`),
      readError,
    ),
    decodeError: readError,
  }
}
