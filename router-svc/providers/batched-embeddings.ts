import type { TokenUsage } from '../../proto/usage.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Usage } from '../canonical/chat.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { tokensOf } from '../canonical/usage.ts'
import { isFields } from './json.ts'
import type { Adapter, Conversation, DecodeContext, Target, UpstreamAnswer } from './provider.ts'

type Embedding = Adapter<EmbeddingRequest, EmbeddingResponse, never>

/** Requests under way together: a long list must not use up a provider's rate limit at once. */
const TOGETHER = 8

/**
 * The same adapter for lists longer than one request may hold: they are sent in parts, and the answers put together in the order of the
 * list. Shorter ones go as before. `limit`: inputs one request may hold, perhaps by the model.
 */
export function batchedEmbeddings<Adapted extends Embedding>(
  adapter: Adapted,
  limit: number | ((model: string) => number),
): Adapted {
  const limitOf = typeof limit === 'number' ? () => limit : limit
  return {
    ...adapter,
    converse(request: EmbeddingRequest, target: Target, context: DecodeContext) {
      const inputs = listOf(request.input)
      const most = limitOf(target.baseModel ?? target.model)
      if (inputs === null || inputs.length <= most) return adapter.converse?.(request, target, context) ?? null
      return inParts(adapter, request, inputs, most, target, context)
    },
  }
}

/** Null for one input: a text, or a text already in tokens. */
function listOf(input: unknown): unknown[] | null {
  return Array.isArray(input) && typeof input[0] !== 'number' ? input : null
}

function* inParts(
  adapter: Embedding,
  request: EmbeddingRequest,
  inputs: readonly unknown[],
  most: number,
  target: Target,
  context: DecodeContext,
): Conversation<EmbeddingResponse> {
  const parts: EmbeddingRequest[] = []
  for (let from = 0; from < inputs.length; from += most) {
    parts.push({ ...request, input: inputs.slice(from, from + most) as string[] })
  }
  const answers: EmbeddingResponse[] = []
  for (let from = 0; from < parts.length; from += TOGETHER) {
    const some = parts.slice(from, from + TOGETHER)
    const before = [...answers]
    const used = (came: readonly (UpstreamAnswer | null)[]): TokenUsage | null => {
      const now = came.flatMap((answer) =>
        answer === null ? [] : [adapter.decodeResponse(answer.body, answer.headers, context)],
      )
      const told = [...before, ...now].map(({ usage }) => usage)
      return told.length === 0 ? null : tokensOf(told.reduce((one, other) => sum(one, other) as Usage))
    }
    const given: UpstreamAnswer[] = yield { send: some.map((part) => adapter.encodeRequest(part, target)), used }
    given.forEach(({ body, headers }, index) => {
      const part = some[index] as EmbeddingRequest
      answers.push(whole(adapter.decodeResponse(body, headers, { ...context, request: part }), part))
    })
  }
  return merged(answers)
}

/** Throws GatewayError `provider_malformed` where a part has not one vector an input: all after it would be in the wrong place. */
function whole(answer: EmbeddingResponse, part: EmbeddingRequest): EmbeddingResponse {
  const [got, asked] = [answer.data.length, (part.input as unknown[]).length]
  if (got !== asked) throw new GatewayError('provider_malformed', `The answer holds ${got} embeddings for ${asked} inputs.`)
  return answer
}

function merged(answers: readonly EmbeddingResponse[]): EmbeddingResponse {
  const data = answers
    .flatMap((answer) => [...answer.data].sort((one, other) => one.index - other.index))
    .map((item, index) => ({ ...item, index }))
  const usage = answers.map((answer) => answer.usage).reduce((one, other) => sum(one, other) as Usage)
  return { ...(answers[0] as EmbeddingResponse), data, usage }
}

/** Numbers added up, member by member; of anything else the first. */
function sum(one: unknown, other: unknown): unknown {
  if (typeof one === 'number' && typeof other === 'number') return one + other
  if (!isFields(one) || !isFields(other)) return one ?? other
  const all = Object.entries(other).map(([name, value]) => [name, Object.hasOwn(one, name) ? sum(one[name], value) : value])
  return { ...one, ...Object.fromEntries(all) }
}
