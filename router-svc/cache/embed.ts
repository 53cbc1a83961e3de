import type { Call } from '../call.ts'
import type { InternalCalls } from '../internal-call.ts'
import { EMBED_LIMIT, type Embed } from './semantic.ts'

/** Vectors of texts, in their order, from a model group of the gateway's own. Rejects when there are none. */
export type EmbedTexts = (texts: readonly string[], model: string, call: Call) => Promise<Float32Array[]>

/**
 * Vectors from a model group of the gateway's own, by a call like any other on the account of the caller: booked, not limited (its own call
 * was admitted), and whatever models its key may call. `purpose`: names the call they are for in what is booked.
 */
export function createEmbedTexts(internal: Pick<InternalCalls, 'run'>, purpose: string): EmbedTexts {
  return async (texts, model, call) => {
    const { cacheControls: _, ...identity } = call.identity
    const answer = await internal.run({
      identity: { ...identity, models: [], aliases: {}, enforcedParams: [] },
      endpoint: 'aembedding',
      body: { model, input: texts.length === 1 ? texts[0] : texts, encoding_format: 'float' },
      deadline: EMBED_LIMIT,
      metadata: { [purpose]: call.message.callId },
      unlimited: true,
    })
    if (answer.status !== 200) throw new Error(`the embedding model answered with status ${answer.status}`)
    const { data } = JSON.parse(Buffer.from(answer.body).toString('utf8')) as { data?: { embedding?: unknown; index?: number }[] }
    return texts.map((_text, at) => {
      const vector = (data?.find(({ index }) => index === at) ?? data?.[at])?.embedding
      if (!Array.isArray(vector) || vector.length === 0) throw new Error('the embedding model gave no vector')
      return Float32Array.from(vector as number[])
    })
  }
}

/** The same for one text, for the semantic cache. */
export function createEmbed(internal: Pick<InternalCalls, 'run'>): Embed {
  const embed = createEmbedTexts(internal, 'semantic_cache_of')
  return async (text, model, call) => (await embed([text], model, call))[0] as Float32Array
}
