import type { InternalCalls } from '../internal-call.ts'
import { EMBED_LIMIT, type Embed } from './semantic.ts'

/**
 * Vectors from a model group of the gateway's own, by a call like any other on the account of the caller: booked, not limited (its own call
 * was admitted), and whatever models its key may call.
 */
export function createEmbed(internal: Pick<InternalCalls, 'run'>): Embed {
  return async (text, model, call) => {
    const { cacheControls: _, ...identity } = call.identity
    const answer = await internal.run({
      identity: { ...identity, models: [], aliases: {}, enforcedParams: [] },
      endpoint: 'aembedding',
      body: { model, input: text, encoding_format: 'float' },
      deadline: EMBED_LIMIT,
      metadata: { semantic_cache_of: call.message.callId },
      unlimited: true,
    })
    if (answer.status !== 200) throw new Error(`the embedding model answered with status ${answer.status}`)
    const { data } = JSON.parse(Buffer.from(answer.body).toString('utf8')) as { data?: { embedding?: unknown }[] }
    const vector = data?.[0]?.embedding
    if (!Array.isArray(vector) || vector.length === 0) throw new Error('the embedding model gave no vector')
    return Float32Array.from(vector as number[])
  }
}
