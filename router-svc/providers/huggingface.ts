import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import type { RerankRequest, RerankResponse } from '../canonical/rerank.ts'
import { huggingfaceImages } from './images/huggingface.ts'
import { isFields, jsonValue } from './json.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from './openai/parameters.ts'
import { vectorAs } from './openai/response.ts'
import { openai } from './openai.ts'
import { ownRanking } from './own-rankings.ts'
import { postJson } from './post-json.ts'
import type { Adapter, DecodeContext, Provider, Target } from './provider.ts'

/**
 * Hugging Face: chats by OpenAI's protocol, at its router or at an endpoint an operator runs (`api_base`); embeddings by its own task
 * protocol, which the router's inference service and Text Embeddings Inference share.
 */
export function huggingface(name: string, row: ProviderRow): Provider {
  // Text completions are made of this chat (index.ts), not of the one inside.
  const { chat, completion: _completion, ...provider } = openai(name, { ...row, modes: ['chat'] })
  if (chat === undefined) throw new Error('a row of Hugging Face without chat')
  const decodeError: Provider['decodeError'] = (status, headers, body) =>
    // 424: the service behind the router failed, which is no fault of the request.
    provider.decodeError(status === 424 ? 502 : status, headers, body)
  return {
    ...provider,
    chat: { ...chat, encodeRequest: (request, target) => chat.encodeRequest(request, routed(target, row)) },
    embedding: embeddings(row, decodeError),
    ...huggingfaceImages((target) => (isRouter(target, row) ? row.base : null), decodeError),
    rerank: ranking(row, decodeError),
    decodeError,
  }
}

/** Models are `organisation/name`; one more in front names who is to run it, which the router takes behind. */
function routed(target: Target, row: ProviderRow): Target {
  const parts = target.model.split('/')
  if (!isRouter(target, row) || parts.length !== 3) return target
  const [runner, ...model] = parts
  return { ...target, model: `${model.join('/')}:${runner}` }
}

/** Operators write the router's address with or without the version. */
function isRouter({ base }: Target, row: ProviderRow): boolean {
  return base === row.base || base === `${row.base}${row.version}`
}

function embeddings(row: ProviderRow, decodeError: Provider['decodeError']): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const unsupported = ['dimensions'].map(parameterRule)
  const dropped = ['user'].map(parameterRule)
  return {
    mode: 'embedding',
    encodeRequest(request, target) {
      const { input: _input, model: _model, encoding_format: _format, ...others } = request
      const body: Record<string, unknown> = {}
      for (const [field, value] of Object.entries(others))
        if (value !== null && value !== undefined && !isGatewayField(field, value)) body[field] = value
      dropNamed(body, request, target)
      dropQuietly(body, dropped)
      refuseUnsupported(body, unsupported, request, target)
      return postJson(embeddingUrl(target, row), { inputs: textsOf(request.input), ...body })
    },
    decodeResponse: (body, headers, context) =>
      decodeEmbeddings(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'), context, (text) =>
        decodeError(200, headers, text),
      ),
  }
}

/** Text Embeddings Inference's own ranking: a list of scores by place (https://huggingface.github.io/text-embeddings-inference/). */
function ranking(row: ProviderRow, decodeError: Provider['decodeError']): Adapter<RerankRequest, RerankResponse, never> {
  const unsupported = ['max_chunks_per_doc', 'max_tokens_per_doc']
  return ownRanking(
    {
      rules: { unsupported, drop: ['rank_fields', 'return_documents'] },
      encode: ({ query, texts, rest }, _request, target) => ({ url: rankingUrl(target, row), body: { query, texts, ...rest } }),
      read: (answer) => (Array.isArray(answer) ? { results: answer.map(withoutText) } : null),
    },
    decodeError,
  )
}

/** The router has none: an endpoint an operator runs, named with the path or without. */
function rankingUrl(target: Target, row: ProviderRow): string {
  if (!isRouter(target, row)) return `${target.base.replace(/\/rerank$/, '')}/rerank`
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: Hugging Face ranks at endpoints of your own alone: the deployment needs an api_base.',
    { param: 'model' },
  )
}

/** Documents are given back from the request. */
function withoutText(result: unknown): unknown {
  if (!isFields(result)) return result
  const { text: _, ...rest } = result
  return rest
}

/** An operator's endpoint serves one model, at its root; the router wants it named. */
function embeddingUrl(target: Target, row: ProviderRow): string {
  if (!isRouter(target, row)) return target.base
  const path = target.model.split('/').map(encodeURIComponent).join('/')
  return `${row.base}/hf-inference/models/${path}/pipeline/feature-extraction`
}

function textsOf(input: EmbeddingRequest['input']): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  if (texts.every((entry) => typeof entry === 'string')) return texts as string[]
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: input must be a string or a list of strings: Hugging Face takes no tokens.',
    { param: 'input' },
  )
}

/** A list with a vector, or with the vectors of all tokens, for each text. There are no counts: they are estimated. */
function decodeEmbeddings(source: string, context: DecodeContext, errorIn: (text: string) => GatewayError): EmbeddingResponse {
  const answer = jsonValue(source, 'The answer')
  if (typeof answer === 'object' && answer !== null && 'error' in answer) throw errorIn(source)
  if (!Array.isArray(answer)) throw new GatewayError('provider_malformed', 'The answer is no list of embeddings.')
  const base64 = context.request['encoding_format'] === 'base64'
  // A single text may come back without the list around it.
  const rows: unknown[] = typeof answer[0] === 'number' ? [answer] : answer
  return {
    object: 'list',
    data: rows.map((row, index) => ({ object: 'embedding', index, embedding: vectorAs(pooled(row), base64) })),
    model: context.model,
    usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
  }
}

/** The mean of the vectors of tokens, where a model does not pool itself. */
export function pooled(row: unknown): unknown {
  if (!Array.isArray(row) || !Array.isArray(row[0])) return row
  const tokens = row as number[][]
  return (tokens[0] as number[]).map((_, at) => tokens.reduce((sum, token) => sum + Number(token[at]), 0) / tokens.length)
}
