import { GatewayError } from '../../../shared/errors.ts'
import type { RerankRequest, RerankResponse } from '../../canonical/rerank.ts'
import { isFields, text } from '../json.ts'
import { ownRanking } from '../own-rankings.ts'
import type { Adapter, Provider, Target } from '../provider.ts'
import { GOOGLE } from './address.ts'

const SERVICE = 'https://discoveryengine.googleapis.com'
const CONFIG = 'locations/global/rankingConfigs/default_ranking_config:rank'

/** Google's ranking API (https://cloud.google.com/generative-ai-app-builder/docs/ranking), which knows records by ids: their places here. */
export function googleRanking(readError: Provider['decodeError']): Adapter<RerankRequest, RerankResponse, never> {
  return ownRanking(
    {
      rules: { drop: ['rank_fields', 'return_documents'], unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] },
      encode: ({ query, texts, top, rest }, request, target) => ({
        ...placeOf(target),
        body: {
          model: target.model.replace(/^(?:vertex_ai|semantic_ranking)\//, ''),
          query,
          records: texts.map((content, index) => {
            const document = request.documents[index]
            const title = isFields(document) ? text(document['title']) : ''
            return { id: String(index), ...(title === '' ? {} : { title }), content }
          }),
          ...(top === null ? {} : { topN: Math.min(top, texts.length) }),
          // The texts are known here.
          ignoreRecordDetailsInResponse: true,
          ...rest,
        },
      }),
      read(answer, request) {
        if (!isFields(answer) || !Array.isArray(answer['records'])) return null
        const { records, ...rest } = answer
        const results = (records as unknown[]).filter(isFields).map(({ id, score }) => ({ index: Number(id), score }))
        // One query is a hundred records (https://cloud.google.com/generative-ai-app-builder/pricing).
        const searches = Math.max(1, Math.ceil(request.documents.length / 100))
        return { ...rest, results, meta: { billed_units: { search_units: searches } } }
      },
    },
    readError,
  )
}

/** This service bills the project it is told of, whoever's the token is. */
function placeOf({ base }: Target): { url: string; headers: Record<string, string> } {
  const project = /\/projects\/([^/]+)/.exec(base)?.[1]
  if (project === undefined) {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: ranking needs a Google project (vertex_project, VERTEXAI_PROJECT).',
    )
  }
  // Another server in Google's place has everything.
  const root = GOOGLE.test(base) ? SERVICE : new URL(base).origin
  return { url: `${root}/v1/projects/${project}/${CONFIG}`, headers: { 'x-goog-user-project': project } }
}
