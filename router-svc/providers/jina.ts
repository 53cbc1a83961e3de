import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { EmbeddingRequest } from '../canonical/embedding.ts'
import { openai } from './openai.ts'
import type { Provider } from './provider.ts'

/** Jina: OpenAI's embeddings (the row says where they differ), and images among the inputs. */
export function jina(name: string, row: ProviderRow): Provider {
  const provider = openai(name, row)
  const plain = provider.embedding
  if (plain === undefined) return provider
  return {
    ...provider,
    embedding: {
      mode: 'embedding',
      encodeRequest: (request, target) => plain.encodeRequest(withImages(request), target),
      decodeResponse: (body, headers, context) => plain.decodeResponse(body, headers, context),
    },
  }
}

/** An image is an object without the head of its data URI, and then every input must be an object. */
function withImages(request: EmbeddingRequest): EmbeddingRequest {
  const items: unknown[] = Array.isArray(request.input) ? request.input : [request.input]
  if (!items.some(isImage)) return request
  const input = items.map((item) => (isImage(item) ? { image: item.slice(item.indexOf(',') + 1) } : { text: item }))
  return { ...request, input: input as unknown as string[] }
}

function isImage(item: unknown): item is string {
  return typeof item === 'string' && /^data:image\/[^,]*;base64,/.test(item)
}
