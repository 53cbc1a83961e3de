import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { type Fields, jsonObject, sourceOf } from '../json.ts'
import { requestEncoder } from '../openai/request.ts'
import { decodeChat } from '../openai/response.ts'
import { chatStream } from '../openai/stream.ts'
import { madeProvider } from '../openai-variant.ts'
import type { Adapter, Provider, Target, UpstreamRequest } from '../provider.ts'
import { postJson } from '../text-protocol.ts'
import { rewrittenStream } from '../wrapped-stream.ts'
import { cohereRequest } from './cohere.ts'
import { embeddingAdapter } from './embedding.ts'
import { decodeError, isError } from './errors.ts'
import { genericRequest, secondCohereRequest } from './generic.ts'
import { actionUrl, formatOf, placeOf } from './models.ts'
import { rerankAdapter } from './rerank.ts'
import { EventTranslator, openaiAnswer } from './response.ts'

/** Tokens of an answer where neither request nor catalogue say: as many as every model that is served on demand allows. */
const OUTPUT_LIMIT = 4000

/** What Cohere's forms lack beside what the row says. */
const COHERE_LACKS = ['n>1', 'logit_bias', 'verbosity'] as const

/** Oracle Cloud's Generative AI: three forms of a chat in one envelope, its credential a signature (credentials/oci.ts). */
export function oci(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const refused = row.unsupported ?? []
  const encoders = {
    GENERIC: requestEncoder('chat', row),
    COHERE: requestEncoder('chat', { ...row, unsupported: [...refused, ...COHERE_LACKS, 'reasoning_effort', 'thinking'] }),
    COHEREV2: requestEncoder('chat', { ...row, unsupported: [...refused, ...COHERE_LACKS] }),
  }
  const encodeRequest = (request: ChatRequest, target: Target): UpstreamRequest => {
    refuseOwnSettings(request)
    const format = formatOf(target)
    const body = encoders[format].shape(request, target)
    const limit = target.maxOutputTokens ?? OUTPUT_LIMIT
    const chatRequest =
      format === 'GENERIC'
        ? genericRequest(body, target.baseModel ?? target.model, limit)
        : format === 'COHERE'
          ? cohereRequest(body, limit, target.provider)
          : secondCohereRequest(body, limit)
    return postJson(actionUrl(target, 'chat'), { ...placeOf(target), chatRequest })
  }
  const chat: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
    mode: 'chat',
    encodeRequest,
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The answer')
      if (isError(answer)) throw readError(200, headers, source)
      return decodeChat(Buffer.from(JSON.stringify(openaiAnswer(answer))), headers, context, row, readError)
    },
    // There is no terminator: the stream is whole when every choice had its finish reason.
    decodeStream(context) {
      const translator = new EventTranslator()
      return rewrittenStream(chatStream(context, row, readError), (fields, { event, data }) => {
        if (event === 'error' || isError(fields)) throw readError(200, {}, data)
        return translator.translate(fields)
      })
    },
  }
  return {
    ...madeProvider(name, row, 'oci', readError),
    chat,
    embedding: embeddingAdapter(name, readError),
    rerank: rerankAdapter(readError),
  }
}

/** Whose compartment pays is the deployment's to say. */
function refuseOwnSettings(request: Readonly<Fields>): void {
  const own = Object.keys(request).find((name) => name.startsWith('oci_'))
  if (own === undefined) return
  throw new GatewayError('bad_request', `litellm.BadRequestError: ${own} belongs to the deployment, not to a request.`, {
    param: own,
  })
}
