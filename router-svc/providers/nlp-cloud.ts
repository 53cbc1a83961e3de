import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { isFields } from './json.ts'
import type { Provider, Target } from './provider.ts'
import { postJson, textProvider, usageFrom } from './text-protocol.ts'
import { listOfVectors, vectorAdapter } from './vector-protocol.ts'

/** NLP Cloud: each model has its own address. A stream is bare text, its pieces separated by NUL bytes. */
export function nlpCloud(name: string, row: ProviderRow): Provider {
  const provider = textProvider(name, row, {
    request: ({ prompt, stream }, given, target) =>
      postJson(addressOf(target, 'generation'), { text: prompt, ...given, ...(stream ? { stream: true } : {}) }),
    answer(answer) {
      if (!isFields(answer) || typeof answer['generated_text'] !== 'string') return []
      return [{ text: answer['generated_text'], usage: usageFrom(answer['nb_input_tokens'], answer['nb_generated_tokens']) }]
    },
    stream: {
      framing: 'raw',
      untilEnd: true,
      read: (data) => ({ text: data.replaceAll('\0', '') }),
    },
  })
  return {
    ...provider,
    embedding: vectorAdapter(
      name,
      {
        unsupported: ['dimensions'],
        request: (sentences, given, target) => postJson(addressOf(target, 'embeddings'), { sentences, ...given }),
        vectors: ({ embeddings, nb_input_tokens: tokens }) => ({ vectors: listOfVectors(embeddings), promptTokens: tokens }),
      },
      provider.decodeError,
    ),
  }
}

function addressOf({ base, model }: Target, route: string): string {
  return `${base}/${model.split('/').map(encodeURIComponent).join('/')}/${route}`
}
