import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { completionOverChat } from '../completion-from-chat.ts'
import { googleImages } from '../images/google.ts'
import { decodeError } from '../openai/error.ts'
import type { Provider } from '../provider.ts'
import { createModels, GOOGLE_VERSION, methodUrl } from './address.ts'
import { claude } from './claude.ts'
import { googleEmbedding } from './embedding.ts'
import { googleChat } from './google.ts'
import { modelOf } from './models.ts'
import { deployedModels, openModels, partnerModels } from './open.ts'
import { googleRanking } from './rerank.ts'
import { googleSpeech } from './speech.ts'

/** Google's Vertex AI: one way to prove who calls, and a protocol a family of models (models.ts). Its base depends on project and location. */
export function vertex(name: string, row: Pick<ProviderRow, 'keys' | 'bases'>): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const family = (modes: Partial<Provider>): Provider => ({
    name,
    auth: { type: 'made', kind: 'google' },
    base: null,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    ...modes,
    ...(modes.chat === undefined ? {} : { completion: completionOverChat(modes.chat) }),
    // Google's form of an error, Anthropic's and OpenAI's are all known there.
    decodeError: readError,
  })
  const idOf = createModels()
  const google = family({
    chat: googleChat(name),
    embedding: googleEmbedding(name),
    ...googleImages(name, (target, method) => methodUrl(target, idOf(target), GOOGLE_VERSION, method)),
    rerank: googleRanking(readError),
    speech: googleSpeech(name, readError),
  })
  const families = {
    google,
    claude: family(claude(row.keys)),
    mistralai: family(partnerModels(name, 'mistralai')),
    ai21: family(partnerModels(name, 'ai21')),
    open: family(openModels(name)),
    endpoint: family(deployedModels(name)),
  }
  return {
    ...google,
    serve(model, { baseModel = null }) {
      const { family: kind, publisher, id } = modelOf(model, baseModel)
      // The plain name is the one prices are known by, where it says as much.
      const plain = modelOf(id, baseModel)
      const name = plain.family === kind && plain.publisher === publisher && plain.id === id ? id : model
      if (kind !== 'partner') return { provider: families[kind], model: name }
      return { provider: publisher === 'ai21' ? families.ai21 : families.mistralai, model: name }
    },
  }
}
