import { GatewayError } from '../../../shared/errors.ts'
import type { RerankRequest } from '../../canonical/rerank.ts'
import { type Fields, isFields, text } from '../json.ts'
import { type OwnRanking, ownRanking, type Ranked } from '../own-rankings.ts'
import type { Target } from '../provider.ts'
import { decodeError } from './errors.ts'
import { modelOf } from './models.ts'
import { modelUrl } from './url.ts'

const REGIONAL = /^https:\/\/bedrock-(?:agent-)?runtime(?:-fips)?\.([a-z\d-]+)\.amazonaws\.com/

/**
 * Rankings by the Rerank operation of Bedrock's agent runtime (its address beside that of the models, under the same signature), or by
 * InvokeModel in Cohere's or Amazon's words where the model's route says `invoke/`.
 */
const RANKING: OwnRanking = {
  rules: { drop: ['rank_fields', 'return_documents'], unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] },
  encode(ranked, request, target) {
    const { route } = modelOf(text(target.settings['model_id'], target.model))
    return route === 'invoke' ? invoked(ranked, target) : operation(ranked, request, target)
  },
  read(answer, { documents }) {
    if (!isFields(answer) || !Array.isArray(answer['results'])) return null
    const results = (answer['results'] as unknown[]).map((result) => {
      if (!isFields(result)) return result
      const { relevanceScore, document: _, ...rest } = result
      return relevanceScore === undefined ? rest : { ...rest, relevance_score: relevanceScore }
    })
    // A query is a hundred documents (https://aws.amazon.com/bedrock/pricing/).
    const searches = Math.max(1, Math.ceil(documents.length / 100))
    return { meta: { billed_units: { search_units: searches } }, ...answer, results }
  },
}

export const RERANK = ownRanking(RANKING, decodeError)

function operation({ query, texts, top, rest }: Ranked, request: RerankRequest, target: Target): { url: string; body: Fields } {
  const { id, region } = modelOf(text(target.settings['model_id'], target.model))
  const own = REGIONAL.exec(target.base)
  const place = region ?? own?.[1] ?? text(target.settings['aws_region_name'])
  if (place === '' && !id.startsWith('arn:')) {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: the deployment needs an AWS region to rank (aws_region_name).',
    )
  }
  const modelArn = id.startsWith('arn:') ? id : `arn:${partitionOf(place)}:bedrock:${place}::foundation-model/${id}`
  const sources = request.documents.map((document, index) => ({
    type: 'INLINE',
    // Documents with fields are ranked as such, but for those the client chose fields of.
    inlineDocumentSource:
      typeof document === 'string' || typeof document['text'] === 'string' || (request.rank_fields?.length ?? 0) > 0
        ? { type: 'TEXT', textDocument: { text: texts[index] } }
        : { type: 'JSON', jsonDocument: document },
  }))
  const base = own === null ? target.base : target.base.replace(own[0], `https://bedrock-agent-runtime.${place}.amazonaws.com`)
  return {
    url: `${base.replace(/\/+$/, '')}/rerank`,
    body: {
      queries: [{ type: 'TEXT', textQuery: { text: query } }],
      sources,
      rerankingConfiguration: {
        type: 'BEDROCK_RERANKING_MODEL',
        bedrockRerankingConfiguration: {
          // Without a number it gives ten.
          numberOfResults: Math.min(top ?? texts.length, texts.length),
          modelConfiguration: { modelArn, ...(Object.keys(rest).length > 0 ? { additionalModelRequestFields: rest } : {}) },
        },
      },
    },
  }
}

function invoked({ query, texts, top, rest }: Ranked, target: Target): { url: string; body: Fields } {
  const cohere = /cohere/.test(`${target.model} ${target.baseModel ?? ''}`) ? { api_version: 2 } : {}
  const body = { query, documents: texts, ...cohere, ...(top === null ? {} : { top_n: Math.min(top, texts.length) }), ...rest }
  return { url: modelUrl(target, 'invoke'), body }
}

function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn'
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws'
}
