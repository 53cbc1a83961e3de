import type { MediaRow } from '../../../shared/catalog/media.ts'
import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { isFields } from '../json.ts'
import { mediaAdapters } from '../openai/media.ts'
import { ownRanking } from '../own-rankings.ts'
import type { Provider } from '../provider.ts'
import { placeOf } from './address.ts'
import { decodeError } from './errors.ts'

/** Speech to text is OpenAI's, with the project in the form. */
const HEARING: MediaRow = {
  modes: ['transcription'],
  rules: { transcription: { unsupported: ['include', 'stream', 'chunking_strategy'] } },
}

/** Rankings in its own words, and sounds in OpenAI's. */
export function media(name: string, row: ProviderRow): Pick<Provider, 'rerank' | 'transcription'> {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const rerank = ownRanking(
    {
      rules: {
        drop: ['rank_fields', 'return_documents'],
        rename: { max_tokens_per_doc: 'truncate_input_tokens' },
        unsupported: ['max_chunks_per_doc'],
      },
      encode({ query, texts, top, rest }, request, target) {
        const { url, fields } = placeOf(target, 'text/rerank', request)
        const { project_id: _, space_id: __, parameters: given, ...others } = rest
        const parameters = {
          ...others,
          ...(top === null ? {} : { return_options: { top_n: Math.min(top, texts.length) } }),
          ...(isFields(given) ? given : {}),
        }
        const inputs = texts.map((text) => ({ text }))
        const body = { ...fields, query, inputs, ...(Object.keys(parameters).length > 0 ? { parameters } : {}) }
        return { url, body }
      },
      read(answer) {
        if (!isFields(answer) || !Array.isArray(answer['results'])) return null
        const { input_token_count: tokens, query: _, results, ...rest } = answer
        const bare = (results as unknown[]).filter(isFields).map(({ index, score }) => ({ index, score }))
        return { ...rest, results: bare, usage: { total_tokens: tokens } }
      },
    },
    readError,
  )
  const heard = mediaAdapters({ protocol: 'openai', base: row.base, keys: row.keys }, HEARING, readError, (_mode, plain) => ({
    ...plain,
    shape(request, target) {
      const { fields } = placeOf(target, 'audio/transcriptions', request)
      const { model_id: model, ...container } = fields
      const { model: _, project_id: __, space_id: ___, ...body } = plain.shape(request, target)
      return { ...(model === undefined ? {} : { model }), ...container, ...body }
    },
    // What the place is does not depend on the project.
    wrap: (target, body) => ({
      ...plain.wrap(target, body),
      url: placeOf(target, 'audio/transcriptions', { project_id: '-' }).url,
    }),
  }))
  return { rerank, ...heard }
}
