import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { isFields, text } from '../json.ts'
import type { Adapter, Provider } from '../provider.ts'
import { postJson } from '../text-protocol.ts'
import { listOfVectors, vectorAdapter } from '../vector-protocol.ts'
import { actionUrl, placeOf } from './models.ts'

/** `embedText`: parameters are Oracle's, `dimensions` and `input_type` under OpenAI's and Cohere's names too. */
export function embeddingAdapter(
  name: string,
  readError: Provider['decodeError'],
): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  return vectorAdapter(
    name,
    {
      unsupported: [],
      request(inputs, { dimensions, input_type: type, ...given }, target) {
        const isImage = inputs.length > 0 && inputs.every((input) => input.startsWith('data:image/'))
        const inputType = text(type, isImage ? 'IMAGE' : 'SEARCH_DOCUMENT').toUpperCase()
        const own = dimensions === undefined ? {} : { outputDimensions: dimensions }
        return postJson(actionUrl(target, 'embedText'), {
          ...placeOf(target),
          inputs,
          inputType,
          truncate: 'NONE',
          ...own,
          ...given,
        })
      },
      vectors({ embeddings, embeddingsByType, usage }) {
        const byType = isFields(embeddingsByType) ? embeddingsByType['float'] : undefined
        const promptTokens = isFields(usage) ? (usage['promptTokens'] ?? usage['totalTokens']) : undefined
        return { vectors: listOfVectors(Array.isArray(embeddings) ? embeddings : byType), promptTokens }
      },
    },
    readError,
  )
}
