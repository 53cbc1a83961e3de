import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { type Fields, isFields } from './json.ts'
import { openai } from './openai.ts'
import type { Adapter, Provider, UpstreamRequest } from './provider.ts'

type Embedding = Adapter<EmbeddingRequest, EmbeddingResponse, never>

/** Models that embed the pieces of a document knowing its other pieces, at an address and in a shape of their own. */
const CONTEXTUAL = /^voyage-context-/

/** Voyage: OpenAI's embeddings (the row says where they differ), and the contextual ones around them. */
export function voyage(name: string, row: ProviderRow): Provider {
  const provider = openai(name, row)
  return provider.embedding === undefined ? provider : { ...provider, embedding: withContextual(provider.embedding) }
}

function withContextual(plain: Embedding): Embedding {
  return {
    mode: 'embedding',
    encodeRequest(request, target) {
      const sent = plain.encodeRequest(request, target)
      return CONTEXTUAL.test(target.model) ? contextual(sent) : sent
    },
    decodeResponse: (body, headers, context) => plain.decodeResponse(flattened(body), headers, context),
  }
}

/** Inputs are documents of their own, one piece each, unless the client gives `inputs`: lists of pieces. */
function contextual(sent: UpstreamRequest): UpstreamRequest {
  const { input, inputs, encoding_format: _float, ...body } = JSON.parse(sent.body as string) as Fields
  const documents = inputs ?? (Array.isArray(input) ? input : [input]).map((piece) => [piece])
  return {
    ...sent,
    url: sent.url.replace(/\/embeddings$/, '/contextualizedembeddings'),
    body: JSON.stringify({ ...body, inputs: documents }),
  }
}

/** Lists of pieces in lists of documents become one list, counted through; any other answer is as it was. */
function flattened(body: Uint8Array): Uint8Array {
  let answer: unknown
  try {
    answer = JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return body
  }
  if (!isFields(answer) || !Array.isArray(answer['data'])) return body
  const documents = answer['data'] as unknown[]
  if (!documents.some((document) => isFields(document) && Array.isArray(document['data']))) return body
  const data = documents
    .flatMap((document) => (isFields(document) && Array.isArray(document['data']) ? (document['data'] as unknown[]) : [document]))
    .map((item, index) => (isFields(item) ? { ...item, index } : item))
  return Buffer.from(JSON.stringify({ ...answer, data }))
}
