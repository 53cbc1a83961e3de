import { GatewayError } from '../../shared/errors.ts'
import type { Capture } from '../call.ts'
import type { EmbeddingResponse } from '../canonical/embedding.ts'
import type { CachedAnswer } from './cache.ts'
import { itemKeys } from './key.ts'
import { answerOf, type CacheTurn, hit, isFresh, type TurnContext } from './turn.ts'

/** Inputs of one call that are looked up; a call with more goes past the cache. */
const ITEMS_MAX = 256
/** Item keys told to the client. */
const KEYS_TOLD = 16

/** What is kept of one input. */
interface Item {
  embedding: number[] | string
  /** The input's tokens; an even share of its call's where that had several. */
  tokens: number
  model: string
}

/** Embeddings are cached per input: only those that are missing are asked for, and the answer holds all (surface reference §8.2). */
export async function embeddingTurn(context: TurnContext): Promise<CacheTurn> {
  const { call, settings, controls, store, counts } = context
  const inputs = inputsOf(call.request['input'])
  if (inputs.length === 0 || inputs.length > ITEMS_MAX) return { hit: null, finish() {} }
  const keys = itemKeys(call, settings, controls.namespace, inputs)
  const told = keys.length <= KEYS_TOLD ? keys.join(',') : null
  call.cacheKey = told
  const kept = controls.read ? await Promise.all(keys.map((key) => keptItem(context, key))) : keys.map(() => null)
  const missing = keys.flatMap((_, index) => (kept[index] === null ? [index] : []))
  if (missing.length === 0) {
    const turn = hit(context, told ?? '', merged(context, kept, null), null)
    call.cacheKey = told
    return turn
  }
  if (controls.read) counts.miss(call)
  if (missing.length < keys.length) {
    call.request = { ...call.request, input: missing.map((index) => inputs[index]) }
    // Counted anew: less is asked for.
    call.inputTokens = null
  }
  const recorder = createItemRecorder(missing.length, missing.length < keys.length, (fresh) =>
    missing.length === keys.length ? fresh : merged(context, kept, fresh).response,
  )
  call.capture = recorder
  return {
    hit: null,
    finish(outcome) {
      const fresh = recorder.fresh()
      if (!outcome.ok || !controls.write || fresh === null || call.fallbacks > 0) return
      const tokens = Math.ceil((fresh.usage?.prompt_tokens ?? 0) / missing.length)
      for (const [at, index] of missing.entries()) {
        const item: Item = { embedding: fresh.data[at]?.embedding ?? '', tokens, model: fresh.model }
        const cost = Math.round(outcome.cost / missing.length)
        void store.cache.set(keys[index] as string, answerOf(context, { ...item }, { ...outcome, cost }), controls.ttl)
      }
    },
  }
}

async function keptItem({ store, controls, clock }: TurnContext, key: string): Promise<CachedAnswer | null> {
  const answer = await store.cache.get(key)
  if (answer === null || answer.mode !== 'embedding' || !isFresh(answer, controls, clock)) return null
  const { embedding, tokens } = answer.response
  return (Array.isArray(embedding) || typeof embedding === 'string') && typeof tokens === 'number' ? answer : null
}

interface ItemRecorder extends Capture {
  /** The provider's answer, when it has an embedding for every input that was asked for. */
  fresh(): EmbeddingResponse | null
}

/** `isPart`: less is asked for than the client wants, and the answer must fit. */
function createItemRecorder(asked: number, isPart: boolean, shown: (fresh: EmbeddingResponse) => unknown): ItemRecorder {
  let fresh: EmbeddingResponse | null = null
  return {
    response(response) {
      const answer = response as EmbeddingResponse
      const data = Array.isArray(answer.data) ? answer.data.toSorted((a, b) => a.index - b.index) : []
      fresh = data.length === asked && data.every((item) => item.embedding?.length > 0) ? { ...answer, data } : null
      if (fresh === null && isPart) {
        throw new GatewayError(
          'provider_malformed',
          `The provider answered ${data.length} embeddings where ${asked} were asked for.`,
        )
      }
      return fresh === null ? answer : shown(fresh)
    },
    chunk() {},
    fresh: () => fresh,
  }
}

/** The embeddings of all inputs in their order: the kept ones, and between them the fresh. Usage is that of all. */
function merged(
  { call, clock }: TurnContext,
  kept: readonly (CachedAnswer | null)[],
  fresh: EmbeddingResponse | null,
): CachedAnswer {
  let next = 0
  let tokens = fresh?.usage?.prompt_tokens ?? 0
  const data = kept.map((answer, index) => {
    if (answer === null) return { ...fresh?.data[next++], object: 'embedding', index }
    const item = answer.response as unknown as Item
    tokens += item.tokens
    return { object: 'embedding', index, embedding: item.embedding }
  })
  const first = kept.find((answer) => answer !== null)
  const model = fresh?.model ?? first?.response['model'] ?? call.modelGroup
  const usage = { ...fresh?.usage, prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens }
  return {
    at: Math.min(...kept.map((answer) => answer?.at ?? clock.now())),
    mode: 'embedding',
    response: { ...fresh, object: 'list', data, model, usage },
    modelGroup: call.modelGroup,
    deploymentId: first?.deploymentId ?? '',
    cost: kept.reduce((sum, answer) => sum + (answer?.cost ?? 0), 0),
  }
}

/** A text and a list of tokens are one input; lists of those are several. */
function inputsOf(input: unknown): unknown[] {
  if (!Array.isArray(input) || typeof input[0] === 'number') return [input]
  return input
}
